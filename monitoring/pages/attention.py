"""Reasons why a model or a job needs attention, and how urgent they are."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import cast

from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from drift.models import CheckStatus
from drift.rendering.states import ADVICE
from inference.traffic import CONFIDENCE_EDGES, LATENCY_EDGES
from mlmon.detection.performance import DropStatus
from mlmon.figures import duration_text, number_text, share_text
from mlmon.report.views import status_words
from mlmon.results import VerdictStatus
from models_registry.models import Stage
from monitoring.models import JobRun
from monitoring.pages.figures import error_ratio, histogram_quantile, names_text, seconds_text
from monitoring.selectors import PREDICTIONS, RECENT_MINUTES, ModelState, VersionFacts

# As in monitoring/prometheus/rules/alerts.yml, so that pages and alerts agree.
LARGEST_ERROR_RATIO = 0.05
LARGEST_REJECTED_RATIO = 0.05
FEWEST_REJECTED = 5
LARGEST_P95_SECONDS = 0.5
SMALLEST_MEDIAN_CONFIDENCE = 0.6
FEWEST_CONFIDENCES = 10
LATE_TICKS = 5  # a job is late after five of its intervals, and at least `LATE_SECONDS`
LATE_SECONDS = 60


class Urgency(IntEnum):
    """How soon someone should act."""

    NOW = 3  # as urgent as a critical alert
    SOON = 2
    SETUP = 1  # a step is missing before the model is monitored
    NONE = 0


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for attention, with a link to the page that shows it.

    Attributes
    ----------
    subject
        Name of a model or a job.
    short
        Two or three words for the line of the model.
    action
        Text of the link to `url`.
    """

    urgency: Urgency
    subject: str
    short: str
    text: str
    url: str
    action: str


def reasons_of(state: ModelState) -> list[Reason]:
    """Return why a model needs attention, most urgent first."""
    found = [*_of_version(state, state.facts), *_of_traffic(state), *_of_setup(state)]
    for version, facts in state.others.items():
        for reason in _of_version(state, facts):
            # The version does not represent its model, so it is never as urgent as a critical alert.
            urgency = min(reason.urgency, Urgency.SOON)
            text, short = f"{version}: {reason.text}", f"{version} {reason.short}"
            found.append(replace(reason, urgency=urgency, short=short, text=text))
    return sorted(found, key=lambda reason: -reason.urgency)


def late_jobs(now: datetime, runs: Iterable[JobRun]) -> Iterator[Reason]:
    """Yield the periodic jobs whose last run failed or that have not run in time."""
    intervals: dict[str, timedelta] = {
        str(entry["task"]): cast(timedelta, entry["schedule"]) for entry in settings.CELERY_BEAT_SCHEDULE.values()
    }
    for run in runs:
        if run.job_name not in intervals:
            continue
        allowed = max(LATE_TICKS * intervals[run.job_name], timedelta(seconds=LATE_SECONDS))
        url = reverse("admin:monitoring_jobrun_change", args=[run.pk])
        name = run.job_name.rpartition(".")[2].replace("_", " ")
        if run.last_error:
            text = f"Its last run failed: {run.last_error}"
            yield Reason(Urgency.SOON, name, "job failed", text, url, "Open the job")
        elif now - run.last_started_at > allowed:
            late_for = duration_text((now - run.last_started_at).total_seconds())
            text = f"It has not run for {late_for}. Check that a worker and beat are running."
            yield Reason(Urgency.SOON, name, "job late", text, url, "Open the job")


def _of_version(state: ModelState, facts: VersionFacts) -> Iterator[Reason]:
    """Yield the reasons of one version: its incident, its performance and its checks."""
    incident, report, check, latest_check = facts.incident, facts.report, facts.check, facts.latest_check
    if incident is not None:
        urgency, status = Urgency.NOW, "It is not acknowledged yet."
        if incident.snoozed_until is not None and incident.snoozed_until > timezone.now():
            urgency, status = Urgency.SOON, f"Snoozed until {incident.snoozed_until:%Y-%m-%d %H:%M} UTC."
        elif incident.acknowledged_at is not None:
            urgency, status = Urgency.SOON, "It is acknowledged."
        what = "; the latest check found no drift"
        if facts.drifted:
            what = f": {names_text(facts.drifted)}"
        elif check is not None and check.n_not_compared:
            what = "; the latest check could not compare every feature"
        open_for = duration_text((timezone.now() - incident.opened_at).total_seconds())
        text = f"Drift incident for {open_for}{what}. {status}"
        url = reverse("admin:drift_driftincident_change", args=[incident.pk])
        yield Reason(urgency, state.name, "drift incident", text, url, "Open the incident")
    drop = None if report is None else report.judged_drop
    if report is not None and drop is not None and drop.status == DropStatus.DROP:
        url = reverse("admin:performance_performancereport_change", args=[report.pk])
        yield Reason(Urgency.SOON, state.name, "performance drop", drop.sentence, url, "Open the report")
    if latest_check is not None and latest_check.status == CheckStatus.FAILED:
        url = reverse("admin:drift_driftcheck_change", args=[latest_check.pk])
        yield Reason(Urgency.SOON, state.name, "check failed", latest_check.error_message, url, "Open the check")
    if check is not None and (check.n_not_compared or check.verdict_status == VerdictStatus.INCOMPLETE):
        parts = [
            f"{names_text(names)}: {status_words(reason)}. {ADVICE[reason]}"
            for reason, names in facts.not_compared.items()
        ]
        how_much = "every feature" if check.n_compared else "any feature"
        if {name for names in facts.not_compared.values() for name in names} == {PREDICTIONS}:
            how_much = PREDICTIONS
        text = " ".join([f"The latest check could not compare {how_much}, so drift may not be noticed.", *parts])
        url = reverse("admin:drift_driftcheck_change", args=[check.pk])
        yield Reason(Urgency.SOON, state.name, "not compared", text, url, "Open the check")
    if check is not None and incident is None:
        above = [*facts.drifted, *(["its predictions"] if check.prediction_is_drifted else [])]
        if above:
            text = f"Above the threshold in the latest check: {names_text(above)}. The verdict is no alarm."
            url = reverse("admin:drift_driftcheck_change", args=[check.pk])
            yield Reason(Urgency.SOON, state.name, "above threshold", text, url, "Open the check")


def _of_traffic(state: ModelState) -> Iterator[Reason]:
    """Yield the reasons of recent traffic: errors, rejected requests, latency and confidence."""
    counts, page = state.recent, reverse("model-page", args=[state.name])
    recently = f"in the last {RECENT_MINUTES} minutes"
    ratio, p95 = error_ratio(counts), histogram_quantile(0.95, LATENCY_EDGES, counts.latency_counts.tolist())
    if ratio is not None and ratio > LARGEST_ERROR_RATIO:
        text = f"{share_text(ratio)} of its requests failed {recently}; the limit is {share_text(LARGEST_ERROR_RATIO)}."
        yield Reason(Urgency.NOW, state.name, "failing", text, page, "Open the model")
    if counts.rejected >= FEWEST_REJECTED and counts.rejected / counts.requests > LARGEST_REJECTED_RATIO:
        rejected, limit = share_text(counts.rejected / counts.requests), share_text(LARGEST_REJECTED_RATIO)
        text = f"{rejected} of its requests were rejected {recently}; the limit is {limit}."
        yield Reason(Urgency.SOON, state.name, "rejecting", text, f"{page}#rejections", "See the reasons")
    if p95 is not None and p95 > LARGEST_P95_SECONDS:
        limit = seconds_text(LARGEST_P95_SECONDS)
        text = f"The p95 of its latency was {seconds_text(p95)} {recently}; the limit is {limit}."
        yield Reason(Urgency.SOON, state.name, "slow", text, page, "Open the model")
    if counts.confidence_counts.sum() >= FEWEST_CONFIDENCES:
        median = histogram_quantile(0.5, CONFIDENCE_EDGES, counts.confidence_counts.tolist())
        if median is not None and median < SMALLEST_MEDIAN_CONFIDENCE:
            limit = f"{SMALLEST_MEDIAN_CONFIDENCE}"
            text = f"Its median confidence was {number_text(median)} {recently}; the limit is {limit}."
            yield Reason(Urgency.SOON, state.name, "low confidence", text, page, "Open the model")


def _of_setup(state: ModelState) -> Iterator[Reason]:
    """Yield the missing steps: a version, reference data, a promotion to production."""
    if state.shown is None:
        url = reverse("admin:models_registry_modelversion_add") + f"?model={state.pk}"
        yield Reason(Urgency.SETUP, state.name, "no version", "It has no version yet.", url, "Upload a version")
        return
    if not state.facts.has_reference:
        text = f"{state.shown.version} has no reference data, so its drift cannot be measured."
        url = reverse("admin:models_registry_referencedataset_add") + f"?version={state.shown.pk}"
        yield Reason(Urgency.SETUP, state.name, "no reference", text, url, "Upload reference data")
    if Stage.PRODUCTION not in state.versions:
        text = "No version is in production, so requests without a version are refused."
        url = reverse("admin:models_registry_modelversion_change", args=[state.shown.pk])
        yield Reason(Urgency.SETUP, state.name, "not in production", text, url, "Open the version")
