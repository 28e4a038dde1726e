"""Drift checks: read only, with the figures of every feature."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.decorators import display

from drift.models import CheckStatus, DriftCheck
from drift.results import FeatureResult, PredictionResult, ResultStatus
from drift.stored_results import result_of_check
from models_registry.admin.read_only import ReadOnlyAdmin

DRIFTED, QUIET, FAILED = "drifted", "no drift", "failed"
OUTCOME_LABELS = {DRIFTED: "warning", QUIET: "success", FAILED: "danger"}
STATUS_LABELS = {
    ResultStatus.OK: "success",
    ResultStatus.CONSTANT: "info",
    ResultStatus.INSUFFICIENT_DATA: "info",
    ResultStatus.IDENTIFIER: "info",
    ResultStatus.MISSING: "warning",
    ResultStatus.TYPE_CHANGED: "danger",
    ResultStatus.ERROR: "danger",
}


@dataclass(frozen=True, slots=True)
class FeatureLine:
    """One feature as a line of the page; widths in percent of the longest bar."""

    result: FeatureResult
    status_label: str
    score_percent: float
    threshold_percent: float


@dataclass(frozen=True, slots=True)
class ShareLine:
    """One class, or one bin of predicted numbers; shares in percent."""

    label: str
    reference_percent: float
    current_percent: float


class DriftedFilter(admin.SimpleListFilter):
    title = "drift"
    parameter_name = "drift"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("features", "features drifted"), ("predictions", "predictions drifted"), ("none", "no drift")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[DriftCheck]) -> QuerySet[DriftCheck]:
        if self.value() == "features":
            return queryset.filter(n_drifted_features__gt=0)
        if self.value() == "predictions":
            return queryset.filter(prediction_is_drifted=True)
        if self.value() == "none":
            return queryset.filter(status=CheckStatus.SUCCEEDED, n_drifted_features=0, prediction_is_drifted=False)
        return queryset


@admin.register(DriftCheck)
class DriftCheckAdmin(ReadOnlyAdmin):
    list_display = [
        "checked_at",
        "model_name",
        "version_name",
        "outcome",
        "window_rows",
        "drifted_features",
        "prediction_divergence",
        "check_status",
    ]
    list_display_links = ["checked_at"]
    list_filter = ["version__model", DriftedFilter, "status", "created_at"]
    list_select_related = ["version__model"]
    search_fields = ["version__model__name", "version__version"]
    show_full_result_count = False
    change_form_outer_before_template = "admin/drift/driftcheck/results.html"

    class Media:
        css = {"all": ["models_registry/figures.css"]}

    def get_fields(self, request: HttpRequest, obj: DriftCheck | None = None) -> list[str | tuple[str, str]]:
        about: list[str | tuple[str, str]] = [
            "version",
            "reference",
            ("checked_at", "duration"),
            ("window_started_at", "window_ended_at"),
        ]
        reason = ["error_message"] if obj and obj.status == CheckStatus.FAILED else []
        return [*reason, *about, ("n_reference", "n_current"), ("rows_seen", "window_end")]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        check = self.get_object(request, object_id)
        context = {} if check is None else results_context(check)
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    @display(description="Model", ordering="version__model__name")
    def model_name(self, obj: DriftCheck) -> str:
        return obj.version.model.name

    @display(description="Version", ordering="version__version")
    def version_name(self, obj: DriftCheck) -> str:
        return obj.version.version

    @display(description="Checked at", ordering="id")
    def checked_at(self, obj: DriftCheck) -> str:
        return f"{obj.created_at:%Y-%m-%d %H:%M:%S}"

    @display(description="Took")
    def duration(self, obj: DriftCheck) -> str:
        return f"{obj.duration_seconds * 1000:.1f} ms"

    @display(description="Window rows", ordering="n_current")
    def window_rows(self, obj: DriftCheck) -> int:
        return obj.n_current

    @display(description="Prediction divergence", ordering="prediction_js_divergence")
    def prediction_divergence(self, obj: DriftCheck) -> str:
        divergence = obj.prediction_js_divergence
        return "-" if divergence is None else f"{divergence:.4f}"

    @display(description="Result", label=OUTCOME_LABELS)
    def outcome(self, obj: DriftCheck) -> str:
        if obj.status == CheckStatus.FAILED:
            return FAILED
        return DRIFTED if obj.n_drifted_features or obj.prediction_is_drifted else QUIET

    @display(description="Drifted features", ordering="n_drifted_features")
    def drifted_features(self, obj: DriftCheck) -> str:
        return f"{obj.n_drifted_features} of {obj.n_features}"

    @display(
        description="Check",
        ordering="status",
        label={CheckStatus.SUCCEEDED: "success", CheckStatus.FAILED: "danger"},
    )
    def check_status(self, obj: DriftCheck) -> str:
        return obj.status


def results_context(check: DriftCheck) -> dict[str, Any]:
    """Return what the page shows below a check's fields; nothing for one that failed."""
    if check.status == CheckStatus.FAILED:
        return {}
    result = result_of_check(check)
    return {
        "feature_lines": feature_lines(result.ranked_features),
        "prediction": result.prediction,
        "prediction_status_label": STATUS_LABELS[result.prediction.status],
        "share_lines": list(share_lines(result.prediction)),
    }


def feature_lines(ranked: tuple[FeatureResult, ...]) -> list[FeatureLine]:
    """Return the lines of the table of features; all bars have one scale."""
    longest = max((max(feature.score or 0.0, feature.threshold) for feature in ranked), default=0.0) or 1.0
    return [
        FeatureLine(
            result=feature,
            status_label=STATUS_LABELS[feature.status],
            score_percent=100 * (feature.score or 0.0) / longest,
            threshold_percent=100 * feature.threshold / longest,
        )
        for feature in ranked
    ]


def share_lines(prediction: PredictionResult) -> Iterator[ShareLine]:
    """Yield the distribution of the predictions, reference beside current."""
    for label, share in prediction.reference_dist.items():
        yield ShareLine(label, 100 * share, 100 * prediction.current_dist.get(label, 0.0))
