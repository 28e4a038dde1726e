"""How one version is: what it answers, what it is compared with, and what the newest checks and reports say of it."""

from datetime import datetime
from typing import Any

from django.urls import reverse

from drift.rendering.states import outcome_of
from inference.traffic import TrafficCounts
from inference.traffic_history import Recently, recent_counts
from mlmon.figures import ago_text, duration_text
from models_registry.models import ModelVersion, Stage
from models_registry.selectors import active_reference
from monitoring.pages.attention import error_ratio, latency_quantile, names_text
from monitoring.pages.figures import accuracy_figure, rate_figure, ratio_figure, seconds_figure
from monitoring.pages.model_states import RECENT_MINUTES, VersionFacts, facts_of
from monitoring.pages.overview import NOT_CHECKED, headline, measure_of, per_minute_of
from performance.measures import headline_of
from performance.services.reports import baseline_of

STANDINGS = {
    Stage.PRODUCTION: "It answers its share of the calls that name no version.",
    Stage.SHADOW: "It sees copies of requests; nobody is given its answers.",
    Stage.STAGING: "It answers calls that name this version, and no others.",
    Stage.ARCHIVED: "It answers no call any more.",
}


def health_context(version: ModelVersion, now: datetime) -> dict[str, Any]:
    """Return the context of ``monitoring/version_health.html``."""
    counts = recent_counts(Recently.of(now, minutes=RECENT_MINUTES), [version.pk]).get(version.pk, TrafficCounts())
    facts = facts_of([version.pk]).get(version.pk, VersionFacts())
    is_asked = bool(counts.requests) or not counts.predictions
    return {
        "standing": STANDINGS[Stage(version.stage)],
        "is_archived": version.stage == Stage.ARCHIVED,
        "recent_minutes": RECENT_MINUTES,
        "traffic_of": "requests" if is_asked else "rows",
        "per_minute": rate_figure(per_minute_of(counts.requests if is_asked else counts.predictions, now)),
        "p50": seconds_figure(latency_quantile(0.5, counts)),
        "p95": seconds_figure(latency_quantile(0.95, counts)),
        "errors": ratio_figure(error_ratio(counts)),
        "reference": active_reference(version.pk),
        "upload_url": f"{reverse('admin:models_registry_referencedataset_add')}?version={version.pk}",
        "check": facts.check,
        "checked_ago": ago_text(facts.check.created_at, now) if facts.check else "",
        "drift": outcome_of(facts.check) if facts.check else NOT_CHECKED,
        "drifted": names_text(facts.drifted),
        "incident": facts.incident,
        "open_for": duration_text((now - facts.incident.opened_at).total_seconds()) if facts.incident else "",
        "report": facts.report,
        "measure": measure_of(version),
        "realised": accuracy_figure(headline(facts.report, "realised")),
        "estimated": accuracy_figure(headline(facts.report, "estimated")),
        "on_reference": accuracy_figure(headline_of(baseline_of(version).figures)),
    }
