"""Count labelled predictions of a rollout, each label once, with the shares by which its request was routed.

Labels arrive late and out of order. A label counts with the shares at the time of its prediction, which were captured
with it. Only the first label of a prediction counts; a correction does not. A shadow predicts copies of the champion's
requests, so one label scores both: of such pairs, those count in which exactly one version is wrong.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from inference.prediction_lookup import find_copies
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
    """Write the labels that have arrived for predictions of a rollout.

    Raises
    ------
    redis.RedisError, django.db.DatabaseError
        Redis, which may have the copies of a shadow, or the database is unavailable.
    """
    guardrail = label_guardrail(rollout)
    if guardrail is None:
        return
    start = (rollout.labels_counted_until or rollout.created_at) - OVERLAP
    place: tuple[datetime, UUID | None] = (start, None)
    while labels := _labels_after(rollout, place):
        scored = _scored(rollout, guardrail, labels)
        with transaction.atomic():
            Rollout.objects.select_for_update().get(pk=rollout.pk)
            _count(rollout, guardrail.measure.value, scored)
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


@dataclass(frozen=True, slots=True)
class ScoredLabel:
    """A label with what it says about both versions; each pair is champion, challenger.

    Attributes
    ----------
    digest
        Of the prediction id.
    routing
        How the request was routed.
    at
        When it was predicted.
    units, events
        1 for a version that predicted, and for one whose prediction is an event; of a pair, only if the other's is not.
    """

    digest: int
    routing: Routing
    at: datetime
    units: tuple[int, int]
    events: tuple[int, int]


def _scored(rollout: Rollout, guardrail: Guardrail, labels: Sequence[GroundTruth]) -> list[ScoredLabel]:
    """Return those labels that belong to a rollout, in their order; for a shadow those whose copy is predicted."""
    routings = {one.pk: Routing.of(bytes(one.routing)) for one in labels if one.routing is not None}
    mine = [one for one in labels if routings[one.pk].rollout_id == rollout.pk and one.predicted_at is not None]
    arrived = _arrived_labels(mine)
    copies = find_copies(rollout.challenger_id, {one.pk.bytes for one in mine}) if rollout.is_shadow else {}
    scored = []
    for label in mine:
        is_challenger, copy = label.version_id == rollout.challenger_id, copies.get(label.pk.bytes)
        version = rollout.challenger if is_challenger else rollout.champion
        is_wrong = is_event(guardrail, version, str(label.prediction), arrived[label.pk])
        if not rollout.is_shadow:
            units = (0, 1) if is_challenger else (1, 0)
            events = units if is_wrong else (0, 0)
        elif copy is None:
            continue  # it was dropped, or is not captured yet: then it is found when the label is read again
        else:
            copy_is_wrong = is_event(guardrail, rollout.challenger, copy.prediction, arrived[label.pk])
            units, events = (1, 1), (int(is_wrong > copy_is_wrong), int(copy_is_wrong > is_wrong))
        at = cast(datetime, label.predicted_at)
        scored.append(ScoredLabel(_digest(label.pk), routings[label.pk], at, units, events))
    return scored


def _count(rollout: Rollout, measure: str, labels: Sequence[ScoredLabel]) -> None:
    """Count those labels that did not count yet; the caller has locked the rollout."""
    new = take_new_units(rollout, LABEL, (one.digest for one in labels), most=MOST_LABELS)
    labels = [one for one in labels if one.digest in new]
    # Of a request, or of a routing key, only the first event counts.
    units = (one.routing.unit for one in labels if any(one.events))
    new_units = take_new_units(rollout, measure, units, most=MOST_LABELS)
    counts = IntervalCounts(rollout)
    for one in labels:
        is_first = any(one.events) and one.routing.unit in new_units
        if is_first:
            new_units.discard(one.routing.unit)
        weights = (one.routing.champion_weight, one.routing.challenger_weight)
        counts.add(measure, weights, one.at, units=one.units, events=one.events if is_first else (0, 0))
    counts.write()


def _arrived_labels(labels: Sequence[GroundTruth]) -> Mapping[UUID, Sequence[str]]:
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
