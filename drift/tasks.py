"""The tasks of drift: beat starts the first one, which starts the second one for each due version."""

from celery import shared_task
from django.conf import settings

from drift.selectors import due_versions
from drift.services.checks import CHECK_SECONDS, run_drift_check, trim_live_windows
from drift.services.incidents import close_incidents_of_archived_versions

LONGEST_GAP_SECONDS = 0.1
SPREAD_SHARE = 0.8  # of the tick; the last checks need the rest of it to start before the next tick


def start_delays(checks: int, tick_seconds: float) -> list[float]:
    """Return the seconds after which each check of one tick starts.

    Many checks are spread over most of the tick. A few checks follow each other closely.
    """
    gap = min(LONGEST_GAP_SECONDS, SPREAD_SHARE * tick_seconds / max(1, checks))
    return [gap * number for number in range(checks)]


@shared_task(ignore_result=True, soft_time_limit=CHECK_SECONDS, time_limit=CHECK_SECONDS + 15)
def check_due_versions() -> None:
    """Enqueue a check of every due version; close incidents and trim windows that no check will."""
    versions, tick_seconds = due_versions(), settings.MLMON_DRIFT_TICK_SECONDS
    for version, delay in zip(versions, start_delays(len(versions), tick_seconds), strict=True):
        # A check that has not started by the next tick expires, because that tick enqueues the version again.
        check_version.apply_async((version.pk,), countdown=delay, expires=tick_seconds)
    close_incidents_of_archived_versions()
    trim_live_windows()


@shared_task(ignore_result=True, soft_time_limit=CHECK_SECONDS, time_limit=CHECK_SECONDS + 15)
def check_version(version_id: int) -> None:
    """Check one version if a check is still due when the task starts."""
    run_drift_check(version_id=version_id, only_if_due=True)
