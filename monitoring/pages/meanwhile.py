"""What happened to a model's performance during a drift incident."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.utils import timezone

from drift.models import DriftIncident
from mlmon.figures import share_text
from models_registry.models import ModelVersion
from monitoring.pages.figures import accuracy_figure
from monitoring.pages.history_charts import incident_spans, performance_chart
from monitoring.pages.overview import headline, measure_of
from monitoring.pages.time_ranges import Steps, TimeRange
from performance.measures import headline_of
from performance.models import PerformanceReport, Period
from performance.services.reports import baseline_of

AROUND = 3  # how many times as long as the incident the chart looks back


def meanwhile_context(incident: DriftIncident) -> dict[str, Any]:
    """Return the context of ``monitoring/meanwhile.html``."""
    version, now = incident.version, timezone.now()
    until = incident.closed_at or now
    steps = Steps.of(_range_around(incident, until), until)
    reference = headline_of(baseline_of(version).figures)
    return {
        "sentences": list(_sentences(version, reference, _before(incident), _newest(incident, until))),
        "chart": performance_chart([version], reference, steps, incident_spans([incident], steps)),
    }


def _range_around(incident: DriftIncident, until: datetime) -> TimeRange:
    """Return the shortest range that also shows how it was before."""
    return TimeRange.covering(AROUND * (until - incident.opened_at).total_seconds())


def _before(incident: DriftIncident) -> PerformanceReport | None:
    """Return the last report of the time before the incident."""
    reports = PerformanceReport.objects.filter(version=incident.version_id)
    newest = reports.filter(period=Period.LATEST, computed_at__lt=incident.opened_at).order_by("-id").first()
    days = reports.filter(period=Period.DAY, ended_at__lte=incident.opened_at).order_by("-started_at")
    return newest or days.first()


def _newest(incident: DriftIncident, until: datetime) -> PerformanceReport | None:
    """Return the last report of the incident's time."""
    reports = PerformanceReport.objects.filter(version=incident.version_id, period=Period.LATEST)
    return reports.filter(computed_at__gte=incident.opened_at, computed_at__lte=until).order_by("-id").first()


def _sentences(
    version: ModelVersion, reference: float | None, before: PerformanceReport | None, now: PerformanceReport | None
) -> Iterator[str]:
    measure = measure_of(version)
    realised = headline(before, "realised"), headline(now, "realised")
    if realised[1] is not None and now is not None:
        yield f"By ground truth, {_course(measure, *realised)} (of {now.labelled_rows:,} predictions)."
    else:
        yield "No ground truth has come since it began: nobody knows yet how right the predictions are."
    estimated = headline(before, "estimated"), headline(now, "estimated")
    if estimated[1] is not None:
        yield f"Estimated without ground truth, {_course(measure, *estimated)}."
    if reference is not None:
        yield f"On the reference the {measure} was {accuracy_figure(reference).text}."
    if now is not None and now.label_coverage is not None:
        yield f"{share_text(now.label_coverage)} of the predictions of that time have ground truth."


def _course(measure: str, before: float | None, now: float | None) -> str:
    text = f"the {measure} is {accuracy_figure(now).text}"
    return text if before is None else f"{text}; before the incident it was {accuracy_figure(before).text}"
