"""Count labelled predictions of a rollout, each label once, with the shares by which its request was routed.

Labels arrive late and out of order. A label counts with the shares at the time of its prediction, which were captured
with it. Only the first label of a prediction counts; a correction does not.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from inference.rollout_counts import Routing
from mlmon.exceptions import LabelError
from mlmon.labels import class_of, number_of
from models_registry.models import ModelVersion
from performance.models import GroundTruth, GroundTruthCorrection
from rollouts.models import Rollout
from rollouts.plan import Guardrail, Measure
from rollouts.services.counting import IntervalCounts, take_new_units

LABELS_AT_ONCE = 2_000
MOST_LABELS = 2_000_000  # of one rollout; later ones are not counted
LABEL = "label"  # what a counted unit is: a prediction whose label has counted
# A transaction that began earlier may be committed later: labels of this time are read again, and recognised.
OVERLAP = timedelta(minutes=2)


def collect_labels(rollout: Rollout) -> None:
    """Write the labels that have arrived for predictions of a rollout; raise DatabaseError if that fails."""
    guardrail = label_guardrail(rollout)
    if guardrail is None:
        return
    place: tuple[datetime, UUID | None] = (rollout.labels_counted_until or rollout.created_at, None)
    place = (place[0] - OVERLAP, None)
    while labels := _labels_after(rollout, place):
        with transaction.atomic():
            Rollout.objects.select_for_update().get(pk=rollout.pk)
            _count(rollout, guardrail, labels)
            place = (labels[-1].changed_at, labels[-1].pk)
            later = Q(labels_counted_until=None) | Q(labels_counted_until__lt=place[0])
            Rollout.objects.filter(later, pk=rollout.pk).update(labels_counted_until=min(place[0], timezone.now()))


def label_guardrail(rollout: Rollout) -> Guardrail | None:
    """Return the guardrail that needs labels; a task has only one kind of them."""
    return next((one for one in rollout.guardrails if one.measure.needs_labels), None)


def _labels_after(rollout: Rollout, place: tuple[datetime, UUID | None]) -> list[GroundTruth]:
    """Return the next labels of either version by the time of their change, then by id."""
    changed_at, last_id = place
    later = Q(changed_at__gt=changed_at)
    if last_id is not None:
        later |= Q(changed_at=changed_at, pk__gt=last_id)
    rows = GroundTruth.objects.filter(
        later, version__in=(rollout.champion_id, rollout.challenger_id), routing__isnull=False, refusal=""
    )
    return list(rows.order_by("changed_at", "pk")[:LABELS_AT_ONCE])


def _count(rollout: Rollout, guardrail: Guardrail, labels: Sequence[GroundTruth]) -> None:
    """Count those labels that did not count yet; the caller has locked the rollout."""
    routings = {label.pk: Routing.of(bytes(label.routing)) for label in labels if label.routing is not None}
    mine = {_digest(one.pk): one for one in labels if routings[one.pk].rollout_id == rollout.pk}
    new = take_new_units(rollout, LABEL, mine, most=MOST_LABELS)
    first_labels = _first_labels([one for digest, one in mine.items() if digest in new])
    counts, events = IntervalCounts(rollout), list[GroundTruth]()
    for digest in (digest for digest in mine if digest in new):
        label = mine[digest]
        side, routing = int(label.version_id == rollout.challenger_id), routings[label.pk]
        weights, at = (routing.champion_weight, routing.challenger_weight), label.predicted_at
        assert at is not None  # noqa: S101 -- a joined label has a prediction
        counts.add(guardrail.measure.value, weights, at, units=(1 - side, side))
        version = rollout.challenger if side else rollout.champion
        if is_event(guardrail, version, str(label.prediction), first_labels[label.pk]):
            events.append(label)
    units = (routings[one.pk].unit for one in events)
    new_units = take_new_units(rollout, guardrail.measure.value, units, most=MOST_LABELS)
    for label in events:  # of a request, or of a routing key, only the first event counts
        side, routing = int(label.version_id == rollout.challenger_id), routings[label.pk]
        if routing.unit in new_units and label.predicted_at is not None:
            new_units.discard(routing.unit)
            weights = (routing.champion_weight, routing.challenger_weight)
            counts.add(guardrail.measure.value, weights, label.predicted_at, events=(1 - side, side))
    counts.write()


def _first_labels(labels: Sequence[GroundTruth]) -> Mapping[UUID, Sequence[str]]:
    """Return the labels of each prediction in the order in which they arrived."""
    arrived: dict[UUID, list[str]] = {one.pk: [] for one in labels}
    corrections = GroundTruthCorrection.objects.filter(ground_truth__in=list(arrived))
    for one in corrections.order_by("corrected_at", "pk"):
        arrived[one.ground_truth_id].append(one.actual_before)
    for label in labels:
        arrived[label.pk].append(label.actual)
    return arrived


def is_event(guardrail: Guardrail, version: ModelVersion, prediction: str, labels: Sequence[str]) -> bool:
    """Return whether a prediction is wrong, or too far off, by the first of `labels` that the version can have."""
    for label in labels:
        try:
            if guardrail.measure is Measure.WRONG_PREDICTIONS:
                return prediction != class_of(label, version.classes)
            return abs(float(prediction) - number_of(label)) > (guardrail.limit or 0.0)
        except LabelError:
            continue  # it was refused, and corrected later
    return False


def _digest(prediction_id: UUID) -> int:
    """Return the digest of a prediction id, of 64 bits."""
    return int.from_bytes(hashlib.blake2b(prediction_id.bytes, digest_size=8).digest(), "little", signed=True)
