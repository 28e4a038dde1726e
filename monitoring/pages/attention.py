"""What needs a person's attention, and how soon."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import cast

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from drift.models import CheckStatus, DriftIncident
from inference.traffic import CONFIDENCE_EDGES, LATENCY_EDGES, TrafficCounts
from mlmon.figures import duration_text, number_text, share_text
from models_registry.models import Stage
from monitoring.models import JobRun
from monitoring.pages.figures import seconds_text
from monitoring.pages.model_states import RECENT_MINUTES, ModelState, VersionFacts
from monitoring.pages.quantiles import histogram_quantile
from performance.models import PerformanceReport

# As in monitoring/prometheus/rules/alerts.yml, so that page and alert agree.
LARGEST_ERROR_RATIO = 0.05
LARGEST_P95_SECONDS = 0.5
SMALLEST_MEDIAN_CONFIDENCE = 0.6
FEWEST_CONFIDENCES = 10
MOST_NAMES = 3
LATE_TICKS = 5  # a job is late after so many of its intervals, and at least `LATE_SECONDS`
LATE_SECONDS = 60


class Urgency(IntEnum):
    """How soon someone should look."""

    NOW = 3  # what an alert wakes someone for
    SOON = 2
    SETUP = 1  # a step is missing before the model is watched
    NONE = 0


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing to look at, and the page that shows it.

    Attributes
    ----------
    subject
        A model's name, or that of a job.
    short
        Two or three words, for the model's line.
    action
        What `url` leads to.
    """

    urgency: Urgency
    subject: str
    short: str
    text: str
    url: str
    action: str


def reasons_of(state: ModelState) -> list[Reason]:
    """Return what needs attention about a model, the most urgent first."""
    found = [*_of_version(state, state.facts), *_serving(state), *_setup(state)]
    for version, facts in state.others.items():
        found += [_about(version, reason) for reason in _of_version(state, facts)]
    return sorted(found, key=lambda reason: -reason.urgency)


def late_jobs(now: datetime, runs: Iterable[JobRun]) -> list[Reason]:
    """Return the periodic jobs that failed last time or have not run when they should."""
    intervals: dict[str, timedelta] = {
        str(entry["task"]): cast(timedelta, entry["schedule"]) for entry in settings.CELERY_BEAT_SCHEDULE.values()
    }
    return [reason for run in runs if run.job_name in intervals for reason in _job(now, run, intervals[run.job_name])]


def error_ratio(counts: TrafficCounts) -> float | None:
    """Return the share of requests that failed by our own fault; None where there were none."""
    return counts.error / counts.requests if counts.requests else None


def latency_quantile(q: float, counts: TrafficCounts) -> float | None:
    """Return a quantile of the latency in seconds, as Prometheus does; None where nothing was measured."""
    return histogram_quantile(q, LATENCY_EDGES, counts.latency_counts.tolist())


def names_text(names: tuple[str, ...] | list[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _page(state: ModelState) -> str:
    return reverse("model-page", args=[state.name])


def _of_version(state: ModelState, facts: VersionFacts) -> Iterator[Reason]:
    yield from _incident(state, facts)
    yield from _performance(state, facts)
    yield from _scores(state, facts)


def _about(version: str, reason: Reason) -> Reason:
    """Return a reason as one about a version that does not stand for its model; no alert wakes anyone for that."""
    urgency = min(reason.urgency, Urgency.SOON)
    return replace(reason, urgency=urgency, short=f"{version} {reason.short}", text=f"{version}: {reason.text}")


def _incident(state: ModelState, facts: VersionFacts) -> Iterator[Reason]:
    incident = facts.incident
    if incident is None:
        return
    urgency, who = _care(incident)
    what = f": {names_text(facts.drifted)}" if facts.drifted else "; its newest check was quiet"
    lasted = duration_text((timezone.now() - incident.opened_at).total_seconds())
    text = f"Drift incident for {lasted}{what}. {who}"
    url = reverse("admin:drift_driftincident_change", args=[incident.pk])
    yield Reason(urgency, state.name, "drift incident", text, url, "Open the incident")


def _care(incident: DriftIncident) -> tuple[Urgency, str]:
    if incident.snoozed_until is not None and incident.snoozed_until > timezone.now():
        return Urgency.SOON, f"Snoozed until {incident.snoozed_until:%Y-%m-%d %H:%M} UTC."
    if incident.acknowledged_at is not None:
        return Urgency.SOON, "Someone looks after it."
    return Urgency.NOW, "Nobody has acknowledged it."


def _serving(state: ModelState) -> Iterator[Reason]:
    counts, page = state.recent, _page(state)
    ratio, p95 = error_ratio(counts), latency_quantile(0.95, counts)
    lately = f"in the last {RECENT_MINUTES} minutes"
    if ratio is not None and ratio > LARGEST_ERROR_RATIO:
        text = f"{share_text(ratio)} of its requests failed {lately}; the limit is {share_text(LARGEST_ERROR_RATIO)}."
        yield Reason(Urgency.NOW, state.name, "failing", text, page, "Open the model")
    if p95 is not None and p95 > LARGEST_P95_SECONDS:
        limit = seconds_text(LARGEST_P95_SECONDS)
        text = f"The slowest 5 % of its answers took more than {seconds_text(p95)} {lately}; the limit is {limit}."
        yield Reason(Urgency.SOON, state.name, "slow", text, page, "Open the model")
    median = histogram_quantile(0.5, CONFIDENCE_EDGES, counts.confidence_counts.tolist())
    if (
        median is not None
        and counts.confidence_counts.sum() >= FEWEST_CONFIDENCES
        and median < SMALLEST_MEDIAN_CONFIDENCE
    ):
        text = f"Its median confidence was {number_text(median)} {lately}; the limit is {SMALLEST_MEDIAN_CONFIDENCE}."
        yield Reason(Urgency.SOON, state.name, "unsure", text, page, "Open the model")


def _performance(state: ModelState, facts: VersionFacts) -> Iterator[Reason]:
    report = facts.report
    if report is not None and report.drop is not None and report.drop > state.largest_drop:
        url = reverse("admin:performance_performancereport_change", args=[report.pk])
        text = f"{_drop_text(report, state.largest_drop)} By {report.labelled_rows:,} predictions with ground truth."
        yield Reason(Urgency.SOON, state.name, "performance drop", text, url, "Open the report")


def _drop_text(report: PerformanceReport, largest_drop: float) -> str:
    realised, drop = report.realised or {}, report.drop or 0.0
    if "accuracy" in realised:
        points, limit = f"{100 * drop:.1f} points", f"{100 * largest_drop:g} points"
        return f"Its accuracy of {share_text(realised['accuracy'])} is {points} below its reference's (limit {limit})."
    return f"Its mean absolute error is {share_text(drop)} above its reference's (limit {share_text(largest_drop)})."


def _scores(state: ModelState, facts: VersionFacts) -> Iterator[Reason]:
    newest, check = facts.newest_check, facts.check
    if newest is not None and newest.status == CheckStatus.FAILED:
        url = reverse("admin:drift_driftcheck_change", args=[newest.pk])
        yield Reason(Urgency.SOON, state.name, "check failed", newest.error_message, url, "Open the check")
    if check is None or facts.incident is not None:
        return
    what = [*facts.drifted, *(["its predictions"] if check.prediction_is_drifted else [])]
    if what:
        text = f"Above the threshold in the newest check: {names_text(what)}. No alarm of the verdict."
        url = reverse("admin:drift_driftcheck_change", args=[check.pk])
        yield Reason(Urgency.SOON, state.name, "above threshold", text, url, "Open the check")


def _setup(state: ModelState) -> Iterator[Reason]:
    if state.shown is None:
        url = reverse("admin:models_registry_modelversion_add") + f"?model={state.pk}"
        yield Reason(Urgency.SETUP, state.name, "no version", "It has no version yet.", url, "Upload a version")
        return
    if not state.facts.has_reference:
        text = f"{state.shown.version} has no reference data: its drift cannot be measured."
        url = reverse("admin:models_registry_referencedataset_add") + f"?version={state.shown.pk}"
        yield Reason(Urgency.SETUP, state.name, "no reference", text, url, "Upload reference data")
    if Stage.PRODUCTION not in state.versions:
        text = "No version is in production: calls that name no version are refused."
        url = reverse("admin:models_registry_modelversion_change", args=[state.shown.pk])
        yield Reason(Urgency.SETUP, state.name, "not in production", text, url, "Open the version")


def _job(now: datetime, run: JobRun, interval: timedelta) -> Iterator[Reason]:
    allowed = max(LATE_TICKS * interval, timedelta(seconds=LATE_SECONDS))
    url = reverse("admin:monitoring_jobrun_change", args=[run.pk])
    name = run.job_name.rpartition(".")[2].replace("_", " ")
    if run.last_error:
        text = f"Its last run failed: {run.last_error}"
        yield Reason(Urgency.SOON, name, "job failed", text, url, "Open the job")
    elif now - run.last_started_at > allowed:
        lasted = duration_text((now - run.last_started_at).total_seconds())
        text = f"It has not run for {lasted}: is a worker, and is beat, at work?"
        yield Reason(Urgency.SOON, name, "job late", text, url, "Open the job")
