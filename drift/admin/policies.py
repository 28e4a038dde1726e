"""Drift policies, with thresholds of single features."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Count, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget

from drift.models import DriftPolicy, FeatureThreshold
from drift.selectors import feature_names

SMALLEST_MINIMUM_ROWS = 30


class DriftPolicyForm(forms.ModelForm[DriftPolicy]):
    """Says in words what the database's constraints refuse."""

    class Meta:
        model = DriftPolicy
        fields = [
            "model",
            "is_enabled",
            "window_rows",
            "minimum_rows",
            "interval_rows",
            "feature_threshold",
            "prediction_threshold",
        ]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        window, minimum = cleaned.get("window_rows"), cleaned.get("minimum_rows")
        if minimum is not None and minimum < SMALLEST_MINIMUM_ROWS:
            self.add_error("minimum_rows", f"At least {SMALLEST_MINIMUM_ROWS} rows are needed for a score.")
        elif window is not None and minimum is not None and window < minimum:
            self.add_error("window_rows", f"The window must hold the minimum of {minimum} rows.")
        if cleaned.get("interval_rows") == 0:
            self.add_error("interval_rows", "At least 1 new prediction must come between two checks.")
        return cleaned


class FeatureThresholdFormSet(BaseInlineFormSet[FeatureThreshold, DriftPolicy, forms.ModelForm[FeatureThreshold]]):
    """Takes the names of features that a version of the model has."""

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        if self.instance.pk:
            # A stored name stays a choice, also where no version has it any more.
            names = sorted({*self._names(), form.instance.feature_name} - {""})
            form.fields["feature_name"].widget = UnfoldAdminSelectWidget(
                choices=[("", "---------"), *((name, name) for name in names)]
            )

    def clean(self) -> None:
        super().clean()
        if self.instance.model_id is None:
            return  # the policy's own form says that the model is missing
        names = self._names()
        for form in self.forms:
            name = form.cleaned_data.get("feature_name") if form.is_valid() else None
            if name and name not in names and not form.cleaned_data.get("DELETE") and form.has_changed():
                known = ", ".join(names) or "none yet: upload a version first"
                form.add_error(
                    "feature_name",
                    ValidationError(
                        f"No version of {self.instance.model.name} has this feature. Choose from: {known}."
                    ),
                )

    def _names(self) -> list[str]:
        if not hasattr(self, "_known_names"):
            self._known_names = feature_names(self.instance.model)
        return self._known_names


class FeatureThresholdInline(TabularInline):
    model = FeatureThreshold
    formset = FeatureThresholdFormSet
    fields = ["feature_name", "threshold"]
    extra = 0
    verbose_name = "threshold of one feature"
    verbose_name_plural = "thresholds of single features"


@admin.register(DriftPolicy)
class DriftPolicyAdmin(ModelAdmin):
    form = DriftPolicyForm
    inlines = [FeatureThresholdInline]
    list_display = [
        "model",
        "is_enabled",
        "window_rows",
        "minimum_rows",
        "interval_rows",
        "feature_threshold",
        "prediction_threshold",
        "own_thresholds",
        "updated_at",
    ]
    list_filter = ["is_enabled"]
    list_select_related = ["model"]
    search_fields = ["model__name"]
    autocomplete_fields = ["model"]
    fieldsets = [
        (None, {"fields": ["model", "is_enabled"]}),
        ("Window", {"fields": ["window_rows", "minimum_rows", "interval_rows"]}),
        ("Thresholds", {"fields": ["feature_threshold", "prediction_threshold"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[DriftPolicy]:
        return super().get_queryset(request).annotate(n_own_thresholds=Count("feature_thresholds"))

    def get_readonly_fields(self, request: HttpRequest, obj: DriftPolicy | None = None) -> list[str]:
        return ["model"] if obj else []

    @display(description="Own thresholds", ordering="n_own_thresholds")
    def own_thresholds(self, obj: Any) -> int:
        return int(obj.n_own_thresholds)
