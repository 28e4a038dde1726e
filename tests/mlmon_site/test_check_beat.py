"""The health check of the beat container."""

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

pytestmark = pytest.mark.django_db


@pytest.fixture
def task() -> PeriodicTask:
    every, _ = IntervalSchedule.objects.get_or_create(every=20, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.update(last_run_at=None)
    return PeriodicTask.objects.create(name="a tick", task="a.tick", interval=every)


def _last_sent(task: PeriodicTask, *, minutes_ago: float) -> None:
    sent = timezone.now() - timedelta(minutes=minutes_ago)
    PeriodicTask.objects.filter(pk=task.pk).update(last_run_at=sent)


def test_beat_that_has_never_sent_a_task_is_unhealthy(task: PeriodicTask) -> None:
    with pytest.raises(CommandError, match="no task yet"):
        call_command("check_beat")


def test_beat_is_healthy_between_two_saves(task: PeriodicTask, capsys: pytest.CaptureFixture[str]) -> None:
    _last_sent(task, minutes_ago=6.5)
    call_command("check_beat")
    assert "Beat sent a task at" in capsys.readouterr().out


def test_stopped_beat_is_unhealthy(task: PeriodicTask) -> None:
    _last_sent(task, minutes_ago=7.5)
    with pytest.raises(CommandError, match="no task since"):
        call_command("check_beat")


def test_a_disabled_task_is_ignored(task: PeriodicTask) -> None:
    _last_sent(task, minutes_ago=1)
    PeriodicTask.objects.filter(pk=task.pk).update(enabled=False)
    with pytest.raises(CommandError, match="no task yet"):
        call_command("check_beat")
