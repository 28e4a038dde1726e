"""The jobs of drift: beat starts the first, which starts one of the second for each version that is due."""

from celery import shared_task
from django.conf import settings

from drift import services
from drift.selectors import due_versions
from drift.services.checks import CHECK_SECONDS


@shared_task(ignore_result=True, soft_time_limit=CHECK_SECONDS, time_limit=CHECK_SECONDS + 15)
def check_due_versions() -> None:
    """Enqueue a check of every version that has seen enough new rows; keep the live windows at their bound."""
    for version in due_versions():
        # One that waits longer than a tick is dropped: the next tick enqueues the version again.
        check_version.apply_async((version.pk,), expires=settings.MLMON_DRIFT_TICK_SECONDS)
    services.trim_live_windows()


@shared_task(ignore_result=True, soft_time_limit=CHECK_SECONDS, time_limit=CHECK_SECONDS + 15)
def check_version(version_id: int) -> None:
    """Check one version."""
    services.run_drift_check(version_id=version_id)
