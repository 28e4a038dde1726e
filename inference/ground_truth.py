"""Reading what a client sends as the ground truth of a prediction."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from inference.exceptions import GroundTruthError
from models_registry.exceptions import LabelError
from models_registry.labels import label_text

CLOCK_SKEW = timedelta(minutes=5)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIELDS = frozenset({"prediction_id", "actual", "observed_at"})
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class GroundTruthItem:
    """The ground truth of one prediction, as a client gives it.

    Attributes
    ----------
    prediction_id
        Of the prediction that it belongs to.
    actual
        The class, or the number as text (`models_registry.labels.label_text`).
    observed_at
        When it became known; None where the client does not say.
    """

    prediction_id: uuid.UUID
    actual: str
    observed_at: datetime | None


def parse_item(item: object, *, now: datetime) -> GroundTruthItem:
    """Return what a client gave as one item: an object decoded from JSON, or a row of a file.

    Raises
    ------
    GroundTruthError
        With the field that is wrong, and why.
    """
    if not isinstance(item, Mapping):
        raise GroundTruthError("", "must be an object with prediction_id and actual")
    if unknown := item.keys() - FIELDS:
        name = str(min(unknown, key=str))[:100]
        raise GroundTruthError(name, f"is not known; known are {', '.join(sorted(FIELDS))}")
    return GroundTruthItem(
        prediction_id=_prediction_id(item.get("prediction_id")),
        actual=_actual(item.get("actual")),
        observed_at=_observed_at(item.get("observed_at"), now),
    )


def _prediction_id(value: Any) -> uuid.UUID:
    if value is None:
        raise GroundTruthError("prediction_id", "is required: the id that the predict call answered")
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise GroundTruthError("prediction_id", "must be a UUID, as the predict call answers it")
    return uuid.UUID(value)


def _actual(value: Any) -> str:
    if value is None:
        raise GroundTruthError("actual", "is required: the class or the number that turned out to be true")
    try:
        return label_text(value)
    except LabelError as error:
        raise GroundTruthError("actual", str(error)) from None


def _observed_at(value: Any, now: datetime) -> datetime | None:
    if value is None:
        return None
    time = value if isinstance(value, datetime) else _time(value)
    if time.utcoffset() is None:
        raise GroundTruthError("observed_at", "must say its offset from UTC, such as 2026-03-01T12:00:00Z")
    if not EPOCH <= time <= now + CLOCK_SKEW:
        raise GroundTruthError("observed_at", "is in the future" if time > now else "is before 1970")
    return time


def _time(value: Any) -> datetime:
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise GroundTruthError("observed_at", "must be an ISO 8601 time, such as 2026-03-01T12:00:00Z") from None
