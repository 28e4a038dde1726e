"""Panels that monitoring adds to the pages of other apps: health of a version, performance during an incident."""

from collections.abc import Iterator

from django.urls import reverse
from django.utils import timezone

from accounts.admin.page_parts import Panel
from drift.admin.incident_page import incident_panels
from drift.models import DriftIncident
from inference.selectors import Recently, recent_counts
from inference.traffic import TrafficCounts
from mlmon.figures import ago_text, duration_text, share_text
from models_registry.admin.versions import version_panels
from models_registry.models import ModelVersion, Stage
from models_registry.selectors import active_reference
from monitoring import selectors
from monitoring.pages.charts import Steps, TimeRange
from monitoring.pages.figures import (
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
from monitoring.pages.model_charts import incident_spans, performance_chart
from monitoring.selectors import RECENT_MINUTES, VersionFacts
from performance.measures import headline_of
from performance.models import PerformanceReport
from performance.services.reports import baseline_of

AROUND = 3  # the chart of an incident covers three times its duration
STAGE_TEXTS = {
    Stage.PRODUCTION: "It serves its share of the requests that name no version.",
    Stage.SHADOW: "It receives copies of requests; no client gets its predictions.",
    Stage.STAGING: "It serves only requests that name this version.",
    Stage.ARCHIVED: "It serves no requests any more.",
}


@version_panels.register
def health_panel(version: ModelVersion) -> Panel:
    """Return the current traffic, drift and performance of a version."""
    now = timezone.now()
    counts = recent_counts(Recently.of(now, minutes=RECENT_MINUTES), [version.pk]).get(version.pk, TrafficCounts())
    facts = selectors.facts_of([version.pk]).get(version.pk, VersionFacts())
    has_requests = bool(counts.requests) or not counts.predictions
    check, incident = facts.check, facts.incident
    context = {
        "stage_text": STAGE_TEXTS[Stage(version.stage)],
        "is_archived": version.stage == Stage.ARCHIVED,
        "recent_minutes": RECENT_MINUTES,
        "traffic_of": "requests" if has_requests else "rows",
        "per_minute": rate_figure(counts.requests if has_requests else counts.predictions, now),
        "p50": seconds_figure(latency_quantile(0.5, counts)),
        "p95": seconds_figure(latency_quantile(0.95, counts)),
        "errors": ratio_figure(error_ratio(counts)),
        "reference": active_reference(version.pk),
        "upload_url": f"{reverse('admin:models_registry_referencedataset_add')}?version={version.pk}",
        "check": check,
        "checked_ago": ago_text(check.created_at, now) if check else "",
        "drift": drift_tag(check),
        "drifted": names_text(facts.drifted),
        "incident": incident,
        "open_for": duration_text((now - incident.opened_at).total_seconds()) if incident else "",
        "report": facts.report,
        "measure": measure_of(version),
        "realised": number_figure(headline(facts.report, "realised")),
        "estimated": number_figure(headline(facts.report, "estimated")),
        "on_reference": number_figure(headline_of(baseline_of(version).figures)),
    }
    return Panel("health", "Health", "monitoring/version_health.html", context=context)


@incident_panels.register
def performance_panel(incident: DriftIncident) -> Panel:
    """Return the performance of the version before and during an incident."""
    version = incident.version
    until = incident.closed_at or timezone.now()
    duration = (until - incident.opened_at).total_seconds()
    steps = Steps.of(TimeRange.covering(AROUND * duration), until)
    reference = headline_of(baseline_of(version).figures)
    before, during = selectors.reports_around(version, incident.opened_at, until)
    context = {
        "sentences": list(_performance_sentences(version, reference, before, during)),
        "chart": performance_chart([version], reference, steps, incident_spans([incident], steps)),
    }
    return Panel(
        "performance", "Performance during the incident", "monitoring/incident_performance.html", context=context
    )


def _performance_sentences(
    version: ModelVersion,
    reference: float | None,
    before: PerformanceReport | None,
    during: PerformanceReport | None,
) -> Iterator[str]:
    measure = measure_of(version)

    def change(earlier: float | None, now: float) -> str:
        text = f"the {measure} is {number_figure(now).text}"
        return text if earlier is None else f"{text}; before the incident it was {number_figure(earlier).text}"

    realised, estimated = headline(during, "realised"), headline(during, "estimated")
    if realised is not None and during is not None:
        rows = f"{during.labelled_rows:,} predictions with ground truth"
        yield f"For {rows}, {change(headline(before, 'realised'), realised)}."
    else:
        yield "No ground truth has arrived since the incident began, so the performance is unknown."
    if estimated is not None:
        yield f"Estimated without ground truth, {change(headline(before, 'estimated'), estimated)}."
    if reference is not None:
        yield f"On the reference the {measure} was {number_figure(reference).text}."
    if during is not None and during.label_coverage is not None:
        yield f"{share_text(during.label_coverage)} of the predictions of that period have ground truth."
