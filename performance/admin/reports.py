"""Performance reports and policies in the admin."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin
from django.utils import timezone
from unfold.decorators import display

from accounts.admin.base import AuditedAdmin, ReadOnlyAdmin
from accounts.admin.page_parts import Column
from mlmon.detection.performance import DropStatus
from mlmon.figures import ago_text, duration_text, number_text
from performance.measures import headline_of
from performance.models import SMALLEST_PERFORMANCE_WINDOW, PerformancePolicy, PerformanceReport, Period
from performance.services.reports import baseline_of

NOTHING = "-"
DROP_NAMES = {
    DropStatus.DROP: "confirmed",
    DropStatus.NO_DROP: "none",
    DropStatus.IMPROVEMENT: "none, it improved",
    DropStatus.INSUFFICIENT_DATA: "insufficient data",
}
DROP_COLOURS = {
    DropStatus.DROP: "danger",
    DropStatus.NO_DROP: "success",
    DropStatus.IMPROVEMENT: "success",
    DropStatus.INSUFFICIENT_DATA: "warning",
}
FIGURE_NAMES = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "f1_score": "F1, mean of the classes",
    "precision": "Precision, mean of the classes",
    "recall": "Recall, mean of the classes",
    "roc_auc": "ROC AUC",
    "log_loss": "Log loss",
    "brier_score": "Brier score",
    "expected_calibration_error": "Expected calibration error",
    "mean_absolute_error": "Mean absolute error",
    "root_mean_squared_error": "Root mean squared error",
    "r2_score": "R squared",
    "bias": "Bias (predicted minus actual)",
}


@dataclass(frozen=True, slots=True)
class FigureLine:
    """One figure: realised, estimated for the same predictions and for all, and on the reference."""

    name: str
    realised: str
    estimated_of_labelled: str
    estimated: str
    reference: str
    note: str


@dataclass(frozen=True, slots=True)
class ConfusionLine:
    """The predictions with one true class: number and share (0 to 1) by predicted class."""

    actual: str
    counts: list[tuple[str, float]]
    recall: str


class PerformancePolicyForm(forms.ModelForm[PerformancePolicy]):
    """Explains the constraints of the database in its error messages."""

    class Meta:
        model = PerformancePolicy
        fields = ["model", "window_rows", "minimum_rows", "false_alarm_budget"]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        window, minimum = cleaned.get("window_rows"), cleaned.get("minimum_rows")
        if minimum is not None and minimum < SMALLEST_PERFORMANCE_WINDOW:
            self.add_error("minimum_rows", f"Give at least {SMALLEST_PERFORMANCE_WINDOW} rows.")
        elif window is not None and minimum is not None and window < minimum:
            self.add_error("window_rows", f"Give at least the minimum of {minimum} rows.")
        return cleaned


@admin.register(PerformancePolicy)
class PerformancePolicyAdmin(AuditedAdmin):
    empty_text = (
        "Models without a policy are measured with the defaults. Add a policy to change the number of predictions, or "
        "how rare false alarms of the performance alert are."
    )
    form = PerformancePolicyForm
    list_display = ["model", "window_rows", "minimum_rows", "false_alarm_budget", "updated_at"]
    list_select_related = ["model"]
    search_fields = ["model__name"]
    fixed_fields = ("model",)


def report_context(report: PerformanceReport) -> dict[str, Any]:
    """Return the context of ``admin/performance/performancereport/figures.html``."""
    realised: Mapping[str, Any] = report.realised or {}
    drop = report.judged_drop
    return {
        "report": report,
        "figure_lines": list(_figure_lines(report)),
        "confusion_lines": list(_confusion_lines(realised)),
        "classes": list(realised.get("classes", {})),
        "computed_ago": ago_text(report.computed_at, timezone.now()),
        "drop": drop,
        "drop_name": drop and DROP_NAMES[drop.status],
        "drop_colour": drop and DROP_COLOURS[drop.status],
        "drop_phi": drop and drop.phi and number_text(drop.phi),
    }


@admin.register(PerformanceReport)
class PerformanceReportAdmin(ReadOnlyAdmin):
    empty_text = (
        "A report is written as soon as predictions have ground truth, or labelled reference data allows an estimate "
        "without it."
    )
    list_display = ["time", "version", "of", "figure", "estimated_figure", "drop_label", "labels"]
    list_display_links = ["time"]
    list_filter = ["version__model", "period", "computed_at"]
    list_select_related = ["version__model"]
    search_fields = ["version__model__name", "version__version"]
    show_full_result_count = False
    fields = [("version", "period"), ("started_at", "ended_at"), ("computed_at", "delay"), ("labels", "drop_label")]
    change_form_outer_before_template = "admin/performance/performancereport/figures.html"
    page_context = staticmethod(report_context)

    time = Column(short_description="Measured at", text="{row.computed_at:%Y-%m-%d %H:%M:%S}", admin_order_field="id")
    labels = Column(
        short_description="With ground truth",
        text="{row.labelled_rows:,} of {row.predicted_rows:,} ({row.label_coverage:.0%})",
        needs="label_coverage",
        empty="0",
        admin_order_field="labelled_rows",
    )

    class Media:
        css = {"all": ["mlmon/figures.css", "mlmon/result.css", "drift/admin.css"]}

    @display(description="Predictions", ordering="period")
    def of(self, obj: PerformanceReport) -> str:
        return "latest" if obj.period == Period.LATEST else obj.subject

    @display(description="Accuracy (or mean error)")
    def figure(self, obj: PerformanceReport) -> str:
        return figure_text(headline_of(obj.realised))

    @display(description="Estimated")
    def estimated_figure(self, obj: PerformanceReport) -> str:
        return figure_text(headline_of(obj.estimated))

    @display(description="Performance drop", label=DROP_COLOURS)
    def drop_label(self, obj: PerformanceReport) -> tuple[str, str] | str:
        drop = obj.judged_drop
        return NOTHING if drop is None else (drop.status.value, DROP_NAMES[drop.status])

    @display(description="Delay of ground truth", ordering="label_delay_seconds")
    def delay(self, obj: PerformanceReport) -> str:
        return NOTHING if obj.label_delay_seconds is None else duration_text(obj.label_delay_seconds)


def figure_text(value: float | None) -> str:
    """Return a figure with four digits, or a dash."""
    return NOTHING if value is None else number_text(value, 4)


def _figure_lines(report: PerformanceReport) -> Iterator[FigureLine]:
    reference: Mapping[str, Any] = baseline_of(report.version).figures or {}
    columns: list[Mapping[str, Any]] = [
        report.realised or {},
        report.estimated_of_labelled or {},
        report.estimated or {},
        reference,
    ]
    unavailable = (report.realised or {}).get("unavailable", {})
    for key, name in FIGURE_NAMES.items():
        if any(column.get(key) is not None for column in columns) or key in unavailable:
            realised, of_labelled, estimated, on_reference = (figure_text(column.get(key)) for column in columns)
            yield FigureLine(name, realised, of_labelled, estimated, on_reference, unavailable.get(key, ""))


def _confusion_lines(realised: Mapping[str, Any]) -> Iterator[ConfusionLine]:
    for (name, figures), counts in zip(
        realised.get("classes", {}).items(), realised.get("confusion_matrix", []), strict=True
    ):
        total = max(1, sum(counts))
        yield ConfusionLine(
            actual=name,
            counts=[(f"{count:,}", count / total) for count in counts],
            recall=figure_text(figures["recall"]),
        )
