"""Delete expired observations, traffic and rejections in small batches, so that no lock is held long."""

import logging
import time
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.db.models import QuerySet
from django.utils import timezone

from inference import selectors
from inference.exceptions import RetentionError
from inference.models import ObservationChunk, RejectionCount, RollupSpan, TrafficRollup
from models_registry.models import Model

logger = logging.getLogger(__name__)

BATCH_CHUNKS = 20
BATCH_ROWS = 5_000
TRAFFIC_KEPT = {RollupSpan.MINUTE: timedelta(days=2), RollupSpan.HOUR: timedelta(days=400)}
REJECTIONS_KEPT = timedelta(days=2)  # the model's page shows one day
BYTES_PER_MEGABYTE = 10**6


def enforce_retention(*, seconds: float) -> int:
    """Delete expired rows for about `seconds` at most; return how many were deleted.

    A failure for one model, or for the traffic, does not stop the others.

    Raises
    ------
    RetentionError
        At the end, if some rows could not be deleted.
    """
    deleted, failures = 0, list[str]()
    deadline = time.monotonic() + seconds / 2
    for model in Model.objects.select_related("capture_policy"):
        try:
            deleted += _delete_chunks(model, until=deadline)
        except DatabaseError as error:
            logger.exception("Retention failed for the observations of %s.", model.name)
            failures.append(f"observations of {model.name}: {type(error).__name__}: {error}")
    deadline = time.monotonic() + seconds / 2
    try:
        for span, kept in TRAFFIC_KEPT.items():
            old = TrafficRollup.objects.filter(span_seconds=span, begins_at__lt=timezone.now() - kept)
            deleted += delete_in_batches(old.order_by("begins_at"), until=deadline)
        rejections = RejectionCount.objects.filter(begins_at__lt=timezone.now() - REJECTIONS_KEPT)
        deleted += delete_in_batches(rejections.order_by("begins_at"), until=deadline)
    except DatabaseError as error:
        logger.exception("Retention failed for the traffic.")
        failures.append(f"traffic: {type(error).__name__}: {error}")
    if failures:
        raise RetentionError("; ".join(failures))
    return deleted


def delete_in_batches(old: QuerySet[Any], *, until: float) -> int:
    """Delete rows in batches until a time of the monotonic clock; return how many were deleted."""
    deleted = 0
    while time.monotonic() < until:
        batch = list(old.values_list("pk", flat=True)[:BATCH_ROWS])
        if not batch:
            break
        old.model.objects.filter(pk__in=batch).delete()
        deleted += len(batch)
    return deleted


def _delete_chunks(model: Model, *, until: float) -> int:
    """Delete the chunks of a model that are too old, then those above its size limit; return how many."""
    policy, deleted = selectors.capture_policy_of(model), 0
    before = timezone.now() - timedelta(days=policy.retention_days or settings.MLMON_ARCHIVE_RETENTION_DAYS)
    most_bytes = settings.MLMON_ARCHIVE_MAX_BYTES
    if policy.archive_megabytes is not None:
        most_bytes = policy.archive_megabytes * BYTES_PER_MEGABYTE
    expired = ObservationChunk.objects.filter(version__model=model, last_observed_at__lt=before)
    while time.monotonic() < until:
        batch = list(expired.order_by("last_observed_at").values_list("pk", flat=True)[:BATCH_CHUNKS])
        batch = batch or selectors.oldest_chunks_above(model, most_bytes, most=BATCH_CHUNKS)
        if not batch:
            break
        deleted += len(batch)
        ObservationChunk.objects.filter(pk__in=batch).delete()
    return deleted
