"""Parse the predictions that another server made, and the ids and times that clients send."""

import math
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.exceptions import ObservationError, PayloadError
from mlmon.exceptions import LabelError
from mlmon.labels import class_of, label_string
from mlmon.schema import TaskType
from models_registry.schema import ModelSchema

FIELDS = frozenset(
    {"features", "prediction", "confidence", "probabilities", "latency_ms", "observed_at", "prediction_id"}
)
CLOCK_SKEW = timedelta(minutes=5)  # between a client's clock and the server's
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SUM_TOLERANCE = 1e-3  # of the probabilities of a row: servers round them
LONGEST_LATENCY_MS = 86_400_000.0  # one day: a huge value would dominate the sum of a histogram
LONGEST_NAME = 100  # of an unknown field in an error message
_UUID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class ObservationItem:
    """One prediction of another server.

    Attributes
    ----------
    features
        A list of values, or an object by name; not checked yet.
    prediction
        One of the model's classes, or a number.
    confidence
        Probability of the predicted class; NaN if unknown.
    probabilities
        Probabilities of the model's classes, shape (classes,), with sum 1; None if unknown.
    latency_ms
        Latency of the other server; NaN if unknown.
    observed_at
        Time of the prediction, not later than now.
    prediction_id
        16 bytes; None if the client sent none.
    """

    features: Any
    prediction: str | float
    confidence: float
    probabilities: NDArray[np.float64] | None
    latency_ms: float
    observed_at: datetime
    prediction_id: bytes | None


def given_uuid(value: object) -> uuid.UUID | None:
    """Return the UUID that a string contains; None if it contains none."""
    return uuid.UUID(value) if isinstance(value, str) and _UUID.fullmatch(value) else None


def given_time(value: object, *, now: datetime) -> datetime:
    """Return the time of a string (ISO 8601 with its UTC offset) or of a datetime.

    Raises
    ------
    ValueError
        With the reason: not a time, before 1970, or further in the future than clocks differ.
    """
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError("must be an ISO 8601 time, such as 2026-03-01T12:00:00Z") from None
    if time.utcoffset() is None:
        raise ValueError("must have a UTC offset, such as 2026-03-01T12:00:00Z")
    if not EPOCH <= time <= now + CLOCK_SKEW:
        raise ValueError("is in the future" if time > now else "is before 1970")
    return time


def items_of_payload(payload: object, *, most_items: int) -> tuple[list[Any], str | None, bool]:
    """Return the items of a body, the version that it names, and whether it has a form for many items.

    ``{"features": …, "prediction": …}`` is one item; ``{"rows": [item, …]}`` and ``[item, …]`` are many. The two
    objects may name a ``version``.
    """
    version, is_batch = None, True
    if isinstance(payload, dict):
        fields = {name: value for name, value in payload.items() if name != "version"}
        version, is_batch = payload.get("version"), "rows" in fields
        if version is not None and not isinstance(version, str):
            raise PayloadError('"version" must be a string, such as "1.0.0".')
        if is_batch and len(fields) > 1:
            raise PayloadError('"rows" can only be combined with "version"; move the other fields into the rows.')
        payload = fields["rows"] if is_batch else [fields]
    elif not isinstance(payload, list):
        raise PayloadError('The body must be an observation, {"rows": [...]}, or a list of observations.')
    if not isinstance(payload, list) or not payload:
        raise PayloadError("Send a list with at least one observation.")
    if len(payload) > most_items:
        raise PayloadError(f"The list has {len(payload):,} observations; send at most {most_items:,} in one request.")
    return payload, version, is_batch


def parse_observation(item: object, schema: ModelSchema, *, now: datetime) -> ObservationItem:
    """Return one prediction that a client sent; `inference.rows.RowReader` checks its features later.

    Raises
    ------
    ObservationError
        With the invalid field and the reason.
    """
    if not isinstance(item, Mapping):
        raise ObservationError("", "must be an object with features and prediction")
    if unknown := item.keys() - FIELDS:
        raise ObservationError(min(unknown)[:LONGEST_NAME], f"is unknown; known are {', '.join(sorted(FIELDS))}")
    if item.get("features") is None:
        raise ObservationError("features", "is required: a list of values, or an object by feature name")
    prediction = _prediction(item.get("prediction"), schema)
    probabilities = _probabilities(item.get("probabilities"), schema)
    prediction_id = given_uuid(item.get("prediction_id"))
    if prediction_id is None and item.get("prediction_id") is not None:
        raise ObservationError("prediction_id", "must be a UUID; if you leave it out, the response has a new one")
    given = item.get("observed_at")
    try:
        observed_at = now if given is None else min(now, given_time(given, now=now))  # a client's clock may be ahead
    except ValueError as error:
        raise ObservationError("observed_at", str(error)) from None
    return ObservationItem(
        features=item["features"],
        prediction=prediction,
        confidence=_confidence(item.get("confidence"), prediction, probabilities, schema),
        probabilities=probabilities,
        latency_ms=_number("latency_ms", item.get("latency_ms"), largest=LONGEST_LATENCY_MS),
        observed_at=observed_at,
        prediction_id=prediction_id.bytes if prediction_id else None,
    )


def _prediction(value: object, schema: ModelSchema) -> str | float:
    if value is None:
        raise ObservationError("prediction", "is required: the predicted class or number")
    if schema.task_type is TaskType.REGRESSION:
        if not _is_finite(value):
            raise ObservationError("prediction", "must be a finite number")
        return float(value)  # type: ignore[arg-type]  # a number, as was checked
    try:
        return class_of(label_string(value), schema.classes)
    except LabelError as error:
        raise ObservationError("prediction", str(error)) from None


def _probabilities(value: object, schema: ModelSchema) -> NDArray[np.float64] | None:
    """Return the probability of each class; a class that an object leaves out has 0."""
    if value is None:
        return None
    if schema.task_type is TaskType.REGRESSION:
        raise ObservationError("probabilities", "must be left out: the model predicts a number")
    if isinstance(value, dict):
        if unknown := value.keys() - set(schema.classes):
            reason = f"has {min(unknown)[:LONGEST_NAME]!r}, which is not one of the model's classes"
            raise ObservationError("probabilities", reason)
        value = [value.get(name, 0.0) for name in schema.classes]
    if not isinstance(value, list):
        raise ObservationError("probabilities", "must be an object by class, or a list in the order of the classes")
    if len(value) != len(schema.classes):
        reason = f"has {len(value)} values; the model has {len(schema.classes)} classes"
        raise ObservationError("probabilities", reason)
    if not all(_is_finite(one) and 0 <= one <= 1 for one in value):
        raise ObservationError("probabilities", "must be numbers from 0 to 1")
    total = math.fsum(value)
    if abs(total - 1) > SUM_TOLERANCE:
        raise ObservationError("probabilities", f"must sum to 1, not to {total:.6g}")
    return np.array(value, dtype=np.float64) / total


def _confidence(
    value: object, prediction: str | float, probabilities: NDArray[np.float64] | None, schema: ModelSchema
) -> float:
    if value is not None and schema.task_type is TaskType.REGRESSION:
        raise ObservationError("confidence", "must be left out: the model predicts a number")
    confidence = _number("confidence", value, largest=1.0)
    if probabilities is None:
        return confidence
    of_class = float(probabilities[schema.classes.index(str(prediction))])
    if abs(confidence - of_class) > SUM_TOLERANCE:  # false for NaN
        raise ObservationError("confidence", f"must be the probability of the predicted class, {of_class:.6g}")
    return of_class


def _number(field: str, value: object, *, largest: float) -> float:
    """Return a number from 0 to `largest`; NaN if there is none."""
    if value is None:
        return math.nan
    if not _is_finite(value) or not 0 <= value <= largest:  # type: ignore[operator]  # a number, as is checked first
        raise ObservationError(field, f"must be a number from 0 to {largest:,.0f}")
    return float(value)  # type: ignore[arg-type]


def _is_finite(value: Any) -> bool:
    """Return whether a value is a number that float64 can hold; booleans are not numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of more than 308 digits
        return False
