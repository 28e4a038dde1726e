"""The form with which a model version is uploaded in the admin."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.admin.base import ServiceForm
from models_registry.exceptions import ArtefactError, CheckFileError, UndeclaredOutputError
from models_registry.models import SCORE_KINDS, TASKS, ModelVersion
from models_registry.schema import Declaration
from models_registry.services.versions import upload_version


class _FilesWidget(UnfoldAdminFileFieldWidget):
    allow_multiple_selected = True


class _FilesField(forms.FileField):
    """One or several uploaded files."""

    def clean(self, data: Any, initial: Any = None) -> Any:
        return [super(_FilesField, self).clean(each, initial) for each in data or [None]]


class VersionUploadForm(ServiceForm):
    """Upload an ONNX file; validation inspects it, so that the error appears beside the field."""

    artefact = _FilesField(
        label="ONNX file",
        widget=_FilesWidget,
        help_text="With its data files, if the exporter wrote some: choose all of them, or a zip archive, also of the "
        "folder of an MLflow model. Pickle and joblib files are refused, because loading one runs its code.",
    )
    feature_names = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 5}),
        help_text="One name per line, in the order of the model's inputs. If empty, the names of the MLflow signature "
        "or the graph are used.",
    )

    task = forms.ChoiceField(
        required=False,
        choices=[("", "What the file proves"), *TASKS],
        widget=UnfoldAdminSelectWidget(),
        help_text="What the model predicts. Needed if the file does not prove it; the message then says what it shows.",
    )
    scores = forms.ChoiceField(
        required=False,
        choices=[("", "What the file proves"), *SCORE_KINDS],
        widget=UnfoldAdminSelectWidget(),
        help_text="What the scores of a classifier are. Confidence needs probabilities or logits.",
    )
    classes = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Names of the classes, one per line, in the order of the scores, if the file only numbers them.",
    )
    check = forms.FileField(
        required=False,
        label="Rows to check",
        widget=UnfoldAdminFileFieldWidget,
        help_text="CSV or Parquet with the framework's own predictions in the column prediction, and if you like "
        "probability, probability_CLASS or score. The upload is refused if the file predicts something else.",
    )

    class Meta:
        model = ModelVersion
        fields = ["model", "version", "notes"]
        widgets = {
            "model": UnfoldAdminSelectWidget(),
            "version": UnfoldAdminTextInputWidget(attrs={"placeholder": "1.0.0"}),
            "notes": UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        }

    def _post_clean(self) -> None:
        """Upload as the last step of validation: after it, the form would find the row a duplicate of itself."""
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        data = self.cleaned_data
        names, classes = (
            [name.strip() for name in data[field].splitlines() if name.strip()]
            for field in ("feature_names", "classes")
        )
        declared = Declaration.of(data["task"], data["scores"], classes)
        try:
            self.created = upload_version(
                model=data["model"],
                version=data["version"],
                files=data["artefact"],
                feature_names=names or None,
                declared=declared,
                check=data["check"],
                notes=data["notes"],
                user=self.user,
            )
        except UndeclaredOutputError as error:
            advice = error.advice("Choose the files again, and", "task {task}", "and scores {scores}")
            self.add_error("task", f"{error.question} {advice}")
        except CheckFileError as error:
            self.add_error("check", str(error))
        except ArtefactError as error:
            self.add_error("artefact", str(error))
        except ValidationError as error:
            self.add_error(None, error)
