"""Celery tasks of inference; beat starts them, and each calls one service."""

from celery import shared_task
from django.conf import settings

from inference.services import archiving, compaction, retention, traffic

# A run ends between two batches when its time is over; the time limits stop a run that hangs.
HANGING_SECONDS = 120
CLEANING_SECONDS = 60  # of one run of compaction or retention; the next run continues


@shared_task(
    ignore_result=True,
    soft_time_limit=settings.MLMON_ARCHIVE_TICK_SECONDS + HANGING_SECONDS,
    time_limit=settings.MLMON_ARCHIVE_TICK_SECONDS + HANGING_SECONDS + 15,
)
def archive_observations() -> None:
    """Archive the streams until the next run starts."""
    archiving.archive_observations(seconds=settings.MLMON_ARCHIVE_TICK_SECONDS)


@shared_task(
    ignore_result=True,
    soft_time_limit=CLEANING_SECONDS + HANGING_SECONDS,
    time_limit=CLEANING_SECONDS + HANGING_SECONDS + 15,
)
def compact_archive() -> None:
    """Join small chunks of the archive."""
    compaction.compact_archive(seconds=CLEANING_SECONDS)


@shared_task(
    ignore_result=True,
    soft_time_limit=CLEANING_SECONDS + HANGING_SECONDS,
    time_limit=CLEANING_SECONDS + HANGING_SECONDS + 15,
)
def enforce_retention() -> None:
    """Delete observations and traffic that have expired or exceed their size limit."""
    retention.enforce_retention(seconds=CLEANING_SECONDS)


@shared_task(ignore_result=True, soft_time_limit=40, time_limit=50)
def roll_up_traffic() -> None:
    """Write the traffic counts of the web processes to the database."""
    traffic.roll_up_traffic()
