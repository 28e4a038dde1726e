"""The state of a check and of an incident, in one or two words."""

from django.utils import timezone

from drift.models import CheckStatus, DriftCheck, DriftIncident
from mlmon.report.views import Tag, Tone
from mlmon.results import VerdictStatus

DRIFTED = Tag("drift", Tone.ALARM, "The verdict is an alarm.")
ABOVE = Tag("above threshold", Tone.WARNING, "A score is above its threshold; no alarm.")
QUIET = Tag("no drift", Tone.GOOD)
NO_VERDICT = Tag("no verdict", Tone.PLAIN, "Too few rows for a verdict; no score is above its threshold.")
FAILED = Tag("failed", Tone.WARNING, "The window could not be compared.")

NEW = Tag("open", Tone.ALARM, "It is not acknowledged.")
ACKNOWLEDGED = Tag("acknowledged", Tone.WARNING, "Open, and acknowledged by a person.")
SNOOZED = Tag("snoozed", Tone.PLAIN, "Open, with its alert silenced for a time.")
CLOSED = Tag("closed", Tone.GOOD)


def outcome_of(check: DriftCheck) -> Tag:
    """Return the outcome of a check."""
    if check.status == CheckStatus.FAILED:
        return FAILED
    if check.verdict_status == VerdictStatus.ALARM:
        return DRIFTED
    if check.n_drifted_features or check.prediction_is_drifted:
        return ABOVE
    return NO_VERDICT if check.verdict_status == VerdictStatus.INSUFFICIENT_DATA else QUIET


def state_of(incident: DriftIncident) -> Tag:
    """Return the state of an incident."""
    if incident.closed_at is not None:
        return CLOSED
    if incident.snoozed_until is not None and incident.snoozed_until > timezone.now():
        return SNOOZED
    return ACKNOWLEDGED if incident.acknowledged_at else NEW
