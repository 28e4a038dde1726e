"""What is old, or more than a model may keep, leaves the archive: in small batches, so that no lock is held long."""

import time
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import QuerySet, Sum
from django.utils import timezone

from inference.models import CapturePolicy, GroundTruth, ObservationChunk, RollupSpan, TrafficRollup
from inference.selectors import capture_policy_of
from models_registry.models import Model

BATCH_CHUNKS = 20
BATCH_ROWS = 5_000
TRAFFIC_KEPT = {RollupSpan.MINUTE: timedelta(days=2), RollupSpan.HOUR: timedelta(days=400)}
BYTES_PER_MEGABYTE = 10**6


def enforce_retention(*, seconds: float) -> int:
    """Delete what no model keeps any longer, for about `seconds` at most; return how many chunks went."""
    deadline = time.monotonic() + seconds
    deleted = 0
    for model in Model.objects.select_related("capture_policy"):
        policy = capture_policy_of(model)
        while time.monotonic() < deadline:
            batch = _expired(model, policy) or _excess(model, policy)
            if not batch:
                break
            deleted += len(batch)
            ObservationChunk.objects.filter(pk__in=batch).delete()
    return deleted


def delete_old_ground_truth(*, seconds: float) -> int:
    """Delete ground truth that is older than is kept, for about `seconds` at most; return how many rows went."""
    before = timezone.now() - timedelta(days=settings.MLMON_GROUND_TRUTH_RETENTION_DAYS)
    old = GroundTruth.objects.filter(received_at__lt=before).order_by("received_at")
    return _deleted(old, until=time.monotonic() + seconds)


def delete_old_traffic(*, seconds: float) -> int:
    """Delete traffic that is older than `TRAFFIC_KEPT`, for about `seconds` at most; return how many rows went."""
    deadline, deleted = time.monotonic() + seconds, 0
    for span, kept in TRAFFIC_KEPT.items():
        old = TrafficRollup.objects.filter(span_seconds=span, begins_at__lt=timezone.now() - kept)
        deleted += _deleted(old.order_by("begins_at"), until=deadline)
    return deleted


def _deleted(old: QuerySet[Any], *, until: float) -> int:
    """Delete rows batch by batch, up to a time of the monotonic clock; return how many went."""
    deleted = 0
    while time.monotonic() < until:
        batch = list(old.values_list("pk", flat=True)[:BATCH_ROWS])
        if not batch:
            break
        old.model._default_manager.filter(pk__in=batch).delete()
        deleted += len(batch)
    return deleted


def _expired(model: Model, policy: CapturePolicy) -> list[int]:
    """Return the ids of some chunks all of whose rows are too old."""
    days = policy.retention_days or settings.MLMON_ARCHIVE_RETENTION_DAYS
    before = timezone.now() - timedelta(days=days)
    chunks = ObservationChunk.objects.filter(version__model=model, last_observed_at__lt=before)
    return list(chunks.order_by("last_observed_at").values_list("pk", flat=True)[:BATCH_CHUNKS])


def _excess(model: Model, policy: CapturePolicy) -> list[int]:
    """Return the ids of some of the oldest chunks, as many as it takes to come below the model's size."""
    chunks = ObservationChunk.objects.filter(version__model=model)
    excess = (chunks.aggregate(bytes=Sum("payload_bytes"))["bytes"] or 0) - _most_bytes(policy)
    batch: list[int] = []
    for pk, payload_bytes in chunks.order_by("last_observed_at").values_list("pk", "payload_bytes")[:BATCH_CHUNKS]:
        if excess <= 0:
            break
        batch.append(pk)
        excess -= payload_bytes
    return batch


def _most_bytes(policy: CapturePolicy) -> int:
    if policy.archive_megabytes is None:
        return int(settings.MLMON_ARCHIVE_MAX_BYTES)
    return policy.archive_megabytes * BYTES_PER_MEGABYTE
