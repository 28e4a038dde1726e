"""The findings of a comparison as sentences, for pages, incidents and the terminal. Plain text: callers escape it."""

import math

from mlmon.figures import listing, number_pair, share_pair, share_text
from mlmon.results import (
    NOT_COMPARED,
    Badge,
    Channel,
    ComparisonResult,
    FeatureResult,
    HypothesisResult,
    JointChange,
    LeftOutReason,
    QualityEvent,
    QualityFinding,
    ResultStatus,
    Test,
    Verdict,
    VerdictStatus,
)
from mlmon.verdict import FEWEST_REFERENCE_ROWS, FEWEST_WINDOW_ROWS

SMALLEST_P_VALUE = 1e-300  # float64 has little precision below it
MEASURED = ("median", "mean", "interquartile range", "standard deviation")  # outcomes that are no shares
EFFECT_NAMES = {
    Test.LOCATION: "location, in sd of the ranks' normal scores,",
    Test.SCALE: "spread, in sd of the squared scores,",
    Test.TAILS: "share of extreme values, in sd,",
    Test.CATEGORY: "share of the category, in sd,",
    Test.INFINITIES: "share of infinities, in sd,",
    Test.CORRELATION: "Fisher's z",
}
VISIBLE_NAMES = {
    Test.LOCATION: "shift of the values",
    Test.SCALE: "change of the variance",
    Test.SHAPE: "change of the shape",
    Test.TAILS: "share beyond the reference's 99th percentile",
    Test.CATEGORIES: "change of the categories",
    Test.CATEGORY: "share of a new category",
    Test.MISSING: "share of missing values",
}

SAME_PHASES = {
    "hour_of_day": "at the same hours",
    "weekday": "on the same weekdays",
    "hour_of_week": "at the same hours of the week",
}

BADGE_TEXTS = {
    Badge.INDEPENDENCE_UNVERIFIED: (
        "Independence unverified: the reference holds fewer than ten windows, too few to measure how much neighbouring "
        "rows resemble each other. If rows come in bursts, there may be more alarms than the budget allows. Upload a "
        "longer reference, in order of time."
    ),
    Badge.BURSTY: (
        "Bursty: rows resemble their neighbours so much that a window says less than a tenth of what as many "
        "independent rows would. The verdict corrects for this and detects only large changes; use longer windows."
    ),
    Badge.INSUFFICIENT_REFERENCE: (
        "Insufficient reference: for some features it is too short to show how much windows vary, because its rows "
        "are too few or resemble each other over long spans. These features have scores, but the verdict leaves them "
        "out; each says how long a reference it needs."
    ),
    Badge.SMALL_REFERENCE: (
        "Small reference: it has fewer than ten rows for each row of the window, so chance in the reference adds to "
        "every difference. A reference of ten windows or more shows smaller changes."
    ),
}

STATUS_TEXTS = {
    ResultStatus.OK: "compared",
    ResultStatus.INSUFFICIENT_DATA: "too few rows to compare",
    ResultStatus.CONSTANT: "the same single value in both",
    ResultStatus.MISSING_COLUMN: "no such column: not compared",
    ResultStatus.TYPE_CHANGED: "another type than in the reference: not compared",
    ResultStatus.AMBIGUOUS_DATES: "day and month cannot be told apart: not compared",
    ResultStatus.NO_REFERENCE: "the reference has none: not compared",
    ResultStatus.IDENTIFIER: "identifies rows: not compared",
    ResultStatus.ERROR: "the comparison failed",
}

LEFT_OUT_TEXTS = {
    LeftOutReason.IDENTIFIER: "identifier",
    LeftOutReason.INDEX_COLUMN: "index column",
    LeftOutReason.IGNORED: "ignored",
    LeftOutReason.NOT_IN_REFERENCE: "not in the reference",
}

# What to do about a column of two files that could not be compared.
FILE_ADVICE = {
    ResultStatus.MISSING_COLUMN: "Check whether the column was renamed.",
    ResultStatus.TYPE_CHANGED: "Write its values as in the reference, or compare it as names with --categorical.",
    ResultStatus.AMBIGUOUS_DATES: "Or write its dates as yyyy-mm-dd.",
    ResultStatus.NO_REFERENCE: "Add a column with the model's predictions to the reference.",
    ResultStatus.ERROR: "If the comparison failed, report the bug with its traceback.",
}

QUALITY_TEXTS = {
    QualityEvent.MISSING_VALUES: "without a value",
    QualityEvent.OUT_OF_RANGE: "beyond the reference's range",
    QualityEvent.UNSEEN_CATEGORIES: "of a category that the reference does not have",
    QualityEvent.TYPE_CHANGED: "of another type",
    QualityEvent.BECAME_CONSTANT: "all of the same value",
    QualityEvent.COLUMN_MISSING: "without the column",
}


def sentence_of(hypothesis: HypothesisResult) -> str:
    """Return what changed, without the feature's name, a capital or a full stop: "median went from 3.76 to 4.41"."""
    before, now = hypothesis.reference_value, hypothesis.current_value
    if before is None or now is None:
        return _effect_sentence(hypothesis)
    if hypothesis.test is Test.CORRELATION:
        return "correlation with {} went from {} to {}".format(hypothesis.other_name, *number_pair(before, now))
    if hypothesis.outcome in MEASURED:
        return "{} went from {} to {}".format(hypothesis.outcome, *number_pair(before, now))
    share, reference_share = share_pair(now, before)
    if hypothesis.season:
        reference_share = f"{reference_share} {SAME_PHASES[hypothesis.season]}"
    if hypothesis.channel is Channel.MISSING_VALUES:
        return f"{share} missing; the reference has {reference_share}"
    subject = "predictions" if hypothesis.channel is Channel.PREDICTION else "values"
    return f"{share} of {subject} are {hypothesis.outcome}; the reference has {reference_share}"


def _effect_sentence(hypothesis: HypothesisResult) -> str:
    """Return the effect of a change whose figures are not known: of the first edition, or too small to explain."""
    effect = hypothesis.effect
    if hypothesis.channel is Channel.MISSING_VALUES:
        return f"share of missing values changed by {100 * effect:+.1f} points"
    by = f", compared by {hypothesis.season.replace('_', ' ')}" if hypothesis.season else ""
    if hypothesis.test is Test.LOCATION:
        direction = "higher" if effect > 0 else "lower"
        return f"values are {direction} by {abs(effect):.2f} sd of the ranks' normal scores{by}"
    if hypothesis.test is Test.SCALE:
        direction = "further apart" if effect > 0 else "closer together"
        return f"values are {direction} ({effect:+.2f} sd of squared scores){by}"
    return f"distribution changed (w = {effect:.2f}){by}"


def evidence_of(hypothesis: HypothesisResult) -> str:
    """Return the figures behind a sentence: "p = 2e-19, w = 0.31 (an alarm needs 0.15)"."""
    return f"{p_value_text(hypothesis.p_value)}, {effect_text(hypothesis.effect, hypothesis)}"


def effect_text(effect: float, hypothesis: HypothesisResult) -> str:
    """Return an effect of the size that the hypothesis' test measures: "w = 0.31", "+0.45 sd", "+11.0 points"."""
    if hypothesis.channel is Channel.MISSING_VALUES:
        return f"{100 * effect:+.1f} points"
    name = EFFECT_NAMES.get(hypothesis.test, "w") if hypothesis.test else "w"
    return f"w = {effect:.2f}" if name == "w" else f"{name} {effect:+.2f}"


def smallest_visible_texts(found: FeatureResult) -> tuple[tuple[str, str], ...]:
    """Return the smallest change of each kind that the window could have shown: a name and a figure."""
    return tuple((VISIBLE_NAMES[test], _visible_text(test, size)) for test, size in found.smallest_visible.items())


def _visible_text(test: Test, size: float) -> str:
    if test in (Test.TAILS, Test.CATEGORY, Test.MISSING):
        return share_text(size)
    if test is Test.SCALE:
        # Of a normal distribution, whose squared score has a standard deviation of the square root of 2.
        return f"x {1 + math.sqrt(2) * size:.2f}"
    return f"{size:.2f} sd" if test is Test.LOCATION else f"w = {size:.2f}"


def verdict_sentence(result: ComparisonResult) -> str:
    """Return the verdict in one sentence or two: what changed, how sure that is, or why there is no verdict."""
    verdict = result.verdict
    if verdict.status is VerdictStatus.NOT_ASKED:
        return _scores_sentence(result)
    if verdict.status is VerdictStatus.INSUFFICIENT_DATA:
        return f"No verdict: {verdict.detail or 'too few rows.'}"
    if verdict.status is VerdictStatus.INCOMPLETE:
        return f"Incomplete: {verdict.detail} {_rest_sentence(result)}".strip()
    if verdict.status is VerdictStatus.QUIET:
        nothing = _too_small_sentence(result) or f"No drift. {_closest_sentence(verdict)}"
        return f"{nothing}{_budget_sentence(verdict)}"
    listed = result.listed_hypotheses or tuple(found for found in result.hypotheses if found.is_alarm)
    if not listed:
        return f"Drift. {_closest_sentence(verdict)}{_budget_sentence(verdict)}"
    strongest = listed[0]
    more = f", and {_count(len(listed) - 1, 'other change')}" if len(listed) > 1 else ""
    return (
        f"{strongest.subject} changed: {sentence_of(strongest)} ({p_value_text(strongest.p_value)}){more}. "
        f"{_budget_sentence(verdict)}"
    )


def coverage_sentence(result: ComparisonResult) -> str:
    """Return what could not be compared in one sentence; "" if everything was compared or left out on purpose."""
    coverage, failed = result.coverage, sum(feature.status in NOT_COMPARED for feature in result.features)
    if not result.is_anything_compared:
        if not failed:
            return "Nothing was compared: every column is left out on purpose."
        return (
            f"None of the {failed} features could be compared." if failed > 1 else "The feature could not be compared."
        )
    subjects = [f"{failed} of {_count(failed + coverage.compared, 'feature')}"] if failed else []
    if failed < len(coverage.not_compared):
        subjects.append("the predictions" if failed else "The predictions")
    return f"{listing(subjects, 'and')} could not be compared." if subjects else ""


def quality_sentence(finding: QualityFinding) -> str:
    """Return what is wrong with a column's data in one sentence: how many rows, what share, which values."""
    detail = f": {finding.detail}" if finding.detail else ""
    return f"{_count(finding.count, 'row')} {QUALITY_TEXTS[finding.event]} ({share_text(finding.share)}){detail}"


def joint_sentence(change: JointChange) -> str:
    """Return in words how well a classifier separates the window from the reference."""
    telling = f", mostly by {listing(change.telling_features, 'and')}" if change.telling_features else ""
    return (
        f"a classifier separates the window's rows from the reference's with an AUC of {change.auc:.2f} "
        f"(0.50 is guessing; {p_value_text(change.p_value)}){telling}"
    )


def p_value_text(p_value: float) -> str:
    """Return a p-value for reading: "p = 0.03", "p = 2e-19", "p < 1e-300"."""
    if p_value < SMALLEST_P_VALUE:
        return f"p < {SMALLEST_P_VALUE:.0e}"
    if p_value >= 0.001:
        return f"p = {float(f'{p_value:.1g}') if p_value < 0.1 else round(p_value, 2):g}"
    mantissa, exponent = f"{p_value:.0e}".split("e")
    return f"p = {mantissa}e{int(exponent)}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _closest_sentence(verdict: Verdict) -> str:
    if verdict.smallest_p_value is None:
        return ""
    return (
        f"Closest to an alarm of {_count(verdict.hypotheses, 'test')}: {verdict.closest}, "
        f"{p_value_text(verdict.smallest_p_value)}; an alarm needs {verdict.alpha:.0e}. "
    )


def _rest_sentence(result: ComparisonResult) -> str:
    """Return what an incomplete verdict says of what was compared."""
    verdict = result.verdict
    if not result.is_anything_compared:
        return ""
    if not verdict.hypotheses:  # the policy asks for thresholds only
        return _scores_sentence(result)
    if result.n_current < FEWEST_WINDOW_ROWS or result.n_reference < FEWEST_REFERENCE_ROWS:
        return ""  # the detail says that there are too few
    quiet = _too_small_sentence(result) or f"No drift in the rest. {_closest_sentence(verdict)}"
    return f"{quiet}{_budget_sentence(verdict)}"


def _too_small_sentence(result: ComparisonResult) -> str:
    """Return what changed beyond chance but too little for an alarm; "" if nothing did."""
    small = [found for found in result.hypotheses if found.p_value <= found.alpha and not found.passes_gate]
    if not small:
        return ""
    strongest = min(small, key=lambda found: found.p_value)
    is_missing = strongest.channel is Channel.MISSING_VALUES
    # Cut to the digits of the text, not rounded, to stay below what is needed.
    digits = 1000 if is_missing else 100
    cut = math.trunc(digits * strongest.effect) / digits
    what = f"The share of missing values of {strongest.name}" if is_missing else strongest.subject
    what = "The predictions" if strongest.channel is Channel.PREDICTION else what
    more = f" (and {_count(len(small) - 1, 'other')})" if len(small) > 1 else ""
    needed = f"{100 * strongest.gate:g} points" if is_missing else f"{strongest.gate:g}"
    return (
        f"No drift that matters. {what}{more} changed beyond chance ({p_value_text(strongest.p_value)}), "
        f"but only by {effect_text(cut, strongest)}; an alarm needs {needed}. "
    )


def _budget_sentence(verdict: Verdict) -> str:
    return f"At most one false alarm in {verdict.false_alarm_budget:,} checks."


def _scores_sentence(result: ComparisonResult) -> str:
    drifted = [feature.name for feature in result.drifted_features]
    drifted += ["predictions"] if result.prediction.is_drifted else []
    if not drifted:
        return "No score is above its threshold."
    shown = drifted if len(drifted) <= 5 else [*drifted[:5], _count(len(drifted) - 5, "other")]
    verb = "is" if len(drifted) == 1 else "are"
    return f"{listing(shown, 'and')} {verb} above the threshold."
