"""The overview: what needs attention, and a line for each model."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from django.urls import reverse

from mlmon.figures import ago_text
from mlmon.report.views import Tag, Tone
from models_registry.models import ModelVersion, Stage
from monitoring import selectors
from monitoring.models import JobRun
from monitoring.pages.attention import Reason, Urgency, late_jobs, reasons_of
from monitoring.pages.figures import (
    Figure,
    drift_tag,
    error_ratio,
    headline,
    latency_quantile,
    measure_of,
    names_text,
    number_figure,
    rate_figure,
    ratio_figure,
    seconds_figure,
)
from monitoring.selectors import RECENT_MINUTES, SPARKLINE_MINUTES, ModelState

SPARKLINE_HEIGHT = 20
MOST_REASONS = 12
TONES = {Urgency.NOW: Tone.ALARM, Urgency.SOON: Tone.WARNING, Urgency.SETUP: Tone.PLAIN}


@dataclass(frozen=True, slots=True)
class OverviewLine:
    """One model.

    Attributes
    ----------
    stage
        Stage of the shown version, and the number of other versions.
    traffic_of
        What is counted: requests, or rows for a model with observations only.
    per_minute, p50, p95, errors
        Traffic of all versions in the last `RECENT_MINUTES` minutes; latencies in seconds, errors as a share.
    sparkline
        Path of an SVG with a bar for each of the last `SPARKLINE_MINUTES` minutes.
    realised, estimated
        Performance with and without ground truth, in the terms of `measure`.
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
    states = selectors.model_states(now)
    reasons = {state.pk: reasons_of(state) for state in states}

    def order(state: ModelState) -> tuple[int, int, str]:
        """Order by urgency (a missing step is not urgent), then by traffic."""
        highest = max((reason.urgency for reason in reasons[state.pk]), default=Urgency.NONE)
        return -(highest if highest > Urgency.SETUP else Urgency.NONE), -_recent_traffic(state), state.name

    states.sort(key=order)
    all_reasons = [reason for state in states for reason in reasons[state.pk]]
    urgent = [one for one in [*all_reasons, *late_jobs(now, JobRun.objects.all())] if one.urgency > Urgency.SETUP]
    all_facts = [facts for state in states for facts in (state.facts, *state.others.values())]
    urgent.sort(key=lambda reason: -reason.urgency)
    return {
        "lines": [overview_line(state, reasons[state.pk], now) for state in states],
        "urgent": [(TONES[reason.urgency], reason) for reason in urgent[:MOST_REASONS]],
        "more_urgent": max(0, len(urgent) - MOST_REASONS),
        "steps": [reason for reason in all_reasons if reason.urgency == Urgency.SETUP],
        "requests_per_minute": rate_figure(sum(state.recent.requests for state in states), now),
        "open_incidents": sum(facts.incident is not None for facts in all_facts),
        "recent_minutes": RECENT_MINUTES,
        "sparkline": {"width": SPARKLINE_MINUTES, "height": SPARKLINE_HEIGHT},
        "now": now,
    }


def overview_line(state: ModelState, reasons: Sequence[Reason], now: datetime) -> OverviewLine:
    """Return the line of a model."""
    counts, shown, facts = state.recent, state.shown, state.facts
    check, incident = facts.check, facts.incident
    traffic_of: Literal["requests", "rows"] = "rows" if state.has_only_observations else "requests"
    by_minute = state.by_minute.predictions if state.has_only_observations else state.by_minute.requests
    sparkline_text = f"No {traffic_of} in the last {SPARKLINE_MINUTES} minutes"
    if any(by_minute):
        highest = f"at most {max(by_minute):,} in one minute"
        sparkline_text = f"{sum(by_minute):,} {traffic_of} in the last {SPARKLINE_MINUTES} minutes, {highest}"
    return OverviewLine(
        name=state.name,
        url=reverse("model-page", args=[state.name]),
        version=shown,
        stage=_stage_text(state),
        tags=tuple(Tag(reason.short, TONES[reason.urgency], reason.text) for reason in reasons),
        traffic_of=traffic_of,
        per_minute=rate_figure(_recent_traffic(state), now),
        p50=seconds_figure(latency_quantile(0.5, counts)),
        p95=seconds_figure(latency_quantile(0.95, counts)),
        errors=ratio_figure(error_ratio(counts)),
        sparkline=bars_path(by_minute, height=SPARKLINE_HEIGHT),
        sparkline_text=sparkline_text,
        drift=drift_tag(check),
        drift_of=names_text(facts.drifted),
        drift_url="" if check is None else reverse("admin:drift_driftcheck_change", args=[check.pk]),
        checked_at=check.created_at if check else None,
        checked_ago=ago_text(check.created_at, now) if check else "",
        measure=measure_of(shown),
        realised=number_figure(headline(facts.report, "realised")),
        estimated=number_figure(headline(facts.report, "estimated")),
        incident_url="" if incident is None else reverse("admin:drift_driftincident_change", args=[incident.pk]),
    )


def bars_path(values: Sequence[int], *, height: float) -> str:
    """Return bars as the path of an SVG: each is 1 wide, the highest has height `height`, zeros have none."""
    highest = max(values, default=0)
    return " ".join(
        f"M{place + 0.1:g} {height:g}v-{max(1.0, height * value / highest):.3g}h.8V{height:g}z"
        for place, value in enumerate(values)
        if value
    )


def _stage_text(state: ModelState) -> str:
    """Return the stage of the shown version and the number of others: "production, 1 more in shadow"."""
    if state.shown is None:
        return ""
    own = Stage(state.shown.stage)
    others = {stage: count - (stage == own) for stage, count in state.versions.items()}
    return ", ".join([own.value, *(f"{count} more in {stage.value}" for stage, count in others.items() if count)])


def _recent_traffic(state: ModelState) -> int:
    return state.recent.predictions if state.has_only_observations else state.recent.requests
