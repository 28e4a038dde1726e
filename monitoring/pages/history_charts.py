"""A model's performance and drift over time, from the reports and checks that jobs have written."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from drift.models import CheckStatus, DriftCheck, DriftIncident
from models_registry.models import ModelVersion
from monitoring.pages.charts import Chart, Line, Span, Stroke, Unit, Values
from monitoring.pages.overview import headline, measure_of
from monitoring.pages.time_ranges import DAY, Steps
from performance.models import PerformanceReport, Period

NO_REPORTS = (
    "Nothing was measured in this time. Send ground truth under the ids of predictions, or upload it as a file."
)
NO_CHECKS = "No window was checked in this time. A check takes reference data and enough new predictions."


def performance_chart(
    versions: Sequence[ModelVersion], reference: float | None, steps: Steps, spans: Sequence[Span]
) -> Chart:
    """Return how right versions were: by ground truth, and estimated without it.

    Steps shorter than a day show the reports of the newest predictions as they were then; days show the reports of
    days, which are made anew while ground truth comes.
    """
    measure = measure_of(versions[0] if versions else None)
    lines: list[Line] = []
    for version in versions:
        realised, estimated = _performance(version, steps)
        lines.append(Line(f"{version.version} by ground truth", realised))
        lines.append(Line(f"{version.version} estimated", estimated, Stroke.DASHED))
    if reference is not None:
        lines.append(Line("on the reference", [reference] * len(steps.begins), Stroke.LIMIT))
    unit = Unit.RATIO if measure == "accuracy" else Unit.NUMBER
    return Chart(
        "performance", measure.capitalize(), unit, steps.begins.tolist(), lines, nothing=NO_REPORTS, spans=spans
    )


def drift_charts(version: ModelVersion, steps: Steps, spans: Sequence[Span]) -> Iterator[Chart]:
    """Yield how many features of a version drifted, and how far its predictions are from the reference's."""
    begins = steps.begins.tolist()
    above, listed, divergence, threshold = (_no_values(steps) for _ in range(4))
    for check in _checks(version, steps):
        place = steps.place_of(check["window_ended_at"])
        _raise(above, place, check["n_drifted_features"])
        _raise(listed, place, check["n_confirmed_features"])
        _raise(divergence, place, check["prediction_js_divergence"])
        _raise(threshold, place, check["prediction_threshold"])
    yield Chart(
        "drift",
        f"Drifted features of {version.version}",
        Unit.COUNT,
        begins,
        [Line("above the threshold", above), Line("listed by the verdict's alarm", listed)],
        note="Of several checks in one step, the most.",
        nothing=NO_CHECKS,
        spans=spans,
    )
    yield Chart(
        "prediction-drift",
        f"Prediction drift of {version.version}",
        Unit.NUMBER,
        begins,
        [Line("Jensen-Shannon divergence", divergence), Line("threshold", threshold, Stroke.LIMIT)],
        note="Natural logarithm: 0 where both are the same, 0.69 where they have nothing in common.",
        nothing=NO_CHECKS,
        spans=spans,
        from_zero=True,
    )


def incident_spans(incidents: Sequence[DriftIncident], steps: Steps) -> list[Span]:
    """Return when incidents were open, for the charts to shade."""
    return [
        Span(
            begin=int(incident.opened_at.timestamp()),
            end=int((incident.closed_at or steps.now).timestamp()),
            label=f"drift incident of {incident.version.version}",
        )
        for incident in incidents
    ]


def _performance(version: ModelVersion, steps: Steps) -> tuple[Values, Values]:
    realised, estimated = _no_values(steps), _no_values(steps)
    for at, report in _reports(version, steps):
        place = steps.place_of(at)
        realised[place] = headline(report, "realised")
        estimated[place] = headline(report, "estimated")
    return realised, estimated


def _reports(version: ModelVersion, steps: Steps) -> Iterator[tuple[datetime, PerformanceReport]]:
    """Yield reports with the time that they speak of, oldest first."""
    reports = PerformanceReport.objects.filter(version=version)
    if steps.seconds * len(steps.begins) > 7 * DAY:
        for report in reports.filter(period=Period.DAY, started_at__gte=steps.since).order_by("started_at"):
            yield report.started_at, report
    else:
        for report in reports.filter(period=Period.LATEST, computed_at__gte=steps.since).order_by("id"):
            yield report.computed_at, report


def _checks(version: ModelVersion, steps: Steps) -> Iterable[Any]:
    checks = DriftCheck.objects.filter(
        version=version, status=CheckStatus.SUCCEEDED, window_ended_at__gte=steps.since, window_ended_at__lte=steps.now
    )
    return checks.order_by("window_ended_at").values(
        "window_ended_at",
        "n_drifted_features",
        "n_confirmed_features",
        "prediction_js_divergence",
        "prediction_threshold",
    )


def _no_values(steps: Steps) -> Values:
    return [None] * len(steps.begins)


def _raise(values: Values, place: int, value: float | None) -> None:
    known = values[place]
    if value is not None and (known is None or value > known):
        values[place] = float(value)
