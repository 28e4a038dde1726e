"""How a check turned out, in one or two words."""

from drift.models import CheckStatus, DriftCheck
from mlmon.report.feature_views import Tag, Tone
from mlmon.results import VerdictStatus

DRIFTED, ABOVE, QUIET, NO_VERDICT, FAILED = "drift", "above threshold", "no drift", "no verdict", "failed"
OUTCOMES = {
    DRIFTED: Tag(DRIFTED, Tone.ALARM, "The verdict is an alarm."),
    ABOVE: Tag(ABOVE, Tone.WARNING, "A score is above its threshold; no alarm."),
    QUIET: Tag(QUIET, Tone.GOOD),
    NO_VERDICT: Tag(NO_VERDICT, Tone.PLAIN, "Too few rows for a verdict; no score is above its threshold."),
    FAILED: Tag(FAILED, Tone.WARNING, "The window could not be compared."),
}


def outcome_of(check: DriftCheck) -> Tag:
    """Return how a check turned out, in one or two words."""
    if check.status == CheckStatus.FAILED:
        return OUTCOMES[FAILED]
    if check.verdict_status == VerdictStatus.ALARM:
        return OUTCOMES[DRIFTED]
    if check.n_drifted_features or check.prediction_is_drifted:
        return OUTCOMES[ABOVE]
    return OUTCOMES[NO_VERDICT if check.verdict_status == VerdictStatus.INSUFFICIENT_DATA else QUIET]
