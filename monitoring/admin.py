"""Jobs and schedules in the admin.

beat stops with all its jobs at a schedule that it cannot read, so the forms accept only schedules that it can.
"""

from datetime import timedelta
from functools import partialmethod
from typing import Any

from celery.schedules import ParseException
from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, ProhibitNullCharactersValidator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django_celery_beat.admin import (
    ClockedScheduleAdmin,
    CrontabScheduleAdmin,
    PeriodicTaskAdmin,
    PeriodicTaskForm,
    TaskSelectWidget,
)
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from kombu.utils.json import loads
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from accounts.admin.base import AuditedAdmin, ReadOnlyAdmin, user_of
from accounts.roles import Action
from accounts.services.changes import record_change
from monitoring.models import JobRun
from monitoring.pages import panels as panels  # registers them on the pages of other apps
from monitoring.pages.figures import NOTHING, seconds_text

SHORTEST_INTERVAL = timedelta(seconds=1)
LONGEST_SPAN = timedelta(days=3650)  # 10 years; a timedelta cannot hold every number of a form
LONGEST_SECONDS = LONGEST_SPAN // timedelta(seconds=1)
JSON_FIELDS: dict[str, tuple[type, str]] = {
    "args": (list, 'Give a JSON list, such as ["a", 1]; [] for no arguments.'),
    "kwargs": (dict, 'Give a JSON object, such as {"name": 1}; {} for no arguments.'),
    "headers": (dict, 'Give a JSON object, such as {"name": "value"}; {} for no headers.'),
}
# The decoders of the types in kombu's JSON raise these for values that are none of theirs.
DECODING_ERRORS = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError)
SCHEDULE_FIELDS = ("interval", "crontab", "clocked")
FAILED, DONE, UNFINISHED = "failed", "done", "not finished yet"
STATE_LABELS = {FAILED: "danger", DONE: "success", UNFINISHED: "info"}

# Solar schedules are not offered: they need the package ephem, and beat stops without it.
for third_party in (PeriodicTask, IntervalSchedule, CrontabSchedule, ClockedSchedule, SolarSchedule):
    admin.site.unregister(third_party)


@admin.register(JobRun)
class JobRunAdmin(ReadOnlyAdmin):
    empty_text = "Each job records its last run here. No job has run yet: check that a worker and beat are running."
    list_display = ["job_name", "state", "last_started_at", "last_success_at", "duration", "runs", "failures"]
    search_fields = ["job_name"]
    fields = [
        "job_name",
        ("last_started_at", "last_success_at"),
        ("duration", "state"),
        ("runs", "failures"),
        "last_error",
    ]

    @display(description="Last run", label=STATE_LABELS)
    def state(self, obj: JobRun) -> str:
        if obj.last_error:
            return FAILED
        return UNFINISHED if obj.last_success_at is None else DONE

    @display(description="Duration", ordering="last_duration_seconds")
    def duration(self, obj: JobRun) -> str:
        return NOTHING if obj.last_duration_seconds is None else seconds_text(obj.last_duration_seconds)


class IntervalScheduleForm(forms.ModelForm[IntervalSchedule]):
    """Accepts intervals from a second to 10 years."""

    class Meta:
        model = IntervalSchedule
        fields = ["every", "period"]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        every, period = cleaned.get("every"), cleaned.get("period")
        if every is not None and period:
            unit = timedelta(**{period: 1})
            least, most = max(1, SHORTEST_INTERVAL // unit), LONGEST_SPAN // unit
            if not least <= every <= most:
                reason = f"Give {least:,} to {most:,} {period}: at least a second, at most 10 years."
                self.add_error("every", reason)
        return cleaned


class CrontabScheduleForm(forms.ModelForm[CrontabSchedule]):
    """Accepts only crontabs that Celery can read; the fields are validated by another library."""

    class Meta:
        model = CrontabSchedule
        fields = ["minute", "hour", "day_of_month", "month_of_year", "day_of_week", "timezone"]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                CrontabSchedule(**cleaned).schedule.is_due(timezone.now())
            except (ParseException, ValueError, RuntimeError) as error:
                raise ValidationError(f"This crontab is invalid or never due: {error}") from None
        return cleaned


class StyledTaskSelectWidget(UnfoldAdminSelectWidget, TaskSelectWidget):
    """The names of tasks, styled as the other fields."""


class StyledPeriodicTaskForm(PeriodicTaskForm):
    """django-celery-beat's form with styled fields, without solar schedules."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["regtask"].widget = StyledTaskSelectWidget()
        self.fields["regtask"].validators.append(ProhibitNullCharactersValidator())
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        if "headers" in self.fields:  # people who may only see the task get no fields of the model
            self.fields["headers"].empty_value = "{}"
            self.fields["expire_seconds"].validators.append(
                MaxValueValidator(LONGEST_SECONDS, f"Give at most 10 years: {LONGEST_SECONDS:,} seconds.")
            )
            self.fields["start_time"].validators.append(
                MaxValueValidator(lambda: timezone.now() + LONGEST_SPAN, "Give a time at most 10 years from now.")
            )

    def _clean_json(self, field: str) -> str:
        """Return a JSON string if beat reads a value of the field's type from it; replaces the parent's check."""
        text: str = self.cleaned_data[field]
        kind, advice = JSON_FIELDS[field]
        try:
            is_valid = isinstance(loads(text), kind)
        except (*DECODING_ERRORS, RecursionError):
            is_valid = False
        if not is_valid:
            raise ValidationError(advice)
        return text

    clean_headers = partialmethod(_clean_json, "headers")  # the parent has those of the other fields

    def clean(self) -> dict[str, Any]:
        if "task" in self.errors:
            return self.cleaned_data  # django-celery-beat's form needs the name of the task
        cleaned: dict[str, Any] = super().clean()
        chosen = [name for name in SCHEDULE_FIELDS if cleaned.get(name)]
        if len(chosen) != 1 and not any(name in self.errors for name in SCHEDULE_FIELDS):
            raise ValidationError("Choose one schedule: an interval, a crontab or a clocked time.")
        if chosen == ["clocked"] and not cleaned.get("one_off"):
            self.add_error("one_off", "Check this: a task with a clocked time runs once.")
        return cleaned

    def validate_unique(self) -> None:
        """Check that the name is unique; `clean` has checked the schedules with its own messages."""
        self.instance.solar = None  # left from before this form; beat cannot read it
        if not self.errors:
            super().validate_unique()


def recorded_action(name: str, message: str, *, message_if_disabled: str | None = None) -> Any:
    """Return an action of django-celery-beat that needs a permission and records a message for each task.

    django-celery-beat would let everyone who sees the list start and stop tasks.
    """
    action = getattr(PeriodicTaskAdmin, name)

    @admin.action(description=action.short_description, permissions=["operate"])
    def record_and_act(page: PeriodicTaskAdmin, request: HttpRequest, tasks: QuerySet[PeriodicTask]) -> None:
        for task in tasks:
            text = message if task.enabled or message_if_disabled is None else message_if_disabled
            record_change(user=user_of(request), row=task, message=text)
        action(page, request, tasks)

    return record_and_act


class ScheduleModelAdmin(AuditedAdmin):
    """Schedules, whose actions need the permission to manage schedules."""

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return Action.MANAGE_SCHEDULES.is_allowed(request.user)


@admin.register(PeriodicTask)
class PeriodicTaskModelAdmin(PeriodicTaskAdmin, ScheduleModelAdmin):
    form = StyledPeriodicTaskForm
    fieldsets = [
        (title, {**options, "fields": [field for field in options["fields"] if field != "solar"]})
        for title, options in PeriodicTaskAdmin.fieldsets
    ]

    enable_tasks = recorded_action("enable_tasks", "Enabled.")
    disable_tasks = recorded_action("disable_tasks", "Disabled.")
    toggle_tasks = recorded_action("toggle_tasks", "Disabled.", message_if_disabled="Enabled.")
    run_tasks = recorded_action("run_tasks", "Run by hand.")


@admin.register(IntervalSchedule)
class IntervalScheduleModelAdmin(ScheduleModelAdmin):
    form = IntervalScheduleForm


@admin.register(CrontabSchedule)
class CrontabScheduleModelAdmin(CrontabScheduleAdmin, ScheduleModelAdmin):
    form = CrontabScheduleForm


@admin.register(ClockedSchedule)
class ClockedScheduleModelAdmin(ClockedScheduleAdmin, ScheduleModelAdmin):
    pass
