"""The page of an incident: what drifted, since when, how it is now, and what people did."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import redis
from django.db import DatabaseError
from django.utils import timezone

from accounts.admin.page_parts import Panels
from accounts.selectors import changes_of
from drift.models import CheckStatus, DriftCheck, DriftIncident
from drift.rendering.example_rows import ExampleRows, example_rows
from drift.rendering.states import outcome_of, state_of
from drift.selectors import checks_of_incident
from drift.services.incidents import QUIET_WINDOWS
from inference.archive import read_observations
from inference.exceptions import ArchiveError
from inference.stream import FEATURE_PREFIX
from mlmon.figures import duration_text
from mlmon.report.views import Tag, feature_views, finding_of, p_value_figure
from mlmon.results import ComparisonResult, VerdictStatus

logger = logging.getLogger(__name__)

MOST_EXAMINED_ROWS = 2_000  # of the window, for examples
MOST_HISTORY_LINES = 50

incident_panels: Panels[DriftIncident] = Panels()


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One check made during the incident."""

    check_id: int
    checked_at: datetime
    tag: Tag
    smallest_p_value: str
    features: str
    rows: str


def incident_context(incident: DriftIncident) -> dict[str, Any]:
    """Return the context of ``admin/drift/driftincident/incident.html``."""
    opened_by, last = incident.opened_by, incident.last_check
    shown_check = last if last.status == CheckStatus.SUCCEEDED else opened_by
    result = shown_check.comparison
    names = [name for found in incident.hypotheses for name in (found.name, found.other_name) if name]
    names = list(dict.fromkeys(names))
    views = [view for view in feature_views(result) if view.name in names]
    checks = checks_of_incident(incident)
    return {
        "incident": incident,
        "state": state_of(incident),
        "sentences": list(_sentences(incident)),
        "findings": [finding_of(found) for found in incident.hypotheses],
        "shown_check": shown_check,
        "features": sorted(views, key=lambda view: names.index(view.name)),
        "history": [_history_line(check) for check in checks[:MOST_HISTORY_LINES]],
        "left_out": max(0, checks.count() - MOST_HISTORY_LINES),
        "acts": changes_of(incident),
        "examples": _examples(shown_check, result, names),
        "panels": incident_panels.of(incident),
    }


def _examples(check: DriftCheck, result: ComparisonResult, names: Sequence[str]) -> ExampleRows | None:
    """Return rows of a check's window that show what changed; None if the rows are deleted or cannot be read."""
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


def _sentences(incident: DriftIncident) -> Iterator[str]:
    now, since = timezone.now(), f"{incident.opened_at:%Y-%m-%d %H:%M}"
    duration = duration_text(((incident.closed_at or now) - incident.opened_at).total_seconds())
    if incident.closed_at is None:
        yield f"Open for {duration}, since {since}."
    else:
        yield f"From {since}, for {duration}; closed: {incident.get_closing_reason_display()}."
    yield f"{incident.alarms:,} {'check has' if incident.alarms == 1 else 'checks have'} raised the alarm."
    if incident.acknowledged_at is not None:
        who = incident.acknowledged_by.get_username() if incident.acknowledged_by else "a deleted user"
        yield f"Acknowledged by {who} at {incident.acknowledged_at:%Y-%m-%d %H:%M}."
    if incident.closed_at is None:
        if incident.snoozed_until is not None and incident.snoozed_until > now:
            yield f"Its alert is silenced until {incident.snoozed_until:%Y-%m-%d %H:%M}."
        if incident.last_check.verdict_status == VerdictStatus.INCOMPLETE:
            yield "The latest check could not compare every feature, so its window does not count as quiet."
        yield (
            f"It closes automatically after {QUIET_WINDOWS} quiet windows without a common row; "
            f"{incident.quiet_windows} so far."
        )


def _history_line(check: Any) -> HistoryLine:
    return HistoryLine(
        check_id=check.pk,
        checked_at=check.created_at,
        tag=outcome_of(check),
        smallest_p_value=p_value_figure(check.result.verdict.smallest_p_value if check.result else None),
        features=", ".join(feature.feature_name for feature in check.listed),
        rows=f"{check.n_current:,}",
    )
