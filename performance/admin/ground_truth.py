"""Ground truth and its uploads in the admin."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest
from unfold.admin import TabularInline
from unfold.decorators import display
from unfold.paginator import InfinitePaginator
from unfold.widgets import UnfoldAdminFileFieldWidget

from accounts.admin.base import AuditedAdmin, ReadOnlyAdmin, user_of
from accounts.admin.page_parts import Column
from performance.models import GroundTruth, GroundTruthCorrection, GroundTruthUpload, UploadStatus
from performance.services.ground_truth import Outcome
from performance.services.uploads import upload_ground_truth

STATUS_LABELS = {
    UploadStatus.DONE: "success",
    UploadStatus.FAILED: "danger",
    UploadStatus.READING: "info",
    UploadStatus.PENDING: "info",
}
OUTCOMES = {
    Outcome.ACCEPTED: "accepted: the prediction was found",
    Outcome.DUPLICATE: "duplicate: the same label was stored before",
    Outcome.CORRECTED: "corrected: another label was stored before, and is kept as history",
    Outcome.UNKNOWN: "unknown: stored until the prediction arrives",
    Outcome.INVALID: "invalid: not stored",
}


class CorrectionInline(TabularInline):
    model = GroundTruthCorrection
    fields = readonly_fields = ["actual_before", "observed_at_before", "corrected_at"]
    extra = 0
    can_delete = False


@admin.register(GroundTruth)
class GroundTruthAdmin(ReadOnlyAdmin):
    empty_text = (
        "Ground truth arrives through the API (POST /api/v1/feedback) or in an uploaded file, and is joined with "
        "its predictions."
    )
    list_display = ["prediction_id", "version", "actual", "prediction", "is_right", "predicted_at", "observed_at"]
    list_filter = ["version__model", ("version", admin.EmptyFieldListFilter), ("refusal", admin.EmptyFieldListFilter)]
    list_select_related = ["version__model"]
    search_fields = ["prediction_id__exact"]
    search_help_text = "A prediction id"
    ordering = ["-received_at"]  # has an index
    paginator = InfinitePaginator  # does not count the rows: there may be millions
    show_full_result_count = False
    inlines = [CorrectionInline]
    fields = [
        ("prediction_id", "version"),
        ("actual", "prediction"),
        ("observed_at", "predicted_at"),
        ("received_at", "changed_at"),
        ("confidence", "refusal"),
    ]

    def get_inlines(self, request: HttpRequest, obj: GroundTruth | None) -> Any:
        return self.inlines if obj is not None and obj.corrections.exists() else []

    @display(description="Right", boolean=True)
    def is_right(self, obj: GroundTruth) -> bool | None:
        return None if obj.version_id is None or obj.refusal else obj.actual == obj.prediction


class GroundTruthUploadForm(forms.ModelForm[GroundTruthUpload]):
    file = forms.FileField(
        label="CSV or Parquet file",
        widget=UnfoldAdminFileFieldWidget,
        help_text="The columns are prediction_id, actual and, optionally, observed_at (ISO 8601 with an offset). Other "
        "columns are ignored. You can upload a file again: its rows are counted as duplicates.",
    )

    class Meta:
        model = GroundTruthUpload
        fields = ["file", "encoding"]

    def clean_file(self) -> UploadedFile[bytes]:
        file: UploadedFile[bytes] = self.cleaned_data["file"]
        limit = settings.MLMON_MAX_REFERENCE_BYTES
        if (file.size or 0) > limit:
            raise ValidationError(f"The file has {file.size or 0:,} bytes; the limit is {limit // 2**20} MiB.")
        return file


def upload_context(upload: GroundTruthUpload) -> dict[str, Any]:
    """Return the context of ``admin/performance/groundtruthupload/report.html``."""
    return {
        "upload": upload,
        "is_running": upload.status in (UploadStatus.PENDING, UploadStatus.READING),
        "rows_done": f"{upload.rows_done:,}",
        "outcomes": [(text, f"{upload.counts.get(outcome, 0):,}") for outcome, text in OUTCOMES.items()],
        "more_problems": max(0, upload.counts.get(Outcome.INVALID, 0) - len(upload.problems)),
    }


@admin.register(GroundTruthUpload)
class GroundTruthUploadAdmin(AuditedAdmin):
    empty_text = (
        "Upload a CSV or Parquet file with the columns prediction_id and actual. Programs send ground truth through "
        "the API."
    )
    form = GroundTruthUploadForm
    list_display = ["original_filename", "status_label", "progress", "rows_done", "summary", "created_by", "created_at"]
    list_filter = ["status"]
    list_select_related = ["created_by"]
    search_fields = ["original_filename"]
    change_form_outer_before_template = "admin/performance/groundtruthupload/report.html"
    forbidden = ("change", "delete")  # upload another file instead
    opens_added_row = True
    recorded_by_service = ("add",)
    page_context = staticmethod(upload_context)
    add_fieldsets = [(None, {"fields": ["file", "encoding"]})]
    fields = [("original_filename", "created_by"), ("created_at", "finished_at")]

    status_label = Column(
        short_description="Status", text="{row.status}", admin_order_field="status", label=STATUS_LABELS
    )
    progress = Column(short_description="Progress", text="{row.progress_percent} %")

    class Media:
        css = {"all": ["mlmon/figures.css", "drift/admin.css"]}

    def save_model(self, request: HttpRequest, obj: GroundTruthUpload, form: Any, change: bool) -> None:
        file, encoding = form.cleaned_data["file"], form.cleaned_data["encoding"]
        obj.pk = upload_ground_truth(file=file, filename=file.name, encoding=encoding, user=user_of(request)).pk

    @display(description="Rows")
    def summary(self, obj: GroundTruthUpload) -> str:
        return ", ".join(f"{obj.counts[outcome]:,} {outcome}" for outcome in Outcome if obj.counts.get(outcome)) or "-"
