"""Store ground truth and join it with its predictions: each item once, with the history of its corrections."""

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from inference.archive_format import ChunkDraft
from inference.kserve.events import LONGEST_ID, prediction_id_of
from inference.observation_items import given_time, given_uuid
from inference.prediction_lookup import FoundPrediction, find_predictions, matches
from inference.services.retention import delete_in_batches
from mlmon.exceptions import LabelError
from mlmon.labels import class_of, label_string, number_of
from mlmon.schema import TaskType
from mlmon.values import category_name
from models_registry.models import ModelVersion
from performance.exceptions import GroundTruthError
from performance.models import GroundTruth, GroundTruthCorrection

FIELDS = frozenset({"prediction_id", "event_id", "actual", "observed_at"})
MOST_ATTEMPTS = 5  # of a transaction that competes with another one for the same new id
FIRST_LOOKUP = timedelta(seconds=30)  # the prediction is in the stream by then
LAST_LOOKUP = timedelta(days=7)  # a prediction that arrives later is joined when it is archived
LOOKUP_ROWS = 10_000
LONGEST_REFUSAL = 1000
LONGEST_EVENT_ID = LONGEST_ID + 10  # with the number of a row
JOINED_FIELDS = (
    "actual",
    "observed_at",
    "changed_at",
    "version",
    "predicted_at",
    "prediction",
    "confidence",
    "scores",
    "routing",
    "refusal",
    "next_lookup_at",
)


class Outcome(StrEnum):
    """The outcome of an item."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CORRECTED = "corrected"
    UNKNOWN = "unknown"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """The outcome of one item: `prediction_id` as the client sent it; `field` and `reason` only of an invalid one."""

    prediction_id: object
    outcome: Outcome
    field: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class GroundTruthItem:
    """The ground truth of one prediction.

    Attributes
    ----------
    actual
        The class, or the number as a string (`mlmon.labels.label_string`).
    observed_at
        When it became known; None if the client does not say.
    """

    prediction_id: uuid.UUID
    actual: str
    observed_at: datetime | None


def parse_item(item: object, *, now: datetime) -> GroundTruthItem:
    """Return the ground truth in an object decoded from JSON, or in a row of a file.

    Raises
    ------
    GroundTruthError
        A field is missing, unknown or invalid.
    """
    if not isinstance(item, Mapping):
        raise GroundTruthError("", "must be an object with prediction_id and actual")
    if unknown := item.keys() - FIELDS:
        name = str(min(unknown, key=str))[:100]
        raise GroundTruthError(name, f"is not a known field; the fields are {', '.join(sorted(FIELDS))}")
    label, observed_at = item.get("actual"), item.get("observed_at")
    prediction_id = _prediction_id(item.get("prediction_id"), item.get("event_id"))
    if label is None:
        raise GroundTruthError("actual", "is required: the true class or number")
    try:
        actual = label_string(label)
    except LabelError as error:
        raise GroundTruthError("actual", str(error)) from None
    try:
        observed = None if observed_at is None else given_time(observed_at, now=now)
    except ValueError as error:
        raise GroundTruthError("observed_at", str(error)) from None
    return GroundTruthItem(prediction_id=prediction_id, actual=actual, observed_at=observed)


def _prediction_id(given_id: object, event_id: object) -> uuid.UUID:
    """Return the id of the prediction that an item names: by that id, or by its event (`inference.kserve.events`)."""
    if event_id is not None:
        if given_id is not None:
            raise GroundTruthError("event_id", "must be left out if the item has a prediction_id")
        if not isinstance(event_id, str) or not 0 < len(event_id) <= LONGEST_EVENT_ID:
            reason = f"must be a string of 1 to {LONGEST_EVENT_ID} characters: the ce-id of the event, or ce-id/row"
            raise GroundTruthError("event_id", reason)
        return prediction_id_of(event_id)
    if given_id is None:
        raise GroundTruthError("prediction_id", "is required: the prediction_id in the response of the predict call")
    prediction_id = given_uuid(given_id)
    if prediction_id is None:
        raise GroundTruthError("prediction_id", "must be a UUID, as in the response of the predict call")
    return prediction_id


def record_ground_truth(*, items: Sequence[object]) -> list[ItemOutcome]:
    """Store the ground truth of predictions, all valid items in one transaction.

    An item whose id already has ground truth is a duplicate if it says the same; otherwise it is a correction, and the
    earlier label is kept as history. An item whose prediction is unknown is stored and joined when the prediction
    arrives.

    Parameters
    ----------
    items
        Objects decoded from JSON: see `parse_item`.

    Returns
    -------
    list of ItemOutcome
        One for each item, in the same order.

    Raises
    ------
    redis.RedisError, django.db.DatabaseError
        Nothing was stored.
    """
    now = timezone.now()
    outcomes: dict[int, ItemOutcome] = {}
    parsed: dict[int, GroundTruthItem] = {}
    for place, item in enumerate(items):
        try:
            parsed[place] = parse_item(item, now=now)
        except GroundTruthError as error:
            given_id = item.get("prediction_id") if isinstance(item, dict) else None
            outcomes[place] = ItemOutcome(given_id, Outcome.INVALID, error.field, error.reason)
    if parsed:
        ids = {item.prediction_id for item in parsed.values()}
        joined = GroundTruth.objects.filter(prediction_id__in=ids, version__isnull=False)
        new_ids = ids - set(joined.values_list("prediction_id", flat=True))
        found = find_predictions({one.bytes for one in new_ids})
        outcomes |= _store(parsed, found, now)
    return [outcomes[place] for place in range(len(items))]


def join_archived(*, version_id: int, drafts: Iterable[ChunkDraft], **_: object) -> int:
    """Join waiting ground truth with predictions that were just archived; return the number of joined rows."""
    joined = 0
    for draft in drafts:
        waiting = GroundTruth.objects.filter(version=None, prediction_id__range=draft.prediction_ids)
        waiting_ids = {one.bytes for one in waiting.values_list("prediction_id", flat=True)}
        if waiting_ids:
            joined += _join_waiting(matches(draft.table, version_id, waiting_ids))
    return joined


def look_up_waiting() -> int:
    """Look up the predictions of ground truth that is due for a lookup; return the number of joined rows.

    Most ground truth is joined when it arrives, or when its prediction is archived. The lookup finds the predictions
    for which both happened at the same time.
    """
    now = timezone.now()
    waiting = GroundTruth.objects.filter(next_lookup_at__lte=now).order_by("next_lookup_at")[:LOOKUP_ROWS]
    found = find_predictions({row.prediction_id.bytes for row in waiting})
    missing = [row for row in waiting if row.prediction_id.bytes not in found]
    for row in missing:
        # Wait as long again as the label has waited so far, until the last lookup.
        waited = now - row.received_at
        row.next_lookup_at = None if waited > LAST_LOOKUP else now + max(FIRST_LOOKUP, waited)
    GroundTruth.objects.filter(version=None).bulk_update(missing, ["next_lookup_at"], batch_size=1000)
    return _join_waiting(found)


def delete_old_ground_truth(*, seconds: float) -> int:
    """Delete ground truth older than its retention, for about `seconds`; return the number of deleted rows."""
    before = timezone.now() - timedelta(days=settings.MLMON_GROUND_TRUTH_RETENTION_DAYS)
    old = GroundTruth.objects.filter(received_at__lt=before).order_by("received_at")
    return delete_in_batches(old, until=time.monotonic() + seconds)


def _store(
    parsed: Mapping[int, GroundTruthItem], found: Mapping[bytes, FoundPrediction], now: datetime
) -> dict[int, ItemOutcome]:
    """Store items in one transaction, and again if another request has written one of the new ids meanwhile."""
    for _ in range(MOST_ATTEMPTS - 1):
        try:
            with transaction.atomic():
                return _Batch(found, now).store(parsed)
        except IntegrityError:
            continue
    with transaction.atomic():
        return _Batch(found, now).store(parsed)


@dataclass(slots=True)
class _Batch:
    """Items that are stored in one transaction, in their order."""

    found: Mapping[bytes, FoundPrediction]
    now: datetime
    versions: Mapping[int, ModelVersion] = field(default_factory=dict)
    rows: dict[uuid.UUID, GroundTruth] = field(default_factory=dict)
    changed: set[uuid.UUID] = field(default_factory=set)
    corrections: list[GroundTruthCorrection] = field(default_factory=list)

    def store(self, parsed: Mapping[int, GroundTruthItem]) -> dict[int, ItemOutcome]:
        ids = {item.prediction_id for item in parsed.values()}
        locked = GroundTruth.objects.select_for_update().filter(pk__in=ids).order_by("pk")
        self.rows = {row.prediction_id: row for row in locked}
        stored_ids = set(self.rows)
        owners = {one.version_id for one in self.found.values()}
        owners |= {row.version_id for row in self.rows.values() if row.version_id}
        self.versions = ModelVersion.objects.in_bulk(owners)
        outcomes = {}
        for place, item in parsed.items():
            prediction_id = str(item.prediction_id)
            try:
                outcomes[place] = ItemOutcome(prediction_id, self._take(item))
            except GroundTruthError as error:
                outcomes[place] = ItemOutcome(prediction_id, Outcome.INVALID, error.field, error.reason)
        # In the order of their ids, so that two requests with the same ids cannot deadlock.
        new = [row for prediction_id, row in sorted(self.rows.items()) if prediction_id not in stored_ids]
        changed = [self.rows[prediction_id] for prediction_id in self.changed & stored_ids]
        GroundTruth.objects.bulk_create(new, batch_size=1000)
        GroundTruth.objects.bulk_update(changed, JOINED_FIELDS, batch_size=1000)
        GroundTruthCorrection.objects.bulk_create(self.corrections, batch_size=1000)
        return outcomes

    def _take(self, item: GroundTruthItem) -> Outcome:
        """Create, join or correct the row of an item; raise GroundTruthError if the label is invalid."""
        row = self.rows.get(item.prediction_id)
        prediction = self.found.get(item.prediction_id.bytes)
        version_id = prediction.version_id if prediction else row.version_id if row else None
        actual = item.actual if version_id is None else _label(item.actual, self.versions[version_id])
        if row is None:
            row = GroundTruth(
                prediction_id=item.prediction_id,
                actual=actual,
                observed_at=item.observed_at or self.now,
                received_at=self.now,
                changed_at=self.now,
                next_lookup_at=self.now + FIRST_LOOKUP,
            )
            self.rows[row.prediction_id] = row
            if prediction is None:
                return Outcome.UNKNOWN
            _join(row, prediction, self.versions[prediction.version_id], self.now)
            return Outcome.ACCEPTED
        if row.version_id is None and prediction is not None:
            _join(row, prediction, self.versions[prediction.version_id], self.now)
            self.changed.add(row.prediction_id)
        if row.actual == actual and not row.refusal:
            return Outcome.DUPLICATE
        correction: dict[str, Any] = {"actual_before": row.actual, "observed_at_before": row.observed_at}
        self.corrections.append(GroundTruthCorrection(ground_truth=row, corrected_at=self.now, **correction))
        row.actual, row.refusal = actual, ""
        row.observed_at = item.observed_at or self.now
        row.changed_at = self.now
        self.changed.add(row.prediction_id)
        return Outcome.CORRECTED


def _join_waiting(found: Mapping[bytes, FoundPrediction]) -> int:
    """Join waiting ground truth with the predictions that were found; return the number of joined rows."""
    versions = ModelVersion.objects.in_bulk({one.version_id for one in found.values()})
    ids = [uuid.UUID(bytes=one) for one in found]
    now = timezone.now()
    with transaction.atomic():
        rows = list(GroundTruth.objects.select_for_update().filter(pk__in=ids, version=None).order_by("pk"))
        for row in rows:
            prediction = found[row.prediction_id.bytes]
            _join(row, prediction, versions[prediction.version_id], now)
        GroundTruth.objects.bulk_update(rows, JOINED_FIELDS, batch_size=1000)
    return len(rows)


def _join(row: GroundTruth, prediction: FoundPrediction, version: ModelVersion, now: datetime) -> None:
    """Copy the prediction into the row of its ground truth; a label that does not fit is kept, but refused."""
    row.version_id = prediction.version_id
    row.predicted_at = prediction.predicted_at
    row.prediction = prediction.prediction
    row.confidence = prediction.confidence
    row.scores = prediction.scores
    row.routing = prediction.routing
    row.next_lookup_at = None
    row.changed_at = now
    try:
        row.actual = _label(row.actual, version)
    except GroundTruthError as error:
        row.refusal = error.reason[:LONGEST_REFUSAL]


def _label(actual: str, version: ModelVersion) -> str:
    """Return the class or number that a label means for a version; raise GroundTruthError if it is neither."""
    try:
        if version.task_type == TaskType.REGRESSION:
            return category_name(number_of(actual))
        return class_of(actual, version.classes)
    except LabelError as error:
        raise GroundTruthError("actual", str(error)) from None
