"""Incidents: checks open, continue and close them; people acknowledge, snooze and close them.

One alarm is one incident, however often it is raised again. An incident closes after three windows without a common row
in which every feature was compared and none of its own hypotheses has a p-value below .01. The hypotheses of other
features do not count: of 200 hypotheses, two fall below .01 in every window by chance, and no incident would ever close
(docs/adr/0009).
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from accounts.services.changes import record_change
from drift.exceptions import IncidentClosedError, SnoozeInThePastError
from drift.models import ClosingReason, DriftCheck, DriftIncident
from mlmon.results import ComparisonResult, HypothesisResult, VerdictStatus
from models_registry.models import Stage

QUIET_WINDOWS = 3
QUIET_P_VALUE = 0.01


class Event(StrEnum):
    """What a check did to the incident of its version."""

    NONE = "none"
    OPENED = "opened"
    CONTINUED = "continued"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Incident:
    """The state of an open incident.

    Attributes
    ----------
    hypotheses
        What drifted, strongest first, each as it was when it was strongest.
    alarms
        How many checks raised the alarm.
    quiet_windows
        How many windows in a row were quiet.
    counted_rows
        Rows seen at the end of the last window that counted. A window counts if it begins there or later.
    """

    hypotheses: tuple[HypothesisResult, ...]
    alarms: int
    quiet_windows: int
    counted_rows: int


def step(incident: Incident | None, result: ComparisonResult, *, rows_seen: int) -> tuple[Incident | None, Event]:
    """Return the incident after a check, and what the check did to it.

    Parameters
    ----------
    incident
        The open incident of the version, or None.
    result
        The check's result. Without a verdict, nothing changes.
    rows_seen
        All observations of the version up to the window's end.
    """
    if result.verdict.status is VerdictStatus.ALARM:
        listed = result.listed_hypotheses
        if incident is None:
            return Incident(listed, alarms=1, quiet_windows=0, counted_rows=rows_seen), Event.OPENED
        strongest = {found.key: found for found in incident.hypotheses}
        for found in listed:
            if found.key not in strongest or found.p_value < strongest[found.key].p_value:
                strongest[found.key] = found
        hypotheses = sorted(strongest.values(), key=lambda found: (found.p_value, -abs(found.effect), found.key))
        return Incident(tuple(hypotheses), incident.alarms + 1, 0, rows_seen), Event.CONTINUED
    is_incomplete = result.verdict.status is VerdictStatus.INCOMPLETE
    if incident is None or not (is_incomplete or result.verdict.status is VerdictStatus.QUIET):
        return incident, Event.NONE
    own = {found.key for found in incident.hypotheses}
    windows = result.verdict.window_rows or (result.n_current,)
    if any(found.p_value < QUIET_P_VALUE for found in result.hypotheses if found.key in own):
        return replace(incident, quiet_windows=0, counted_rows=rows_seen), Event.CONTINUED
    if is_incomplete:
        return incident, Event.CONTINUED
    has_restarted = rows_seen < incident.counted_rows  # Redis lost its count
    if not has_restarted and rows_seen - max(windows) < incident.counted_rows:
        return incident, Event.CONTINUED
    if incident.quiet_windows + 1 >= QUIET_WINDOWS:
        return None, Event.CLOSED
    return replace(incident, quiet_windows=incident.quiet_windows + 1, counted_rows=rows_seen), Event.CONTINUED


def follow_incident(*, check: DriftCheck, result: ComparisonResult) -> DriftIncident | None:
    """Open, continue or close the incident of a stored check's version.

    An incident is about one reference. It closes when another reference becomes active.
    """
    row = DriftIncident.objects.select_for_update().filter(version=check.version_id, closed_at=None).first()
    if row is not None and row.opened_by.reference_id != check.reference_id:
        _close(row, ClosingReason.NEW_REFERENCE)
        row = None
    before = None if row is None else Incident(row.hypotheses, row.alarms, row.quiet_windows, row.counted_rows)
    incident, event = step(before, result, rows_seen=check.rows_seen)
    if event is Event.OPENED:
        row = DriftIncident(
            version_id=check.version_id, opened_by=check, opened_at=check.window_ended_at or timezone.now()
        )
    if row is None or event is Event.NONE:
        return row
    row.last_check = check
    if incident is None:
        _close(row, ClosingReason.QUIET)
        return row
    row.hypotheses, row.alarms = incident.hypotheses, incident.alarms
    row.quiet_windows, row.counted_rows = incident.quiet_windows, incident.counted_rows
    row.save()
    return row


@transaction.atomic
def acknowledge_incident(*, incident: DriftIncident, user: User) -> None:
    """Record that a person handles the incident. Only the first acknowledgement counts.

    Raises
    ------
    IncidentClosedError
        The incident is closed.
    """
    row = _open_row(incident)
    if row.acknowledged_at is None:
        row.acknowledged_at, row.acknowledged_by = timezone.now(), user
        row.save(update_fields=["acknowledged_at", "acknowledged_by"])
        changes = {"Acknowledged by": (None, user.get_username())}
        record_change(user=user, row=row, message="Acknowledged.", changes=changes)


@transaction.atomic
def snooze_incident(*, incident: DriftIncident, until: datetime, user: User) -> None:
    """Silence an incident's alert until a time; the incident stays open.

    Raises
    ------
    IncidentClosedError
        The incident is closed.
    SnoozeInThePastError
        `until` is in the past.
    """
    if until <= timezone.now():
        raise SnoozeInThePastError(f"{until:%Y-%m-%d %H:%M %Z} is in the past. Choose a later time.")
    row = _open_row(incident)
    changes = {"Snoozed until": (row.snoozed_until, until)}
    row.snoozed_until = until
    row.save(update_fields=["snoozed_until"])
    record_change(user=user, row=row, message=f"Snoozed until {until:%Y-%m-%d %H:%M %Z}.", changes=changes)


@transaction.atomic
def close_incident(*, incident: DriftIncident, user: User) -> None:
    """Close an incident by hand. The next alarm opens a new one.

    Raises
    ------
    IncidentClosedError
        The incident is already closed.
    """
    row = _open_row(incident)
    _close(row, ClosingReason.BY_HAND)
    record_change(user=user, row=row, message="Closed by hand.", changes={"State": ("open", "closed")})


def close_incidents_of_archived_versions() -> int:
    """Close the incidents that no check will close, and return how many there were."""
    rows = DriftIncident.objects.filter(closed_at=None, version__stage=Stage.ARCHIVED)
    return rows.update(closed_at=timezone.now(), closing_reason=ClosingReason.ARCHIVED)


def _open_row(incident: DriftIncident) -> DriftIncident:
    row = DriftIncident.objects.select_for_update().get(pk=incident.pk)
    if row.closed_at is not None:
        raise IncidentClosedError(f"This incident was closed at {row.closed_at:%Y-%m-%d %H:%M %Z}.")
    return row


def _close(row: DriftIncident, reason: ClosingReason) -> None:
    row.closed_at, row.closing_reason = timezone.now(), reason
    row.save()
