"""Capture policies in the admin, and which services of KServe belong to a model."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse
from unfold.decorators import display
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminTextareaWidget

from accounts.admin.base import AuditedAdmin, user_of
from accounts.admin.page_parts import ListField
from inference.models import SMALLEST_SAMPLING_RATE, CapturePolicy, KServeService
from inference.services.capture_policies import remove_capture_policy, save_capture_policy
from inference.services.kserve_services import remove_kserve_service, save_kserve_service
from models_registry.models import Model
from models_registry.selectors import feature_names


class NamesField(ListField):
    """Names, one per line, stored as a list without repetitions."""

    widget = UnfoldAdminTextareaWidget
    separator = "\n"

    def to_python(self, value: Any) -> Any:
        names = [name.strip() for name in str(value or "").splitlines()]
        return list(dict.fromkeys(name for name in names if name))


class CapturePolicyForm(forms.ModelForm[CapturePolicy]):
    """Accepts only names of features that a version of the model has."""

    never_stored_features = NamesField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text="One name per line. The model receives these features, but their values are not stored and their "
        "drift is not checked. Values that are already stored stay until their retention ends.",
    )

    class Meta:
        model = CapturePolicy
        fields = ["model", "sampling_rate", "never_stored_features", "retention_days", "archive_megabytes"]
        # Without a step, the browser's number field accepts whole numbers only.
        widgets = {"sampling_rate": UnfoldAdminDecimalFieldWidget(attrs={"step": SMALLEST_SAMPLING_RATE, "max": 1})}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        model = cleaned.get("model") or (self.instance.model if self.instance.pk else None)
        if model is not None:
            known = feature_names(model)
            unknown = [name for name in cleaned.get("never_stored_features") or [] if name not in known]
            if unknown:
                choices = ", ".join(known) or "none yet: upload a version first"
                reason = f"No version of {model.name} has the feature {unknown[0]!r}. Choose from: {choices}."
                self.add_error("never_stored_features", ValidationError(reason))
        return cleaned


@admin.register(CapturePolicy)
class CapturePolicyAdmin(AuditedAdmin):
    empty_text = (
        "All predictions of models without a policy are captured and kept as long as the server's settings say. "
        "Add a policy to capture only a sample, to leave features out, or to change how long they are kept."
    )
    form = CapturePolicyForm
    recorded_by_service = ("add", "change", "delete")
    list_display = ["model", "share", "left_out", "retention_days", "archive_megabytes", "updated_at"]
    list_select_related = ["model"]
    search_fields = ["model__name"]
    fixed_fields = ("model",)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.of_model)
        return [path("of-model/<int:model_id>/", view, name="inference_capturepolicy_of_model"), *super().get_urls()]

    def of_model(self, request: HttpRequest, model_id: int) -> HttpResponse:
        """Redirect to a model's policy, or to the form to add one, or, without permission, back with a message."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        model = get_object_or_404(Model, pk=model_id)
        policy = CapturePolicy.objects.filter(model=model).first()
        if policy is not None:
            return redirect("admin:inference_capturepolicy_change", policy.pk)
        if self.has_add_permission(request):
            return redirect(reverse("admin:inference_capturepolicy_add") + f"?model={model.pk}")
        self.message_user(request, f"{model} has no capture policy: all its predictions are captured.")
        return redirect("admin:models_registry_model_change", model.pk)

    @display(description="Captured", ordering="sampling_rate")
    def share(self, obj: CapturePolicy) -> str:
        return "all" if obj.sampling_rate == 1 else f"{obj.sampling_rate:.6g} of all"

    @display(description="Never stored")
    def left_out(self, obj: CapturePolicy) -> str:
        return ", ".join(obj.never_stored_features) or "none"

    def save_model(self, request: HttpRequest, obj: CapturePolicy, form: Any, change: bool) -> None:
        save_capture_policy(policy=obj, user=user_of(request))

    def delete_model(self, request: HttpRequest, obj: CapturePolicy) -> None:
        remove_capture_policy(policy=obj, user=user_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[CapturePolicy]) -> None:
        for policy in queryset:
            self.delete_model(request, policy)


@admin.register(KServeService)
class KServeServiceAdmin(AuditedAdmin):
    empty_text = (
        "A service of KServe belongs to the model of the same name. Add a row for a service with another name, for one "
        "of several namespaces, or to name the version that it runs."
    )
    recorded_by_service = ("add", "change", "delete")
    fields = ["namespace", "service", "model", "version"]
    list_display = ["service", "namespace", "model", "version", "created_at"]
    list_select_related = ["model", "version__model"]
    list_filter = ["namespace"]
    search_fields = ["namespace", "service", "model__name"]

    def save_model(self, request: HttpRequest, obj: KServeService, form: Any, change: bool) -> None:
        save_kserve_service(service=obj, user=user_of(request))

    def delete_model(self, request: HttpRequest, obj: KServeService) -> None:
        remove_kserve_service(service=obj, user=user_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[KServeService]) -> None:
        for service in queryset:
            self.delete_model(request, service)
