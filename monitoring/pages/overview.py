"""The overview: what needs attention, and a line for each model."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from django.urls import reverse

from drift.rendering.states import outcome_of
from inference.traffic_history import Recently
from mlmon.figures import ago_text
from mlmon.report.views import Tag, Tone
from mlmon.schema import TaskType
from models_registry.models import ModelVersion, Stage
from monitoring import selectors
from monitoring.pages.attention import Reason, Urgency, error_ratio, late_jobs, latency_quantile, names_text, reasons_of
from monitoring.pages.figures import Figure, accuracy_figure, rate_figure, ratio_figure, seconds_figure
from monitoring.pages.model_states import RECENT_MINUTES, SPARKLINE_MINUTES, ModelState, model_states
from performance.measures import headline_of
from performance.models import PerformanceReport

SPARKLINE_HEIGHT = 20
MOST_REASONS = 12
NOT_CHECKED = Tag("not checked", Tone.PLAIN, "No window was compared with the reference yet.")
TONES = {Urgency.NOW: Tone.ALARM, Urgency.SOON: Tone.WARNING, Urgency.SETUP: Tone.PLAIN}


@dataclass(frozen=True, slots=True)
class OverviewLine:
    """One model.

    Attributes
    ----------
    stage
        Of the version, and how many others there are.
    traffic_of
        What is counted: requests, or the rows of a model that is only told of.
    per_minute, p50, p95, errors
        Over the last `RECENT_MINUTES` minutes, all versions together; latencies in seconds, errors as a share.
    sparkline
        Of each of the last `SPARKLINE_MINUTES` minutes: the path of an SVG with a width of 1 for each minute.
    realised, estimated
        By ground truth, and without it: what `measure` says.
    """

    name: str
    url: str
    version: ModelVersion | None
    stage: str
    tags: tuple[Tag, ...]
    traffic_of: Literal["requests", "rows"]
    per_minute: Figure
    p50: Figure
    p95: Figure
    errors: Figure
    sparkline: str
    sparkline_text: str
    drift: Tag
    drift_of: str
    drift_url: str
    checked_at: datetime | None
    checked_ago: str
    measure: str
    realised: Figure
    estimated: Figure
    incident_url: str


def overview_context(now: datetime) -> dict[str, Any]:
    """Return the context of ``monitoring/overview.html``."""
    states = model_states(now)
    reasons = {state.pk: reasons_of(state) for state in states}
    states.sort(key=lambda state: (-_urgency(reasons[state.pk]), -_recent_traffic(state), state.name))
    everything = [reason for state in states for reason in reasons[state.pk]]
    urgent = [one for one in [*everything, *late_jobs(now, selectors.job_runs())] if one.urgency > Urgency.SETUP]
    urgent.sort(key=lambda reason: -reason.urgency)
    return {
        "lines": [overview_line(state, reasons[state.pk], now) for state in states],
        "urgent": [(TONES[reason.urgency], reason) for reason in urgent[:MOST_REASONS]],
        "more_urgent": max(0, len(urgent) - MOST_REASONS),
        "steps": [reason for reason in everything if reason.urgency == Urgency.SETUP],
        "requests_per_minute": rate_figure(per_minute_of(sum(state.recent.requests for state in states), now)),
        "open_incidents": sum(state.open_incidents for state in states),
        "recent_minutes": RECENT_MINUTES,
        "sparkline": {"width": SPARKLINE_MINUTES, "height": SPARKLINE_HEIGHT},
        "now": now,
    }


def overview_line(state: ModelState, reasons: Sequence[Reason], now: datetime) -> OverviewLine:
    """Return a model's line."""
    counts, shown, facts = state.recent, state.shown, state.facts
    check, incident = facts.check, facts.incident
    traffic_of: Literal["requests", "rows"] = "rows" if state.is_only_told_of else "requests"
    by_minute = state.by_minute.predictions if state.is_only_told_of else state.by_minute.requests
    return OverviewLine(
        name=state.name,
        url=reverse("model-page", args=[state.name]),
        version=shown,
        stage=_stage_text(state),
        tags=tuple(Tag(reason.short, TONES[reason.urgency], reason.text) for reason in reasons),
        traffic_of=traffic_of,
        per_minute=rate_figure(per_minute_of(_recent_traffic(state), now)),
        p50=seconds_figure(latency_quantile(0.5, counts)),
        p95=seconds_figure(latency_quantile(0.95, counts)),
        errors=ratio_figure(error_ratio(counts)),
        sparkline=bars_path(by_minute, height=SPARKLINE_HEIGHT),
        sparkline_text=_sparkline_text(by_minute, traffic_of),
        drift=NOT_CHECKED if check is None else outcome_of(check),
        drift_of=names_text(facts.drifted),
        drift_url="" if check is None else reverse("admin:drift_driftcheck_change", args=[check.pk]),
        checked_at=check.created_at if check else None,
        checked_ago=ago_text(check.created_at, now) if check else "",
        measure=measure_of(shown),
        realised=accuracy_figure(headline(facts.report, "realised")),
        estimated=accuracy_figure(headline(facts.report, "estimated")),
        incident_url="" if incident is None else reverse("admin:drift_driftincident_change", args=[incident.pk]),
    )


def measure_of(version: ModelVersion | None) -> str:
    """Return which figure stands for all of a version's performance."""
    return "mean absolute error" if version and version.task_type == TaskType.REGRESSION else "accuracy"


def _stage_text(state: ModelState) -> str:
    if state.shown is None:
        return ""
    own = Stage(state.shown.stage)
    others = {stage: count - (stage == own) for stage, count in state.versions.items()}
    return ", ".join([own.value, *(f"{count} more in {stage.value}" for stage, count in others.items() if count)])


def bars_path(values: Sequence[int], *, height: float) -> str:
    """Return bars as an SVG's path: each 1 wide, the highest as high as `height`, none for a zero."""
    highest = max(values, default=0)
    return " ".join(
        f"M{place + 0.1:g} {height:g}v-{max(1.0, height * value / highest):.3g}h.8V{height:g}z"
        for place, value in enumerate(values)
        if value
    )


def headline(report: PerformanceReport | None, kind: Literal["realised", "estimated"]) -> float | None:
    """Return the one figure of a report that stands for the others; None where there is none."""
    return headline_of(getattr(report, kind, None))


def _recent_traffic(state: ModelState) -> int:
    return state.recent.predictions if state.is_only_told_of else state.recent.requests


def per_minute_of(count: int, now: datetime) -> float:
    """Return the mean in a minute of what the last minutes brought."""
    return count / max(1.0, Recently.of(now, minutes=RECENT_MINUTES).minutes)


def _sparkline_text(counts: Sequence[int], what: str) -> str:
    if not any(counts):
        return f"No {what} in the last {SPARKLINE_MINUTES} minutes"
    return f"{sum(counts):,} {what} in the last {SPARKLINE_MINUTES} minutes, at most {max(counts):,} in one"


def _urgency(reasons: Sequence[Reason]) -> Urgency:
    """Return the highest; a step that is missing is no reason to come first."""
    highest = max((reason.urgency for reason in reasons), default=Urgency.NONE)
    return highest if highest > Urgency.SETUP else Urgency.NONE
