"""The platform's own jobs in the admin."""

from django.contrib import admin
from django.http import HttpRequest
from unfold.decorators import display

from accounts.admin.base import ReadOnlyAdmin
from monitoring.models import JobRun
from monitoring.pages.figures import NOTHING, seconds_text

FAILED, FINE, UNFINISHED = "failed", "done", "not finished yet"
STATE_LABELS = {FAILED: "danger", FINE: "success", UNFINISHED: "info"}


@admin.register(JobRun)
class JobRunAdmin(ReadOnlyAdmin):
    empty_text = "Each job leaves its last run here. None has run yet: are a worker and beat at work?"
    list_display = ["job_name", "state", "last_started_at", "last_success_at", "duration", "runs", "failures"]
    search_fields = ["job_name"]

    def get_fields(self, request: HttpRequest, obj: JobRun | None = None) -> list[str | tuple[str, str]]:
        times: list[str | tuple[str, str]] = [("last_started_at", "last_success_at"), ("duration", "state")]
        return ["job_name", *times, ("runs", "failures"), "last_error"]

    @display(description="Last run", label=STATE_LABELS)
    def state(self, obj: JobRun) -> str:
        if obj.last_error:
            return FAILED
        return UNFINISHED if obj.last_success_at is None else FINE

    @display(description="Took", ordering="last_duration_seconds")
    def duration(self, obj: JobRun) -> str:
        return NOTHING if obj.last_duration_seconds is None else seconds_text(obj.last_duration_seconds)
