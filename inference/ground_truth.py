"""What turned out to be true of a prediction: reading what a client sends, and telling a label from a typing error."""

import math
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from inference.exceptions import GroundTruthError

LONGEST_LABEL = 255  # characters
LONGEST_REASON_LABELS = 10  # classes named in a refusal
CLOCK_SKEW = timedelta(minutes=5)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LARGEST_EXACT_INTEGER = 2**53
FIELDS = frozenset({"prediction_id", "actual", "observed_at"})
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)
_TRUTHS = {"true": "1", "false": "0"}


@dataclass(frozen=True, slots=True)
class GroundTruthItem:
    """The ground truth of one prediction, as a client gives it.

    Attributes
    ----------
    prediction_id
        Of the prediction that it belongs to.
    actual
        The class, or the number as text (see `number_text`).
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


def number_text(number: float) -> str:
    """Return a finite number as text from which the same number can be read; 5 and 5.0 have one text."""
    if number == int(number) and abs(number) < LARGEST_EXACT_INTEGER:
        return str(int(number))
    return repr(float(number))


def label_of(actual: str, classes: Sequence[str]) -> str:
    """Return the class that `actual` means.

    Other spellings of a number or of true and false are taken where they mean one class: 1 for "1.0" or for "True".

    Raises
    ------
    GroundTruthError
        It is none of the classes.
    """
    if actual in classes:
        return actual
    meant = [name for name in classes if _meaning(name) == _meaning(actual)]
    if len(meant) == 1:
        return meant[0]
    named = ", ".join(classes[:LONGEST_REASON_LABELS]) + (", …" if len(classes) > LONGEST_REASON_LABELS else "")
    raise GroundTruthError("actual", f"{actual!r} is not one of the model's classes: {named}")


def number_of(actual: str) -> str:
    """Return the text of the number that `actual` means; GroundTruthError where it is no finite number."""
    number = _number(actual)
    if number is None:
        raise GroundTruthError("actual", f"{actual!r} is not a finite number, which the model predicts")
    return number_text(number)


def _prediction_id(value: Any) -> uuid.UUID:
    if value is None:
        raise GroundTruthError("prediction_id", "is required: the id that the predict call answered")
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise GroundTruthError("prediction_id", "must be a UUID, as the predict call answers it")
    return uuid.UUID(value)


def _actual(value: Any) -> str:
    if value is None:
        raise GroundTruthError("actual", "is required: the class or the number that turned out to be true")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        if not math.isfinite(value):
            raise GroundTruthError("actual", "must be a finite number")
        return number_text(value)
    if not isinstance(value, str):
        raise GroundTruthError("actual", "must be a text, a number, true or false")
    if not value.strip() or len(value) > LONGEST_LABEL or "\0" in value:
        raise GroundTruthError("actual", f"must be a text of 1 to {LONGEST_LABEL} characters")
    return value


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


def _meaning(text: str) -> str:
    """Return what different spellings of one number, or of one truth value, have in common."""
    truth = _TRUTHS.get(text.lower())
    if truth is not None:
        return truth
    number = _number(text)
    return text if number is None else number_text(number)


def _number(text: str) -> float | None:
    try:
        number = float(text if "_" not in text else "")  # Python's own digit groups are no number elsewhere
    except ValueError:
        return None
    return number if math.isfinite(number) else None
