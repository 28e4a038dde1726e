"""The overview: what needs attention, and a line for each model."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from django.urls import reverse

from mlmon.report.views import Tag, Tone
from models_registry.models import ModelVersion
from monitoring import selectors
from monitoring.models import JobRun
from monitoring.pages.attention import Reason, Urgency, late_jobs, reasons_of
from monitoring.pages.figures import Figure, rate_figure, traffic_figures, version_figures
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
    drifted: str
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
    urgency, traffic = {}, {}
    for state in states:
        highest = max((reason.urgency for reason in reasons[state.pk]), default=Urgency.NONE)
        urgency[state.pk] = highest if highest > Urgency.SETUP else Urgency.NONE  # a missing step is not urgent
        traffic[state.pk] = state.recent.predictions if state.has_only_observations else state.recent.requests
    states.sort(key=lambda state: (-urgency[state.pk], -traffic[state.pk], state.name))
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
    shown, check, incident = state.shown, state.facts.check, state.facts.incident
    stages = []  # of the shown version, and of the others: "production, 1 more in shadow"
    if shown is not None:
        others = {stage: count - (stage == shown.stage) for stage, count in state.versions.items()}
        stages = [shown.stage, *(f"{count} more in {stage.value}" for stage, count in others.items() if count)]
    traffic = traffic_figures(state.recent, now, counts_rows=state.has_only_observations)
    traffic_of = traffic["traffic_of"]
    by_minute = state.by_minute.predictions if state.has_only_observations else state.by_minute.requests
    sparkline_text = f"No {traffic_of} in the last {SPARKLINE_MINUTES} minutes"
    if any(by_minute):
        highest = f"at most {max(by_minute):,} in one minute"
        sparkline_text = f"{sum(by_minute):,} {traffic_of} in the last {SPARKLINE_MINUTES} minutes, {highest}"
    return OverviewLine(
        name=state.name,
        url=reverse("model-page", args=[state.name]),
        version=shown,
        stage=", ".join(stages),
        tags=tuple(Tag(reason.short, TONES[reason.urgency], reason.text) for reason in reasons),
        **traffic,
        sparkline=bars_path(by_minute, height=SPARKLINE_HEIGHT),
        sparkline_text=sparkline_text,
        **version_figures(shown, state.facts, now),
        drift_url="" if check is None else reverse("admin:drift_driftcheck_change", args=[check.pk]),
        checked_at=check.created_at if check else None,
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
