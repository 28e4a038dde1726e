"""Model versions in the admin: upload, features, stages."""

from dataclasses import replace
from functools import partialmethod
from pathlib import Path
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten_fieldsets
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import TabularInline
from unfold.decorators import action, display
from unfold.forms import PaginationInlineFormSet

from accounts.admin.base import AuditedAdmin, user_of
from accounts.admin.page_parts import Column, Panel, Panels, confirmation_page
from accounts.roles import Action
from mlmon.schema import FeatureKind
from models_registry.admin.external_form import register_served_elsewhere
from models_registry.admin.models import SHORT_TEXT, link
from models_registry.admin.upload_form import VersionUploadForm
from models_registry.exceptions import ConflictError
from models_registry.models import ModelFeature, ModelVersion, Stage
from models_registry.selectors import consequences_of_stage, other_production_versions
from models_registry.services.versions import (
    FeatureEdit,
    check_feature_edits,
    edit_features,
    promote,
    set_stage,
)

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

FEATURES_PER_PAGE = 100  # Django accepts 1,000 fields of a form; a feature has five

version_panels: Panels[ModelVersion] = Panels()


class FeatureFormSet(PaginationInlineFormSet):
    """Edits of features, which the service checks together (two names may be swapped); the page saves them."""

    def validate_unique(self) -> None:
        return None

    def clean(self) -> None:
        super().clean()
        if any(self.errors) or not (edits := self.edits()):
            return
        try:
            check_feature_edits(version=self.instance, edits=edits)
        except ConflictError as error:
            raise ValidationError(str(error)) from error

    def edits(self) -> dict[int, FeatureEdit]:
        """Return what the person changed, by the feature's position."""
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

    def get_fields(self, request: HttpRequest, obj: ModelVersion | None = None) -> Any:
        return self.fields if obj is None or obj.is_served_here else [*self.fields[:-1]]  # there is no tensor

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ModelVersion | None = None) -> bool:
        allowed = Action.EDIT_VERSION.is_allowed(request.user)
        is_open = obj is None or (obj.stage == Stage.STAGING and not obj.references.exists())
        return allowed and is_open

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("models_registry.view_modelversion")


def _compared_panels(version: ModelVersion) -> list[Panel]:
    """Return the panels of a version and of the versions that it would replace."""
    return [
        replace(panel, key=f"{panel.key}-{one.pk}", title=f"{panel.title} of {one}, in {one.stage}")
        for one in (version, *other_production_versions(version))
        for panel in version_panels.of(one)
    ]


def stage_action(stage: Stage, icon: str) -> Any:
    """Return the button that moves a version to `stage`, after a confirmation."""

    @action(description=MOVES[stage], icon=icon, permissions=["change_stage"])
    def move(self: AuditedAdmin, request: HttpRequest, object_id: int) -> HttpResponse:
        version = self.row_or_404(request, object_id)
        if request.method != "POST":
            may_compare = stage is Stage.PRODUCTION and Action.SEE.is_allowed(request.user)
            return confirmation_page(
                self,
                request,
                row=version,
                title=f"{MOVES[stage]}: {version}",
                changes=consequences_of_stage(version, stage),
                button=MOVES[stage],
                is_final=stage is Stage.ARCHIVED,
                panels=_compared_panels(version) if may_compare else (),
            )
        try:
            if stage is Stage.PRODUCTION:
                promote(version=version, user=user_of(request))
            else:
                set_stage(version=version, stage=stage, user=user_of(request))
        except ConflictError as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            self.message_user(request, f"{version} is now in stage {stage.value}.")
        return redirect("admin:models_registry_modelversion_change", object_id)

    return move


@admin.register(ModelVersion)
class ModelVersionAdmin(AuditedAdmin):
    empty_text = (
        "A version is an ONNX file of a registered model. It is inspected before it is accepted, and stays in staging "
        "until someone promotes it. A version that another server serves is registered with its schema instead."
    )
    formfield_overrides = SHORT_TEXT
    change_form_outer_before_template = "admin/models_registry/modelversion/about.html"
    list_display = ["model", "version", "stage_label", "traffic_weight", "task_type", "served", "created_at"]
    list_filter = ["stage", "task_type", "model"]
    search_fields = ["model__name", "version"]
    list_select_related = ["model"]
    actions_list = ["register_served_elsewhere"]
    actions_detail = [{"title": "Change stage", "icon": "moving", "items": list(STAGE_ACTIONS)}]
    add_fieldsets = [
        (None, {"fields": ["model", "version", "artefact", "feature_names", "notes"]}),
        ("What the file does not prove", {"fields": ["task", "scores", "classes", "check"]}),
    ]
    fieldsets: Any = [
        (None, {"fields": [("model", "version"), ("stage", "traffic_weight"), "notes"]}),
        (
            "Outputs",
            {"fields": ["task_type", "class_names", ("label_output", "score_output"), "score_kind"]},
        ),
        ("Artefact", {"fields": ["framework", "remarks_list", "sha256", "size", ("created_by", "created_at")]}),
    ]
    fieldsets_elsewhere: Any = [
        fieldsets[0],
        ("Served elsewhere", {"fields": ["task_type", "class_names", ("created_by", "created_at")]}),
    ]
    fixed_fields = [name for name in flatten_fieldsets(fieldsets) if name != "notes"]
    inlines = [FeatureInline]
    forbidden = ("delete",)  # archive it instead; its history and observations refer to it
    opens_added_row = True
    recorded_by_service = ("add",)
    service_form = VersionUploadForm

    has_change_stage_permission = partialmethod(AuditedAdmin.is_allowed, Action.CHANGE_STAGE)
    has_upload_permission = partialmethod(AuditedAdmin.is_allowed, Action.UPLOAD_VERSION)
    register_served_elsewhere = register_served_elsewhere
    stage_label = Column(short_description="Stage", text="{row.stage}", admin_order_field="stage", label=STAGE_LABELS)
    size = Column(short_description="Size", text="{row.artefact_bytes:,} bytes", needs="artefact_bytes")
    promote = stage_action(Stage.PRODUCTION, "rocket_launch")
    start_shadow = stage_action(Stage.SHADOW, "visibility")
    back_to_staging = stage_action(Stage.STAGING, "undo")
    archive = stage_action(Stage.ARCHIVED, "archive")

    class Media:
        css = {"all": ["mlmon/figures.css"]}

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        version = self.get_object(request, object_id)
        context: dict[str, Any] = {"version": version}
        if version is not None and request.method == "GET" and Action.SEE.is_allowed(request.user):
            context["panels"] = version_panels.of(version)
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def get_fieldsets(self, request: HttpRequest, obj: ModelVersion | None = None) -> Any:
        if obj is not None and not obj.is_served_here:
            return self.fieldsets_elsewhere
        return super().get_fieldsets(request, obj)

    def get_inlines(self, request: HttpRequest, obj: ModelVersion | None) -> Any:
        return self.inlines if obj else []

    def save_model(self, request: HttpRequest, obj: ModelVersion, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=["notes"])
            return
        self.message_user(
            request, f"{obj} is in staging. Next, name its features, upload reference data and promote it."
        )

    def save_formset(self, request: HttpRequest, form: Any, formset: FeatureFormSet, change: bool) -> None:
        if edits := formset.edits():
            edit_features(version=form.instance, edits=edits, user=user_of(request))

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        return super().construct_change_message(request, form, [], add)  # the service records the features

    def get_actions_detail(self, request: HttpRequest, object_id: Any = None) -> list[Any]:
        # Only stages that change something; a request for another one returns an error message.
        version = self.get_object(request, str(object_id))
        useless = set()
        if version is not None:
            useless = {name for name, stage in STAGE_ACTIONS.items() if version.stage in (stage, Stage.ARCHIVED)}
            if version.stage == Stage.PRODUCTION and other_production_versions(version).exists():
                useless.discard("promote")  # it takes the others' traffic
        return [action for action in super().get_actions_detail(request, object_id) if action.path not in useless]

    @display(description="Served by", ordering="framework")
    def served(self, obj: ModelVersion) -> str:
        return f"mlmon ({obj.framework or 'ONNX'})" if obj.is_served_here else "another server"

    @display(description="Classes")
    def class_names(self, obj: ModelVersion) -> str:
        return ", ".join(obj.classes)

    @display(description="Changed or assumed")
    def remarks_list(self, obj: ModelVersion) -> str:
        if not obj.remarks:
            return "Nothing: the file is served as it was uploaded."
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{}</li>", ((remark,) for remark in obj.remarks)))

    @display(description="SHA-256")
    def sha256(self, obj: ModelVersion) -> SafeString:
        address = reverse("admin:models_registry_modelversion_artefact", args=[obj.pk])
        download = link(address, "Download the uploaded file")
        return format_html('<span class="long-word">{}</span> {}', obj.artefact_sha256, download)

    def get_urls(self) -> list[Any]:
        name = "models_registry_modelversion_artefact"
        return [
            path("<path:object_id>/artefact/", self.admin_site.admin_view(self.download), name=name),
            *super().get_urls(),
        ]

    def download(self, request: HttpRequest, object_id: str) -> FileResponse:
        """Return the file as it was uploaded."""
        version = self.row_or_404(request, object_id)
        if not self.has_view_permission(request, version):
            raise PermissionDenied
        if not version.is_served_here:
            raise Http404("The version is served elsewhere and has no file.")
        try:
            content = version.artefact.open()
        except FileNotFoundError:
            raise Http404("The file is missing.") from None
        filename = f"{version.model.name}-{version.version}{Path(version.artefact.name).suffix}"
        return FileResponse(content, as_attachment=True, filename=filename)
