"""Drift checks, read only: the verdict in words, and every feature with its picture."""

from typing import Any

from django.contrib import admin
from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Greatest
from django.http import HttpRequest
from unfold.decorators import display

from accounts.admin.base import ConditionFilter
from accounts.admin.page_parts import Column
from drift.admin.actions import CheckedVersionAdmin
from drift.models import CheckStatus, DriftCheck, DriftIncident, FeatureDrift
from drift.rendering.heat_map import HeatColumn, heat_map
from drift.rendering.states import (
    ABOVE,
    ADVICE,
    DRIFTED,
    FAILED,
    INCOMPLETE,
    NO_VERDICT,
    NOTHING_COMPARED,
    ONLY_PREDICTIONS,
    QUIET,
    outcome_of,
)
from mlmon.report.views import result_view
from mlmon.results import VerdictStatus

MOST_HEAT_COLUMNS, MOST_HEAT_ROWS = 40, 30
OUTCOME_LABELS = {
    DRIFTED.text: "danger",
    ABOVE.text: "warning",
    QUIET.text: "success",
    NO_VERDICT.text: "info",
    INCOMPLETE.text: "warning",
    NOTHING_COMPARED.text: "warning",
    ONLY_PREDICTIONS.text: "info",
    FAILED.text: "danger",
}


IS_ALARM = Q(verdict_status=VerdictStatus.ALARM)
HAS_DRIFTED_FEATURES, HAS_DRIFTED_PREDICTIONS = Q(n_drifted_features__gt=0), Q(prediction_is_drifted=True)
IS_INCOMPLETE = Q(verdict_status=VerdictStatus.INCOMPLETE) | Q(n_not_compared__gt=0)
HAS_NO_DRIFT = Q(status=CheckStatus.SUCCEEDED, n_compared__gt=0) & ~(
    IS_ALARM | HAS_DRIFTED_FEATURES | HAS_DRIFTED_PREDICTIONS | IS_INCOMPLETE
)


class OutcomeFilter(ConditionFilter):
    title = parameter_name = "result"
    conditions = {
        "alarm": ("drift: the verdict is an alarm", IS_ALARM),
        "features": ("a feature above its threshold", HAS_DRIFTED_FEATURES),
        "predictions": ("predictions above the threshold", HAS_DRIFTED_PREDICTIONS),
        "none": ("no drift", HAS_NO_DRIFT),
        "incomplete": ("incomplete: a feature could not be compared", IS_INCOMPLETE),
        "no_verdict": ("no verdict", Q(verdict_status=VerdictStatus.INSUFFICIENT_DATA)),
        "failed": ("failed", Q(status=CheckStatus.FAILED)),
    }


def results_context(check: DriftCheck) -> dict[str, Any]:
    """Return the context of ``admin/drift/driftcheck/results.html``: what a check found, or why it failed."""
    if check.status == CheckStatus.FAILED:
        return {"failure": check.error_message}
    view = result_view(check.comparison, advice=ADVICE)
    of_window = DriftCheck.objects.filter(version=check.version_id, window_end=check.window_end).exclude(pk=check.pk)
    names = [feature.name for feature in view.features]
    of_kind = check.version.drift_checks.filter(is_backfilled=check.is_backfilled, status=CheckStatus.SUCCEEDED)
    latest = of_kind.filter(pk__lte=check.pk).order_by("-id").values_list("pk", "created_at")[:MOST_HEAT_COLUMNS]
    columns = [HeatColumn(pk, checked_at, is_shown=pk == check.pk) for pk, checked_at in list(latest)[::-1]]
    rows = FeatureDrift.objects.filter(
        check_run__in=[column.check_id for column in columns], feature_name__in=names[:MOST_HEAT_ROWS]
    )
    scores = {(row.check_run_id, row.feature_name): row for row in rows.order_by().defer("result")}
    was_open = Q(closed_at=None) | Q(last_check__gte=check.pk)
    return {
        "view": view,
        "other_editions": [
            (other.pk, other.rule_edition, outcome_of(other))
            for other in of_window.defer("result").order_by("rule_edition")
        ],
        "incidents": DriftIncident.objects.filter(was_open, version=check.version_id, opened_by__lte=check.pk),
        "heat": heat_map(names[:MOST_HEAT_ROWS], columns, scores),
        "heat_left_out": max(0, len(names) - MOST_HEAT_ROWS),
    }


@admin.register(DriftCheck)
class DriftCheckAdmin(CheckedVersionAdmin):
    empty_text = (
        "A version in production or shadow that has reference data is checked automatically after every hundred new "
        "predictions."
    )
    list_display = [
        "checked_at",
        "window_ended_at",
        "version",
        "outcome",
        "strongest_feature",
        "features_above",
        "not_compared",
        "prediction_divergence",
    ]
    list_display_links = ["checked_at"]
    list_filter = ["version__model", OutcomeFilter, "is_backfilled", "rule_edition", "created_at"]
    list_select_related = ["version__model"]
    search_fields = ["version__model__name", "version__version"]
    show_full_result_count = False
    fields = [
        "version",
        "reference",
        ("checked_at", "duration"),
        "rule",
        "rows",
        ("window_times", "window_end"),
    ]
    actions_detail = ["check_now", "rebaseline"]
    change_form_outer_before_template = "admin/drift/driftcheck/results.html"
    page_context = staticmethod(results_context)

    rows = Column(
        short_description="Rows", text="{row.n_current:,} of the window, {row.n_reference:,} of the reference"
    )
    rule = Column(short_description="Rule", text="edition {row.rule_edition}")
    window_times = Column(
        short_description="Observed",
        text="{row.window_started_at:%Y-%m-%d %H:%M:%S} to {row.window_ended_at:%Y-%m-%d %H:%M:%S}",
        needs="window_ended_at",
    )
    strongest_feature = Column(short_description="Strongest", text="{row.strongest}", needs="strongest")
    features_above = Column(
        short_description="Above threshold",
        text="{row.n_drifted_features} of {row.n_features}",
        admin_order_field="n_drifted_features",
    )
    not_compared = Column(
        short_description="Not compared",
        text="{row.n_not_compared}",
        admin_order_field="n_not_compared",
    )
    prediction_divergence = Column(
        short_description="Predictions",
        text="{row.prediction_js_divergence:.4f}",
        needs="prediction_js_divergence",
        admin_order_field="prediction_js_divergence",
    )

    class Media:
        css = {"all": ["mlmon/figures.css", "mlmon/result.css", "drift/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[DriftCheck]:
        strength = F("score") / Greatest(F("threshold"), 1e-9)
        drifted = FeatureDrift.objects.filter(Q(is_confirmed=True) | Q(is_drifted=True), check_run=OuterRef("pk"))
        strongest = drifted.order_by("-is_confirmed", strength.desc(nulls_last=True)).values("feature_name")[:1]
        return super().get_queryset(request).defer("result").annotate(strongest=Subquery(strongest))

    def get_actions_detail(self, request: HttpRequest, object_id: Any = None) -> list[Any]:
        check = self.get_object(request, str(object_id))
        if check is None:
            return []
        hidden = set() if check.status == CheckStatus.SUCCEEDED else {"rebaseline"}
        return [offered for offered in super().get_actions_detail(request, object_id) if offered.path not in hidden]

    @display(description="Checked at", ordering="id")
    def checked_at(self, obj: DriftCheck) -> str:
        later = ", backfilled" if obj.is_backfilled else ""
        return f"{obj.created_at:%Y-%m-%d %H:%M:%S}{later}"

    @display(description="Took")
    def duration(self, obj: DriftCheck) -> str:
        return f"{obj.duration_seconds * 1000:.1f} ms"

    @display(description="Result", label=OUTCOME_LABELS)
    def outcome(self, obj: DriftCheck) -> str:
        return outcome_of(obj).text
