"""Record each run of a periodic job from Celery's signals, so that a silent job becomes visible."""

import logging
import time
from typing import Any

from celery import Task
from celery.signals import task_failure, task_postrun, task_prerun
from django.conf import settings
from django.db import DatabaseError
from django.db.models import F
from django.utils import timezone

from monitoring.models import JobRun

logger = logging.getLogger(__name__)

NOT_RECORDED = "A run of %s could not be recorded: %s"  # the job itself continues

_started: dict[str, float] = {}
_errors: dict[str, str] = {}


@task_prerun.connect(weak=False)
def record_start(task_id: str, task: Task[Any, Any], **_: Any) -> None:
    """Record that a periodic job starts now."""
    if not any(entry["task"] == task.name for entry in settings.CELERY_BEAT_SCHEDULE.values()):
        return
    _started[task_id] = time.monotonic()
    now = timezone.now()
    try:
        JobRun.objects.update_or_create(
            job_name=task.name,
            defaults={"last_started_at": now, "runs": F("runs") + 1},
            create_defaults={"last_started_at": now, "runs": 1},
        )
    except DatabaseError as error:
        logger.warning(NOT_RECORDED, task.name, error)


@task_failure.connect(weak=False)
def note_error(task_id: str, exception: Exception, **_: Any) -> None:
    """Keep the error of a job for `record_end`, which Celery calls next."""
    if task_id in _started:
        _errors[task_id] = f"{type(exception).__name__}: {exception}"


@task_postrun.connect(weak=False)
def record_end(task_id: str, task: Task[Any, Any], **_: Any) -> None:
    """Record the end of a periodic job: its duration, and its success or error."""
    if task_id not in _started:
        return
    duration_seconds, error = time.monotonic() - _started.pop(task_id), _errors.pop(task_id, "")
    outcome = {"failures": F("failures") + 1} if error else {"last_success_at": timezone.now()}
    try:
        JobRun.objects.filter(job_name=task.name).update(
            last_duration_seconds=duration_seconds, last_error=error, **outcome
        )
    except DatabaseError as failure:
        logger.warning(NOT_RECORDED, task.name, failure)
