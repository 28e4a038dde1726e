"""Reading what a client sends as the ground truth of a prediction."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from inference.given_values import given_time, given_uuid
from mlmon.exceptions import LabelError
from mlmon.labels import label_text
from performance.exceptions import GroundTruthError

FIELDS = frozenset({"prediction_id", "actual", "observed_at"})


@dataclass(frozen=True, slots=True)
class GroundTruthItem:
    """The ground truth of one prediction, as a client gives it.

    Attributes
    ----------
    prediction_id
        Of the prediction that it belongs to.
    actual
        The class, or the number as text (`mlmon.labels.label_text`).
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
    prediction_id = given_uuid(value)
    if prediction_id is None:
        raise GroundTruthError("prediction_id", "must be a UUID, as the predict call answers it")
    return prediction_id


def _actual(value: Any) -> str:
    if value is None:
        raise GroundTruthError("actual", "is required: the class or the number that turned out to be true")
    try:
        return label_text(value)
    except LabelError as error:
        raise GroundTruthError("actual", str(error)) from None


def _observed_at(value: Any, now: datetime) -> datetime | None:
    try:
        return None if value is None else given_time(value, now=now)
    except ValueError as error:
        raise GroundTruthError("observed_at", str(error)) from None
