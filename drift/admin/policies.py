"""Drift policies, with thresholds of single features."""

from collections.abc import Iterator
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

from drift.models import DriftPolicy, FeaturePolicy
from drift.selectors import feature_names

SMALLEST_MINIMUM_ROWS = 30


class DriftPolicyForm(forms.ModelForm[DriftPolicy]):
    """Says in words what the database's constraints refuse."""

    class Meta:
        model = DriftPolicy
        fields = [
            "model",
            "is_enabled",
            "mode",
            "false_alarm_budget",
            "window_rows",
            "window_seconds",
            "extra_window_rows",
            "minimum_rows",
            "interval_rows",
            "longest_pause_seconds",
            "feature_threshold",
            "prediction_threshold",
            "watches_correlation",
            "watches_joint_distribution",
        ]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        window, minimum = cleaned.get("window_rows"), cleaned.get("minimum_rows")
        if minimum is not None and minimum < SMALLEST_MINIMUM_ROWS:
            self.add_error("minimum_rows", f"At least {SMALLEST_MINIMUM_ROWS} rows are needed for a score.")
        elif window is not None and minimum is not None and window < minimum:
            self.add_error("window_rows", f"The window must hold the minimum of {minimum} rows.")
        if cleaned.get("false_alarm_budget") == 0:
            self.add_error("false_alarm_budget", "At least 1: one false alarm in each check.")
        if cleaned.get("interval_rows") == 0:
            self.add_error("interval_rows", "At least 1 new prediction must come between two checks.")
        return cleaned


class FeaturePolicyFormSet(BaseInlineFormSet[FeaturePolicy, DriftPolicy, forms.ModelForm[FeaturePolicy]]):
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


class FeaturePolicyInline(TabularInline):
    model = FeaturePolicy
    formset = FeaturePolicyFormSet
    fields = ["feature_name", "is_watched", "method", "threshold"]
    extra = 0
    verbose_name = "policy of one feature"
    verbose_name_plural = "single features"


@admin.register(DriftPolicy)
class DriftPolicyAdmin(ModelAdmin):
    form = DriftPolicyForm
    inlines = [FeaturePolicyInline]
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
        ("Verdict", {"fields": ["mode", "false_alarm_budget"]}),
        ("Window", {"fields": ["window_rows", "window_seconds", "extra_window_rows", "minimum_rows"]}),
        ("When a check is due", {"fields": ["interval_rows", "longest_pause_seconds"]}),
        ("Thresholds", {"fields": ["feature_threshold", "prediction_threshold"]}),
        ("Between features", {"fields": ["watches_correlation", "watches_joint_distribution"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[DriftPolicy]:
        return super().get_queryset(request).annotate(n_own_thresholds=Count("feature_policies"))

    def get_readonly_fields(self, request: HttpRequest, obj: DriftPolicy | None = None) -> list[str]:
        return ["model"] if obj else []

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """Return what the log keeps: of each field what it was and what it is."""
        if add:
            return super().construct_change_message(request, form, formsets, add)
        return " ".join([*_changes(form), *_feature_changes(formsets)])

    @display(description="Own thresholds", ordering="n_own_thresholds")
    def own_thresholds(self, obj: Any) -> int:
        return int(obj.n_own_thresholds)


def _changes(form: Any) -> Iterator[str]:
    """Yield a sentence for each field that a form changed."""
    for name in form.changed_data:
        if name in form.fields and name != "DELETE":
            label = form.fields[name].label or name.replace("_", " ")
            yield f"{label}: {_shown(form.initial.get(name))} → {_shown(form.cleaned_data.get(name))}."


def _feature_changes(formsets: Any) -> Iterator[str]:
    for form in (form for formset in formsets for form in formset.forms if form.has_changed()):
        if form.cleaned_data.get("DELETE"):
            yield f"{form.instance.feature_name} removed."
        else:
            yield f"{form.instance.feature_name}: {' '.join(_changes(form))}"


def _shown(value: object) -> str:
    return "none" if value in (None, "") else f"{value}"
