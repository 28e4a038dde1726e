"""What is old, or more than a model may keep, leaves the archive: in small batches, so that no lock is held long."""

import logging
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db.models import QuerySet, Sum
from django.utils import timezone

from inference.exceptions import RetentionError
from inference.models import CapturePolicy, ObservationChunk, RollupSpan, TrafficRollup
from inference.selectors import capture_policy_of
from models_registry.models import Model

logger = logging.getLogger(__name__)

BATCH_CHUNKS = 20
BATCH_ROWS = 5_000
TRAFFIC_KEPT = {RollupSpan.MINUTE: timedelta(days=2), RollupSpan.HOUR: timedelta(days=400)}
BYTES_PER_MEGABYTE = 10**6


def delete_what_is_not_kept(*, seconds: float) -> int:
    """Delete old observations and traffic, for about `seconds` at most; return how many rows went.

    Raises
    ------
    RetentionError
        At the end, where some of it failed.
    """
    share = seconds / 2
    return _each_done(
        [
            ("archived observations", partial(enforce_retention, seconds=share)),
            ("traffic", partial(delete_old_traffic, seconds=share)),
        ]
    )


def enforce_retention(*, seconds: float) -> int:
    """Delete what no model keeps any longer, for about `seconds` at most; return how many chunks went.

    Raises
    ------
    RetentionError
        At the end, where it failed for some models.
    """
    deadline = time.monotonic() + seconds
    models = Model.objects.select_related("capture_policy")
    return _each_done(
        (f"observations of {model.name}", partial(_chunks_deleted, model, until=deadline)) for model in models
    )


def delete_old_traffic(*, seconds: float) -> int:
    """Delete traffic that is older than `TRAFFIC_KEPT`, for about `seconds` at most; return how many rows went."""
    deadline, deleted = time.monotonic() + seconds, 0
    for span, kept in TRAFFIC_KEPT.items():
        old = TrafficRollup.objects.filter(span_seconds=span, begins_at__lt=timezone.now() - kept)
        deleted += delete_in_batches(old.order_by("begins_at"), until=deadline)
    return deleted


def _each_done(steps: Iterable[tuple[str, Callable[[], int]]]) -> int:
    """Take each step, whatever became of those before it; return how many rows went in all.

    What fails is logged at once. RetentionError at the end names all that did.
    """
    deleted, failures = 0, list[str]()
    for name, step in steps:
        try:
            deleted += step()
        except SoftTimeLimitExceeded:
            raise
        except RetentionError as error:
            failures.extend(error.failures)  # they are logged
        except Exception as error:
            logger.exception("Retention failed for %s.", name)
            failures.append(f"{name}: {type(error).__name__}: {error}")
    if failures:
        raise RetentionError(failures)
    return deleted


def _chunks_deleted(model: Model, *, until: float) -> int:
    """Delete a model's chunks batch by batch, up to a time of the monotonic clock; return how many went."""
    policy, deleted = capture_policy_of(model), 0
    while time.monotonic() < until:
        batch = _expired(model, policy) or _excess(model, policy)
        if not batch:
            break
        deleted += len(batch)
        ObservationChunk.objects.filter(pk__in=batch).delete()
    return deleted


def delete_in_batches(old: QuerySet[Any], *, until: float) -> int:
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
