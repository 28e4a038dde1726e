"""The jobs of the archive, which beat starts."""

from celery import shared_task
from django.conf import settings

from inference.services.archiving import archive_observations as archive_waiting_observations

# After its time a run ends between two batches; the limits are for one that hangs.
HANGING_SECONDS = 120


@shared_task(
    name="inference.tasks.archive_observations",
    ignore_result=True,
    soft_time_limit=settings.MLMON_ARCHIVE_TICK_SECONDS + HANGING_SECONDS,
    time_limit=settings.MLMON_ARCHIVE_TICK_SECONDS + HANGING_SECONDS + 15,
)
def archive_observations() -> None:
    """Move what waits in the streams into the archive, until the next run does."""
    archive_waiting_observations(seconds=settings.MLMON_ARCHIVE_TICK_SECONDS)
