"""A model's versions beside each other: champion and challengers."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.urls import reverse

from drift.rendering.states import outcome_of
from inference.traffic import CONFIDENCE_EDGES, LATENCY_EDGES
from inference.traffic_history import TrafficSeries
from mlmon.report.views import Tag
from models_registry.models import ModelVersion, Stage
from monitoring.pages.figures import Figure, accuracy_figure, count_figure, ratio_figure, seconds_figure
from monitoring.pages.model_states import VersionFacts
from monitoring.pages.overview import NOT_CHECKED, headline
from monitoring.pages.quantiles import histogram_quantile

ROLES = {Stage.SHADOW: "challenger, sees a copy", Stage.STAGING: "not in use", Stage.ARCHIVED: "archived"}


@dataclass(frozen=True, slots=True)
class VersionLine:
    """One version over the page's time.

    Attributes
    ----------
    part
        Champion, challenger, or what else it is.
    requests, predictions
        Requests are what clients asked; predictions also copies for a shadow, and rows answered elsewhere.
    share
        Of the requests of all versions.
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


def version_lines(
    versions: Sequence[ModelVersion], traffic: dict[int, TrafficSeries], facts: dict[int, VersionFacts]
) -> list[VersionLine]:
    """Return a line for each version, in their order."""
    all_requests = sum(int(series.requests.sum()) for series in traffic.values())
    primary = next((version.pk for version in versions if version.stage == Stage.PRODUCTION), None)
    return [_line(version, traffic.get(version.pk), facts[version.pk], all_requests, primary) for version in versions]


def _line(
    version: ModelVersion, series: TrafficSeries | None, facts: VersionFacts, all_requests: int, primary: int | None
) -> VersionLine:
    requests = _total(series, "requests")
    check = facts.check
    return VersionLine(
        version=version,
        url=reverse("admin:models_registry_modelversion_change", args=[version.pk]),
        part="champion" if version.pk == primary else ROLES.get(Stage(version.stage), "challenger"),
        requests=count_figure(requests),
        share=ratio_figure(requests / all_requests if all_requests else None),
        predictions=count_figure(_total(series, "predictions")),
        p50=seconds_figure(_quantile(0.5, LATENCY_EDGES, series, "latency_counts")),
        p95=seconds_figure(_quantile(0.95, LATENCY_EDGES, series, "latency_counts")),
        errors=ratio_figure(_total(series, "error") / requests if requests else None),
        confidence=accuracy_figure(_quantile(0.5, CONFIDENCE_EDGES, series, "confidence_counts")),
        realised=accuracy_figure(headline(facts.report, "realised")),
        estimated=accuracy_figure(headline(facts.report, "estimated")),
        drift=NOT_CHECKED if check is None else outcome_of(check),
        drift_url="" if check is None else reverse("admin:drift_driftcheck_change", args=[check.pk]),
    )


def _total(series: TrafficSeries | None, name: str) -> int:
    return 0 if series is None else int(getattr(series, name).sum())


def _quantile(q: float, edges: Sequence[float], series: TrafficSeries | None, name: str) -> float | None:
    return None if series is None else histogram_quantile(q, edges, getattr(series, name).sum(axis=0).tolist())
