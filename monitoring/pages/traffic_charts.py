"""A model's traffic over time, a line for each version."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from inference.traffic import CONFIDENCE_EDGES, LATENCY_EDGES, MOST_CLASSES
from inference.traffic_history import TrafficSeries
from mlmon.schema import TaskType
from models_registry.models import ModelVersion
from monitoring.pages.attention import LARGEST_ERROR_RATIO, LARGEST_P95_SECONDS, SMALLEST_MEDIAN_CONFIDENCE
from monitoring.pages.charts import Chart, Line, Span, Stroke, Unit, Values
from monitoring.pages.quantiles import histogram_quantile
from monitoring.pages.time_ranges import Steps

MOST_CLASS_LINES = 8
TOO_NEW_MINUTES = 20 / 60  # counts come some seconds late: a step that has just begun would look like a fall
NO_TRAFFIC = "No request came in this time. Send one as the API page shows, or look further back."

TrafficOf = dict[int, TrafficSeries]  # by version id


def traffic_charts(
    versions: Sequence[ModelVersion], traffic: TrafficOf, steps: Steps, spans: Sequence[Span]
) -> Iterator[Chart]:
    """Yield the charts that traffic fills."""

    def chart(
        key: str,
        title: str,
        unit: Unit,
        values_of: Callable[[TrafficSeries], NDArray[np.float64]],
        *limits: Line,
        note: str = "",
    ) -> Chart:
        lines = [
            Line(version.version, along(steps, traffic[version.pk], values_of(traffic[version.pk])))
            for version in versions
            if version.pk in traffic
        ]
        begins = steps.begins.tolist()
        return Chart(key, title, unit, begins, [*lines, *limits], note=note, nothing=NO_TRAFFIC, spans=spans)

    yield _requests_chart(versions, traffic, steps, spans)
    yield chart(
        "latency",
        "Latency, p95",
        Unit.SECONDS,
        lambda one: quantiles(0.95, LATENCY_EDGES, one.latency_counts),
        limit("alert limit", LARGEST_P95_SECONDS, steps),
        note="95 % of the answers took no longer.",
    )
    yield chart(
        "errors",
        "Error rate",
        Unit.RATIO,
        lambda one: ratios(one.error, one.requests),
        limit("alert limit", LARGEST_ERROR_RATIO, steps),
        note="Requests that failed by the server's or the model's fault.",
    )
    yield chart(
        "rejected",
        "Rejected requests",
        Unit.RATIO,
        lambda one: ratios(one.rejected, one.requests),
        note="Requests that were refused, by the client's fault: values that the schema does not allow.",
    )
    if all(version.task_type == TaskType.REGRESSION for version in versions):
        yield chart("outputs", "Mean prediction", Unit.NUMBER, lambda one: ratios(one.output_sum, one.predictions))
    else:
        yield chart(
            "confidence",
            "Median confidence",
            Unit.NUMBER,
            lambda one: quantiles(0.5, CONFIDENCE_EDGES, one.confidence_counts),
            limit("alert limit", SMALLEST_MEDIAN_CONFIDENCE, steps),
        )


def class_chart(version: ModelVersion, traffic: TrafficOf, steps: Steps, spans: Sequence[Span]) -> Chart | None:
    """Return the shares of the classes that a version predicts most; None of a regression."""
    if version.task_type == TaskType.REGRESSION:
        return None
    series = traffic.get(version.pk)
    counts = np.zeros((0, 0), dtype=np.int64) if series is None else series.class_counts
    most = np.argsort(-counts.sum(axis=0), kind="stable")[:MOST_CLASS_LINES]
    lines = [
        Line(version.classes[place], along(steps, series, ratios(counts[:, place], series.predictions)))
        for place in most.tolist()
        if series is not None
    ]
    return Chart(
        "classes",
        f"Predicted classes of {version.version}",
        Unit.RATIO,
        steps.begins.tolist(),
        lines,
        note=f"The {MOST_CLASS_LINES} most frequent of {counts.shape[1]}." if counts.shape[1] > len(most) else "",
        nothing=f"Classes are counted one by one for {MOST_CLASSES} at most."
        if len(version.classes) > MOST_CLASSES
        else NO_TRAFFIC,
        spans=spans,
    )


def along(steps: Steps, series: TrafficSeries, values: NDArray[np.float64]) -> Values:
    """Return a series' values at the steps of a page, None where it has none."""
    placed = np.full(len(steps.begins), np.nan)
    places = (series.steps - steps.begins[0]) // steps.seconds
    inside = (places >= 0) & (places < len(placed))
    placed[places[inside]] = values[inside]
    return [None if value != value else value for value in placed.tolist()]


def quantiles(q: float, edges: Sequence[float], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the quantile of each row of histograms, shape (n, edges + 1); NaN of an empty one."""
    found = [histogram_quantile(q, edges, row) for row in counts.tolist()]
    return np.array([np.nan if value is None else value for value in found])


def ratios(part: NDArray[np.number], whole: NDArray[np.number]) -> NDArray[np.float64]:
    """Return part / whole, NaN where there is nothing."""
    shares = np.full(len(whole), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares


def limit(label: str, value: float, steps: Steps) -> Line:
    """Return a threshold as a line."""
    return Line(label, [value] * len(steps.begins), Stroke.LIMIT)


def _requests_chart(versions: Sequence[ModelVersion], traffic: TrafficOf, steps: Steps, spans: Sequence[Span]) -> Chart:
    """Return requests in a minute, from when a version is registered.

    One that is only measured elsewhere, or as a shadow, has its predictions in their place.
    """
    minutes = steps.lasted_minutes()
    lines = []
    for version in versions:
        series = traffic.get(version.pk)
        if series is None:
            continue
        is_asked = bool(series.requests.any())
        counts = along(steps, series, (series.requests if is_asked else series.predictions).astype(float))
        label = version.version if is_asked else f"{version.version} (rows, not asked for here)"
        was_there = (steps.begins + steps.seconds > version.created_at.timestamp()).tolist()
        rates: Values = [
            (count or 0.0) / length if count or there else None
            for count, length, there in zip(counts, minutes, was_there, strict=True)
        ]
        if minutes[-1] < TOO_NEW_MINUTES and was_there[-2]:
            rates[-1] = None
        lines.append(Line(label, rates))
    return Chart(
        "requests", "Requests a minute", Unit.RATE, steps.begins.tolist(), lines, nothing=NO_TRAFFIC, spans=spans
    )
