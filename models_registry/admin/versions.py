"""Models and their versions in the admin."""

from dataclasses import replace
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Count, QuerySet, TextField
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.decorators import action, display
from unfold.forms import PaginationInlineFormSet
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.admin.audited import AuditedAdmin, user_of
from accounts.admin.confirmation import confirmation_page, is_confirmed
from accounts.admin.panels import Panel, Panels
from accounts.roles import Action
from mlmon.schema import FeatureKind
from models_registry.exceptions import ArtefactError, ConflictError
from models_registry.models import Model, ModelFeature, ModelVersion, Stage
from models_registry.selectors import consequences_of_stage
from models_registry.services import versions as services
from models_registry.services.versions import FeatureEdit

STAGE_LABELS = {
    Stage.PRODUCTION: "success",
    Stage.SHADOW: "info",
    Stage.STAGING: "warning",
    Stage.ARCHIVED: "danger",
}

MOVES = {
    Stage.PRODUCTION: "Promote to production",
    Stage.SHADOW: "Run as shadow",
    Stage.STAGING: "Back to staging",
    Stage.ARCHIVED: "Archive",
}
STAGE_ACTIONS = {
    "promote": Stage.PRODUCTION,
    "start_shadow": Stage.SHADOW,
    "back_to_staging": Stage.STAGING,
    "archive": Stage.ARCHIVED,
}


FEATURES_PER_PAGE = 100  # Django takes 1,000 fields of a form; a feature has five
SHORT_TEXT = {TextField: {"widget": UnfoldAdminTextareaWidget(attrs={"rows": 3})}}

version_panels: Panels[ModelVersion] = Panels()


@admin.register(Model)
class ModelModelAdmin(AuditedAdmin):
    empty_text = "A model is a name that programs call; its versions are ONNX files."
    formfield_overrides = SHORT_TEXT
    list_display = ["name", "description", "version_count", "created_at"]
    search_fields = ["name", "description"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        return super().get_queryset(request).annotate(n_versions=Count("versions"))

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return ["name", "description", *(["page", "capture"] if obj else [])]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return ["name", "page", "capture"] if obj else []

    @display(description="How it does")
    def page(self, obj: Model) -> SafeString:
        link = reverse("model-page", args=[obj.name])
        text = "Traffic, drift and performance over time"
        return format_html('<a href="{}" class="text-primary-600 dark:text-primary-500">{}</a>', link, text)

    @display(description="Capture")
    def capture(self, obj: Model) -> SafeString:
        link = reverse("admin:inference_capturepolicy_of_model", args=[obj.pk])
        text = "What is remembered of its predictions, and for how long"
        return format_html('<a href="{}" class="text-primary-600 dark:text-primary-500">{}</a>', link, text)

    @display(description="Versions")
    def version_count(self, obj: Any) -> SafeString:
        link = reverse("admin:models_registry_modelversion_changelist") + f"?model__id__exact={obj.pk}"
        return format_html('<a href="{}" class="text-primary-600 dark:text-primary-500">{}</a>', link, obj.n_versions)

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        created = services.register_model(name=obj.name, description=obj.description, user=user_of(request))
        obj.pk = created.pk

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> None:
        return None  # the service has written who registered it


class VersionUploadForm(forms.ModelForm[ModelVersion]):
    """Uploads an ONNX file; the check runs in the form, so that its reason stands beside the field."""

    artefact = forms.FileField(
        label="ONNX file",
        widget=UnfoldAdminFileFieldWidget,
        help_text="Export with zipmap=False. A pickle or joblib file is refused: loading one runs the uploader's code.",
    )
    feature_names = forms.CharField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 5}),
        help_text="One name a line, in the order of the model's inputs; leave empty to take the names of the graph.",
    )

    class Meta:
        model = ModelVersion
        fields = ["model", "version", "notes"]
        widgets = {
            "version": UnfoldAdminTextInputWidget(attrs={"placeholder": "1.0.0"}),
            "notes": UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        }

    def __init__(self, *args: Any, user: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._user = user
        self.uploaded: ModelVersion | None = None

    def clean_artefact(self) -> UploadedFile[bytes]:
        artefact: UploadedFile[bytes] = self.cleaned_data["artefact"]
        if (artefact.size or 0) > settings.MLMON_MAX_ARTEFACT_BYTES:
            raise ValidationError(f"The file is larger than {settings.MLMON_MAX_ARTEFACT_BYTES // 2**20} MiB.")
        return artefact

    def _post_clean(self) -> None:
        """Upload once all else is valid: afterwards the form would find the row a duplicate of itself."""
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        names = [name.strip() for name in self.cleaned_data["feature_names"].splitlines() if name.strip()]
        try:
            self.uploaded = services.upload_version(
                model=self.cleaned_data["model"],
                version=self.cleaned_data["version"],
                artefact=self.cleaned_data["artefact"],
                feature_names=names or None,
                notes=self.cleaned_data["notes"],
                user=self._user,
            )
        except ArtefactError as error:
            self.add_error("artefact", str(error))
        except ValidationError as error:
            self.add_error(None, error)

    def save(self, commit: bool = True) -> Any:
        """Return the row that the service has saved."""
        self.save_m2m = self._save_m2m  # type: ignore[method-assign,attr-defined]
        return self.uploaded


class FeatureFormSet(PaginationInlineFormSet):
    """Hands edits to the service, which checks them as a whole (two names may be swapped).

    They are made once the page's other forms are right too.
    """

    def __init__(self, *args: Any, user: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._user = user

    def validate_unique(self) -> None:
        return None

    def clean(self) -> None:
        super().clean()
        if any(self.errors) or not (edits := self._edits()):
            return
        try:
            services.check_feature_edits(version=self.instance, edits=edits)
        except ConflictError as error:
            raise ValidationError(str(error)) from error

    def save(self, commit: bool = True) -> list[ModelFeature]:
        if edits := self._edits():
            services.edit_features(version=self.instance, edits=edits, user=self._user)
        self.new_objects: list[ModelFeature] = []
        self.changed_objects: list[tuple[ModelFeature, list[str]]] = []
        self.deleted_objects: list[ModelFeature] = []
        return []

    def _edits(self) -> dict[int, FeatureEdit]:
        return {
            form.instance.position: FeatureEdit(
                name=form.cleaned_data["name"],
                kind=FeatureKind(form.cleaned_data["kind"]),
                is_required=form.cleaned_data["is_required"],
            )
            for form in self.forms
            if form.has_changed()
        }


class FeatureInline(TabularInline):
    model = ModelFeature
    verbose_name = "feature"
    verbose_name_plural = "schema"
    formset = FeatureFormSet
    per_page = FEATURES_PER_PAGE
    fields = ["position", "name", "kind", "is_required", "tensor_type", "input_name"]
    readonly_fields = ["position", "tensor_type", "input_name"]
    ordering = ["position"]
    extra = 0
    can_delete = False
    show_count = True
    tab = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ModelVersion | None = None) -> bool:
        allowed = Action.EDIT_VERSION.is_allowed(request.user)
        is_open = obj is None or (obj.stage == Stage.STAGING and not obj.references.exists())
        return allowed and is_open

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("models_registry.view_modelversion")


@admin.register(ModelVersion)
class ModelVersionAdmin(AuditedAdmin):
    empty_text = (
        "A version is an ONNX file of a registered model. It is checked and tried before it is accepted, and waits "
        "in staging until somebody promotes it."
    )
    formfield_overrides = SHORT_TEXT
    change_form_outer_before_template = "admin/models_registry/modelversion/about.html"
    list_display = ["model", "version", "stage_label", "traffic_weight", "task_type", "framework", "created_at"]
    list_filter = ["stage", "task_type", "model"]
    search_fields = ["model__name", "version"]
    list_select_related = ["model"]
    actions_detail = [{"title": "Change stage", "icon": "moving", "items": list(STAGE_ACTIONS)}]
    inlines = [FeatureInline]

    class Media:
        css = {"all": ["models_registry/figures.css"]}

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        version = self.get_object(request, object_id)
        context: dict[str, Any] = {"version": version}
        if version is not None and request.method == "GET" and _may_see(request):
            context["panels"] = version_panels.of(version)
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def get_fieldsets(self, request: HttpRequest, obj: ModelVersion | None = None) -> Any:
        if obj is None:
            return [(None, {"fields": ["model", "version", "artefact", "feature_names", "notes"]})]
        return [
            (None, {"fields": [("model", "version"), ("stage", "traffic_weight"), "notes"]}),
            (
                "What it answers",
                {"fields": ["task_type", "class_names", ("label_output", "score_output"), "scores_are_probabilities"]},
            ),
            ("Artefact", {"fields": ["framework", "sha256", "size", ("created_by", "created_at")]}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: ModelVersion | None = None) -> list[str]:
        if obj is None:
            return []
        return [
            *(
                "model",
                "version",
                "stage",
                "traffic_weight",
                "task_type",
                "class_names",
                "label_output",
                "score_output",
            ),
            *("scores_are_probabilities", "framework", "sha256", "size", "created_by", "created_at"),
        ]

    def get_inlines(self, request: HttpRequest, obj: ModelVersion | None) -> Any:
        return self.inlines if obj else []

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is not None:
            return super().get_form(request, obj, change, **kwargs)
        # Built by hand: the upload's own fields are not of the model, and the check needs to know who uploads.
        user = user_of(request)

        class Form(VersionUploadForm):
            def __init__(self, *args: Any, **form_kwargs: Any) -> None:
                super().__init__(*args, user=user, **form_kwargs)
                self.fields["model"].widget = UnfoldAdminSelectWidget(choices=self.fields["model"].choices)  # type: ignore[attr-defined]

        return Form

    def save_model(self, request: HttpRequest, obj: ModelVersion, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=["notes"])

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        return super().construct_change_message(request, form, [], add)  # the service writes of the features

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> None:
        return None  # the service has written who uploaded it

    def response_add(
        self, request: HttpRequest, obj: ModelVersion, post_url_continue: str | None = None
    ) -> HttpResponse:
        self.message_user(
            request, f"{obj} is checked and in staging. Next: name its features, upload reference data, promote it."
        )
        return redirect("admin:models_registry_modelversion_change", obj.pk)

    def get_formset_kwargs(self, request: HttpRequest, obj: Any, inline: Any, prefix: str) -> dict[str, Any]:
        kwargs: dict[str, Any] = super().get_formset_kwargs(request, obj, inline, prefix)
        return {**kwargs, "user": user_of(request)}

    def get_actions_detail(self, request: HttpRequest, object_id: Any = None) -> list[Any]:
        # Only moves that change something are offered; whoever calls an address all the same is told why not.
        version = self.get_object(request, str(object_id))
        actions = super().get_actions_detail(request, object_id)
        useless = set(STAGE_ACTIONS) - _useful_actions(version) if version else set()
        return [action for action in actions if action.path not in useless]

    def has_change_stage_permission(self, request: HttpRequest, object_id: Any = None) -> bool:
        return Action.CHANGE_STAGE.is_allowed(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # archived instead: history and captured rows hang on it

    @display(description="Stage", label=STAGE_LABELS, ordering="stage")
    def stage_label(self, obj: ModelVersion) -> str:
        return obj.stage

    @display(description="Classes")
    def class_names(self, obj: ModelVersion) -> str:
        return ", ".join(obj.classes)

    @display(description="SHA-256")
    def sha256(self, obj: ModelVersion) -> SafeString:
        return format_html('<span class="long-word">{}</span>', obj.artefact_sha256)

    @display(description="Size")
    def size(self, obj: ModelVersion) -> str:
        return f"{obj.artefact_bytes:,} bytes"

    @action(description=MOVES[Stage.PRODUCTION], icon="rocket_launch", permissions=["change_stage"])
    def promote(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return self._move(request, object_id, Stage.PRODUCTION)

    @action(description=MOVES[Stage.SHADOW], icon="visibility", permissions=["change_stage"])
    def start_shadow(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return self._move(request, object_id, Stage.SHADOW)

    @action(description=MOVES[Stage.STAGING], icon="undo", permissions=["change_stage"])
    def back_to_staging(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return self._move(request, object_id, Stage.STAGING)

    @action(description=MOVES[Stage.ARCHIVED], icon="archive", permissions=["change_stage"])
    def archive(self, request: HttpRequest, object_id: int) -> HttpResponse:
        return self._move(request, object_id, Stage.ARCHIVED)

    def _move(self, request: HttpRequest, object_id: int, stage: Stage) -> HttpResponse:
        version = self.row_or_404(request, object_id)
        if not self.has_change_stage_permission(request):
            raise PermissionDenied
        if not is_confirmed(request):
            return confirmation_page(
                self,
                request,
                row=version,
                title=f"{MOVES[stage]}: {version}",
                changes=consequences_of_stage(version, stage),
                button=MOVES[stage],
                is_final=stage is Stage.ARCHIVED,
                panels=_beside_each_other(version) if stage is Stage.PRODUCTION and _may_see(request) else (),
            )
        try:
            if stage is Stage.PRODUCTION:
                services.promote(version=version, user=user_of(request))
            else:
                services.set_stage(version=version, stage=stage, user=user_of(request))
        except ConflictError as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            self.message_user(request, f"{version} is now in stage {stage.value}.")
        return redirect("admin:models_registry_modelversion_change", object_id)


def _may_see(request: HttpRequest) -> bool:
    """Return whether a person may see what other apps show of a version."""
    return Action.SEE.is_allowed(request.user)


def _beside_each_other(version: ModelVersion) -> list[Panel]:
    """Return the panels of a version, and of those that it would take the place of."""
    replaced = version.model.versions.filter(stage=Stage.PRODUCTION).exclude(pk=version.pk).select_related("model")
    return [
        replace(panel, key=f"{panel.key}-{one.pk}", title=f"{panel.title} of {one}, in {one.stage}")
        for one in (version, *replaced)
        for panel in version_panels.of(one)
    ]


def _useful_actions(version: ModelVersion) -> set[str]:
    """Return the names of the actions that would change where `version` stands."""
    if version.stage == Stage.ARCHIVED:
        return set()
    names = {name for name, stage in STAGE_ACTIONS.items() if stage != version.stage}
    shares_traffic = version.model.versions.filter(stage=Stage.PRODUCTION).exclude(pk=version.pk).exists()
    return names | {"promote"} if shares_traffic else names
