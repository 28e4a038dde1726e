"""Sentences about what changed. Expected figures are worked out by hand beside each case."""

from dataclasses import replace

import pytest

from mlmon.results import (
    Badge,
    Channel,
    ComparisonResult,
    FeatureResult,
    HypothesisResult,
    JointChange,
    PredictionResult,
    QualityEvent,
    QualityFinding,
    ResultStatus,
    Test,
    Verdict,
    VerdictStatus,
)
from mlmon.schema import FeatureKind
from mlmon.sentences import (
    BADGE_TEXTS,
    QUALITY_TEXTS,
    STATUS_TEXTS,
    VISIBLE_NAMES,
    evidence_of,
    joint_sentence,
    p_value_text,
    quality_sentence,
    sentence_of,
    smallest_visible_texts,
    verdict_sentence,
)

# As they were before the second edition of the rule, or too far from an alarm to be explained: without figures.
VALUES = HypothesisResult(
    Channel.DISTRIBUTION, "petal", 1.6e-19, 0.31, True, 1000, is_alarm=True, is_listed=True, alpha=1e-5
)
MISSING = HypothesisResult(Channel.MISSING_VALUES, "dest", 1e-9, 0.11, True, 1000, alpha=1e-5, gate=0.02)
NUMBERS = FeatureResult("petal", FeatureKind.NUMERIC, 0.15)


def _explained(
    test: Test, outcome: str, before: float, now: float, channel: Channel = Channel.DISTRIBUTION, other_name: str = ""
) -> HypothesisResult:
    return replace(
        VALUES,
        channel=channel,
        other_name=other_name,
        test=test,
        outcome=outcome,
        reference_value=before,
        current_value=now,
    )


MEDIAN = _explained(Test.LOCATION, "median", 3.758, 4.413)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (MEDIAN, "median went from 3.76 to 4.41"),
        # Figures that differ late get more digits.
        (_explained(Test.LOCATION, "mean", 1013.24, 1013.31), "mean went from 1,013.2 to 1,013.3"),
        (_explained(Test.SCALE, "interquartile range", 2.0, 2.5), "interquartile range went from 2.00 to 2.50"),
        (_explained(Test.SCALE, "standard deviation", 0.5, 12.0), "standard deviation went from 0.500 to 12.0"),
        (
            _explained(Test.TAILS, "above 412.0", 0.001, 0.019),
            "1.9 % of values are above 412.0; the reference has 0.10 %",
        ),
        (
            _explained(Test.SHAPE, "from 1.00 to 3.00", 0.4, 0.8),
            "80 % of values are from 1.00 to 3.00; the reference has 40 %",
        ),
        (
            _explained(Test.CATEGORY, "ABQ, a new category", 0.0, 0.06),
            "6.0 % of values are ABQ, a new category; the reference has 0 %",
        ),
        (_explained(Test.CATEGORIES, "a or b", 0.503, 0.501), "50.1 % of values are a or b; the reference has 50.3 %"),
        (_explained(Test.INFINITIES, "infinity", 0.0, 0.03), "3.0 % of values are infinity; the reference has 0 %"),
        (
            _explained(Test.CATEGORIES, "late", 0.22, 1.0, Channel.PREDICTION),
            "100 % of predictions are late; the reference has 22 %",
        ),
        (_explained(Test.LOCATION, "median", 3.0, 4.0, Channel.PREDICTION), "median went from 3.00 to 4.00"),
        (
            _explained(Test.MISSING, "missing", 0.01, 0.12, Channel.MISSING_VALUES),
            "12 % missing; the reference has 1.0 %",
        ),
        (
            _explained(Test.MISSING, "missing", 0.1, 0.0, Channel.MISSING_VALUES),
            "0 % missing; the reference has 10 %",
        ),
        (
            _explained(Test.CORRELATION, "correlation", 0.801, 0.412, Channel.CORRELATION, "b"),
            "correlation with b went from 0.801 to 0.412",
        ),
    ],
)
def test_a_change_is_described_by_the_figures_of_both_samples(found: HypothesisResult, sentence: str) -> None:
    assert sentence_of(found) == sentence


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (VALUES, "distribution changed (w = 0.31)"),
        (replace(VALUES, test=Test.SHAPE), "distribution changed (w = 0.31)"),
        (replace(VALUES, test=Test.LOCATION), "values are higher by 0.31 sd of the ranks' normal scores"),
        (replace(VALUES, test=Test.LOCATION, effect=-0.2), "values are lower by 0.20 sd of the ranks' normal scores"),
        (replace(VALUES, test=Test.SCALE), "values are further apart (+0.31 sd of squared scores)"),
        (replace(VALUES, test=Test.SCALE, effect=-0.2), "values are closer together (-0.20 sd of squared scores)"),
        (MISSING, "share of missing values changed by +11.0 points"),
        (replace(MISSING, test=Test.MISSING, effect=-0.031), "share of missing values changed by -3.1 points"),
    ],
)
def test_without_figures_the_effect_is_stated(found: HypothesisResult, sentence: str) -> None:
    assert sentence_of(found) == sentence


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
    ("found", "text"),
    [
        (VALUES, "p = 2e-19, w = 0.31"),
        (replace(VALUES, test=Test.CATEGORIES), "p = 2e-19, w = 0.31"),
        (replace(VALUES, test=Test.LOCATION), "p = 2e-19, location, in sd of the ranks' normal scores, +0.31"),
        (replace(VALUES, test=Test.TAILS, effect=-0.2), "p = 2e-19, share of extreme values, in sd, -0.20"),
        (replace(VALUES, test=Test.CORRELATION), "p = 2e-19, Fisher's z +0.31"),
        (MISSING, "p = 1e-9, +11.0 points"),
    ],
)
def test_the_evidence_is_the_p_value_and_the_effect_of_the_test(found: HypothesisResult, text: str) -> None:
    assert evidence_of(found) == text


def test_the_subject_is_what_the_hypothesis_is_about() -> None:
    assert VALUES.subject == MISSING.subject.replace("dest", "petal") == "petal"
    assert replace(VALUES, channel=Channel.PREDICTION, name="").subject == "predictions"
    assert replace(VALUES, channel=Channel.CORRELATION, other_name="sepal").subject == "petal and sepal"


def test_the_smallest_visible_changes() -> None:
    # The squared normal score has the standard deviation sqrt(2): .2 of it is a variance of 1 + .28.
    sizes = {Test.LOCATION: 0.178, Test.SCALE: 0.2, Test.SHAPE: 0.21, Test.TAILS: 0.0312, Test.MISSING: 0.034}
    assert smallest_visible_texts(replace(NUMBERS, smallest_visible=sizes)) == (
        ("shift of the values", "0.18 sd"),
        ("change of the variance", "x 1.28"),
        ("change of the shape", "w = 0.21"),
        ("share beyond the reference's 99th percentile", "3.1 %"),
        ("share of missing values", "3.4 %"),
    )
    of_categories = replace(NUMBERS, smallest_visible={Test.CATEGORIES: 0.25, Test.CATEGORY: 0.009})
    assert smallest_visible_texts(of_categories) == (
        ("change of the categories", "w = 0.25"),
        ("share of a new category", "0.90 %"),
    )
    assert smallest_visible_texts(NUMBERS) == ()


def _result(verdict: Verdict, *features: FeatureResult) -> ComparisonResult:
    return ComparisonResult(10_000, 1000, features, PredictionResult(0.1), verdict)


ALARM = Verdict(
    status=VerdictStatus.ALARM,
    false_alarm_budget=10_000,
    closest="petal",
    alpha=1e-5,
    smallest_p_value=1.6e-19,
    hypotheses=10,
    window_rows=(1000,),
)


def test_the_sentence_of_an_alarm() -> None:
    new = replace(_explained(Test.CATEGORY, "MVY, a new category", 0.0, 0.06), name="dest")
    missing = replace(MISSING, is_listed=True)
    result = _result(ALARM, replace(NUMBERS, name="dest", verdict=new, missing_verdict=missing))

    assert verdict_sentence(result) == (
        "dest changed: 6.0 % of values are MVY, a new category; the reference has 0 % (p = 2e-19), and 1 other change. "
        "At most one false alarm in 10,000 checks."
    )


def test_features_are_named_before_correlations() -> None:
    """A step of the mean changes correlations too while the window has both sides of it."""
    pair = replace(_explained(Test.CORRELATION, "correlation", 0.8, 0.4, Channel.CORRELATION, "b"), p_value=1e-50)
    result = replace(_result(ALARM, replace(NUMBERS, verdict=MEDIAN)), correlations=(pair,))

    assert verdict_sentence(result).startswith(
        "petal changed: median went from 3.76 to 4.41 (p = 2e-19), and 1 other change. "
    )
    alone = replace(_result(ALARM), correlations=(pair,))
    assert verdict_sentence(alone).startswith(
        "petal and b changed: correlation with b went from 0.800 to 0.400 (p = 1e-50). "
    )


def test_an_alarm_that_lists_nothing_names_its_cause() -> None:
    result = _result(ALARM, replace(NUMBERS, verdict=replace(MEDIAN, is_listed=False)))

    assert verdict_sentence(result).startswith("petal changed: median went from 3.76 to 4.41 (p = 2e-19). ")


def test_an_alarm_without_stored_hypotheses() -> None:
    assert verdict_sentence(_result(ALARM)) == (
        "Drift. Closest to an alarm of 10 tests: petal, p = 2e-19; an alarm needs 1e-05. "
        "At most one false alarm in 10,000 checks."
    )


def test_the_sentence_without_drift() -> None:
    quiet = replace(ALARM, status=VerdictStatus.QUIET, smallest_p_value=0.0312)

    assert verdict_sentence(_result(quiet)) == (
        "No drift. Closest to an alarm of 10 tests: petal, p = 0.03; an alarm needs 1e-05. "
        "At most one false alarm in 10,000 checks."
    )


def test_a_change_that_is_certain_but_too_small() -> None:
    quiet = replace(ALARM, status=VerdictStatus.QUIET)
    small = replace(VALUES, effect=0.1499, passes_gate=False, is_alarm=False, is_listed=False)
    missing = replace(MISSING, effect=-0.0199, passes_gate=False)

    assert verdict_sentence(_result(quiet, replace(NUMBERS, verdict=small))) == (
        "No drift that matters. petal changed beyond chance (p = 2e-19), but only by w = 0.14; an alarm needs "
        "0.15. At most one false alarm in 10,000 checks."
    )
    assert verdict_sentence(_result(quiet, replace(NUMBERS, verdict=small, missing_verdict=missing))).startswith(
        "No drift that matters. petal (and 1 other) changed beyond chance (p = 2e-19), but only by w = 0.14; "
    )
    assert verdict_sentence(_result(quiet, replace(NUMBERS, missing_verdict=missing))).startswith(
        "No drift that matters. The share of missing values of dest changed beyond chance (p = 1e-9), "
        "but only by -1.9 points; an alarm needs 2 points. "
    )
    predicted = replace(small, channel=Channel.PREDICTION, name="")
    of_predictions = replace(_result(quiet), prediction=PredictionResult(0.1, verdict=predicted))
    assert verdict_sentence(of_predictions).startswith("No drift that matters. The predictions changed beyond chance")


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


def test_the_sentence_of_a_joint_change() -> None:
    assert joint_sentence(JointChange(0.83, 0.0, ("dest", "hour"))) == (
        "a classifier separates the window's rows from the reference's with an AUC of 0.83 "
        "(0.50 is guessing; p < 1e-300), mostly by dest and hour"
    )


def test_the_sentence_of_a_quality_finding() -> None:
    finding = QualityFinding(QualityEvent.OUT_OF_RANGE, 1204, 0.0301, "the largest is 99", True)

    assert quality_sentence(finding) == "1,204 rows beyond the reference's range (3.0 %): the largest is 99"


def test_every_badge_status_and_test_is_explained() -> None:
    assert set(QUALITY_TEXTS) == set(QualityEvent)
    assert set(BADGE_TEXTS) == set(Badge)
    assert set(STATUS_TEXTS) == set(ResultStatus)
    assert set(VISIBLE_NAMES) == set(Test) - {Test.INFINITIES, Test.CORRELATION}
