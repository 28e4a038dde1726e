"""Reading what a client sends as predictions that another server made."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.exceptions import ObservationError, PayloadError
from inference.given_values import given_time, given_uuid
from mlmon.exceptions import LabelError
from mlmon.labels import class_of, label_string
from mlmon.schema import TaskType
from models_registry.schema import ModelSchema

FIELDS = frozenset(
    {"features", "prediction", "confidence", "probabilities", "latency_ms", "observed_at", "prediction_id"}
)
SUM_TOLERANCE = 1e-3  # of the probabilities of a row: servers round them
LONGEST_LATENCY_MS = 86_400_000.0  # a day: in the sum of a histogram a huge one would drown all others
LONGEST_NAME = 100  # of an unknown field, in a refusal


@dataclass(frozen=True, slots=True, eq=False)
class ObservationItem:
    """One prediction of another server.

    Attributes
    ----------
    features
        A list of values, or an object by name: not checked yet.
    prediction
        One of the model's classes, or a number.
    confidence
        Probability of the predicted class; NaN where it is not known.
    probabilities
        Of the model's classes, shape (classes,), their sum 1; None where they are not known.
    latency_ms
        Of the other server; NaN where it is not known.
    observed_at
        When it was predicted, not later than now.
    prediction_id
        Of 16 bytes; None where the client gives none.
    """

    features: Any
    prediction: str | float
    confidence: float
    probabilities: NDArray[np.float64] | None
    latency_ms: float
    observed_at: datetime
    prediction_id: bytes | None


def items_of_payload(payload: object, *, most_items: int) -> tuple[list[Any], str | None, bool]:
    """Return the items of a body, the version that it names, and whether it was one of the forms for many items.

    ``{"features": …, "prediction": …}`` is one item; ``{"rows": [item, …]}`` and ``[item, …]`` are many. The two
    objects may name a ``version``.
    """
    if isinstance(payload, list):
        return _bounded(payload, most_items), None, True
    if not isinstance(payload, dict):
        raise PayloadError('The body must be an observation, {"rows": [...]}, or a list of observations.')
    others = {name: value for name, value in payload.items() if name != "version"}
    version = payload.get("version")
    if version is not None and not isinstance(version, str):
        raise PayloadError('"version" must be a text, such as "1.0.0".')
    if "rows" not in others:
        return [others], version, False
    if len(others) > 1:
        raise PayloadError('Beside "rows" only "version" is taken; the other fields belong into its items.')
    return _bounded(others["rows"], most_items), version, True


def parse_observation(item: object, schema: ModelSchema, *, now: datetime) -> ObservationItem:
    """Return what a client gave as one prediction; its features are checked by `inference.rows.columns_of_rows`.

    Raises
    ------
    ObservationError
        With the field that is wrong, and why.
    """
    if not isinstance(item, Mapping):
        raise ObservationError("", "must be an object with features and prediction")
    if unknown := item.keys() - FIELDS:
        raise ObservationError(min(unknown)[:LONGEST_NAME], f"is not known; known are {', '.join(sorted(FIELDS))}")
    if item.get("features") is None:
        raise ObservationError("features", "is required: a list of values, or an object by feature name")
    prediction = _prediction(item.get("prediction"), schema)
    probabilities = _probabilities(item.get("probabilities"), schema)
    return ObservationItem(
        features=item["features"],
        prediction=prediction,
        confidence=_confidence(item.get("confidence"), prediction, probabilities, schema),
        probabilities=probabilities,
        latency_ms=_number("latency_ms", item.get("latency_ms"), largest=LONGEST_LATENCY_MS),
        observed_at=_observed_at(item.get("observed_at"), now),
        prediction_id=_prediction_id(item.get("prediction_id")),
    )


def _bounded(items: object, most_items: int) -> list[Any]:
    if not isinstance(items, list) or not items:
        raise PayloadError("Give a list with at least one observation.")
    if len(items) > most_items:
        raise PayloadError(
            f"The list has {len(items):,} observations; at most {most_items:,} are taken in one request."
        )
    return items


def _prediction(value: object, schema: ModelSchema) -> str | float:
    if value is None:
        raise ObservationError("prediction", "is required: the class or the number that was predicted")
    if schema.task_type is TaskType.REGRESSION:
        if not _is_finite(value):
            raise ObservationError("prediction", "must be a finite number")
        return float(value)  # type: ignore[arg-type]  # a number, as was checked
    try:
        return class_of(label_string(value), schema.classes)
    except LabelError as error:
        raise ObservationError("prediction", str(error)) from None


def _probabilities(value: object, schema: ModelSchema) -> NDArray[np.float64] | None:
    if value is None:
        return None
    if schema.task_type is TaskType.REGRESSION:
        raise ObservationError("probabilities", "must be left out: the model predicts a number")
    values = _values_by_class(value, schema)
    if not all(_is_finite(one) and 0 <= one <= 1 for one in values):
        raise ObservationError("probabilities", "must be numbers from 0 to 1")
    total = math.fsum(values)
    if abs(total - 1) > SUM_TOLERANCE:
        raise ObservationError("probabilities", f"must sum to 1, not to {total:.6g}")
    return np.array(values, dtype=np.float64) / total


def _values_by_class(value: object, schema: ModelSchema) -> list[Any]:
    """Return a probability for each class; that of a class which an object leaves out is 0."""
    if isinstance(value, list):
        if len(value) != len(schema.classes):
            reason = f"has {len(value)} values; the model has {len(schema.classes)} classes"
            raise ObservationError("probabilities", reason)
        return value
    if not isinstance(value, dict):
        raise ObservationError("probabilities", "must be an object by class, or a list in the order of the classes")
    if unknown := value.keys() - set(schema.classes):
        reason = f"has {min(unknown)[:LONGEST_NAME]!r}, which is not one of the model's classes"
        raise ObservationError("probabilities", reason)
    return [value.get(name, 0.0) for name in schema.classes]


def _confidence(
    value: object, prediction: str | float, probabilities: NDArray[np.float64] | None, schema: ModelSchema
) -> float:
    if value is not None and schema.task_type is TaskType.REGRESSION:
        raise ObservationError("confidence", "must be left out: the model predicts a number")
    confidence = _number("confidence", value, largest=1.0)
    if probabilities is None:
        return confidence
    of_class = float(probabilities[schema.classes.index(str(prediction))])
    if abs(confidence - of_class) > SUM_TOLERANCE:  # NaN is not
        raise ObservationError("confidence", f"must be the probability of the predicted class, {of_class:.6g}")
    return of_class


def _number(field: str, value: object, *, largest: float) -> float:
    """Return a number from 0 to `largest`; NaN where there is none."""
    if value is None:
        return math.nan
    if not _is_finite(value) or not 0 <= value <= largest:  # type: ignore[operator]  # a number, as is checked first
        raise ObservationError(field, f"must be a number from 0 to {largest:,.0f}")
    return float(value)  # type: ignore[arg-type]


def _is_finite(value: Any) -> bool:
    """Return whether a value is a number that float64 can hold; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of more than 308 digits
        return False


def _observed_at(value: object, now: datetime) -> datetime:
    """Return the time given; now, where it is none or where the client's clock is a little ahead."""
    try:
        return now if value is None else min(now, given_time(value, now=now))
    except ValueError as error:
        raise ObservationError("observed_at", str(error)) from None


def _prediction_id(value: object) -> bytes | None:
    if value is None:
        return None
    prediction_id = given_uuid(value)
    if prediction_id is None:
        raise ObservationError("prediction_id", "must be a UUID; without one it is made, and answered")
    return prediction_id.bytes
