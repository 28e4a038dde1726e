"""What is old, or more than a model may keep, leaves the archive: in small batches, so that no lock is held long."""

import time
from datetime import timedelta

from django.conf import settings
from django.db.models import Sum
from django.utils import timezone

from inference.models import CapturePolicy, GroundTruth, ObservationChunk
from inference.selectors import capture_policy_of
from models_registry.models import Model

BATCH_CHUNKS = 20
BATCH_GROUND_TRUTHS = 5_000
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
    deadline = time.monotonic() + seconds
    before = timezone.now() - timedelta(days=settings.MLMON_GROUND_TRUTH_RETENTION_DAYS)
    old = GroundTruth.objects.filter(received_at__lt=before).order_by("received_at")
    deleted = 0
    while time.monotonic() < deadline:
        batch = list(old.values_list("pk", flat=True)[:BATCH_GROUND_TRUTHS])
        if not batch:
            break
        GroundTruth.objects.filter(pk__in=batch).delete()
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
