"""The background work of the registry, as Celery sends it."""

import pytest
from django.conf import settings

from mlmon_site.celery import app


@pytest.mark.parametrize("entry", sorted(settings.CELERY_BEAT_SCHEDULE))
def test_what_beat_sends_has_limits_that_celery_takes(entry: str) -> None:
    """A task without its own soft limit has the settings', and Celery refuses to send one above the hard limit."""
    app.loader.import_default_modules()
    task = app.tasks[str(settings.CELERY_BEAT_SCHEDULE[entry]["task"])]
    soft = task.soft_time_limit or settings.CELERY_TASK_SOFT_TIME_LIMIT
    hard = task.time_limit or settings.CELERY_TASK_TIME_LIMIT
    assert 0 < soft < hard
