"""Forms that take only schedules which beat can read: at one that it cannot it ends, and every job with it."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import ProhibitNullCharactersValidator
from django.utils import timezone
from django_celery_beat.admin import PeriodicTaskForm, TaskSelectWidget
from django_celery_beat.models import CrontabSchedule, IntervalSchedule
from kombu.utils.json import loads
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

SHORTEST_INTERVAL = timedelta(seconds=1)
LONGEST_SPAN = timedelta(days=3650)  # "10 years" of the texts; a timedelta cannot hold all that a form's numbers can
SCHEDULE_FIELDS = ("interval", "crontab", "clocked")


class IntervalScheduleForm(forms.ModelForm[IntervalSchedule]):
    """Takes intervals from a second to 10 years."""

    class Meta:
        model = IntervalSchedule
        fields = ["every", "period"]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        every, period = cleaned.get("every"), cleaned.get("period")
        if every is not None and period and (reason := interval_error(every, period)):
            self.add_error("every", reason)
        return cleaned


def interval_error(every: int, period: str) -> str:
    """Return why beat is not asked to wait so many periods; "" where it may be."""
    unit = timedelta(**{period: 1})
    least, most = max(1, SHORTEST_INTERVAL // unit), LONGEST_SPAN // unit
    if least <= every <= most:
        return ""
    return f"Give {least:,} to {most:,} {period}: at least a second, at most 10 years."


class CrontabScheduleForm(forms.ModelForm[CrontabSchedule]):
    """Takes what Celery reads too: the fields' own checks are of another library."""

    class Meta:
        model = CrontabSchedule
        fields = ["minute", "hour", "day_of_month", "month_of_year", "day_of_week", "timezone"]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                CrontabSchedule(**cleaned).schedule.is_due(timezone.now())
            except Exception as error:  # Celery's parser has exceptions of its own beside ValueError
                raise ValidationError(f"Such a time never comes, or cannot be read: {error}") from None
        return cleaned


class StyledTaskSelectWidget(UnfoldAdminSelectWidget, TaskSelectWidget):
    """The names of tasks, in the look of the other fields."""


class StyledPeriodicTaskForm(PeriodicTaskForm):
    """django-celery-beat's form, whose own two fields would look foreign, without schedules by the sun."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["regtask"].widget = StyledTaskSelectWidget()
        self.fields["regtask"].validators.append(ProhibitNullCharactersValidator())
        self.fields["task"].widget = UnfoldAdminTextInputWidget()

    def clean_args(self) -> str:
        return checked(self.cleaned_data["args"], list, 'Give a JSON list, such as ["a", 1]; [] for no arguments.')

    def clean_kwargs(self) -> str:
        return checked(
            self.cleaned_data["kwargs"], dict, 'Give a JSON object, such as {"name": 1}; {} for no arguments.'
        )

    def clean_headers(self) -> str:
        text = self.cleaned_data["headers"] or "{}"
        return checked(text, dict, 'Give a JSON object, such as {"name": "value"}; {} for no headers.')

    def clean_expire_seconds(self) -> int | None:
        seconds: int | None = self.cleaned_data["expire_seconds"]
        most = LONGEST_SPAN // timedelta(seconds=1)
        if seconds is not None and seconds > most:
            raise ValidationError(f"At most 10 years: {most:,} seconds.")
        return seconds

    def clean_start_time(self) -> datetime | None:
        start: datetime | None = self.cleaned_data["start_time"]
        if start is not None and start > timezone.now() + LONGEST_SPAN:
            raise ValidationError("At most 10 years from now.")
        return start

    def clean(self) -> dict[str, Any]:
        if "task" in self.errors:
            return self.cleaned_data  # django-celery-beat's own looks for the name, and fails without
        cleaned: dict[str, Any] = super().clean()
        chosen = [name for name in SCHEDULE_FIELDS if cleaned.get(name)]
        if len(chosen) != 1 and not any(name in self.errors for name in SCHEDULE_FIELDS):
            raise ValidationError("Choose one schedule: an interval, a crontab or a clocked time.")
        if chosen == ["clocked"] and not cleaned.get("one_off"):
            self.add_error("one_off", "A task with a clocked time runs once: tick this.")
        return cleaned

    def validate_unique(self) -> None:
        """Look for another task of this name; what the row says of schedules was said by `clean`, in words."""
        self.instance.solar = None  # of before this form: beat cannot read it
        if not self.errors:
            super().validate_unique()


def checked(text: str, kind: type, reason: str) -> str:
    """Return a text that is JSON of one kind as beat reads it; ValidationError with the reason where it is not."""
    try:
        value: object = loads(text)
    except Exception:  # RecursionError too, and what the types raise that kombu's JSON can name
        raise ValidationError(reason) from None
    if not isinstance(value, kind):
        raise ValidationError(reason)
    return text
