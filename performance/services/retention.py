"""Delete ground truth that is older than is kept."""

import time
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from inference.services.retention import delete_in_batches
from performance.models import GroundTruth


def delete_old_ground_truth(*, seconds: float) -> int:
    """Delete ground truth that is older than is kept, for about `seconds` at most; return how many rows went."""
    before = timezone.now() - timedelta(days=settings.MLMON_GROUND_TRUTH_RETENTION_DAYS)
    old = GroundTruth.objects.filter(received_at__lt=before).order_by("received_at")
    return delete_in_batches(old, until=time.monotonic() + seconds)
