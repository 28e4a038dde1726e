"""Scheduled tasks as Celery sends them."""

import pytest
from django.conf import settings

from mlmon_site.celery import app

pytestmark = pytest.mark.django_db  # a worker that starts checks its database


@pytest.mark.parametrize("entry", sorted(settings.CELERY_BEAT_SCHEDULE))
def test_scheduled_tasks_have_valid_time_limits(entry: str) -> None:
    """A task without a soft limit gets that of the settings, and Celery refuses one above the hard limit."""
    app.loader.import_default_modules()
    task = app.tasks[str(settings.CELERY_BEAT_SCHEDULE[entry]["task"])]
    soft = task.soft_time_limit or settings.CELERY_TASK_SOFT_TIME_LIMIT
    hard = task.time_limit or settings.CELERY_TASK_TIME_LIMIT
    assert 0 < soft < hard
