"""Panels that monitoring adds to the pages of other apps: health of a version, performance during an incident."""

from collections.abc import Iterator

from django.urls import reverse
from django.utils import timezone

from accounts.admin.page_parts import Panel
from drift.admin.incident_page import incident_panels
from drift.models import DriftIncident
from inference.selectors import Recently, recent_counts
from inference.traffic import TrafficCounts
from mlmon.figures import duration_text, number_text, share_text
from models_registry.admin.versions import version_panels
from models_registry.models import ModelVersion, Stage
from models_registry.selectors import active_reference
from monitoring import selectors
from monitoring.pages.charts import Steps, TimeRange
from monitoring.pages.figures import Figure, headline, measure_of, traffic_figures, version_figures
from monitoring.pages.model_charts import incident_spans, performance_chart
from monitoring.selectors import RECENT_MINUTES, VersionFacts
from performance.measures import headline_of
from performance.models import PerformanceReport, Period
from performance.services.reports import baseline_of

AROUND = 3  # the chart of an incident covers three times its duration
STAGE_TEXTS = {
    Stage.PRODUCTION: "It serves its share of the requests that name no version.",
    Stage.SHADOW: "It receives copies of requests; no client gets its predictions.",
    Stage.STAGING: "It serves only requests that name this version.",
    Stage.ARCHIVED: "It serves no requests any more.",
}
ELSEWHERE_TEXTS = {
    Stage.PRODUCTION: "It is served elsewhere: another server predicts, and sends its predictions as observations.",
    Stage.SHADOW: "It is served elsewhere, and no client gets its predictions. They are sent as observations.",
    Stage.STAGING: "It is served elsewhere. Drift is checked once it is in production or shadow.",
    Stage.ARCHIVED: "It was served elsewhere. Its observations are refused.",
}


@version_panels.register
def health_panel(version: ModelVersion) -> Panel:
    """Return the current traffic, drift and performance of a version."""
    now = timezone.now()
    counts = recent_counts(Recently.of(now, minutes=RECENT_MINUTES), [version.pk]).get(version.pk, TrafficCounts())
    facts = selectors.facts_of([version.pk]).get(version.pk, VersionFacts())
    context = {
        "stage_text": (STAGE_TEXTS if version.is_served_here else ELSEWHERE_TEXTS)[Stage(version.stage)],
        "is_archived": version.stage == Stage.ARCHIVED,
        "recent_minutes": RECENT_MINUTES,
        **traffic_figures(counts, now, counts_rows=bool(counts.predictions and not counts.requests)),
        **version_figures(version, facts, now),
        "reference": active_reference(version.pk),
        "upload_url": f"{reverse('admin:models_registry_referencedataset_add')}?version={version.pk}",
        "check": facts.check,
        "incident": facts.incident,
        "open_for": duration_text((now - facts.incident.opened_at).total_seconds()) if facts.incident else "",
        "report": facts.report,
        "on_reference": Figure.of(headline_of(baseline_of(version).figures), number_text),
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
    reports = PerformanceReport.objects.filter(version=version)
    latest = reports.filter(period=Period.LATEST).order_by("-id")
    # Without a report of the latest predictions before the incident, that of the last day before it.
    days = reports.filter(period=Period.DAY, ended_at__lte=incident.opened_at).order_by("-started_at")
    before = latest.filter(computed_at__lt=incident.opened_at).first() or days.first()
    during = latest.filter(computed_at__gte=incident.opened_at, computed_at__lte=until).first()
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
        text = f"the {measure} is {number_text(now)}"
        return text if earlier is None else f"{text}; before the incident it was {number_text(earlier)}"

    realised, estimated = headline(during, "realised"), headline(during, "estimated")
    if realised is not None and during is not None:
        rows = f"{during.labelled_rows:,} predictions with ground truth"
        yield f"For {rows}, {change(headline(before, 'realised'), realised)}."
    else:
        yield "No ground truth has arrived since the incident began, so the performance is unknown."
    if estimated is not None:
        yield f"Estimated without ground truth, {change(headline(before, 'estimated'), estimated)}."
    if reference is not None:
        yield f"On the reference the {measure} was {number_text(reference)}."
    if during is not None and during.label_coverage is not None:
        yield f"{share_text(during.label_coverage)} of the predictions of that period have ground truth."
