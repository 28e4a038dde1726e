"""The findings of a comparison as sentences, for pages, incidents and the terminal. Plain text: callers escape it."""

import math
import re
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mlmon.figures import number_text, share_text
from mlmon.results import (
    NOT_COMPARED,
    Badge,
    Channel,
    ComparisonResult,
    CorrelationChange,
    Distribution,
    FeatureResult,
    HypothesisResult,
    JointChange,
    LeftOutReason,
    PredictionResult,
    QualityEvent,
    QualityFinding,
    ResultStatus,
    Verdict,
    VerdictStatus,
)
from mlmon.statistics.counts import OTHER
from mlmon.verdict import FEWEST_REFERENCE_ROWS, FEWEST_WINDOW_ROWS, SMALLEST_EFFECT, SMALLEST_MISSING_DIFFERENCE

Found: TypeAlias = FeatureResult | PredictionResult | None

MOST_CATEGORIES_NAMED = 3
LEAST_CONTRIBUTION = 1 / 3  # of the category that changed most; others with less are not named with it
LEAST_REFERENCE_SHARE = 0.01  # a category's change is measured by at least this share, so that a few rows do not count
LONGEST_CATEGORY = 40  # characters
LEAST_MEAN_SHIFT = 0.1  # standard deviations of the reference; with less, something other than the mean changed
SMALLEST_P_VALUE = 1e-300  # float64 has little precision below it
MOST_DIGITS = 7
LONG_FRACTION = re.compile(r"-?\d{1,6}\.\d{9,}")

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


def sentence_of(hypothesis: HypothesisResult, found: Found) -> str:
    """Return what changed, without the feature's name, a capital or a full stop: "mean went from 3.76 to 4.41".

    Parameters
    ----------
    hypothesis
        Of the verdict.
    found
        The result that it belongs to. None if it is not known any more; the sentence then states only the effect.
        Shares and means are those of its main window, even if a shorter window had the smaller p-value.
    """
    if hypothesis.channel is Channel.MISSING_VALUES:
        return _missing_sentence(hypothesis, found)
    if isinstance(found, PredictionResult):
        changed = _prediction_sentence(found)
    else:
        changed = _values_sentence(found) if found is not None else ""
    return changed or f"distribution changed (w = {hypothesis.effect:.2f})"


def subject_of(hypothesis: HypothesisResult) -> str:
    """Return what a hypothesis is about: the feature's name, or "predictions"."""
    return "predictions" if hypothesis.channel is Channel.PREDICTION else hypothesis.name


def evidence_of(hypothesis: HypothesisResult) -> str:
    """Return the figures behind a sentence: "p = 2e-19, w = 0.31"."""
    if hypothesis.channel is Channel.MISSING_VALUES:
        return f"{p_value_text(hypothesis.p_value)}, {100 * hypothesis.effect:+.1f} points"
    return f"{p_value_text(hypothesis.p_value)}, w = {hypothesis.effect:.2f}"


def smallest_change_of(hypothesis: HypothesisResult) -> str:
    """Return the smallest change that the window could have shown; "" if it is not known."""
    if hypothesis.smallest_detectable is None:
        return ""
    if hypothesis.channel is Channel.MISSING_VALUES:
        return f"a change of {100 * hypothesis.smallest_detectable:.1f} points"
    return f"a change of w = {hypothesis.smallest_detectable:.2f}"


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
        nothing = _too_small_sentence(result) or f"No drift. {_smallest_p_sentence(verdict)}"
        return f"{nothing}{_budget_sentence(verdict)}"
    listed = result.listed_hypotheses or tuple(found for found in result.hypotheses if found.is_alarm)
    if not listed:
        return f"Drift. {_smallest_p_sentence(verdict)}{_budget_sentence(verdict)}"
    strongest = listed[0]
    changed = sentence_of(strongest, found_by(result, strongest))
    more = f", and {_count(len(listed) - 1, 'other change')}" if len(listed) > 1 else ""
    return (
        f"{subject_of(strongest)} changed: {changed} ({p_value_text(strongest.p_value)}){more}. "
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
    return f"{_listing(subjects, 'and')} could not be compared." if subjects else ""


def found_by(result: ComparisonResult, hypothesis: HypothesisResult) -> Found:
    """Return the part of a comparison that a hypothesis belongs to."""
    if hypothesis.channel is Channel.PREDICTION:
        return result.prediction
    return next((feature for feature in result.features if feature.name == hypothesis.name), None)


def quality_sentence(finding: QualityFinding) -> str:
    """Return what is wrong with a column's data in one sentence: how many rows, what share, which values."""
    detail = f": {finding.detail}" if finding.detail else ""
    return f"{_count(finding.count, 'row')} {QUALITY_TEXTS[finding.event]} ({share_text(finding.share)}){detail}"


def correlation_sentence(change: CorrelationChange) -> str:
    """Return a changed rank correlation in words."""
    before, after = _number_pair(change.reference_correlation, change.current_correlation)
    return (
        f"{change.first} and {change.second}: rank correlation went from {before} to {after} "
        f"({p_value_text(change.p_value)})"
    )


def joint_sentence(change: JointChange) -> str:
    """Return in words how well a classifier separates the window from the reference."""
    telling = f", mostly by {_listing(change.telling_features, 'and')}" if change.telling_features else ""
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


def _share_pair(first: float, second: float) -> tuple[str, str]:
    """Return two shares with enough digits to differ."""
    for digits in range(2, MOST_DIGITS + 1):
        pair = share_text(first, digits=digits), share_text(second, digits=digits)
        if pair[0] != pair[1]:
            break
    return pair


def _number_pair(first: float, second: float) -> tuple[str, str]:
    for digits in range(3, MOST_DIGITS + 1):
        pair = number_text(first, digits), number_text(second, digits)
        if pair[0] != pair[1]:
            break
    return pair


def _missing_sentence(hypothesis: HypothesisResult, found: Found) -> str:
    if not isinstance(found, FeatureResult):
        return f"share of missing values changed by {100 * hypothesis.effect:+.1f} points"
    before = found.n_missing_reference / max(1, found.n_missing_reference + found.n_reference)
    now, then = _share_pair(min(1.0, max(0.0, before + hypothesis.effect)), before)
    return f"{now} missing, {then} in the reference"


def _values_sentence(found: FeatureResult) -> str:
    distribution = found.distribution
    if distribution is not None and distribution.labels:
        return _categories_sentence(
            _with_unseen(distribution, found.quality),
            np.array(distribution.reference),
            np.array(distribution.current),
            "values",
        )
    if distribution is not None and len(distribution.edges) > 2 and not _mean_moved(found, distribution):
        return _range_sentence(distribution)
    if found.reference_mean is None or found.current_mean is None or found.reference_mean == found.current_mean:
        return ""
    before, now = _number_pair(found.reference_mean, found.current_mean)
    return f"mean went from {before} to {now}"


def _with_unseen(distribution: Distribution, quality: Sequence[QualityFinding]) -> list[str]:
    """Return the categories for a sentence; the pooled ones by name if the reference has none of them."""
    unseen = next((finding.detail for finding in quality if finding.event is QualityEvent.UNSEEN_CATEGORIES), "")
    return [
        f"unseen categories ({unseen.removesuffix('.')})"
        if unseen and label == OTHER and not count
        else category_text(label)
        for label, count in zip(distribution.labels, distribution.reference, strict=True)
    ]


def _prediction_sentence(found: PredictionResult) -> str:
    labels = tuple(found.reference_dist)
    reference = np.array([found.reference_dist[label] for label in labels])
    current = np.array([found.current_dist.get(label, 0.0) for label in labels])
    return _categories_sentence([category_text(label) for label in labels], reference, current, "predictions")


def _categories_sentence(
    labels: Sequence[str], reference: NDArray[np.number], current: NDArray[np.number], of_what: str
) -> str:
    """Return the categories that changed most, together: of one direction, at most three."""
    if not reference.sum() or not current.sum():
        return ""
    before, now = reference / reference.sum(), current / current.sum()
    difference = now - before
    contribution = difference**2 / np.maximum(before, LEAST_REFERENCE_SHARE)  # to X-squared against the reference
    order = np.argsort(-contribution, kind="stable")
    strongest = order[0]
    if contribution[strongest] == 0:
        return ""
    named = [
        int(index)
        for index in order
        if difference[index] * difference[strongest] > 0
        and contribution[index] >= LEAST_CONTRIBUTION * contribution[strongest]
    ][:MOST_CATEGORIES_NAMED]
    share, reference_share = _share_pair(float(now[named].sum()), float(before[named].sum()))
    names = _listing([labels[index] for index in named], "or")
    return f"{share} of {of_what} are {names}, {reference_share} in the reference"


def _mean_moved(found: FeatureResult, distribution: Distribution) -> bool:
    """Return whether the mean moved by enough standard deviations of the reference, estimated from its bins."""
    if found.reference_mean is None or found.current_mean is None:
        return False
    edges, counts = np.array(distribution.edges), np.array(distribution.reference, dtype=np.float64)
    if not counts.sum():
        return True
    # Half distances, and as shares of the largest: at the ends of float64 differences and squares would overflow.
    from_mean = np.abs(edges[:-1] / 4 + edges[1:] / 4 - found.reference_mean / 2)
    largest = float(from_mean.max())
    deviation = math.sqrt(float(np.average((from_mean / (largest or 1.0)) ** 2, weights=counts))) * largest
    return abs(found.current_mean / 2 - found.reference_mean / 2) >= LEAST_MEAN_SHIFT * deviation


def _range_sentence(distribution: Distribution) -> str:
    """Return the range of neighbouring bins whose share of values changed most."""
    reference, current = np.array(distribution.reference), np.array(distribution.current)
    if not reference.sum() or not current.sum():
        return ""
    before, now = reference / reference.sum(), current / current.sum()
    first, last = _widest_change(now - before)
    if first == last:
        return ""
    low, high = _number_pair(distribution.edges[first], distribution.edges[last])
    share, reference_share = _share_pair(float(now[first:last].sum()), float(before[first:last].sum()))
    return f"{share} of values are from {low} to {high}, {reference_share} in the reference"


def _widest_change(differences: NDArray[np.float64]) -> tuple[int, int]:
    """Return the range of bins, its end excluded, with the largest sum: where values were added."""
    # Ends where the running sum is at its largest above its lowest so far.
    running = np.concatenate([[0.0], np.cumsum(differences)])
    lowest = np.minimum.accumulate(running)
    last = int(np.argmax(running - lowest))
    return int(np.argmin(running[: last + 1])), last


def category_text(name: str) -> str:
    """Return a category for a sentence: in quotation marks if it is not one word.

    A float32 number is written with its significant digits: 0.0599999986588955 is 0.06.
    """
    if LONG_FRACTION.fullmatch(name):
        return f"{float(name):.6g}"
    shown = name if len(name) <= LONGEST_CATEGORY else f"{name[: LONGEST_CATEGORY - 1]}…"
    if shown.isprintable() and shown and not any(character in shown for character in " ,\"'"):
        return shown
    return repr(shown)


def _listing(words: Sequence[str], conjunction: str) -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {conjunction} {words[-1]}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _smallest_p_sentence(verdict: Verdict) -> str:
    if verdict.smallest_p_value is None:
        return ""
    return (
        f"Smallest {p_value_text(verdict.smallest_p_value)} of {_count(verdict.hypotheses, 'test')}; "
        f"an alarm needs {verdict.alpha:.0e}. "
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
    quiet = _too_small_sentence(result) or f"No drift in the rest. {_smallest_p_sentence(verdict)}"
    return f"{quiet}{_budget_sentence(verdict)}"


def _too_small_sentence(result: ComparisonResult) -> str:
    """Return what changed beyond chance but too little for an alarm; "" if nothing did."""
    small = [found for found in result.hypotheses if found.p_value <= result.verdict.alpha and not found.passes_gate]
    if not small:
        return ""
    strongest = min(small, key=lambda found: found.p_value)
    cut = math.trunc(1000 * strongest.effect) / 1000  # cut, not rounded, to stay below what is needed
    if strongest.channel is Channel.MISSING_VALUES:
        what = f"The share of missing values of {strongest.name}"
        change, needed = f"{100 * cut:+.1f} points", f"{100 * SMALLEST_MISSING_DIFFERENCE:g} points"
    else:
        what = "The predictions" if strongest.channel is Channel.PREDICTION else strongest.name
        change, needed = f"w = {cut:.3f}", f"w = {SMALLEST_EFFECT:g}"
    more = f" (and {_count(len(small) - 1, 'other')})" if len(small) > 1 else ""
    return (
        f"No drift that matters. {what}{more} changed beyond chance ({p_value_text(strongest.p_value)}), "
        f"but only by {change}; an alarm needs {needed}. "
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
    return f"{_listing(shown, 'and')} {verb} above the threshold."
