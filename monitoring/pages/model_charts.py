"""Charts of a model: traffic by version, performance and drift."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from drift.models import DriftIncident
from inference.selectors import TrafficSeries
from inference.traffic import CONFIDENCE_EDGES, LATENCY_EDGES, MOST_CLASSES
from mlmon.schema import TaskType
from models_registry.models import ModelVersion
from models_registry.schema import ScoreKind
from monitoring import selectors
from monitoring.pages.attention import LARGEST_ERROR_RATIO, LARGEST_P95_SECONDS, SMALLEST_MEDIAN_CONFIDENCE
from monitoring.pages.charts import DAY, Chart, Line, Span, Steps, Stroke, Unit, Values
from monitoring.pages.figures import headline, histogram_quantile, measure_of
from performance.models import Period

MOST_CLASS_LINES = 8
TOO_NEW_MINUTES = 20 / 60  # counts arrive some seconds late: a step that has just started would look like a fall
NO_TRAFFIC = "There were no requests in this range. Send one as the API page shows, or choose a longer range."
NO_REPORTS = "There is no performance report in this range. Send ground truth for predictions, or upload it as a file."
NO_CHECKS = "There was no drift check in this range. A check needs reference data and enough new predictions."

TrafficOf = dict[int, TrafficSeries]  # by version id


def traffic_charts(
    versions: Sequence[ModelVersion], traffic: TrafficOf, steps: Steps, spans: Sequence[Span]
) -> Iterator[Chart]:
    """Yield the charts of requests, latency, errors, rejections and confidence, with a line for each version."""

    def chart(
        key: str,
        title: str,
        unit: Unit,
        values_of: Callable[[TrafficSeries], NDArray[np.float64]],
        *,
        limit: float | None = None,
        note: str = "",
    ) -> Chart:
        lines = [
            Line(version.version, _along(steps, traffic[version.pk], values_of(traffic[version.pk])))
            for version in versions
            if version.pk in traffic
        ]
        if limit is not None:
            lines.append(Line("alert limit", [limit] * len(steps.begins), Stroke.LIMIT))
        return Chart(key, title, unit, steps.begins.tolist(), lines, note=note, nothing=NO_TRAFFIC, spans=spans)

    yield _requests_chart(versions, traffic, steps, spans)
    yield chart(
        "latency",
        "Latency, p95",
        Unit.SECONDS,
        lambda one: _quantiles(0.95, LATENCY_EDGES, one.latency_counts),
        limit=LARGEST_P95_SECONDS,
        note="95 % of the requests were at least as fast.",
    )
    yield chart(
        "errors",
        "Error rate",
        Unit.RATIO,
        lambda one: _ratios(one.error, one.requests),
        limit=LARGEST_ERROR_RATIO,
        note="Share of requests with an error of the server or the model.",
    )
    yield chart(
        "rejected",
        "Rejected requests",
        Unit.RATIO,
        lambda one: _ratios(one.rejected, one.requests),
        note="Share of requests with values that the schema does not allow.",
    )
    if all(version.task_type == TaskType.REGRESSION for version in versions):
        yield chart("outputs", "Mean prediction", Unit.NUMBER, lambda one: _ratios(one.output_sum, one.predictions))
    elif any(_has_confidence(version, traffic.get(version.pk)) for version in versions):
        yield chart(
            "confidence",
            "Median confidence",
            Unit.NUMBER,
            lambda one: _quantiles(0.5, CONFIDENCE_EDGES, one.confidence_counts),
            limit=SMALLEST_MEDIAN_CONFIDENCE,
        )


def _has_confidence(version: ModelVersion, series: TrafficSeries | None) -> bool:
    """Return whether the model gives probabilities, or another server that serves it has sent some."""
    is_known = version.score_kind in (ScoreKind.PROBABILITIES, ScoreKind.LOGITS)
    return is_known or (series is not None and bool(series.confidence_counts.any()))


def class_chart(version: ModelVersion, traffic: TrafficOf, steps: Steps, spans: Sequence[Span]) -> Chart | None:
    """Return the shares of the most frequent predicted classes, or None for a regression."""
    if version.task_type == TaskType.REGRESSION:
        return None
    series = traffic.get(version.pk)
    counts = np.zeros((0, 0), dtype=np.int64) if series is None else series.class_counts
    is_anomaly = version.task_type == TaskType.ANOMALY
    most = np.argsort(-counts.sum(axis=0), kind="stable")[:MOST_CLASS_LINES]
    lines = [
        Line(version.classes[place], _along(steps, series, _ratios(counts[:, place], series.predictions)))
        for place in most.tolist()
        if series is not None
    ]
    if is_anomaly:  # the other class is the rest
        lines = [replace(line, label="anomalies") for line in lines if line.label == version.classes[0]]
    has_many = len(version.classes) > MOST_CLASSES
    return Chart(
        "classes",
        f"{'Anomaly rate' if is_anomaly else 'Predicted classes'} of {version.version}",
        Unit.RATIO,
        steps.begins.tolist(),
        lines,
        note=f"The {MOST_CLASS_LINES} most frequent of {counts.shape[1]}." if counts.shape[1] > len(most) else "",
        nothing=f"Classes are counted only for models with up to {MOST_CLASSES}." if has_many else NO_TRAFFIC,
        spans=spans,
    )


def performance_chart(
    versions: Sequence[ModelVersion], reference: float | None, steps: Steps, spans: Sequence[Span]
) -> Chart:
    """Return the realised and the estimated performance of versions.

    Ranges of up to a week show the reports of the latest predictions at that time; longer ranges show daily reports,
    which are updated while ground truth arrives.
    """
    measure = measure_of(versions[0] if versions else None)
    period = Period.DAY if steps.seconds * len(steps.begins) > 7 * DAY else Period.LATEST
    lines: list[Line] = []
    for version in versions:
        realised: Values = [None] * len(steps.begins)
        estimated = realised.copy()
        for at, report in selectors.reports_since(version, steps.since, period):
            place = steps.place_of(at)
            realised[place] = headline(report, "realised")
            estimated[place] = headline(report, "estimated")
        lines.append(Line(f"{version.version} realised", realised))
        lines.append(Line(f"{version.version} estimated", estimated, Stroke.DASHED))
    if reference is not None:
        lines.append(Line("on the reference", [reference] * len(steps.begins), Stroke.LIMIT))
    unit = Unit.RATIO if measure == "accuracy" else Unit.NUMBER
    return Chart(
        "performance", measure.capitalize(), unit, steps.begins.tolist(), lines, nothing=NO_REPORTS, spans=spans
    )


def drift_charts(version: ModelVersion, steps: Steps, spans: Sequence[Span]) -> Iterator[Chart]:
    """Yield the number of drifted features and the drift of the predictions of a version."""
    begins = steps.begins.tolist()
    figures = ("n_drifted_features", "n_confirmed_features", "prediction_js_divergence", "prediction_threshold")
    highest: dict[str, Values] = {name: [None] * len(steps.begins) for name in figures}
    for check in selectors.check_figures(version, steps.since, steps.now):
        place = steps.place_of(check["window_ended_at"])
        for name, values in highest.items():
            known = [value for value in (values[place], check[name]) if value is not None]
            values[place] = float(max(known)) if known else None
    above, listed, divergence, threshold = highest.values()
    yield Chart(
        "drift",
        f"Drifted features of {version.version}",
        Unit.COUNT,
        begins,
        [Line("above the threshold", above), Line("listed by the verdict's alarm", listed)],
        note="The highest number of the checks in one step.",
        nothing=NO_CHECKS,
        spans=spans,
    )
    yield Chart(
        "prediction-drift",
        f"Prediction drift of {version.version}",
        Unit.NUMBER,
        begins,
        [Line("Jensen-Shannon divergence", divergence), Line("threshold", threshold, Stroke.LIMIT)],
        note="Natural logarithm: 0 for equal distributions, 0.69 for distributions without overlap.",
        nothing=NO_CHECKS,
        spans=spans,
        from_zero=True,
    )


def incident_spans(incidents: Sequence[DriftIncident], steps: Steps) -> list[Span]:
    """Return the periods in which incidents were open, for the charts to shade."""
    return [
        Span(
            begin=int(incident.opened_at.timestamp()),
            end=int((incident.closed_at or steps.now).timestamp()),
            label=f"drift incident of {incident.version.version}",
        )
        for incident in incidents
    ]


def _requests_chart(versions: Sequence[ModelVersion], traffic: TrafficOf, steps: Steps, spans: Sequence[Span]) -> Chart:
    """Return the requests per minute of each version since it was registered.

    A version that is served elsewhere or as a shadow has no requests; its rows are shown instead.
    """
    # The last step is not over.
    minutes = np.full(len(steps.begins), steps.seconds / 60)
    minutes[-1] = max((steps.now.timestamp() - int(steps.begins[-1])) / 60, 1 / 60)
    lines = []
    for version in versions:
        series = traffic.get(version.pk)
        if series is None:
            continue
        has_requests = bool(series.requests.any())
        counts = _along(steps, series, (series.requests if has_requests else series.predictions).astype(float))
        label = version.version if has_requests else f"{version.version} (rows without requests)"
        existed = (steps.begins + steps.seconds > version.created_at.timestamp()).tolist()
        rates: Values = [
            (count or 0.0) / length if count or is_registered else None
            for count, length, is_registered in zip(counts, minutes, existed, strict=True)
        ]
        if minutes[-1] < TOO_NEW_MINUTES and existed[-2]:
            rates[-1] = None
        lines.append(Line(label, rates))
    return Chart(
        "requests", "Requests per minute", Unit.RATE, steps.begins.tolist(), lines, nothing=NO_TRAFFIC, spans=spans
    )


def _along(steps: Steps, series: TrafficSeries, values: NDArray[np.float64]) -> Values:
    """Return the values of a series at the steps of a page, None for steps without one."""
    placed = np.full(len(steps.begins), np.nan)
    places = (series.steps - steps.begins[0]) // steps.seconds
    inside = (places >= 0) & (places < len(placed))
    placed[places[inside]] = values[inside]
    return [None if np.isnan(value) else value for value in placed.tolist()]


def _quantiles(q: float, edges: Sequence[float], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the quantile of each row of histograms, shape (n, edges + 1); NaN for an empty one."""
    found = [histogram_quantile(q, edges, row) for row in counts.tolist()]
    return np.array([np.nan if value is None else value for value in found])


def _ratios(part: NDArray[np.number], whole: NDArray[np.number]) -> NDArray[np.float64]:
    """Return part / whole, NaN where `whole` is 0."""
    shares = np.full(len(whole), np.nan)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares
