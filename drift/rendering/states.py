"""The state of a check and of an incident, in one or two words."""

from django.utils import timezone

from drift.models import CheckStatus, DriftCheck, DriftIncident
from mlmon.report.views import Tag, Tone
from mlmon.results import ResultStatus, VerdictStatus

DRIFTED = Tag("drift", Tone.ALARM, "The verdict is an alarm.")
ABOVE = Tag("above threshold", Tone.WARNING, "A score is above its threshold; no alarm.")
QUIET = Tag("no drift", Tone.GOOD)
INCOMPLETE = Tag("incomplete", Tone.WARNING, "Not everything could be compared; the rest has not drifted.")
NOTHING_COMPARED = Tag("nothing compared", Tone.WARNING, "No feature could be compared, so drift would not be noticed.")
ONLY_PREDICTIONS = Tag("predictions only", Tone.PLAIN, "No feature is monitored; the predictions have not drifted.")
NO_VERDICT = Tag("no verdict", Tone.PLAIN, "Too few rows for a verdict; no score is above its threshold.")
FAILED = Tag("failed", Tone.WARNING, "The window could not be compared.")

# What to do about a feature of a model that could not be compared.
ADVICE = {
    ResultStatus.MISSING_COLUMN: (
        "The stored predictions lack it. Store it (capture policy), or stop monitoring it (drift policy)."
    ),
    ResultStatus.TYPE_CHANGED: "The reference has another type. Upload reference data of this version again.",
    ResultStatus.AMBIGUOUS_DATES: "Write dates in ISO 8601, such as 2026-03-01, in the reference data and in requests.",
    ResultStatus.NO_REFERENCE: (
        "Upload the reference data again with a column of the model's predictions, or make the window of a check the "
        "reference."
    ),
    ResultStatus.ERROR: (
        "The worker's log has the traceback. If it happens again after a new upload of reference data, it is a bug."
    ),
}

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
    if check.verdict_status == VerdictStatus.INCOMPLETE:
        return INCOMPLETE if check.n_compared else NOTHING_COMPARED
    if check.verdict_status == VerdictStatus.INSUFFICIENT_DATA:
        return NO_VERDICT
    return QUIET if check.n_compared else ONLY_PREDICTIONS


def state_of(incident: DriftIncident) -> Tag:
    """Return the state of an incident."""
    if incident.closed_at is not None:
        return CLOSED
    if incident.snoozed_until is not None and incident.snoozed_until > timezone.now():
        return SNOOZED
    return ACKNOWLEDGED if incident.acknowledged_at else NEW
