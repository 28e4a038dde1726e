"""Models in the admin."""

from functools import partialmethod
from typing import Any

from django.contrib import admin
from django.db.models import Count, TextField
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextareaWidget

from accounts.admin.base import AuditedAdmin, user_of
from accounts.roles import Action
from models_registry.admin.traffic_form import share_out_traffic
from models_registry.models import Model
from models_registry.services.versions import register_model, save_changed_model

SHORT_TEXT = {TextField: {"widget": UnfoldAdminTextareaWidget(attrs={"rows": 3})}}


@admin.register(Model)
class ModelModelAdmin(AuditedAdmin):
    empty_text = "A model is a name that programs call; its versions are ONNX files."
    formfield_overrides = SHORT_TEXT
    list_display = ["name", "description", "version_count", "created_at"]
    search_fields = ["name", "description"]
    add_fieldsets = [(None, {"fields": ["name", "description", "time_zone"]})]
    fields = ["name", "description", "time_zone", "page", "capture"]
    fixed_fields = ("name", "page", "capture")
    annotations = {"n_versions": Count("versions")}
    recorded_by_service = ("add",)
    actions_detail = ["share_out_traffic"]

    class Media:
        css = {"all": ["mlmon/figures.css"]}

    has_change_stage_permission = partialmethod(AuditedAdmin.is_allowed, Action.CHANGE_STAGE)
    share_out_traffic = share_out_traffic

    @display(description="Monitoring")
    def page(self, obj: Model) -> SafeString:
        return link(reverse("model-page", args=[obj.name]), "Traffic, drift and performance over time")

    @display(description="Capture")
    def capture(self, obj: Model) -> SafeString:
        address = reverse("admin:inference_capturepolicy_of_model", args=[obj.pk])
        return link(address, "Which of its predictions are stored, and for how long")

    @display(description="Versions")
    def version_count(self, obj: Any) -> SafeString:
        address = reverse("admin:models_registry_modelversion_changelist") + f"?model__id__exact={obj.pk}"
        return link(address, obj.n_versions)

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        if change:
            save_changed_model(model=obj)
            return
        created = register_model(
            name=obj.name, description=obj.description, time_zone=obj.time_zone, user=user_of(request)
        )
        obj.pk = created.pk


def link(address: str, text: object) -> SafeString:
    """Return a link in a read-only field."""
    return format_html('<a href="{}" class="text-primary-600 dark:text-primary-500">{}</a>', address, text)
