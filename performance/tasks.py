"""Tasks of ground truth and performance; beat starts all but those with an argument."""

from celery import shared_task
from django.conf import settings

from performance.services import ground_truth, reports, uploads
from performance.services.reports import MEASURING_SECONDS

HANGING_SECONDS = 120  # the time limits stop a task that hangs
DELETING_SECONDS = 30


@shared_task(ignore_result=True, soft_time_limit=HANGING_SECONDS, time_limit=HANGING_SECONDS + 15)
def measure_performance() -> None:
    """Enqueue a measurement of each version with new ground truth or new predictions."""
    tick_seconds = settings.MLMON_PERFORMANCE_TICK_SECONDS
    for version_id in reports.due_version_ids():
        # A task that has not started by the next tick expires: the next tick enqueues the version again.
        measure_version.apply_async((version_id,), expires=tick_seconds)


@shared_task(ignore_result=True, soft_time_limit=MEASURING_SECONDS, time_limit=MEASURING_SECONDS + 15)
def measure_version(version_id: int) -> None:
    """Write the due performance reports of one version."""
    reports.measure_version(version_id=version_id)


@shared_task(ignore_result=True, soft_time_limit=840, time_limit=900)
def read_ground_truth_upload(upload_id: int) -> None:
    """Store the rows of an uploaded file."""
    uploads.read_ground_truth_upload(upload_id=upload_id)


@shared_task(ignore_result=True, soft_time_limit=HANGING_SECONDS, time_limit=HANGING_SECONDS + 15)
def join_ground_truth() -> None:
    """Look up the predictions of waiting ground truth, and enqueue uploads that no worker reads."""
    ground_truth.look_up_waiting()
    uploads.UPLOAD_QUEUE.enqueue_waiting()


@shared_task(
    ignore_result=True,
    soft_time_limit=DELETING_SECONDS + HANGING_SECONDS,
    time_limit=DELETING_SECONDS + HANGING_SECONDS + 15,
)
def delete_old_ground_truth() -> None:
    """Delete ground truth that is older than its retention."""
    ground_truth.delete_old_ground_truth(seconds=DELETING_SECONDS)
