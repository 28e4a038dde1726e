"""Delete what ended rollouts no longer need, in small batches."""

import time
from datetime import timedelta

from django.utils import timezone

from inference.services.retention import delete_in_batches
from rollouts.models import ENDED_STATES, CountedUnit, RolloutInterval

INTERVALS_KEPT = timedelta(days=400)  # after the end of a rollout


def delete_old_rows(*, seconds: float) -> int:
    """Delete counted units of ended rollouts and intervals that have expired, for about `seconds`; return how many.

    The rollouts themselves and their incidents stay.
    """
    until = time.monotonic() + seconds
    units = CountedUnit.objects.filter(rollout__state__in=ENDED_STATES).order_by("pk")
    expired = RolloutInterval.objects.filter(rollout__ended_at__lt=timezone.now() - INTERVALS_KEPT).order_by("pk")
    return delete_in_batches(units, until=until) + delete_in_batches(expired, until=until)
