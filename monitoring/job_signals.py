"""Notes each run of a periodic job, from Celery's own signals, so that a silent job can be seen."""

import logging
import time
from typing import Any

from celery import Task
from celery.signals import task_failure, task_postrun, task_prerun
from django.conf import settings
from django.db import DatabaseError

from monitoring.services.jobs import note_job_finished, note_job_started

logger = logging.getLogger(__name__)

_started: dict[str, float] = {}
_errors: dict[str, str] = {}


def _is_job(task: Task[Any, Any]) -> bool:
    return any(entry["task"] == task.name for entry in settings.CELERY_BEAT_SCHEDULE.values())


@task_prerun.connect(weak=False)
def _job_starts(task_id: str, task: Task[Any, Any], **_: Any) -> None:
    if _is_job(task):
        _started[task_id] = time.monotonic()
        _note(note_job_started, job_name=task.name)


@task_failure.connect(weak=False)
def _job_fails(task_id: str, exception: Exception, sender: Task[Any, Any], **_: Any) -> None:
    if _is_job(sender):
        _errors[task_id] = f"{type(exception).__name__}: {exception}"


@task_postrun.connect(weak=False)
def _job_ends(task_id: str, task: Task[Any, Any], **_: Any) -> None:
    if task_id in _started:
        duration_seconds = time.monotonic() - _started.pop(task_id)
        error = _errors.pop(task_id, "")
        _note(note_job_finished, job_name=task.name, duration_seconds=duration_seconds, error=error)


def _note(note: Any, **facts: Any) -> None:
    try:
        note(**facts)
    except DatabaseError as error:
        logger.warning("A run of %s could not be noted: %s", facts["job_name"], error)  # the job itself goes on
