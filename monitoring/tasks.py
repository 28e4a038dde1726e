"""The jobs of monitoring, which beat starts."""

from celery import shared_task

from monitoring.services import measure_due_versions

MEASURING_SECONDS = 240


@shared_task(
    name="monitoring.tasks.measure_performance",
    ignore_result=True,
    soft_time_limit=MEASURING_SECONDS,
    time_limit=MEASURING_SECONDS + 15,
)
def measure_performance() -> None:
    """Measure the performance of the versions that have new ground truth or new predictions."""
    measure_due_versions()
