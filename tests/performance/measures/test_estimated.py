"""Estimated performance: figures by hand, scikit-learn's isotonic regression, and simulation."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.isotonic import IsotonicRegression

from performance.measures.estimated import (
    Calibration,
    ClassCalibration,
    NotCalibratableError,
    estimate_performance,
    expected_roc_auc,
    fit_calibration,
)

EXACT = 1e-12
LINE = ClassCalibration(scores=np.array([0.0, 1.0]), probabilities=np.array([0.0, 1.0]))
TWO = Calibration(classes=("no", "yes"), of_class=(LINE,), rows=1000)
THREE = Calibration(classes=("a", "b", "c"), of_class=(LINE, LINE, LINE), rows=1000)


def labels(*names: str) -> NDArray[np.object_]:
    return np.array(names, dtype=object)


def test_two_classes_by_hand() -> None:
    # Probabilities of "yes": .9, .6, .2; predicted yes, yes, no.
    second = np.array([0.9, 0.6, 0.2])
    found = estimate_performance(TWO, labels("yes", "yes", "no"), np.column_stack([1 - second, second]))
    assert found.accuracy == pytest.approx((0.9 + 0.6 + 0.8) / 3, abs=EXACT)
    # Rows are true classes: "no" has .8 among the predicted "no" and .1 + .4 among the predicted "yes".
    np.testing.assert_allclose(found.confusion_matrix, [[0.8, 0.5], [0.2, 1.5]], atol=EXACT)
    yes, no = 2 * 1.5 / (2 * 1.5 + 0.5 + 0.2), 2 * 0.8 / (2 * 0.8 + 0.2 + 0.5)
    assert found.class_f1_scores["yes"] == pytest.approx(yes, abs=EXACT)
    assert found.f1_score == pytest.approx((yes + no) / 2, abs=EXACT)
    variance = 0.9 * 0.1 + 0.6 * 0.4 + 0.8 * 0.2
    assert found.accuracy_standard_error == pytest.approx(np.sqrt(variance) / 3, abs=EXACT)


def test_probabilities_of_several_classes_are_normalised() -> None:
    scores = np.array([[0.5, 0.5, 0.0], [0.2, 0.2, 0.4]])
    np.testing.assert_allclose(THREE.probabilities(scores), [[0.5, 0.5, 0], [0.25, 0.25, 0.5]], atol=EXACT)
    nothing = THREE.probabilities(np.zeros((1, 3)))
    np.testing.assert_allclose(nothing, [[1 / 3, 1 / 3, 1 / 3]], atol=EXACT)
    found = estimate_performance(THREE, labels("a", "c"), scores)
    assert found.accuracy == pytest.approx((0.5 + 0.5) / 2, abs=EXACT)


def test_the_expected_roc_curve_of_certain_labels_equals_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    is_yes = rng.random(500) < 0.3
    scores = np.round(rng.normal(size=500) + is_yes, 1)  # with ties
    oracle = metrics.roc_auc_score(is_yes, scores)
    assert expected_roc_auc(scores, is_yes.astype(float)) == pytest.approx(oracle, abs=EXACT)


def test_the_expected_roc_curve_of_uncertain_labels_equals_that_of_weighted_rows() -> None:
    # Each row is "yes" with weight p and "no" with weight 1 - p in scikit-learn's weighted AUC.
    rng = np.random.default_rng(2)
    probabilities = rng.random(300)
    scores = np.round(probabilities + rng.normal(0, 0.2, 300), 2)
    oracle = metrics.roc_auc_score(
        np.repeat([1, 0], 300),
        np.concatenate([scores, scores]),
        sample_weight=np.concatenate([probabilities, 1 - probabilities]),
    )
    assert expected_roc_auc(scores, probabilities) == pytest.approx(oracle, abs=EXACT)
    assert expected_roc_auc(scores, np.zeros(300)) is None


def test_calibration_is_scikit_learns_isotonic_regression() -> None:
    rng = np.random.default_rng(3)
    scores = rng.random((2000, 3))
    true = rng.integers(0, 3, 2000)
    names = labels("a", "b", "c")
    calibration = fit_calibration(names[true], scores, ("a", "b", "c"))
    new = rng.uniform(-0.2, 1.2, (500, 3))
    raw = np.column_stack(
        [
            IsotonicRegression(out_of_bounds="clip").fit(scores[:, code], true == code).predict(new[:, code])
            for code in range(3)
        ]
    )
    np.testing.assert_allclose(calibration.probabilities(new), raw / raw.sum(axis=1, keepdims=True), atol=EXACT)
    assert calibration.rows == 2000


def simulated(rows: int, rng: np.random.Generator, shift: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return overconfident scores, and labels; given x, P(yes) does not depend on the shift."""
    x = rng.normal(shift, 1, rows)
    probability = 1 / (1 + np.exp(-x))
    score = 1 / (1 + np.exp(-3 * x))
    return np.column_stack([1 - score, score]), rng.random(rows) < probability


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_the_estimate_is_right_if_the_calibration_is_valid(shift: float) -> None:
    rng = np.random.default_rng(4)
    names = labels("no", "yes")
    scores, is_yes = simulated(20_000, rng)
    calibration = fit_calibration(names[is_yes.astype(int)], scores, ("no", "yes"))
    scores, is_yes = simulated(20_000, rng, shift)
    predicted = names[(scores[:, 1] > 0.5).astype(int)]
    actual = names[is_yes.astype(int)]
    found = estimate_performance(calibration, predicted, scores)
    realised = metrics.accuracy_score(actual, predicted)
    # Four standard errors for the realised figure, and four for the rows of the calibration.
    assert abs(found.accuracy - realised) < 8 * found.accuracy_standard_error
    assert abs(found.f1_score - metrics.f1_score(actual, predicted, average="macro")) < 0.02
    assert found.roc_auc is not None
    assert abs(found.roc_auc - metrics.roc_auc_score(is_yes, scores[:, 1])) < 0.02
    assert abs(scores.max(axis=1).mean() - realised) > 0.1  # the uncalibrated scores are far off


@pytest.mark.parametrize(
    ("rows", "classes", "reason"),
    [
        (299, 2, "299 labelled rows with scores; 300 are needed"),
        (400, 1, "all labels of the reference are of one class"),
        (400, 0, "the same scores"),
    ],
)
def test_scores_that_cannot_be_calibrated_are_refused_with_the_reason(rows: int, classes: int, reason: str) -> None:
    rng = np.random.default_rng(5)
    second = rng.random(rows) if classes else np.full(rows, 0.3)
    actual = labels("no", "yes")[rng.integers(0, classes or 2, rows)]
    with pytest.raises(NotCalibratableError, match=reason):
        fit_calibration(actual, np.column_stack([1 - second, second]), ("no", "yes"))
