"""Performance of classifiers: the oracles are scikit-learn's single functions and figures computed by hand."""

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from performance.measures.classification import (
    NO_SCORES,
    ONE_CLASS,
    classification_performance,
    expected_calibration_error,
)

EXACT = 1e-12
CLASSES = ("a", "b", "c", "d")


def labelled(rows: int, classes: int, seed: int = 0) -> tuple[Any, Any, Any]:
    """Return labels, predictions and scores that correlate."""
    rng = np.random.default_rng(seed)
    names = np.array(CLASSES[:classes], dtype=object)
    true = rng.integers(0, classes, rows)
    logits = rng.normal(size=(rows, classes)) + 1.2 * np.eye(classes)[true]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return names[true], names[scores.argmax(axis=1)], scores


def test_two_classes_equal_scikit_learn() -> None:
    actual, predicted, scores = labelled(2000, 2)
    found = classification_performance(actual, predicted, ("a", "b"), scores)
    is_b = actual == "b"
    assert found.rows == 2000
    assert found.accuracy == pytest.approx(metrics.accuracy_score(actual, predicted), rel=EXACT, abs=EXACT)
    assert found.balanced_accuracy == pytest.approx(
        metrics.balanced_accuracy_score(actual, predicted), rel=EXACT, abs=EXACT
    )
    for name in ("precision", "recall", "f1"):
        oracle = getattr(metrics, f"{name}_score")(actual, predicted, average="macro")
        assert getattr(found, "f1_score" if name == "f1" else name) == pytest.approx(oracle, rel=EXACT, abs=EXACT)
    assert found.roc_auc == pytest.approx(metrics.roc_auc_score(is_b, scores[:, 1]), rel=EXACT, abs=EXACT)
    assert found.log_loss == pytest.approx(metrics.log_loss(is_b, scores[:, 1]), rel=EXACT, abs=EXACT)
    assert found.brier_score == pytest.approx(metrics.brier_score_loss(is_b, scores[:, 1]), rel=EXACT, abs=EXACT)
    assert found.classes["b"].f1_score == pytest.approx(metrics.f1_score(is_b, predicted == "b"), rel=EXACT, abs=EXACT)
    assert found.classes["b"].support == is_b.sum()
    assert found.confusion_matrix == metrics.confusion_matrix(actual, predicted).tolist()
    assert found.unavailable == {}


def test_several_classes_equal_scikit_learn() -> None:
    actual, predicted, scores = labelled(3000, 4)
    found = classification_performance(actual, predicted, CLASSES, scores)
    assert found.roc_auc == pytest.approx(
        metrics.roc_auc_score(actual, scores, multi_class="ovr"), rel=EXACT, abs=EXACT
    )
    assert found.log_loss == pytest.approx(metrics.log_loss(actual, scores), rel=EXACT, abs=EXACT)
    one_hot = (actual[:, None] == np.array(CLASSES, dtype=object)).astype(float)
    assert found.brier_score == pytest.approx(
        ((scores - one_hot) ** 2).sum(axis=1).mean(), rel=EXACT, abs=EXACT
    )  # Brier (1950)
    assert found.f1_score == pytest.approx(metrics.f1_score(actual, predicted, average="macro"), rel=EXACT, abs=EXACT)
    assert found.confusion_matrix == metrics.confusion_matrix(actual, predicted).tolist()


def test_a_class_that_does_not_occur_is_excluded_from_means() -> None:
    actual, predicted, scores = labelled(500, 3)
    predicted[actual == "c"] = "a"
    actual[actual == "c"] = "a"
    predicted[predicted == "c"] = "b"
    found = classification_performance(actual, predicted, CLASSES[:3], scores)
    assert found.f1_score == pytest.approx(metrics.f1_score(actual, predicted, average="macro"), rel=EXACT, abs=EXACT)
    assert found.balanced_accuracy == pytest.approx(
        metrics.balanced_accuracy_score(actual, predicted), rel=EXACT, abs=EXACT
    )
    assert (found.classes["c"].f1_score, found.classes["c"].support) == (0, 0)
    areas = [metrics.roc_auc_score(actual == name, scores[:, code]) for code, name in enumerate("ab")]
    assert found.roc_auc == pytest.approx(np.mean(areas), rel=EXACT, abs=EXACT)


def test_balanced_accuracy_includes_only_classes_in_the_ground_truth() -> None:
    actual = np.array(["a", "a", "b", "b"], dtype=object)
    predicted = np.array(["a", "c", "b", "b"], dtype=object)
    found = classification_performance(actual, predicted, CLASSES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of the class that is only predicted
        oracle = metrics.balanced_accuracy_score(actual, predicted)
    assert found.balanced_accuracy == oracle == 0.75


def test_missing_scores_are_reported_as_the_reason() -> None:
    actual, predicted, _ = labelled(50, 2)
    found = classification_performance(actual, predicted, ("a", "b"))
    assert (found.roc_auc, found.log_loss, found.brier_score, found.expected_calibration_error) == (None,) * 4
    assert set(found.unavailable) == {"roc_auc", "log_loss", "brier_score", "expected_calibration_error"}
    assert set(found.unavailable.values()) == {NO_SCORES}


def test_rows_without_scores_count_in_figures_that_need_none() -> None:
    actual, predicted, scores = labelled(400, 2)
    scores[::4] = np.nan
    known = np.isfinite(scores[:, 0])
    found = classification_performance(actual, predicted, ("a", "b"), scores)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(actual, predicted), rel=EXACT, abs=EXACT)
    assert found.roc_auc == pytest.approx(
        metrics.roc_auc_score(actual[known] == "b", scores[known, 1]), rel=EXACT, abs=EXACT
    )


def test_one_class_has_no_roc_curve() -> None:
    _, predicted, scores = labelled(40, 2)
    found = classification_performance(np.full(40, "a", dtype=object), predicted, ("a", "b"), scores)
    assert found.roc_auc is None
    assert found.unavailable == {"roc_auc": ONE_CLASS}
    assert found.log_loss is not None


def test_certain_and_wrong_scores_have_a_finite_log_loss() -> None:
    actual = np.array(["a", "b"], dtype=object)
    found = classification_performance(actual, actual[::-1], ("a", "b"), np.array([[0.0, 1.0], [1.0, 0.0]]))
    assert found.log_loss == pytest.approx(-np.log(np.finfo(np.float64).eps), rel=1e-6)  # as scikit-learn clips
    assert (found.roc_auc, found.brier_score, found.expected_calibration_error) == (0.0, 1.0, 1.0)


@pytest.mark.parametrize(("actual", "reason"), [([], "no rows"), (["z"], "'z' is not one of the classes")])
def test_invalid_labels_are_refused(actual: list[str], reason: str) -> None:
    labels = np.array(actual, dtype=object)
    with pytest.raises(ValueError, match=reason):
        classification_performance(labels, labels, ("a", "b"))


def test_expected_calibration_error_by_hand() -> None:
    # Bins (0.5, 0.6] and (0.9, 1.0]: 4 rows with confidence 0.6, 1 right; 6 rows with 0.95, 6 right.
    confidence = np.array([0.6] * 4 + [0.95] * 6)
    is_right = np.array([True] + [False] * 3 + [True] * 6)
    expected = 0.4 * abs(0.6 - 0.25) + 0.6 * abs(0.95 - 1)
    assert expected_calibration_error(confidence, is_right) == pytest.approx(expected, rel=EXACT, abs=EXACT)
    assert expected_calibration_error(np.array([0.0, 1.0]), np.array([False, True])) == 0
