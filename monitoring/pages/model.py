"""The page of one model: its versions, its charts and the distributions of its predictions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse

from drift.models import DriftCheck
from inference.selectors import TrafficSeries, traffic_series
from inference.traffic import CONFIDENCE_EDGES, LATENCY_EDGES
from mlmon.report.views import Tag
from mlmon.schema import TaskType
from models_registry.models import Model, ModelVersion, Stage
from monitoring import selectors
from monitoring.pages.attention import reasons_of
from monitoring.pages.charts import Chart, Span, Steps, TimeRange
from monitoring.pages.figures import (
    Figure,
    drift_tag,
    headline,
    histogram_quantile,
    number_figure,
    ratio_figure,
    seconds_figure,
)
from monitoring.pages.model_charts import class_chart, drift_charts, incident_spans, performance_chart, traffic_charts
from monitoring.pages.overview import TONES, overview_line
from monitoring.selectors import VersionFacts
from performance.measures import headline_of
from performance.services.reports import baseline_of

MOST_VERSIONS = 6
MOST_CLASSES = 12
ORDER = {stage: place for place, stage in enumerate((Stage.PRODUCTION, Stage.SHADOW, Stage.STAGING, Stage.ARCHIVED))}
ROLES = {Stage.SHADOW: "challenger, receives copies", Stage.STAGING: "not in use", Stage.ARCHIVED: "archived"}
Traffic = dict[int, TrafficSeries]


@dataclass(frozen=True, slots=True)
class VersionLine:
    """One version over the time range of the page.

    Attributes
    ----------
    part
        Champion, challenger, or another role.
    requests, predictions
        Requests of clients; predictions include copies for a shadow and rows served elsewhere.
    share
        Share of the requests of all versions.
    """

    version: ModelVersion
    url: str
    part: str
    requests: Figure
    share: Figure
    predictions: Figure
    p50: Figure
    p95: Figure
    errors: Figure
    confidence: Figure
    realised: Figure
    estimated: Figure
    drift: Tag
    drift_url: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A share, and the length of its bar in percent of the longest one."""

    figure: Figure
    percent: float


@dataclass(frozen=True, slots=True)
class ShareRow:
    """One class or one bin of confidence, with a bar for each column; None for a column without figures."""

    name: str
    bars: list[Bar | None]


@dataclass(frozen=True, slots=True)
class ShareTable:
    """Shares by class or by bin of confidence, with a column for the reference and for each version."""

    columns: list[str]
    rows: list[ShareRow]
    left_out: int = 0


def model_context(model: Model, time_range: TimeRange, now: datetime) -> dict[str, Any]:
    """Return the context of ``monitoring/model_page.html``."""
    (state,) = selectors.model_states(now, names=[model.name])
    steps = Steps.of(time_range, now)
    rows = list(ModelVersion.objects.filter(model=model).select_related("model"))
    traffic = traffic_series(
        [row.pk for row in rows], span=time_range.span, since=steps.since, step_seconds=time_range.step_seconds
    )
    # The champion first; archived versions only if they had traffic.
    versions = [row for row in rows if row.stage != Stage.ARCHIVED or row.pk in traffic]
    versions.sort(key=lambda row: (ORDER[Stage(row.stage)], -row.traffic_weight, -row.pk))
    versions = versions[:MOST_VERSIONS]
    facts = selectors.facts_of([version.pk for version in versions])
    incidents = selectors.incidents_since(model, steps.since)
    reasons = reasons_of(state)
    return {
        "title": model.name,
        "state": state,
        "line": overview_line(state, reasons, now),
        "reasons": [(TONES[reason.urgency], reason) for reason in reasons],
        "ranges": [(one, f"{reverse('model-page', args=[model.name])}?range={one.key}") for one in TimeRange],
        "time_range": time_range,
        "version_lines": _version_lines(versions, traffic, facts),
        "left_out_versions": len(rows) - len(versions),
        "charts": list(_charts(state.shown, versions, traffic, facts, steps, incident_spans(incidents, steps))),
        "class_table": _class_table(versions, traffic, state.facts.check),
        "confidence_table": _confidence_table(versions, traffic),
        "incidents": incidents,
        "now": now,
    }


def _version_lines(
    versions: Sequence[ModelVersion], traffic: Traffic, facts: Mapping[int, VersionFacts]
) -> list[VersionLine]:
    all_requests = sum(int(series.requests.sum()) for series in traffic.values())
    champion = next((version.pk for version in versions if version.stage == Stage.PRODUCTION), None)
    lines = []
    for version in versions:
        series, fact = traffic.get(version.pk), facts[version.pk]
        requests, errors, predictions = (
            0 if series is None else int(getattr(series, name).sum()) for name in ("requests", "error", "predictions")
        )
        p50, p95 = (_quantile(q, LATENCY_EDGES, series, "latency_counts") for q in (0.5, 0.95))
        check_url = "" if fact.check is None else reverse("admin:drift_driftcheck_change", args=[fact.check.pk])
        line = VersionLine(
            version=version,
            url=reverse("admin:models_registry_modelversion_change", args=[version.pk]),
            part="champion" if version.pk == champion else ROLES.get(Stage(version.stage), "challenger"),
            requests=Figure(requests, f"{requests:,}"),
            share=ratio_figure(requests / all_requests if all_requests else None),
            predictions=Figure(predictions, f"{predictions:,}"),
            p50=seconds_figure(p50),
            p95=seconds_figure(p95),
            errors=ratio_figure(errors / requests if requests else None),
            confidence=number_figure(_quantile(0.5, CONFIDENCE_EDGES, series, "confidence_counts")),
            realised=number_figure(headline(fact.report, "realised")),
            estimated=number_figure(headline(fact.report, "estimated")),
            drift=drift_tag(fact.check),
            drift_url=check_url,
        )
        lines.append(line)
    return lines


def _quantile(q: float, edges: Sequence[float], series: TrafficSeries | None, name: str) -> float | None:
    return None if series is None else histogram_quantile(q, edges, getattr(series, name).sum(axis=0).tolist())


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


def _class_table(versions: Sequence[ModelVersion], traffic: Traffic, check: DriftCheck | None) -> ShareTable | None:
    """Return the shares of classes on the reference of the latest check and for each version; None without any."""
    columns: dict[str, dict[str, float]] = {}
    is_classifier = any(version.task_type != TaskType.REGRESSION for version in versions)
    if is_classifier and check is not None and check.result is not None:
        columns["reference"] = _shares(dict(check.result.prediction.reference_dist))
    for version in versions:
        series = traffic.get(version.pk)
        if series is not None and series.class_counts.any():
            counts = series.class_counts.sum(axis=0).tolist()
            columns[version.version] = _shares(dict(zip(version.classes, counts, strict=False)))
    names = sorted(
        {name for shares in columns.values() for name in shares},
        key=lambda name: -max(shares.get(name, 0.0) for shares in columns.values()),
    )
    return _share_table(columns, names[:MOST_CLASSES], left_out=max(0, len(names) - MOST_CLASSES))


def _confidence_table(versions: Sequence[ModelVersion], traffic: Traffic) -> ShareTable | None:
    """Return the shares of predictions by confidence for each version; None without any."""
    names = [f"up to {edge:g}" for edge in CONFIDENCE_EDGES] + [f"above {CONFIDENCE_EDGES[-1]:g}"]
    columns = {}
    for version in versions:
        if version.pk in traffic:
            counts = traffic[version.pk].confidence_counts.sum(axis=0)
            if counts.any():
                columns[version.version] = _shares(dict(zip(names, counts.tolist(), strict=True)))
    return _share_table(columns, [name for name in names if any(shares[name] for shares in columns.values())])


def _shares(counts: dict[str, float]) -> dict[str, float]:
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items()} if total else {}


def _share_table(columns: dict[str, dict[str, float]], names: Sequence[str], *, left_out: int = 0) -> ShareTable | None:
    longest = max((shares.get(name, 0.0) for shares in columns.values() for name in names), default=0.0)
    if not longest:
        return None
    rows = []
    for name in names:
        values = [shares.get(name, 0.0) if shares else None for shares in columns.values()]
        rows.append(
            ShareRow(name, [None if one is None else Bar(ratio_figure(one), 100 * one / longest) for one in values])
        )
    return ShareTable(list(columns), rows, left_out)
