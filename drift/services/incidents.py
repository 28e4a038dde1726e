"""Incidents: opened, followed and closed by checks; acknowledged, snoozed and closed by people."""

from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from accounts.services.changes import record_change
from drift.exceptions import IncidentClosedError, SnoozeInThePastError
from drift.incidents import Event, Incident, step
from drift.models import ClosingReason, DriftCheck, DriftIncident
from drift.stored_results import hypotheses_of, plain
from mlmon.results import ComparisonResult
from models_registry.models import Stage


def follow_incident(*, check: DriftCheck, result: ComparisonResult) -> DriftIncident | None:
    """Take a stored check into account: open, continue or close its version's incident.

    An incident is about one reference; with another one in force it is over.
    """
    row = DriftIncident.objects.select_for_update().filter(version=check.version_id, closed_at=None).first()
    if row is not None and row.opened_by.reference_id != check.reference_id:
        _close(row, ClosingReason.NEW_REFERENCE)
        row = None
    incident, event = step(_state(row), result, rows_seen=check.rows_seen)
    if event is Event.OPENED and incident is not None:
        row = DriftIncident(
            version_id=check.version_id, opened_by=check, opened_at=check.window_ended_at or timezone.now()
        )
    if row is None or event is Event.NONE:
        return row
    row.last_check = check
    if incident is None:
        _close(row, ClosingReason.QUIET)
        return row
    row.hypotheses = plain(incident.hypotheses)
    row.alarms, row.quiet_windows = incident.alarms, incident.quiet_windows
    row.counted_rows = incident.counted_rows
    row.save()
    return row


@transaction.atomic
def acknowledge_incident(*, incident: DriftIncident, user: User) -> None:
    """Write down that a person looks after it; the first one stays.

    Raises
    ------
    IncidentClosedError
        It is over.
    """
    row = _open_row(incident)
    if row.acknowledged_at is None:
        row.acknowledged_at, row.acknowledged_by = timezone.now(), user
        row.save(update_fields=["acknowledged_at", "acknowledged_by"])
        changes = {"Looked after by": (None, user.get_username())}
        record_change(user=user, row=row, message="Acknowledged.", changes=changes)


@transaction.atomic
def snooze_incident(*, incident: DriftIncident, until: datetime, user: User) -> None:
    """Keep an incident's alert quiet until then; it stays open.

    Raises
    ------
    IncidentClosedError
        It is over.
    SnoozeInThePastError
        `until` has passed.
    """
    if until <= timezone.now():
        raise SnoozeInThePastError(until)
    row = _open_row(incident)
    changes = {"Snoozed until": (row.snoozed_until, until)}
    row.snoozed_until = until
    row.save(update_fields=["snoozed_until"])
    record_change(user=user, row=row, message=f"Snoozed until {until:%Y-%m-%d %H:%M %Z}.", changes=changes)


@transaction.atomic
def close_incident(*, incident: DriftIncident, user: User) -> None:
    """Close an incident by hand; the next alarm opens another one. IncidentClosedError where it is over already."""
    row = _open_row(incident)
    _close(row, ClosingReason.BY_HAND)
    record_change(user=user, row=row, message="Closed by hand.", changes={"State": ("open", "closed")})


def close_incidents_of_archived_versions() -> int:
    """Close what no check will ever close; return how many there were."""
    rows = DriftIncident.objects.filter(closed_at=None, version__stage=Stage.ARCHIVED)
    return rows.update(closed_at=timezone.now(), closing_reason=ClosingReason.ARCHIVED)


def _open_row(incident: DriftIncident) -> DriftIncident:
    row = DriftIncident.objects.select_for_update().get(pk=incident.pk)
    if row.closed_at is not None:
        raise IncidentClosedError(row.closed_at)
    return row


def _close(row: DriftIncident, reason: ClosingReason) -> None:
    row.closed_at, row.closing_reason = timezone.now(), reason
    row.save()


def _state(row: DriftIncident | None) -> Incident | None:
    if row is None:
        return None
    return Incident(hypotheses_of(row.hypotheses), row.alarms, row.quiet_windows, row.counted_rows)
