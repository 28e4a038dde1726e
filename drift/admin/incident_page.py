"""What the page of an incident shows: what drifted, since when, how it is now, and who did what."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import redis
from django.db import DatabaseError
from django.db.models import Prefetch, QuerySet
from django.utils import timezone

from accounts.admin.page_parts import Panels
from accounts.selectors import changes_of
from drift.incidents import QUIET_WINDOWS
from drift.models import CheckStatus, DriftCheck, DriftIncident, FeatureDrift
from drift.rendering.example_rows import ExampleRows, example_rows
from drift.rendering.outcomes import outcome_of
from drift.stored_results import from_plain, hypotheses_of, result_of_check
from inference.archive import read_observations
from inference.exceptions import ArchiveError
from inference.stream import FEATURE_PREFIX
from mlmon.figures import duration_text
from mlmon.report.feature_views import Finding, Tag, Tone, feature_views, finding_of
from mlmon.results import ComparisonResult, HypothesisResult, Verdict
from mlmon.sentences import found_by, p_value_text, subject_of

logger = logging.getLogger(__name__)

MOST_EXAMINED_ROWS = 2_000  # of the window, for examples
MOST_HISTORY_LINES = 50
NEW, ACKNOWLEDGED, SNOOZED, CLOSED = "open", "acknowledged", "snoozed", "closed"
STATES = {
    NEW: Tag(NEW, Tone.ALARM, "Nobody has acknowledged it."),
    ACKNOWLEDGED: Tag(ACKNOWLEDGED, Tone.WARNING, "Open; someone looks after it."),
    SNOOZED: Tag(SNOOZED, Tone.PLAIN, "Open; its alert is quiet for a time."),
    CLOSED: Tag(CLOSED, Tone.GOOD),
}
INCIDENT_LABELS = {NEW: "danger", ACKNOWLEDGED: "warning", SNOOZED: "info", CLOSED: "success"}


incident_panels: Panels[DriftIncident] = Panels()


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One check of the incident's time."""

    check_id: int
    checked_at: datetime
    tag: Tag
    smallest_p_value: str
    features: str
    rows: str


def state_of(incident: DriftIncident) -> Tag:
    """Return in one word how an incident stands."""
    if incident.closed_at is not None:
        return STATES[CLOSED]
    if incident.snoozed_until is not None and incident.snoozed_until > timezone.now():
        return STATES[SNOOZED]
    return STATES[ACKNOWLEDGED if incident.acknowledged_at else NEW]


def drifted_names(incident: DriftIncident, *, most: int) -> str:
    """Return what drifted, strongest first, each name once."""
    names = list(dict.fromkeys(subject_of(found) for found in hypotheses_of(incident.hypotheses)))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def incident_context(incident: DriftIncident) -> dict[str, Any]:
    """Return the context of ``admin/drift/driftincident/incident.html``."""
    hypotheses = hypotheses_of(incident.hypotheses)
    shown_check, result = _shown_result(incident)
    names = [found.name for found in hypotheses]
    views = [view for view in feature_views(result) if view.name in names]
    checks = _checks_of(incident)
    return {
        "incident": incident,
        "state": state_of(incident),
        "sentences": list(_sentences(incident)),
        "findings": _findings(incident, hypotheses, result),
        "shown_check": shown_check,
        "features": sorted(views, key=lambda view: names.index(view.name)),
        "history": [_history_line(check) for check in checks[:MOST_HISTORY_LINES]],
        "left_out": max(0, checks.count() - MOST_HISTORY_LINES),
        "acts": changes_of(incident),
        "examples": _examples(shown_check, result, names),
        "panels": incident_panels.of(incident),
    }


def _shown_result(incident: DriftIncident) -> tuple[DriftCheck, ComparisonResult]:
    """Return the newest check that compared its window, for how things are now."""
    last = incident.last_check
    shown = last if last.status == CheckStatus.SUCCEEDED else incident.opened_by
    return shown, result_of_check(shown)


def _examples(check: DriftCheck, result: ComparisonResult, names: Sequence[str]) -> ExampleRows | None:
    """Return rows of a check's window that show what changed; None where the rows are gone or cannot be read."""
    changed = sorted((one for one in result.features if one.name in names), key=lambda one: names.index(one.name))
    if not changed or check.window_ended_at is None:
        return None
    try:
        observed = read_observations(
            check.version_id,
            rows=min(check.n_current, MOST_EXAMINED_ROWS),
            until=check.window_ended_at + timedelta(microseconds=1),
            columns=[*(f"{FEATURE_PREFIX}{one.name}" for one in changed), "observed_at", "prediction", "confidence"],
        )
    except (redis.RedisError, DatabaseError, ArchiveError) as error:
        logger.warning("The rows of check %d cannot be read: %s", check.pk, error)
        return None
    own_names = [name.removeprefix(FEATURE_PREFIX) for name in observed.column_names]
    return example_rows(changed, observed.rename_columns(own_names))


def _findings(
    incident: DriftIncident, hypotheses: tuple[HypothesisResult, ...], newest: ComparisonResult
) -> list[Finding]:
    """Return what drifted in words: as the check saw it that opened the incident, or the newest one where that did."""
    opening = result_of_check(incident.opened_by)
    seen_first = {found.key for found in opening.listed_hypotheses}
    return [finding_of(found, found_by(opening if found.key in seen_first else newest, found)) for found in hypotheses]


def _sentences(incident: DriftIncident) -> Iterator[str]:
    since = f"{incident.opened_at:%Y-%m-%d %H:%M}"
    if incident.closed_at is None:
        open_seconds = (timezone.now() - incident.opened_at).total_seconds()
        yield f"Open for {duration_text(open_seconds)}, since {since}."
    else:
        lasted = duration_text((incident.closed_at - incident.opened_at).total_seconds())
        yield f"From {since}, for {lasted}; closed: {incident.get_closing_reason_display()}."
    yield f"{incident.alarms:,} {'check has' if incident.alarms == 1 else 'checks have'} raised the alarm."
    if incident.acknowledged_at is not None:
        who = incident.acknowledged_by.get_username() if incident.acknowledged_by else "a person without an account now"
        yield f"{who} looks after it since {incident.acknowledged_at:%Y-%m-%d %H:%M}."
    if incident.closed_at is None:
        if incident.snoozed_until is not None and incident.snoozed_until > timezone.now():
            yield f"Its alert is quiet until {incident.snoozed_until:%Y-%m-%d %H:%M}."
        yield (
            f"It closes by itself after {QUIET_WINDOWS} windows without a row in common and without a sign of it; "
            f"so far {incident.quiet_windows}."
        )


def _checks_of(incident: DriftIncident) -> QuerySet[DriftCheck]:
    """Return the checks of the incident's time, the newest first, with the features that they list."""
    listed = Prefetch("features", FeatureDrift.objects.filter(is_confirmed=True), to_attr="listed")
    checks = DriftCheck.objects.filter(version=incident.version_id, pk__gte=incident.opened_by_id, is_backfilled=False)
    if incident.closed_at is not None:
        checks = checks.filter(created_at__lte=incident.closed_at)
    return checks.order_by("-id").prefetch_related(listed)


def _history_line(check: Any) -> HistoryLine:
    verdict = from_plain(check.verdict, Verdict) if check.verdict else None
    smallest = verdict.smallest_p_value if verdict else None
    return HistoryLine(
        check_id=check.pk,
        checked_at=check.created_at,
        tag=outcome_of(check),
        smallest_p_value="-" if smallest is None else p_value_text(smallest).removeprefix("p = ").removeprefix("p "),
        features=", ".join(feature.feature_name for feature in check.listed),
        rows=f"{check.n_current:,}",
    )
