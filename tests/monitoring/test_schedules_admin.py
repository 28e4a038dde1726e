"""Schedules in the admin: the forms accept exactly the schedules that beat can read."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone
from django.utils.html import escape
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from accounts.models import ChangeRecord
from mlmon_site.celery import app

pytestmark = pytest.mark.django_db

TASKS = "/admin/django_celery_beat/periodictask/"
INTERVALS = "/admin/django_celery_beat/intervalschedule/"
CRONTABS = "/admin/django_celery_beat/crontabschedule/"
CLOCKED = "/admin/django_celery_beat/clockedschedule/"
NO_TASKS = {"periodictask_set-TOTAL_FORMS": 0, "periodictask_set-INITIAL_FORMS": 0}
EVERY_MINUTE = {"minute": "*", "hour": "*", "day_of_month": "*", "month_of_year": "*", "day_of_week": "*"}
TOO_DEEP = "[" * 100_000
TEN_YEARS = 10 * 365 * 86_400  # seconds


@pytest.fixture
def interval() -> IntervalSchedule:
    return IntervalSchedule.objects.create(every=20, period="seconds")


def task_form(interval: IntervalSchedule | None, **values: Any) -> dict[str, Any]:
    form = {"name": "ticks", "task": "drift.tasks.check_due_versions", "enabled": "on", "args": "[]", "kwargs": "{}"}
    return {**form, "headers": "{}", "interval": interval.pk if interval else "", **values}


def read_by_beat() -> dict[str, ModelEntry]:
    """Return the entries that beat reads at its start, each checked for when it is due, as beat does."""
    entries: dict[str, ModelEntry] = DatabaseScheduler(app=app, lazy=True).all_as_schedule()
    for entry in entries.values():
        entry.is_due()
    return entries


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"every": 3651, "period": "days"}, "Give 1 to 3,650 days: at least a second, at most 10 years."),
        ({"every": 2147483647, "period": "days"}, "at most 10 years."),
        ({"every": 9223372036854775807, "period": "hours"}, "Give 1 to 87,600 hours"),
        ({"every": TEN_YEARS + 1, "period": "seconds"}, "Give 1 to 315,360,000 seconds"),
        ({"every": "9" * 5000, "period": "seconds"}, "Enter a whole number."),
        ({"every": 0, "period": "seconds"}, "at least a second"),
        ({"every": -1, "period": "minutes"}, "Give 1 to 5,256,000 minutes"),
        ({"every": 999_999, "period": "microseconds"}, "Give 1,000,000 to 315,360,000,000,000 microseconds"),
    ],
)
def test_an_interval_that_beat_cannot_wait_is_refused(
    admin_client: Client, values: dict[str, Any], reason: str
) -> None:
    response = admin_client.post(f"{INTERVALS}add/", values)
    assert response.status_code == 200
    assert reason in response.content.decode()
    assert list(response.context["adminform"].form.errors) == ["every"]
    assert not IntervalSchedule.objects.exists()
    assert not ChangeRecord.objects.exists()


def test_an_interval_in_use_is_not_changed_to_one_that_beat_cannot_wait(
    admin_client: Client, interval: IntervalSchedule
) -> None:
    sent = {"every": 2147483647, "period": "days"}
    assert admin_client.post(f"{INTERVALS}{interval.pk}/change/", sent).status_code == 200
    interval.refresh_from_db()
    assert (interval.every, interval.period) == (20, "seconds")


@pytest.mark.parametrize(
    ("every", "period"), [(3650, "days"), (TEN_YEARS, "seconds"), (1, "seconds"), (1_000_000, "microseconds")]
)
def test_beat_reads_the_shortest_and_the_longest_interval(admin_client: Client, every: int, period: str) -> None:
    assert admin_client.post(f"{INTERVALS}add/", {"every": every, "period": period}).status_code == 302
    assert admin_client.post(f"{TASKS}add/", task_form(IntervalSchedule.objects.get())).status_code == 302
    assert list(read_by_beat()) == ["ticks"]


LIST, OBJECT = escape('Give a JSON list, such as ["a", 1]'), escape('Give a JSON object, such as {"name": ')


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("args", "{}", LIST),
        ("args", "1", LIST),
        ("args", "[1", LIST),
        ("args", "", LIST),
        ("args", TOO_DEEP, LIST),
        ("args", '[{"__type__": "uuid", "__value__": 1}]', LIST),  # a type of kombu with an invalid value
        ("kwargs", "[]", OBJECT),
        ("kwargs", "null", OBJECT),
        ("kwargs", "", OBJECT),
        ("kwargs", TOO_DEEP, OBJECT),
        ("kwargs", '{"__type__": "decimal", "__value__": "1"}', OBJECT),  # an object that kombu decodes to a number
        ("headers", "1", OBJECT),
        ("headers", "[]", OBJECT),
        ("headers", "headers", OBJECT),
        ("headers", TOO_DEEP, OBJECT),
        ("expire_seconds", TEN_YEARS + 1, "Give at most 10 years: 315,360,000 seconds."),
        ("expire_seconds", 2147483647, "Give at most 10 years"),
        ("expire_seconds", 9223372036854775807, "Give at most 10 years"),
        ("task", "\0", "Null characters are not allowed."),
        ("regtask", "a\0b", "Null characters are not allowed."),
    ],
)
def test_a_task_that_beat_cannot_read_is_refused(
    admin_client: Client, interval: IntervalSchedule, field: str, value: object, reason: str
) -> None:
    response = admin_client.post(f"{TASKS}add/", task_form(interval, **{field: value}))
    assert response.status_code == 200
    assert reason in response.content.decode()
    assert field in response.context["adminform"].form.errors
    assert not PeriodicTask.objects.exists()
    assert not ChangeRecord.objects.exists()


def test_a_task_starts_within_10_years(admin_client: Client, interval: IntervalSchedule) -> None:
    sent = task_form(interval, start_time_0="9999-12-31", start_time_1="23:59:59")
    response = admin_client.post(f"{TASKS}add/", sent)
    assert "Give a time at most 10 years from now." in response.content.decode()
    assert not PeriodicTask.objects.exists()


def test_beat_reads_the_accepted_tasks(admin_client: Client, interval: IntervalSchedule) -> None:
    soon = timezone.now() + timedelta(days=3649)
    accepted: list[dict[str, Any]] = [
        {"args": '["a", 1, null]', "kwargs": '{"name": {"of": []}}', "headers": '{"x": "y"}'},
        {"headers": "", "priority": 255, "queue": "elsewhere"},
        {"expire_seconds": TEN_YEARS},
        {"expires_0": "9999-12-31", "expires_1": "23:59:59"},
        {"start_time_0": "0001-01-01", "start_time_1": "00:00:00"},
        {"start_time_0": f"{soon:%Y-%m-%d}", "start_time_1": "00:00:00"},
    ]
    for number, values in enumerate(accepted):
        sent = task_form(interval, name=f"task {number}", **values)
        assert admin_client.post(f"{TASKS}add/", sent).status_code == 302, values
    entries = read_by_beat()
    assert len(entries) == 6
    assert entries["task 0"].args == ["a", 1, None]
    assert entries["task 0"].options["headers"] == {"x": "y", "periodic_task_name": "task 0"}


@pytest.mark.parametrize("year", ["0001", "9999"])
def test_beat_reads_every_clocked_time(admin_client: Client, year: str) -> None:
    assert (
        admin_client.post(
            f"{CLOCKED}add/", {"clocked_time_0": f"{year}-06-01", "clocked_time_1": "12:00:00", **NO_TASKS}
        ).status_code
        == 302
    )
    sent = task_form(None, clocked=ClockedSchedule.objects.get().pk)
    response = admin_client.post(f"{TASKS}add/", sent)
    assert "Check this: a task with a clocked time runs once." in response.content.decode()
    assert admin_client.post(f"{TASKS}add/", {**sent, "one_off": "on"}).status_code == 302
    read_by_beat()


@pytest.mark.parametrize(
    "values",
    [
        {"day_of_month": "30", "month_of_year": "2"},
        {"day_of_week": "7"},
    ],
)
def test_a_crontab_that_celery_cannot_read_is_refused(admin_client: Client, values: dict[str, str]) -> None:
    sent = {**EVERY_MINUTE, "timezone": "UTC", **NO_TASKS, **values}
    response = admin_client.post(f"{CRONTABS}add/", sent)
    assert response.status_code == 200
    assert "This crontab is invalid or never due" in response.content.decode()
    assert not CrontabSchedule.objects.exists()


@pytest.mark.parametrize(
    "values",
    [
        {"minute": "*/15", "hour": "0,8-17/2", "timezone": "Pacific/Kiritimati"},
        {"day_of_month": "29", "month_of_year": "2", "day_of_week": "1"},
        {"day_of_week": "mon-fri", "month_of_year": "jan"},
    ],
)
def test_beat_reads_an_accepted_crontab(admin_client: Client, values: dict[str, str]) -> None:
    sent = {**EVERY_MINUTE, "timezone": "UTC", **NO_TASKS, **values}
    assert admin_client.post(f"{CRONTABS}add/", sent).status_code == 302
    sent = task_form(None, crontab=CrontabSchedule.objects.get().pk, start_time_0="2030-01-01", start_time_1="00:00")
    assert admin_client.post(f"{TASKS}add/", sent).status_code == 302
    task = PeriodicTask.objects.get()
    ModelEntry(task, app=app).is_due()  # the scheduler reads a crontab only some hours before it is due


def test_a_task_has_one_schedule(admin_client: Client, interval: IntervalSchedule) -> None:
    crontab = CrontabSchedule.objects.create()
    for sent in (task_form(None), task_form(interval, crontab=crontab.pk)):
        response = admin_client.post(f"{TASKS}add/", sent)
        assert response.status_code == 200
        assert "Choose one schedule: an interval, a crontab or a clocked time." in response.content.decode()
    assert admin_client.post(f"{TASKS}add/", task_form(interval)).status_code == 302
    assert "already exists" in admin_client.post(f"{TASKS}add/", task_form(interval)).content.decode()
    assert PeriodicTask.objects.count() == 1


def test_solar_schedules_are_not_offered(admin_client: Client, interval: IntervalSchedule) -> None:
    assert not admin.site.is_registered(SolarSchedule)
    assert admin_client.get("/admin/django_celery_beat/solarschedule/").status_code == 404
    pages = ["/admin/", "/admin/django_celery_beat/", TASKS, f"{TASKS}add/"]
    assert [page for page in pages if "solar" in admin_client.get(page).content.decode().lower()] == []
    sun = SolarSchedule.objects.create(event="sunrise", latitude=0, longitude=0)
    assert admin_client.post(f"{TASKS}add/", task_form(None, solar=sun.pk)).status_code == 200
    assert not PeriodicTask.objects.exists()


def test_a_solar_schedule_of_an_earlier_task_is_replaced(admin_client: Client, interval: IntervalSchedule) -> None:
    sun = SolarSchedule.objects.create(event="sunrise", latitude=0, longitude=0)
    task = PeriodicTask.objects.create(name="ticks", task="drift.tasks.check_due_versions", solar=sun)
    assert admin_client.get(TASKS).status_code == 200
    assert admin_client.post(f"{TASKS}{task.pk}/change/", task_form(interval)).status_code == 302
    task.refresh_from_db()
    assert (task.solar, task.interval) == (None, interval)
    assert list(read_by_beat()) == ["ticks"]


def test_a_viewer_sees_a_task(client: Client, interval: IntervalSchedule) -> None:
    task = PeriodicTask.objects.create(name="ticks", task="drift.tasks.check_due_versions", interval=interval)
    viewer = User.objects.create_user("vera", is_staff=True)
    viewer.groups.add(Group.objects.get(name="viewer"))
    client.force_login(viewer)
    assert client.get(f"{TASKS}{task.pk}/change/").status_code == 200
