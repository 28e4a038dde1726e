"""Sentences about what changed. Expected figures are worked out by hand beside each case."""

from dataclasses import replace

import pytest

from mlmon.results import (
    Badge,
    Channel,
    ComparisonResult,
    CorrelationChange,
    Distribution,
    FeatureResult,
    HypothesisResult,
    JointChange,
    PredictionResult,
    QualityEvent,
    QualityFinding,
    ResultStatus,
    Verdict,
    VerdictStatus,
)
from mlmon.schema import FeatureKind
from mlmon.sentences import (
    BADGE_TEXTS,
    QUALITY_TEXTS,
    STATUS_TEXTS,
    category_text,
    correlation_sentence,
    evidence_of,
    joint_sentence,
    p_value_text,
    quality_sentence,
    sentence_of,
    smallest_change_of,
    subject_of,
    verdict_sentence,
)

VALUES = HypothesisResult(Channel.DISTRIBUTION, "dest", 1.6e-19, 0.31, True, 1000, is_alarm=True, is_listed=True)
MISSING = HypothesisResult(Channel.MISSING_VALUES, "dest", 1e-9, 0.11, True, 1000)
PREDICTED = HypothesisResult(Channel.PREDICTION, "", 1e-9, 0.2, True, 1000)
NUMBERS = FeatureResult("petal", FeatureKind.NUMERIC, 0.15, reference_mean=3.758, current_mean=4.413)
CATEGORIES = FeatureResult("dest", FeatureKind.CATEGORICAL, 0.15, n_reference=1000, n_current=500)


def _categories(reference: dict[str, int], current: dict[str, int]) -> FeatureResult:
    labels = tuple(reference)
    counts = tuple(current.get(label, 0) for label in labels)
    return replace(CATEGORIES, distribution=Distribution(labels, (), tuple(reference.values()), counts))


def _numbers(reference: tuple[int, ...], current: tuple[int, ...], *means: float) -> FeatureResult:
    edges = tuple(float(edge) for edge in range(len(reference) + 1))
    return replace(
        NUMBERS,
        distribution=Distribution((), edges, reference, current),
        reference_mean=means[0],
        current_mean=means[1],
    )


def test_a_moved_mean() -> None:
    assert sentence_of(VALUES, NUMBERS) == "mean went from 3.76 to 4.41"


def test_means_that_differ_late_get_more_digits() -> None:
    found = replace(NUMBERS, reference_mean=1013.24, current_mean=1013.31)

    assert sentence_of(VALUES, found) == "mean went from 1,013.2 to 1,013.3"


def test_new_categories_are_named_together() -> None:
    found = _categories(
        {"ATL": 600, "LAX": 400, "ABQ": 0, "ACK": 0, "MVY": 0}, {"ATL": 282, "LAX": 188, "ABQ": 11, "ACK": 10, "MVY": 9}
    )

    # 30 of 500 rows
    assert sentence_of(VALUES, found) == "6.0 % of values are ABQ, ACK or MVY, 0 % in the reference"


def test_a_category_that_fell_is_not_named_with_those_that_rose() -> None:
    found = _categories({"a": 500, "b": 250, "c": 250}, {"a": 200, "b": 150, "c": 150})

    # a: 40 % of 500 now, 50 % of 1,000 then; b and c rose by 5 points each, less than a contributed
    assert sentence_of(VALUES, found) == "40 % of values are a, 50 % in the reference"


def test_no_more_than_three_categories_are_named() -> None:
    found = _categories({"a": 1000, **dict.fromkeys("bcdef", 0)}, {"a": 500, **dict.fromkeys("bcdef", 100)})

    assert sentence_of(VALUES, found) == "30 % of values are b, c or d, 0 % in the reference"


def test_a_changed_spread_is_described_by_the_range_to_which_values_moved() -> None:
    # Symmetric about 2: the mean stays, the two middle bins go from 40 % to 80 %.
    found = _numbers((30, 20, 20, 30), (10, 40, 40, 10), 2.0, 2.0)

    assert sentence_of(VALUES, found) == "80 % of values are from 1.00 to 3.00, 40 % in the reference"


def test_a_mean_that_moved_by_less_than_a_tenth_of_the_deviation_is_not_reported() -> None:
    # Deviation of the reference by its bins: sqrt(0.6 * 1.5**2 + 0.4 * 0.5**2) = 1.20
    found = _numbers((30, 20, 20, 30), (10, 40, 40, 10), 2.0, 2.11)
    moved = _numbers((30, 20, 20, 30), (10, 40, 40, 10), 2.0, 2.13)

    assert "from 1.00 to 3.00" in sentence_of(VALUES, found)
    assert sentence_of(VALUES, moved) == "mean went from 2.00 to 2.13"


def test_missing_values_give_the_share_of_the_window_that_was_tested() -> None:
    found = replace(CATEGORIES, n_reference=990, n_missing_reference=10)

    # 1 % in the reference, 11 points more
    assert sentence_of(MISSING, found) == "12 % missing, 1.0 % in the reference"


def test_missing_values_that_vanished() -> None:
    found = replace(CATEGORIES, n_reference=90, n_missing_reference=10)

    assert sentence_of(replace(MISSING, effect=-0.1), found) == "0 % missing, 10 % in the reference"


def test_predictions() -> None:
    found = PredictionResult(0.1, reference_dist={"on time": 0.78, "late": 0.22}, current_dist={"late": 1.0})

    assert sentence_of(PREDICTED, found) == "100 % of predictions are late, 22 % in the reference"
    assert subject_of(PREDICTED) == "predictions"


@pytest.mark.parametrize(
    "found",
    [
        None,
        CATEGORIES,
        replace(NUMBERS, reference_mean=None),
        replace(NUMBERS, current_mean=3.758),
        PredictionResult(0.1),
    ],
)
def test_without_a_distribution_the_effect_is_stated(found: FeatureResult | PredictionResult | None) -> None:
    assert sentence_of(VALUES, found) == "distribution changed (w = 0.31)"


def test_missing_values_without_a_stored_feature() -> None:
    assert sentence_of(MISSING, None) == "share of missing values changed by +11.0 points"


@pytest.mark.parametrize(
    "found",
    [
        _categories({"a": 5, "b": 5}, {"a": 7, "b": 7}),  # the same shares
        _categories({"a": 5, "b": 5}, {}),
        _numbers((5, 5), (9, 9), 1.0, 1.0),
        _numbers((5, 5), (0, 0), 1.0, 1.0),
    ],
)
def test_an_unchanged_distribution_is_described_by_the_effect(found: FeatureResult) -> None:
    assert sentence_of(VALUES, found) == "distribution changed (w = 0.31)"


@pytest.mark.parametrize(
    ("p_value", "text"),
    [
        (1.0, "p = 1"),
        (0.4249, "p = 0.42"),
        (0.05, "p = 0.05"),
        (0.0312, "p = 0.03"),
        (0.001, "p = 0.001"),
        (0.00096, "p = 1e-3"),
        (1.6e-19, "p = 2e-19"),
        (0.0, "p < 1e-300"),
    ],
)
def test_p_values_are_readable(p_value: float, text: str) -> None:
    assert p_value_text(p_value) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ABQ", "ABQ"),
        ("New York", "'New York'"),
        ("", "''"),
        ("a\nb", "'a\\nb'"),
        ("x" * 50, "x" * 39 + "…"),
    ],
)
def test_categories_are_distinct_in_a_sentence(name: str, text: str) -> None:
    assert category_text(name) == text


def test_evidence() -> None:
    assert evidence_of(VALUES) == "p = 2e-19, w = 0.31"
    assert evidence_of(MISSING) == "p = 1e-9, +11.0 points"


def test_the_smallest_detectable_change() -> None:
    assert smallest_change_of(VALUES) == ""
    assert smallest_change_of(replace(VALUES, smallest_detectable=0.178)) == "a change of w = 0.18"
    assert smallest_change_of(replace(MISSING, smallest_detectable=0.034)) == "a change of 3.4 points"


def _result(verdict: Verdict, *features: FeatureResult) -> ComparisonResult:
    return ComparisonResult(10_000, 1000, features, PredictionResult(0.1), verdict)


ALARM = Verdict(VerdictStatus.ALARM, "", 10_000, 1e-5, 10, 1.6e-19, (1000,))


def test_the_sentence_of_an_alarm() -> None:
    found = _categories({"ATL": 1000, "MVY": 0}, {"ATL": 470, "MVY": 30})
    missing = replace(MISSING, is_listed=True)
    result = _result(ALARM, replace(found, verdict=VALUES, missing_verdict=missing))

    assert verdict_sentence(result) == (
        "dest changed: 6.0 % of values are MVY, 0 % in the reference (p = 2e-19), and 1 other change. "
        "At most one false alarm in 10,000 checks."
    )


def test_an_alarm_that_lists_nothing_names_its_cause() -> None:
    result = _result(ALARM, replace(NUMBERS, verdict=replace(VALUES, name="petal", is_listed=False)))

    assert verdict_sentence(result).startswith("petal changed: mean went from 3.76 to 4.41 (p = 2e-19). ")


def test_an_alarm_without_stored_hypotheses() -> None:
    assert verdict_sentence(_result(ALARM)) == (
        "Drift. Smallest p = 2e-19 of 10 tests; an alarm needs 1e-05. At most one false alarm in 10,000 checks."
    )


def test_the_sentence_without_drift() -> None:
    quiet = replace(ALARM, status=VerdictStatus.QUIET, smallest_p_value=0.0312)

    assert verdict_sentence(_result(quiet)) == (
        "No drift. Smallest p = 0.03 of 10 tests; an alarm needs 1e-05. At most one false alarm in 10,000 checks."
    )


def test_a_change_that_is_certain_but_too_small() -> None:
    quiet = replace(ALARM, status=VerdictStatus.QUIET, smallest_p_value=1.6e-19)
    small = replace(VALUES, name="petal", effect=0.1499, passes_gate=False, is_alarm=False, is_listed=False)
    missing = replace(MISSING, effect=-0.0199, passes_gate=False)

    assert verdict_sentence(_result(quiet, replace(NUMBERS, verdict=small))) == (
        "No drift that matters. petal changed beyond chance (p = 2e-19), but only by w = 0.149; an alarm needs "
        "w = 0.15. At most one false alarm in 10,000 checks."
    )
    assert verdict_sentence(_result(quiet, replace(NUMBERS, verdict=small, missing_verdict=missing))).startswith(
        "No drift that matters. petal (and 1 other) changed beyond chance (p = 2e-19), but only by w = 0.149; "
        "an alarm needs w = 0.15. "
    )
    assert verdict_sentence(_result(quiet, replace(NUMBERS, missing_verdict=missing))).startswith(
        "No drift that matters. The share of missing values of dest changed beyond chance (p = 1e-9), "
        "but only by -1.9 points; an alarm needs 2 points. "
    )


def test_the_sentence_without_a_verdict() -> None:
    verdict = Verdict(VerdictStatus.INSUFFICIENT_DATA, "The window has 120 rows; a verdict needs 500.")

    assert verdict_sentence(_result(verdict)) == "No verdict: The window has 120 rows; a verdict needs 500."


def test_the_sentence_of_scores_alone() -> None:
    drifted = replace(NUMBERS, score=0.4, is_drifted=True)
    many = [replace(drifted, name=name, score=0.9 - index / 10) for index, name in enumerate("abcdefg")]
    verdict = Verdict(VerdictStatus.NOT_ASKED)

    assert verdict_sentence(_result(verdict, NUMBERS)) == "No score is above its threshold."
    assert verdict_sentence(_result(verdict, drifted)) == "petal is above the threshold."
    assert verdict_sentence(_result(verdict, *many)) == "a, b, c, d, e and 2 others are above the threshold."


def test_sentences_of_correlation_and_joint_change() -> None:
    pair = CorrelationChange("a", "b", 0.71, -0.05, 2e-8)

    assert correlation_sentence(pair) == "a and b: rank correlation went from 0.710 to -0.0500 (p = 2e-8)"
    assert joint_sentence(JointChange(0.83, 0.0, ("dest", "hour"))) == (
        "a classifier separates the window's rows from the reference's with an AUC of 0.83 "
        "(0.50 is guessing; p < 1e-300), mostly by dest and hour"
    )


def test_the_sentence_of_a_quality_finding() -> None:
    finding = QualityFinding(QualityEvent.OUT_OF_RANGE, 1204, 0.0301, "the largest is 99", True)

    assert quality_sentence(finding) == "1,204 rows beyond the reference's range (3.0 %): the largest is 99"


def test_pooled_categories_that_the_reference_does_not_have_are_named() -> None:
    unseen = QualityFinding(QualityEvent.UNSEEN_CATEGORIES, 30, 0.06, "'ABQ', 'ACK'.", True)
    found = replace(_categories({"JFK": 1000, "other": 0}, {"JFK": 470, "other": 30}), quality=(unseen,))

    assert sentence_of(VALUES, found) == "6.0 % of values are unseen categories ('ABQ', 'ACK'), 0 % in the reference"
    of_both = replace(_categories({"JFK": 990, "other": 10}, {"JFK": 470, "other": 30}), quality=(unseen,))
    assert sentence_of(VALUES, of_both) == "6.0 % of values are other, 1.0 % in the reference"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("0.0599999986588955", "0.06"),
        ("-119.119999997", "-119.12"),
        ("0.06", "0.06"),
        ("1.2.3456789012", "1.2.3456789012"),
    ],
)
def test_float32_categories_have_their_significant_digits(name: str, text: str) -> None:
    assert category_text(name) == text


def test_every_badge_and_status_is_explained() -> None:
    assert set(QUALITY_TEXTS) == set(QualityEvent)
    assert set(BADGE_TEXTS) == set(Badge)
    assert set(STATUS_TEXTS) == set(ResultStatus)
