"""Ids and times as clients write them."""

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

CLOCK_SKEW = timedelta(minutes=5)  # between a client's clock and ours
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)


def given_uuid(value: object) -> uuid.UUID | None:
    """Return the UUID that a text writes; None where it writes none."""
    return uuid.UUID(value) if isinstance(value, str) and _UUID.fullmatch(value) else None


def given_time(value: object, *, now: datetime) -> datetime:
    """Return the time that a text writes (ISO 8601 with its offset from UTC), or a datetime is.

    Raises
    ------
    ValueError
        With the reason: no such time, before 1970, or in the future by more than clocks differ.
    """
    time = value if isinstance(value, datetime) else _time(value)
    if time.utcoffset() is None:
        raise ValueError("must say its offset from UTC, such as 2026-03-01T12:00:00Z")
    if not EPOCH <= time <= now + CLOCK_SKEW:
        raise ValueError("is in the future" if time > now else "is before 1970")
    return time


def _time(value: Any) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError("must be an ISO 8601 time, such as 2026-03-01T12:00:00Z") from None
