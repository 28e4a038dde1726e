"""Reference data in the admin: upload, progress, report."""

from functools import partialmethod
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from unfold.decorators import action
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextInputWidget

from accounts.admin.base import AuditedAdmin, user_of
from accounts.admin.page_parts import Column, confirmation_page
from accounts.roles import Action
from mlmon.exceptions import ReferenceFileError
from models_registry.exceptions import ConflictError
from models_registry.models import ModelVersion, ReferenceDataset, ReferenceStatus, Stage
from models_registry.reference_report import reports_of, times_text
from models_registry.selectors import load_profile
from models_registry.services.references import (
    activate_reference,
    refuse_archived,
    refuse_large,
    refuse_predictions,
    upload_reference,
)

STATUS_LABELS = {
    ReferenceStatus.READY: "success",
    ReferenceStatus.FAILED: "danger",
    ReferenceStatus.PROFILING: "info",
    ReferenceStatus.PENDING: "info",
}


class ReferenceUploadForm(forms.ModelForm[ReferenceDataset]):
    file = forms.FileField(
        label="CSV or Parquet file",
        widget=UnfoldAdminFileFieldWidget,
        help_text="One column for each feature of the version, with its name. Other columns are ignored. "
        "CSV values may be separated by , ; | or tabs, and the file may be compressed with gzip.",
    )

    label_column = forms.CharField(
        required=False,
        max_length=255,
        label="Column with the ground truth",
        widget=UnfoldAdminTextInputWidget,
        help_text="Used to measure and estimate performance. If empty, it is detected by its name (target, label, "
        "actual …) or its values.",
    )

    prediction_column = forms.CharField(
        required=False,
        max_length=255,
        label="Column with the predictions",
        widget=UnfoldAdminTextInputWidget,
        help_text="Only for a version that is served elsewhere: mlmon predicts the rows of others itself. If empty, it "
        "is detected by its name (prediction, predicted, y_pred …). Columns named confidence or probability_CLASS have "
        "the probabilities.",
    )

    time_column = forms.CharField(
        required=False,
        max_length=255,
        label="Time column",
        widget=UnfoldAdminTextInputWidget,
        help_text="The rows are put in the order of its times. If empty, it is detected by its name (timestamp, date, "
        "observed_at …) or its type, but not if it has numbers (Unix times). Times without an offset are of the "
        "model's time zone.",
    )

    missing_values = forms.CharField(
        required=False,
        max_length=255,
        widget=UnfoldAdminTextInputWidget,
        help_text="Further strings that are missing values in a CSV file, separated by commas: NA, -999.",
    )

    class Meta:
        model = ReferenceDataset
        fields = [
            "version",
            "file",
            "encoding",
            "missing_values",
            "label_column",
            "prediction_column",
            "time_column",
        ]

    def clean_missing_values(self) -> list[str]:
        return [value.strip() for value in self.cleaned_data["missing_values"].split(",") if value.strip()]

    def clean_version(self) -> ModelVersion:
        version: ModelVersion = self.cleaned_data["version"]
        try:
            refuse_archived(version.pk)  # it may have been archived while the page was open
        except ConflictError as error:
            raise ValidationError(str(error)) from error
        return version

    def clean_prediction_column(self) -> str:
        column: str = self.cleaned_data["prediction_column"]
        if "version" in self.cleaned_data:
            try:
                refuse_predictions(self.cleaned_data["version"], column)
            except ReferenceFileError as error:
                raise ValidationError(str(error)) from error
        return column

    def clean_file(self) -> UploadedFile[bytes]:
        file: UploadedFile[bytes] = self.cleaned_data["file"]
        try:
            refuse_large(file.size or 0)
        except ReferenceFileError as error:
            raise ValidationError(str(error)) from error
        return file


def report_context(reference: ReferenceDataset) -> dict[str, Any]:
    """Return the context of a reference's report: its progress, its profile, or why it failed."""
    context: dict[str, Any] = {
        "reference": reference,
        "waiting": "waiting for a worker",
        "is_waiting": reference.status in (ReferenceStatus.PENDING, ReferenceStatus.PROFILING),
        "upload_url": reverse("admin:models_registry_referencedataset_add") + f"?version={reference.version_id}",
    }
    if reference.status == ReferenceStatus.READY:
        profile = load_profile(reference)
        features, prediction = reports_of(profile)
        context |= {
            "row_count": f"{profile.n_rows:,}",
            "labelled_rows": f"{reference.labelled_rows or 0:,}",
            "times": times_text(reference, profile),
            "feature_reports": features,
            "has_predictions": reference.version.is_served_here or bool(reference.prediction_column),
            "prediction": prediction,
        }
    return context


@admin.register(ReferenceDataset)
class ReferenceDatasetAdmin(AuditedAdmin):
    empty_text = (
        "Reference data show what is normal for a version; drift checks compare windows with them. Upload a CSV or "
        "Parquet file with a column for each feature, and one with the time of each row."
    )
    form = ReferenceUploadForm
    list_display = [
        "original_filename",
        "version",
        "status_label",
        "row_count",
        "is_active",
        "created_by",
        "created_at",
    ]
    list_filter = ["status", "is_active", "version__model"]
    list_select_related = ["version__model", "created_by"]
    search_fields = ["original_filename", "version__model__name"]
    actions_detail = ["activate"]
    forbidden = ("change", "delete")  # upload another reference instead; checks refer to this one
    recorded_by_service = ("add",)
    change_form_outer_before_template = "admin/models_registry/referencedataset/report.html"
    page_context = staticmethod(report_context)
    opens_added_row = True
    add_fieldsets = [
        (None, {"fields": ["version", "file", "encoding", "missing_values"]}),
        ("Columns that are no features", {"fields": ["label_column", "prediction_column", "time_column"]}),
    ]
    # Only fields that profiling does not change: the report above is updated without reloading the page.
    fields = [("version", "original_filename"), ("created_by", "created_at")]

    has_activate_permission = partialmethod(AuditedAdmin.is_allowed, Action.ACTIVATE_REFERENCE)
    status_label = Column(
        short_description="Status", text="{row.status}", admin_order_field="status", label=STATUS_LABELS
    )
    row_count = Column(short_description="Rows", text="{row.rows:,}", needs="rows", admin_order_field="rows")

    class Media:
        css = {"all": ["mlmon/figures.css"]}

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest | None, **kwargs: Any) -> Any:
        if db_field.name == "version":
            kwargs["queryset"] = ModelVersion.objects.exclude(stage=Stage.ARCHIVED).select_related("model")
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_actions_detail(self, request: HttpRequest, object_id: Any = None) -> list[Any]:
        # Only for a reference that can be activated; a request for another one returns an error message.
        reference = self.get_object(request, str(object_id))
        usable = reference is not None and reference.status == ReferenceStatus.READY and not reference.is_active
        return list(super().get_actions_detail(request, object_id)) if usable else []

    def save_model(self, request: HttpRequest, obj: ReferenceDataset, form: Any, change: bool) -> None:
        file = form.cleaned_data["file"]
        obj.pk = upload_reference(
            version=obj.version,
            file=file,
            filename=file.name,
            label_column=form.cleaned_data["label_column"],
            prediction_column=form.cleaned_data["prediction_column"],
            time_column=form.cleaned_data["time_column"],
            encoding=form.cleaned_data["encoding"],
            missing_values=form.cleaned_data["missing_values"],
            user=user_of(request),
        ).pk

    @action(description="Activate", icon="published_with_changes", permissions=["activate"])
    def activate(self, request: HttpRequest, object_id: int) -> HttpResponse:
        reference = self.row_or_404(request, object_id)
        if request.method != "POST":
            return confirmation_page(
                self,
                request,
                row=reference,
                title=f"Activate {reference.original_filename}",
                changes=[f"From the next one on, drift checks of {reference.version} compare with this reference."],
                button="Activate",
            )
        try:
            activate_reference(reference=reference, user=user_of(request))
        except ConflictError as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            self.message_user(request, f"{reference} is active: the next drift check compares with it.")
        return redirect("admin:models_registry_referencedataset_change", object_id)
