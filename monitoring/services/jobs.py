"""Writing down what the platform's own jobs did."""

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from monitoring.models import JobRun


@transaction.atomic
def note_job_started(*, job_name: str) -> None:
    """Note that a job started now."""
    now = timezone.now()
    _, created = JobRun.objects.get_or_create(job_name=job_name, defaults={"last_started_at": now, "runs": 1})
    if not created:
        JobRun.objects.filter(job_name=job_name).update(last_started_at=now, runs=F("runs") + 1)


def note_job_finished(*, job_name: str, duration_seconds: float, error: str) -> None:
    """Note how the job's run ended; `error` is "" for a success."""
    runs = JobRun.objects.filter(job_name=job_name)
    if error:
        runs.update(last_duration_seconds=duration_seconds, last_error=error, failures=F("failures") + 1)
    else:
        runs.update(last_duration_seconds=duration_seconds, last_error="", last_success_at=timezone.now())
