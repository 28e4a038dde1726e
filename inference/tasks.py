"""The jobs of the archive, which beat starts."""

from celery import shared_task
from django.conf import settings

from inference.redis_client import redis_client
from inference.services.archiving import archive_observations as archive_waiting_observations
from inference.services.compaction import compact_archive as compact_small_chunks
from inference.services.ground_truth import look_up_waiting
from inference.services.ground_truth_files import enqueue_waiting_uploads
from inference.services.ground_truth_files import read_ground_truth_upload as read_upload
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
    """Delete chunks that are too old, or more than their model keeps, and ground truth and traffic that is too old."""
    delete_what_is_not_kept(seconds=KEEPING_SECONDS)


@shared_task(name="inference.tasks.read_ground_truth_upload", ignore_result=True, time_limit=900, soft_time_limit=840)
def read_ground_truth_upload(upload_id: int) -> None:
    """Take the rows of an uploaded file; harmless when it is delivered twice."""
    read_upload(upload_id=upload_id)


@shared_task(
    name="inference.tasks.join_ground_truth",
    ignore_result=True,
    soft_time_limit=HANGING_SECONDS,
    time_limit=HANGING_SECONDS + 15,
)
def join_ground_truth() -> None:
    """Look for the predictions of labels that wait for them, and for files that nobody reads."""
    look_up_waiting()
    enqueue_waiting_uploads()


@shared_task(name="inference.tasks.roll_up_traffic", ignore_result=True, soft_time_limit=40, time_limit=50)
def roll_up_traffic() -> None:
    """Write what the web processes counted to the minutes' rows."""
    write_changed_minutes(client=redis_client())
