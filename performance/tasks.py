"""The jobs of ground truth and performance, which beat starts."""

from celery import shared_task

from performance.services.ground_truth import look_up_waiting
from performance.services.ground_truth_files import enqueue_waiting_uploads
from performance.services.ground_truth_files import read_ground_truth_upload as read_upload
from performance.services.reports import measure_due_versions
from performance.services.retention import delete_old_ground_truth as delete_old

MEASURING_SECONDS = 240
HANGING_SECONDS = 120
KEEPING_SECONDS = 30


@shared_task(
    name="performance.tasks.measure_performance",
    ignore_result=True,
    soft_time_limit=MEASURING_SECONDS,
    time_limit=MEASURING_SECONDS + 15,
)
def measure_performance() -> None:
    """Measure the performance of the versions that have new ground truth or new predictions."""
    measure_due_versions()


@shared_task(name="performance.tasks.read_ground_truth_upload", ignore_result=True, time_limit=900, soft_time_limit=840)
def read_ground_truth_upload(upload_id: int) -> None:
    """Take the rows of an uploaded file; harmless when it is delivered twice."""
    read_upload(upload_id=upload_id)


@shared_task(
    name="performance.tasks.join_ground_truth",
    ignore_result=True,
    soft_time_limit=HANGING_SECONDS,
    time_limit=HANGING_SECONDS + 15,
)
def join_ground_truth() -> None:
    """Look for the predictions of labels that wait for them, and for files that nobody reads."""
    look_up_waiting()
    enqueue_waiting_uploads()


@shared_task(
    name="performance.tasks.delete_old_ground_truth",
    ignore_result=True,
    soft_time_limit=KEEPING_SECONDS + HANGING_SECONDS,
    time_limit=KEEPING_SECONDS + HANGING_SECONDS + 15,
)
def delete_old_ground_truth() -> None:
    """Delete ground truth that is older than it is kept."""
    delete_old(seconds=KEEPING_SECONDS)
