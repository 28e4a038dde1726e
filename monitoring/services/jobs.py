"""Record each run of a periodic job from Celery's signals, so that a silent job becomes visible."""

import logging
import time
from collections.abc import Callable
from typing import Any

from celery import Task
from celery.signals import task_failure, task_postrun, task_prerun
from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import F
from django.utils import timezone

from monitoring.models import JobRun

logger = logging.getLogger(__name__)

_started: dict[str, float] = {}
_errors: dict[str, str] = {}


@transaction.atomic
def record_job_start(*, job_name: str) -> None:
    """Record that a job starts now."""
    now = timezone.now()
    _, created = JobRun.objects.get_or_create(job_name=job_name, defaults={"last_started_at": now, "runs": 1})
    if not created:
        JobRun.objects.filter(job_name=job_name).update(last_started_at=now, runs=F("runs") + 1)


def record_job_end(*, job_name: str, duration_seconds: float, error: str) -> None:
    """Record the end of a job; `error` is "" after a success."""
    runs = JobRun.objects.filter(job_name=job_name)
    if error:
        runs.update(last_duration_seconds=duration_seconds, last_error=error, failures=F("failures") + 1)
    else:
        runs.update(last_duration_seconds=duration_seconds, last_error="", last_success_at=timezone.now())


@task_prerun.connect(weak=False)
def _on_start(task_id: str, task: Task[Any, Any], **_: Any) -> None:
    if _is_job(task):
        _started[task_id] = time.monotonic()
        _try(record_job_start, job_name=task.name)


@task_failure.connect(weak=False)
def _on_failure(task_id: str, exception: Exception, sender: Task[Any, Any], **_: Any) -> None:
    if _is_job(sender):
        _errors[task_id] = f"{type(exception).__name__}: {exception}"


@task_postrun.connect(weak=False)
def _on_end(task_id: str, task: Task[Any, Any], **_: Any) -> None:
    if task_id in _started:
        duration_seconds = time.monotonic() - _started.pop(task_id)
        error = _errors.pop(task_id, "")
        _try(record_job_end, job_name=task.name, duration_seconds=duration_seconds, error=error)


def _is_job(task: Task[Any, Any]) -> bool:
    return any(entry["task"] == task.name for entry in settings.CELERY_BEAT_SCHEDULE.values())


def _try(record: Callable[..., None], *, job_name: str, **values: Any) -> None:
    """Record a run; the job itself continues if the database is unavailable."""
    try:
        record(job_name=job_name, **values)
    except DatabaseError as error:
        logger.warning("A run of %s could not be recorded: %s", job_name, error)
