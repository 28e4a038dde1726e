"""The page of one model: its versions beside each other, and how they did over time."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.urls import reverse

from drift.models import DriftIncident
from inference.traffic_history import TrafficSeries, traffic_series
from models_registry.models import Model, ModelVersion, Stage
from monitoring.pages.attention import reasons_of
from monitoring.pages.charts import Chart, Span
from monitoring.pages.distributions import class_table, confidence_table
from monitoring.pages.history_charts import drift_charts, incident_spans, performance_chart
from monitoring.pages.model_states import VersionFacts, facts_of, model_states
from monitoring.pages.overview import TONES, overview_line
from monitoring.pages.time_ranges import Steps, TimeRange
from monitoring.pages.traffic_charts import class_chart, traffic_charts
from monitoring.pages.version_lines import version_lines
from performance.measures import headline_of
from performance.services.reports import baseline_of

MOST_VERSIONS = 6
ORDER = {stage: place for place, stage in enumerate((Stage.PRODUCTION, Stage.SHADOW, Stage.STAGING, Stage.ARCHIVED))}
Traffic = dict[int, TrafficSeries]


def model_context(model: Model, time_range: TimeRange, now: datetime) -> dict[str, Any]:
    """Return the context of ``monitoring/model_page.html``."""
    (state,) = model_states(now, names=[model.name])
    steps = Steps.of(time_range, now)
    rows = list(ModelVersion.objects.filter(model=model).select_related("model"))
    traffic = traffic_series(
        [row.pk for row in rows], span=time_range.span, since=steps.since, step_seconds=time_range.step_seconds
    )
    versions = _compared(rows, traffic)
    facts = facts_of([version.pk for version in versions])
    incidents = _incidents(model, steps)
    reasons = reasons_of(state)
    return {
        "title": model.name,
        "state": state,
        "line": overview_line(state, reasons, now),
        "reasons": [(TONES[reason.urgency], reason) for reason in reasons],
        "ranges": [(one, f"{reverse('model-page', args=[model.name])}?range={one.key}") for one in TimeRange],
        "time_range": time_range,
        "version_lines": version_lines(versions, traffic, facts),
        "left_out_versions": len(rows) - len(versions),
        "charts": list(_charts(state.shown, versions, traffic, facts, steps, incident_spans(incidents, steps))),
        "class_table": class_table(versions, traffic, state.facts.check),
        "confidence_table": confidence_table(versions, traffic),
        "incidents": incidents,
        "now": now,
    }


def _compared(rows: Sequence[ModelVersion], traffic: Traffic) -> list[ModelVersion]:
    """Return the versions that the page compares, the champion first; archived ones only with traffic."""
    shown = [row for row in rows if row.stage != Stage.ARCHIVED or row.pk in traffic]
    shown.sort(key=lambda row: (ORDER[Stage(row.stage)], -row.traffic_weight, -row.pk))
    return shown[:MOST_VERSIONS]


def _incidents(model: Model, steps: Steps) -> list[DriftIncident]:
    """Return the model's incidents of that time, the newest first."""
    in_time = Q(closed_at=None) | Q(closed_at__gte=steps.since)
    rows = DriftIncident.objects.filter(in_time, version__model=model).defer("hypotheses")
    return list(rows.select_related("version__model").order_by("-id"))


def _charts(
    shown: ModelVersion | None,
    versions: Sequence[ModelVersion],
    traffic: Traffic,
    facts: Mapping[int, VersionFacts],
    steps: Steps,
    spans: Sequence[Span],
) -> Iterator[Chart]:
    yield from traffic_charts(versions, traffic, steps, spans)
    if shown is None:
        return
    classes = class_chart(shown, traffic, steps, spans)
    if classes is not None:
        yield classes
    measured = [version for version in versions if facts[version.pk].report is not None]
    reference = headline_of(baseline_of(shown).figures)
    yield performance_chart(measured or [shown], reference, steps, spans)
    yield from drift_charts(shown, steps, spans)
