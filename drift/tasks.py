"""The jobs of drift: beat starts the first, which starts one of the second for each version that is due."""

from celery import shared_task
from django.conf import settings

from drift.due import start_delays
from drift.selectors import due_versions
from drift.services.checks import CHECK_SECONDS, run_drift_check
from drift.services.incidents import close_incidents_of_archived_versions
from drift.services.live_windows import trim_live_windows


@shared_task(ignore_result=True, soft_time_limit=CHECK_SECONDS, time_limit=CHECK_SECONDS + 15)
def check_due_versions() -> None:
    """Enqueue a check of every version that has seen enough new rows; tidy up after those that are not checked."""
    versions, tick_seconds = due_versions(), settings.MLMON_DRIFT_TICK_SECONDS
    for version, delay in zip(versions, start_delays(len(versions), tick_seconds), strict=True):
        # One that has not started when the tick is over is dropped: the next tick enqueues the version again.
        check_version.apply_async((version.pk,), countdown=delay, expires=tick_seconds)
    close_incidents_of_archived_versions()
    trim_live_windows()


@shared_task(ignore_result=True, soft_time_limit=CHECK_SECONDS, time_limit=CHECK_SECONDS + 15)
def check_version(version_id: int) -> None:
    """Check one version, if that is still due when the task starts."""
    run_drift_check(version_id=version_id, only_if_due=True)
