"""The jobs of the archive, which beat starts."""

from celery import shared_task
from django.conf import settings

from inference.redis_client import redis_client
from inference.services.archiving import archive_observations as archive_waiting_observations
from inference.services.compaction import compact_archive as compact_small_chunks
from inference.services.retention import delete_what_is_not_kept
from inference.services.traffic import roll_up_traffic as write_changed_minutes

# After its time a run ends between two batches; the limits are for one that hangs.
HANGING_SECONDS = 120
KEEPING_SECONDS = 60  # of a run of compaction or retention; the next one goes on


@shared_task(
    name="inference.tasks.archive_observations",
    ignore_result=True,
    soft_time_limit=settings.MLMON_ARCHIVE_TICK_SECONDS + HANGING_SECONDS,
    time_limit=settings.MLMON_ARCHIVE_TICK_SECONDS + HANGING_SECONDS + 15,
)
def archive_observations() -> None:
    """Move what waits in the streams into the archive, until the next run does."""
    archive_waiting_observations(seconds=settings.MLMON_ARCHIVE_TICK_SECONDS)


@shared_task(
    name="inference.tasks.compact_archive",
    ignore_result=True,
    soft_time_limit=KEEPING_SECONDS + HANGING_SECONDS,
    time_limit=KEEPING_SECONDS + HANGING_SECONDS + 15,
)
def compact_archive() -> None:
    """Join small chunks."""
    compact_small_chunks(seconds=KEEPING_SECONDS)


@shared_task(
    name="inference.tasks.enforce_retention",
    ignore_result=True,
    soft_time_limit=KEEPING_SECONDS + HANGING_SECONDS,
    time_limit=KEEPING_SECONDS + HANGING_SECONDS + 15,
)
def enforce_retention() -> None:
    """Delete chunks that are too old, or more than their model keeps, and traffic that is too old."""
    delete_what_is_not_kept(seconds=KEEPING_SECONDS)


@shared_task(name="inference.tasks.roll_up_traffic", ignore_result=True, soft_time_limit=40, time_limit=50)
def roll_up_traffic() -> None:
    """Write what the web processes counted to the minutes' rows."""
    write_changed_minutes(client=redis_client())
