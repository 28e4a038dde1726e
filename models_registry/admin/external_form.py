"""The page that registers a version which another server serves: a file suggests a schema, and a person confirms it."""

import json
from typing import Any

import orjson
from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import AdminForm
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from unfold.decorators import action
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.admin.base import AuditedAdmin, user_of
from mlmon.exceptions import ReferenceFileError
from mlmon.schema import TaskType
from models_registry.exceptions import SchemaError
from models_registry.models import ENCODING_HELP, TASKS, Model, ModelVersion, validate_encoding
from models_registry.schema_inference import InferredSchema, SchemaChoices
from models_registry.services.external_versions import register_external_version, schema_of_upload

INFER = "_infer"  # name of the button
FIELDSETS: Any = [
    (None, {"fields": ["model", "version", "notes"]}),
    (
        "1. A file that suggests the schema",
        {
            "fields": ["file", "task", "prediction_column", "label_column", "time_column", "encoding"],
            "description": "If you have written the schema already, leave this out.",
        },
    ),
    ("2. The schema, as you confirm it", {"fields": ["schema"]}),
]


def _text(label: str, help_text: str, **options: Any) -> forms.CharField:
    return forms.CharField(
        required=False,
        max_length=255,
        label=label,
        help_text=help_text,
        widget=UnfoldAdminTextInputWidget,
        **options,
    )


class ExternalVersionForm(forms.Form):
    """A version, a file that suggests its schema, and the schema. Each button needs other fields."""

    use_required_attribute = False

    model = forms.ModelChoiceField(Model.objects.all(), required=False, widget=UnfoldAdminSelectWidget)
    version = forms.CharField(
        required=False, max_length=64, widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "1.0.0"})
    )
    notes = forms.CharField(required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}))
    file = forms.FileField(
        required=False,
        label="CSV or Parquet file",
        widget=UnfoldAdminFileFieldWidget,
        help_text="Rows as the model receives them, if possible with its predictions: the later reference data. It is "
        "not stored.",
    )
    task = forms.ChoiceField(
        required=False,
        choices=[("", "What the values show"), *TASKS],
        widget=UnfoldAdminSelectWidget(),
        help_text="What the model predicts.",
    )
    prediction_column = _text("Column with the predictions", "If empty, it is detected by its name (prediction …).")
    label_column = _text("Column with the ground truth", "If empty, it is detected by its name (target, label …).")
    time_column = _text("Time column", "Only for Unix times: other times are detected.")
    encoding = _text("Encoding", ENCODING_HELP, validators=[validate_encoding])
    schema = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 16, "spellcheck": "false", "class": "font-mono"}),
        help_text="JSON: task (classification, regression, anomaly), classes of a classification, and features with "
        "name, type (number, integer, boolean, category), kind (categorical for a number that is compared as one) and "
        "required (by default true). Their order is that of rows without names.",
    )

    def inferred(self) -> InferredSchema | None:
        """Return the schema that the file suggests; None with an error beside a field."""
        data = self.cleaned_data
        file: UploadedFile[bytes] | None = data["file"]
        if file is None:
            self.add_error("file", "Choose a file.")
            return None
        choices = SchemaChoices(
            task=TaskType(data["task"]) if data["task"] else None,
            **{name: data[name] for name in ("prediction_column", "label_column", "time_column", "encoding")},
        )
        try:
            return schema_of_upload(file=file, choices=choices)
        except ReferenceFileError as error:
            self.add_error("file", f"{error} Choose the file again.")
            return None

    def registered(self, user: Any) -> ModelVersion | None:
        """Return the new version; None with errors beside the fields."""
        data = self.cleaned_data
        for name in ("model", "version", "schema"):
            if not data[name]:
                self.add_error(name, "This field is required.")
        if self.errors:
            return None
        try:
            document = orjson.loads(data["schema"])
            return register_external_version(
                model=data["model"], version=data["version"], document=document, notes=data["notes"], user=user
            )
        except orjson.JSONDecodeError as error:
            self.add_error("schema", f"This is not valid JSON: {error}.")
        except SchemaError as error:
            self.add_error("schema", [f"{place}: {reason}" for place, reason in error.reasons.items()])
        except ValidationError as error:
            by_field = hasattr(error, "error_dict") and error.error_dict.keys() <= self.fields.keys()
            self.add_error(None, error if by_field else error.messages)
        return None


@action(
    description="Register a version served elsewhere", url_path="served-elsewhere", icon="cloud", permissions=["upload"]
)
def register_served_elsewhere(self: AuditedAdmin, request: HttpRequest) -> HttpResponse:
    """Show the form; show the schema that a file suggests, or register the version."""
    inferred = None
    form = ExternalVersionForm(initial={"model": request.GET.get("model")})
    if request.method == "POST":
        form = ExternalVersionForm(request.POST, request.FILES)
        if form.is_valid() and INFER in request.POST:
            if inferred := form.inferred():
                data = request.POST.copy()
                data["schema"] = json.dumps(inferred.document, indent=2, ensure_ascii=False)
                form = ExternalVersionForm(data)
        elif form.is_valid() and (version := form.registered(user_of(request))):
            text = f"{version} is in staging. Next, upload reference data with its predictions, and promote it."
            self.message_user(request, text)
            return redirect("admin:models_registry_modelversion_change", version.pk)
    fields: Any = form  # AdminForm is annotated for forms of a model only
    context = {
        **admin.site.each_context(request),
        "opts": self.opts,
        "title": "Register a version served elsewhere",
        "adminform": AdminForm(fields, FIELDSETS, {}, model_admin=self),
        "errors": form.errors if form.is_bound else {},
        "inferred": inferred,
        "infer": INFER,
        "media": self.media + form.media,
    }
    return TemplateResponse(request, "admin/models_registry/modelversion/served_elsewhere.html", context)
