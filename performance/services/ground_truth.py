"""Taking the ground truth of predictions: each item once, whenever it comes, with the history of its corrections."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import IntegrityError, transaction
from django.utils import timezone

from inference.archive_format import ChunkDraft
from inference.prediction_lookup import FoundPrediction, find_predictions, matches
from mlmon.columns import level_name
from mlmon.exceptions import LabelError
from mlmon.labels import class_of, number_of
from mlmon.schema import TaskType
from models_registry.models import ModelVersion
from performance import selectors
from performance.exceptions import GroundTruthError
from performance.ground_truth import GroundTruthItem, parse_item
from performance.models import GroundTruth, GroundTruthCorrection

MOST_ATTEMPTS = 5  # of a transaction that met another one with the same new id
FIRST_LOOKUP = timedelta(seconds=30)  # by then the prediction is in the stream
LAST_LOOKUP = timedelta(days=7)  # later a prediction that comes is met when it is archived
LOOKUP_ROWS = 10_000
LONGEST_REFUSAL = 1000


class Outcome(StrEnum):
    """What became of an item."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CORRECTED = "corrected"
    UNKNOWN = "unknown"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class ItemOutcome:
    """What became of one item: `prediction_id` as the client gave it; `field` and `reason` of an invalid one."""

    prediction_id: object
    outcome: Outcome
    field: str = ""
    reason: str = ""


def record_ground_truth(*, items: Sequence[object]) -> list[ItemOutcome]:
    """Keep the ground truth of predictions, all valid items in one transaction.

    An item for an id that has one already is a duplicate where it says the same, and corrects it otherwise; what it was
    is kept. An item whose prediction is not known (yet) is kept too, and meets it when it turns up.

    Parameters
    ----------
    items
        As decoded from JSON: see `performance.ground_truth.parse_item`.

    Returns
    -------
    list of ItemOutcome
        For each item, in their order.

    Raises
    ------
    redis.RedisError, django.db.DatabaseError
        Nothing was kept.
    """
    now = timezone.now()
    outcomes: dict[int, ItemOutcome] = {}
    parsed: dict[int, GroundTruthItem] = {}
    for place, item in enumerate(items):
        try:
            parsed[place] = parse_item(item, now=now)
        except GroundTruthError as error:
            outcomes[place] = _refused(item, error)
    outcomes |= _kept(parsed, now)
    return [outcomes[place] for place in range(len(items))]


def join_archived(*, version_id: int, drafts: Iterable[ChunkDraft], **_: object) -> int:
    """Let labels that wait meet the predictions that were archived just now; return how many did."""
    joined = 0
    for draft in drafts:
        waiting = selectors.waiting_ground_truth_ids(*draft.prediction_ids)
        if waiting:
            joined += _join(matches(draft.table, version_id, {one.bytes for one in waiting}))
    return joined


def look_up_waiting() -> int:
    """Look for the predictions of labels that are due to be looked for; return how many were found.

    Most labels meet their predictions when they come, or when the predictions are archived; this finds those for which
    both happened at the same time.
    """
    now = timezone.now()
    waiting = selectors.ground_truths_to_look_up(now)[:LOOKUP_ROWS]
    found = find_predictions({row.prediction_id.bytes for row in waiting})
    missing = [row for row in waiting if row.prediction_id.bytes not in found]
    for row in missing:
        row.next_lookup_at = _next_lookup(row.received_at, now)
    GroundTruth.objects.filter(version=None).bulk_update(missing, ["next_lookup_at"], batch_size=1000)
    return _join(found)


def _kept(parsed: Mapping[int, GroundTruthItem], now: datetime) -> dict[int, ItemOutcome]:
    if not parsed:
        return {}
    ids = {item.prediction_id for item in parsed.values()}
    new_ids = ids - selectors.joined_ground_truth_ids(ids)
    found = find_predictions({one.bytes for one in new_ids})
    for _ in range(MOST_ATTEMPTS - 1):
        # Another request may write one of the new ids meanwhile: then it is not new any more.
        with suppress(IntegrityError), transaction.atomic():
            return _Keeping(found, now).keep(parsed)
    with transaction.atomic():
        return _Keeping(found, now).keep(parsed)


def _join(found: Mapping[bytes, FoundPrediction]) -> int:
    versions = _versions(one.version_id for one in found.values())
    ids = [uuid.UUID(bytes=one) for one in found]
    now = timezone.now()
    with transaction.atomic():
        rows = list(GroundTruth.objects.select_for_update().filter(pk__in=ids, version=None).order_by("pk"))
        for row in rows:
            prediction = found[row.prediction_id.bytes]
            _meet(row, prediction, versions[prediction.version_id], now)
        GroundTruth.objects.bulk_update(rows, CHANGED_FIELDS, batch_size=1000)
    return len(rows)


CHANGED_FIELDS = (
    "actual",
    "observed_at",
    "changed_at",
    "version",
    "predicted_at",
    "prediction",
    "confidence",
    "scores",
    "refusal",
    "next_lookup_at",
)


class _Keeping:
    """One transaction that keeps items, in their order."""

    def __init__(self, found: Mapping[bytes, FoundPrediction], now: datetime) -> None:
        self._found = found
        self._now = now
        self._versions: Mapping[int, ModelVersion] = {}
        self._rows: dict[uuid.UUID, GroundTruth] = {}
        self._new: dict[uuid.UUID, GroundTruth] = {}
        self._changed: dict[uuid.UUID, GroundTruth] = {}
        self._corrections: list[GroundTruthCorrection] = []

    def keep(self, parsed: Mapping[int, GroundTruthItem]) -> dict[int, ItemOutcome]:
        ids = {item.prediction_id for item in parsed.values()}
        locked = GroundTruth.objects.select_for_update().filter(pk__in=ids).order_by("pk")
        self._rows = {row.prediction_id: row for row in locked}
        owners = [one.version_id for one in self._found.values()]
        self._versions = _versions(owners + [row.version_id for row in self._rows.values() if row.version_id])
        outcomes = {place: self._outcome(item) for place, item in parsed.items()}
        # In the order of their ids, so that two requests with the same ones do not wait for each other.
        GroundTruth.objects.bulk_create(sorted(self._new.values(), key=lambda row: row.pk), batch_size=1000)
        GroundTruth.objects.bulk_update(self._changed.values(), CHANGED_FIELDS, batch_size=1000)
        GroundTruthCorrection.objects.bulk_create(self._corrections, batch_size=1000)
        return outcomes

    def _outcome(self, item: GroundTruthItem) -> ItemOutcome:
        prediction_id = str(item.prediction_id)
        try:
            outcome = self._keep_item(item)
        except GroundTruthError as error:
            return ItemOutcome(prediction_id, Outcome.INVALID, error.field, error.reason)
        return ItemOutcome(prediction_id, outcome)

    def _keep_item(self, item: GroundTruthItem) -> Outcome:
        row = self._rows.get(item.prediction_id)
        prediction = self._found.get(item.prediction_id.bytes)
        version_id = prediction.version_id if prediction else row.version_id if row else None
        actual = item.actual if version_id is None else _label(item.actual, self._versions[version_id])
        if row is None:
            self._create(item, actual, prediction)
            return Outcome.UNKNOWN if prediction is None else Outcome.ACCEPTED
        if row.version_id is None and prediction is not None:
            self._meet(row, prediction)
        if row.actual == actual and not row.refusal:
            return Outcome.DUPLICATE
        self._correct(row, item, actual)
        return Outcome.CORRECTED

    def _create(self, item: GroundTruthItem, actual: str, prediction: FoundPrediction | None) -> None:
        row = GroundTruth(
            prediction_id=item.prediction_id,
            actual=actual,
            observed_at=item.observed_at or self._now,
            received_at=self._now,
            changed_at=self._now,
            next_lookup_at=self._now + FIRST_LOOKUP,
        )
        self._rows[row.prediction_id] = self._new[row.prediction_id] = row
        if prediction is not None:
            self._meet(row, prediction)

    def _meet(self, row: GroundTruth, prediction: FoundPrediction) -> None:
        _meet(row, prediction, self._versions[prediction.version_id], self._now)
        self._note_change(row)

    def _correct(self, row: GroundTruth, item: GroundTruthItem, actual: str) -> None:
        self._corrections.append(
            GroundTruthCorrection(
                ground_truth=row,
                actual_before=row.actual,
                observed_at_before=row.observed_at,
                corrected_at=self._now,
            )
        )
        row.actual = actual
        row.refusal = ""
        row.observed_at = item.observed_at or self._now
        row.changed_at = self._now
        self._note_change(row)

    def _note_change(self, row: GroundTruth) -> None:
        if row.prediction_id not in self._new:
            self._changed[row.prediction_id] = row


def _versions(version_ids: Iterable[int]) -> Mapping[int, ModelVersion]:
    return ModelVersion.objects.in_bulk(set(version_ids))


def _meet(row: GroundTruth, prediction: FoundPrediction, version: ModelVersion, now: datetime) -> None:
    """Join a label with its prediction; what cannot be a label of it stays, with the reason, and counts nowhere."""
    row.version_id = prediction.version_id
    row.predicted_at = prediction.predicted_at
    row.prediction = prediction.prediction
    row.confidence = prediction.confidence
    row.scores = prediction.scores
    row.next_lookup_at = None
    row.changed_at = now
    try:
        row.actual = _label(row.actual, version)
    except GroundTruthError as error:
        row.refusal = error.reason[:LONGEST_REFUSAL]


def _label(actual: str, version: ModelVersion) -> str:
    """Return what `actual` means for the version; GroundTruthError where it cannot be a label of its predictions."""
    try:
        if version.task_type == TaskType.REGRESSION:
            return level_name(number_of(actual))
        return class_of(actual, version.classes)
    except LabelError as error:
        raise GroundTruthError("actual", str(error)) from None


def _refused(item: object, error: GroundTruthError) -> ItemOutcome:
    given = item.get("prediction_id") if isinstance(item, dict) else None
    return ItemOutcome(given, Outcome.INVALID, error.field, error.reason)


def _next_lookup(received_at: datetime, now: datetime) -> datetime | None:
    """Return when to look again: after as long as the label has waited, until that is too long."""
    waited = now - received_at
    return None if waited > LAST_LOOKUP else now + max(FIRST_LOOKUP, waited)
