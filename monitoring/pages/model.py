"""The page of one model: its versions, its charts and the distributions of its predictions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.urls import reverse

from drift.models import DriftCheck, DriftIncident
from inference.rejections import OTHERS, UNKNOWN_FEATURE, WHOLE_REQUEST, WHOLE_ROW
from inference.selectors import TrafficSeries, recent_rejections, traffic_series
from inference.traffic import CONFIDENCE_EDGES, LATENCY_EDGES
from mlmon.figures import ago_text, number_text, share_text
from mlmon.report.views import Tag
from mlmon.schema import TaskType
from models_registry.models import Model, ModelVersion, Stage
from monitoring import selectors
from monitoring.pages.attention import reasons_of
from monitoring.pages.charts import Chart, Span, Steps, TimeRange
from monitoring.pages.figures import Figure, drift_tag, headline, histogram_quantile, seconds_text
from monitoring.pages.model_charts import class_chart, drift_charts, incident_spans, performance_chart, traffic_charts
from monitoring.pages.overview import TONES, overview_line
from monitoring.selectors import VersionFacts
from performance.measures import headline_of
from performance.services.reports import baseline_of

MOST_VERSIONS = 6
MOST_CLASSES = 12
MOST_REJECTIONS = 12
SUBJECTS = {  # of a rejection that belongs to no feature
    UNKNOWN_FEATURE: "unknown key",
    WHOLE_ROW: "whole row",
    WHOLE_REQUEST: "whole request",
    OTHERS: "others",
}
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


@dataclass(frozen=True, slots=True)
class RejectionLine:
    """Rejected requests and observations for one feature and reason.

    Attributes
    ----------
    subject
        Name of the feature, or what was refused as a whole.
    is_feature
        Whether `subject` is the name of a feature.
    example
        The latest reason in words, without values.
    """

    subject: str
    is_feature: bool
    reason: str
    last_hour: Figure
    last_day: Figure
    last_at: datetime
    ago: str
    example: str


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
    was_open = Q(closed_at=None) | Q(closed_at__gte=steps.since)
    found = DriftIncident.objects.filter(was_open, version__model=model).select_related("version")
    incidents = list(found.defer("hypotheses").order_by("-id"))
    reasons = reasons_of(state)
    rejections, left_out_rejections = _rejection_lines(model, now)
    return {
        "title": model.name,
        "time_zone": model.time_zone,
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
        "rejections": rejections,
        "left_out_rejections": left_out_rejections,
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
        p50, p95, confidence = (
            None if series is None else histogram_quantile(q, edges, getattr(series, name).sum(axis=0).tolist())
            for q, edges, name in (
                (0.5, LATENCY_EDGES, "latency_counts"),
                (0.95, LATENCY_EDGES, "latency_counts"),
                (0.5, CONFIDENCE_EDGES, "confidence_counts"),
            )
        )
        check_url = "" if fact.check is None else reverse("admin:drift_driftcheck_change", args=[fact.check.pk])
        line = VersionLine(
            version=version,
            url=reverse("admin:models_registry_modelversion_change", args=[version.pk]),
            part="champion" if version.pk == champion else ROLES.get(Stage(version.stage), "challenger"),
            requests=Figure(requests, f"{requests:,}"),
            share=Figure.of(requests / all_requests if all_requests else None, share_text),
            predictions=Figure(predictions, f"{predictions:,}"),
            p50=Figure.of(p50, seconds_text),
            p95=Figure.of(p95, seconds_text),
            errors=Figure.of(errors / requests if requests else None, share_text),
            confidence=Figure.of(confidence, number_text),
            realised=Figure.of(headline(fact.report, "realised"), number_text),
            estimated=Figure.of(headline(fact.report, "estimated"), number_text),
            drift=drift_tag(fact.check),
            drift_url=check_url,
        )
        lines.append(line)
    return lines


def _rejection_lines(model: Model, now: datetime) -> tuple[list[RejectionLine], int]:
    """Return the most frequent rejections of the last day, and the number of those that are left out."""
    found, left_out = recent_rejections(model.pk, now, most=MOST_REJECTIONS)
    lines = []
    for one in found:
        is_feature = one.feature_name not in SUBJECTS
        line = RejectionLine(
            subject=one.feature_name if is_feature else SUBJECTS[one.feature_name],
            is_feature=is_feature,
            reason=one.reason.replace("_", " "),
            last_hour=Figure(one.last_hour, f"{one.last_hour:,}"),
            last_day=Figure(one.last_day, f"{one.last_day:,}"),
            last_at=one.last_at,
            ago=ago_text(one.last_at, now),
            example=one.example,
        )
        lines.append(line)
    return lines, left_out


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
    """Return how often classes occur in the reference of the latest check and for each version; None without any."""
    columns: dict[str, dict[str, float]] = {}
    is_classifier = any(version.task_type != TaskType.REGRESSION for version in versions)
    if is_classifier and check is not None and check.result is not None:
        columns["reference"] = dict(check.result.prediction.reference_dist)
    for version in versions:
        series = traffic.get(version.pk)
        if series is not None and series.class_counts.any():
            counts = series.class_counts.sum(axis=0).tolist()
            columns[version.version] = dict(zip(version.classes, counts, strict=False))
    return _share_table(columns)


def _confidence_table(versions: Sequence[ModelVersion], traffic: Traffic) -> ShareTable | None:
    """Return the shares of predictions by confidence for each version; None without any."""
    names = [f"up to {edge:g}" for edge in CONFIDENCE_EDGES] + [f"above {CONFIDENCE_EDGES[-1]:g}"]
    columns = {}
    for version in versions:
        if version.pk in traffic:
            counts = traffic[version.pk].confidence_counts.sum(axis=0)
            if counts.any():
                columns[version.version] = dict(zip(names, counts.tolist(), strict=True))
    return _share_table(columns, [name for name in names if any(counts[name] for counts in columns.values())])


def _share_table(counted: dict[str, dict[str, float]], names: Sequence[str] | None = None) -> ShareTable | None:
    """Return the shares in each column of counts, for some names or for the `MOST_CLASSES` with the largest shares."""
    columns: dict[str, dict[str, float]] = {}
    for column, counts in counted.items():
        total = sum(counts.values())
        columns[column] = {name: count / total for name, count in counts.items()} if total else {}
    left_out = 0
    if names is None:
        found = {name for shares in columns.values() for name in shares}
        names = sorted(found, key=lambda name: -max(shares.get(name, 0.0) for shares in columns.values()))
        names, left_out = names[:MOST_CLASSES], max(0, len(names) - MOST_CLASSES)
    longest = max((shares.get(name, 0.0) for shares in columns.values() for name in names), default=0.0)
    if not longest:
        return None
    rows = []
    for name in names:
        values = [shares.get(name, 0.0) if shares else None for shares in columns.values()]
        bars = [None if one is None else Bar(Figure.of(one, share_text), 100 * one / longest) for one in values]
        rows.append(ShareRow(name, bars))
    return ShareTable(list(columns), rows, left_out)
