"""The platform's own jobs in the admin."""

from django.contrib import admin

from models_registry.admin.read_only import ReadOnlyAdmin
from monitoring.models import JobRun


@admin.register(JobRun)
class JobRunAdmin(ReadOnlyAdmin):
    list_display = ["job_name", "last_started_at", "last_success_at", "last_duration_seconds", "runs", "failures"]
    search_fields = ["job_name"]
