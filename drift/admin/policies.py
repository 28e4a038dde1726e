"""Drift policies, with settings of single features."""

import logging
from collections.abc import Mapping
from functools import cached_property, partialmethod
from typing import Any

import redis
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Count
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from unfold.admin import TabularInline
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from accounts.admin.base import AuditedAdmin, user_of
from accounts.admin.page_parts import Column, ListField, Panel, confirmation_page
from accounts.roles import Action
from drift.models import WINDOW_TOO_LARGE, DriftPolicy, FeaturePolicy, PolicyMode
from drift.services.checks import CHECK_ERRORS
from drift.services.season_preview import season_preview, switch_seasonal
from mlmon.measures import MEASURES, Method
from mlmon.schema import FeatureKind
from models_registry.selectors import feature_kinds

logger = logging.getLogger(__name__)

SMALLEST_MINIMUM_ROWS = 30
SEASONAL_TEXT = (
    "The verdict compares the rows of each hour of the day, or weekday, with those of the reference at the same hour "
    "in {zone}, for the features below. A cycle then raises no alarm and hides no change. Scores and thresholds stay "
    "as they are."
)
MOST_DIGITS = 20  # int() refuses thousands of them
# A form with more features would have more than the 1,000 fields that Django accepts.
MOST_FEATURE_POLICIES = 150


class RowCountsField(ListField):
    """Numbers of rows separated by commas, stored as a list."""

    widget = UnfoldAdminTextInputWidget

    def to_python(self, value: Any) -> Any:
        parts = [part.strip() for part in str(value or "").split(",") if part.strip()]
        if not all(part.isdecimal() for part in parts):
            raise ValidationError("Enter numbers of rows separated by commas, such as 500, 2000.")
        if any(len(part) > MOST_DIGITS for part in parts):
            raise ValidationError(WINDOW_TOO_LARGE)
        return [int(part) for part in parts]


class DriftPolicyForm(forms.ModelForm[DriftPolicy]):
    """Checks the database's constraints with messages for people."""

    extra_window_rows = RowCountsField(
        required=False,
        label="Further windows",
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "none"}),
        help_text="Rows of further windows that the verdict also tests, such as 500, 2000: shorter ones detect large "
        "changes sooner, longer ones detect small changes. Each costs as much as the first. Empty: none.",
    )

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
            "is_seasonal",
            "monitors_correlation",
            "monitors_joint_distribution",
        ]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        window, minimum = cleaned.get("window_rows"), cleaned.get("minimum_rows")
        if minimum is not None and minimum < SMALLEST_MINIMUM_ROWS:
            self.add_error("minimum_rows", f"A score needs at least {SMALLEST_MINIMUM_ROWS} rows.")
        elif window is not None and minimum is not None and window < minimum:
            self.add_error("window_rows", f"The window must have at least the minimum of {minimum} rows.")
        if cleaned.get("false_alarm_budget") == 0:
            self.add_error("false_alarm_budget", "Enter at least 1, which is one false alarm in each check.")
        if cleaned.get("interval_rows") == 0:
            self.add_error("interval_rows", "Enter at least 1 new prediction between two checks.")
        return cleaned


class FeaturePolicyFormSet(BaseInlineFormSet[FeaturePolicy, DriftPolicy, forms.ModelForm[FeaturePolicy]]):
    """Accepts the features that a version of the model has."""

    default_error_messages = {
        "too_many_forms": f"At most {MOST_FEATURE_POLICIES} features can have a policy of their own.",
    }

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        for name, field in form.fields.items():
            # A screen reader does not use the column's heading as a label.
            field.widget.attrs["aria-label"] = field.label or name.replace("_", " ")
        if self.instance.pk:
            # A stored name stays a choice even if no version has it now.
            names = sorted({*self._kinds, form.instance.feature_name} - {""})
            form.fields["feature_name"].widget = UnfoldAdminSelectWidget(
                attrs={"aria-label": "Feature name"}, choices=[("", "---------"), *((name, name) for name in names)]
            )

    def clean(self) -> None:
        super().clean()
        if self.instance.model_id is None:
            return  # the policy's form reports the missing model
        for form in self.forms:
            if form.is_valid() and form.has_changed() and not form.cleaned_data.get("DELETE"):
                self._check_feature(form)

    def _check_feature(self, form: Any) -> None:
        name, method = form.cleaned_data.get("feature_name"), form.cleaned_data.get("method")
        if name and name not in self._kinds:
            known = ", ".join(self._kinds) or "none yet: upload a version first"
            form.add_error(
                "feature_name",
                ValidationError(f"No version of {self.instance.model.name} has this feature. Choose from: {known}."),
            )
        elif method and self._kinds.get(name) == FeatureKind.CATEGORICAL and not MEASURES[Method(method)].categorical:
            message = "This feature is categorical, and its categories have no order. Choose another measure."
            form.add_error("method", message)

    @cached_property
    def _kinds(self) -> Mapping[str, str]:
        return feature_kinds(self.instance.model)


class FeaturePolicyInline(TabularInline):
    model = FeaturePolicy
    formset = FeaturePolicyFormSet
    fields = ["feature_name", "is_monitored", "method", "threshold"]
    extra = 0
    max_num = MOST_FEATURE_POLICIES
    verbose_name = "policy of one feature"
    verbose_name_plural = "single features"

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """Return the formset, limited to the forms that it accepts: Django's default would render 1,000 more."""
        return super().get_formset(request, obj, absolute_max=MOST_FEATURE_POLICIES, **kwargs)


@admin.register(DriftPolicy)
class DriftPolicyAdmin(AuditedAdmin):
    empty_text = (
        "Models without a policy are checked with the defaults, which suit most models. Add a policy to change a "
        "model's window, thresholds, methods or false-alarm budget."
    )
    form = DriftPolicyForm
    inlines = [FeaturePolicyInline]
    list_display = [
        "model",
        "is_enabled",
        "verdict",
        "window",
        "interval",
        "thresholds",
        "own_features",
        "updated_at",
    ]
    list_filter = ["is_enabled", "mode"]
    list_select_related = ["model"]
    search_fields = ["model__name"]
    annotations = {"n_own_features": Count("feature_policies")}
    fixed_fields = ("model", "in_words")
    actions_detail = ["seasonal"]
    has_seasonal_permission = partialmethod(AuditedAdmin.is_allowed, Action.SET_DRIFT_POLICY)

    interval = Column(short_description="Check every", text="{row.rows_between_checks:,} rows")
    thresholds = Column(
        short_description="Thresholds", text="{row.feature_threshold:g}, predictions {row.prediction_threshold:g}"
    )
    own_features = Column(
        short_description="Own features", text="{row.n_own_features}", admin_order_field="n_own_features"
    )

    class Media:
        css = {"all": ["drift/admin.css"]}

    def get_fieldsets(self, request: HttpRequest, obj: DriftPolicy | None = None) -> Any:
        about = ["model", "is_enabled", *(["in_words"] if obj else [])]
        return [
            (None, {"fields": about}),
            (
                "Verdict",
                {
                    "fields": ["mode", "false_alarm_budget"],
                    "description": "The default is at most one false alarm in 10,000 checks.",
                },
            ),
            (
                "Window",
                {
                    "fields": ["window_rows", "window_seconds", "extra_window_rows", "minimum_rows"],
                    "description": "Which predictions a check compares. By default the latest 1,000, of any age.",
                },
            ),
            (
                "When a check is due",
                {
                    "fields": ["interval_rows", "longest_pause_seconds"],
                    "description": "By new predictions, not by the clock: a check needs new data.",
                },
            ),
            (
                "Thresholds",
                {
                    "fields": ["feature_threshold", "prediction_threshold"],
                    "description": "Thresholds mark scores on pages and in metrics. The verdict ignores them.",
                },
            ),
            (
                "Cycles",
                {
                    "fields": ["is_seasonal"],
                    "description": 'The button "Seasonal comparison: preview" shows what this would change.',
                },
            ),
            ("Between features", {"fields": ["monitors_correlation", "monitors_joint_distribution"]}),
        ]

    @action(description="Seasonal comparison: preview", icon="date_range", permissions=["seasonal"])
    def seasonal(self, request: HttpRequest, object_id: int) -> HttpResponse:
        policy = self.row_or_404(request, object_id)
        page = redirect("admin:drift_driftpolicy_change", policy.pk)
        if request.method == "POST":
            switch_seasonal(policy=policy, is_seasonal=not policy.is_seasonal, user=user_of(request))
            how = "by hour of day or weekday" if policy.is_seasonal else "without phases"
            self.message_user(request, f"The verdict compares {policy.model.name} {how}.")
            return page
        try:
            preview = season_preview(policy)
        except (*CHECK_ERRORS, redis.RedisError):
            logger.exception("The seasonal comparison of %s could not be previewed.", policy.model.name)
            self.message_user(request, "The windows cannot be compared now. The log has the reason.", messages.ERROR)
            return page
        panel = Panel("preview", "What would change", "drift/season_preview.html", {"preview": preview})
        changes = [preview.obstacle or SEASONAL_TEXT.format(zone=preview.zone)]
        return confirmation_page(
            self,
            request,
            row=policy,
            title=f"Compare {policy.model.name} {'without phases' if policy.is_seasonal else 'by phase'}",
            changes=changes,
            button="Switch it off" if policy.is_seasonal else "Switch it on",
            panels=[] if preview.obstacle else [panel],
        )

    @display(description="In words")
    def in_words(self, obj: DriftPolicy) -> str:
        if not obj.is_enabled:
            return "This model is not checked for drift."
        every = obj.rows_between_checks
        checked = f"The latest {obj.window_rows:,} predictions are checked after every {every:,} new ones"
        if obj.mode == PolicyMode.THRESHOLDS:
            return f"{checked}. Scores above their thresholds are marked, and no incident opens."
        return (
            f"{checked}. An alarm opens an incident. At most one false alarm in {obj.false_alarm_budget:,} checks, "
            f"which is one in {every * obj.false_alarm_budget:,} predictions."
        )

    @display(description="False alarms", ordering="false_alarm_budget")
    def verdict(self, obj: DriftPolicy) -> str:
        return "no verdict" if obj.mode == PolicyMode.THRESHOLDS else f"one in {obj.false_alarm_budget:,}"

    @display(description="Window", ordering="window_rows")
    def window(self, obj: DriftPolicy) -> str:
        extra = " and ".join(f"{rows:,}" for rows in obj.extra_window_rows)
        return f"{obj.window_rows:,} rows" + (f", also {extra}" if extra else "")
