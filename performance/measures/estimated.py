"""Estimated performance of a classifier without ground truth: confidence-based performance estimation (CBPE).

The method is NannyML's (nannyml.readthedocs.io, "Confidence-based Performance Estimation"): scores are calibrated on a
labelled reference, so that each one is the probability of its class. Expected counts are then sums of probabilities.
The estimate is valid as long as the calibration is: it detects drift of the features, but not a change in the relation
between features and target.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from performance.measures.classification import class_codes

FEWEST_LABELLED_ROWS = 300
HALF_A_ROW = 0.5  # a class with a smaller expected count does not occur


class NotCalibratableError(Exception):
    """The scores cannot be calibrated; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassCalibration:
    """A monotone, piecewise linear map from the score of one class to its probability.

    Attributes
    ----------
    scores
        Ascending, shape (k,).
    probabilities
        Of these scores, not decreasing, shape (k,).
    """

    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64]

    def __call__(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probabilities of scores of any shape; outside the known range, the nearest probability."""
        return np.asarray(np.interp(scores, self.scores, self.probabilities))


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Maps from the scores of a model's classes to probabilities, fitted on a labelled reference.

    Attributes
    ----------
    classes
        In the order of the scores.
    of_class
        One for each class; for two classes, only the second one.
    rows
        Number of labelled rows of the reference.
    """

    classes: tuple[str, ...]
    of_class: tuple[ClassCalibration, ...]
    rows: int

    def probabilities(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability of each class, shape (n, classes); each row adds up to 1."""
        if len(self.classes) == 2:
            second = self.of_class[0](scores[:, 1])
            return np.column_stack([1 - second, second])
        raw = np.column_stack([calibrate(scores[:, code]) for code, calibrate in enumerate(self.of_class)])
        total = raw.sum(axis=1, keepdims=True)
        even = np.full_like(raw, 1 / len(self.classes))  # for rows in which every class has probability 0
        return np.asarray(np.divide(raw, total, out=even, where=total > 0))


@dataclass(frozen=True, slots=True)
class EstimatedPerformance:
    """Expected figures of n predictions.

    Attributes
    ----------
    rows
        Number of predictions.
    accuracy
        Mean probability of the predicted class.
    accuracy_standard_error
        Standard error of the realised accuracy of these rows: sqrt(sum p (1 - p)) / n.
    f1_score
        Unweighted mean over the classes that are predicted or expected, from the expected counts.
    class_f1_scores
        By class.
    roc_auc
        Expected area under the ROC curve, for more than two classes the mean; None if only one class is expected.
    confusion_matrix
        Expected counts; rows are true classes, columns are predicted classes.
    """

    rows: int
    accuracy: float
    accuracy_standard_error: float
    f1_score: float
    class_f1_scores: Mapping[str, float]
    roc_auc: float | None
    confusion_matrix: Sequence[Sequence[float]]


def fit_calibration(actual: NDArray[np.object_], scores: NDArray[np.float64], classes: Sequence[str]) -> Calibration:
    """Return the isotonic calibration of each class against the rest.

    Parameters
    ----------
    actual
        Labels of the reference, shape (n,).
    scores
        Shape (n, classes), finite.

    Raises
    ------
    NotCalibratableError
        There are too few rows, only one class, or scores that do not vary.
    """
    if len(actual) < FEWEST_LABELLED_ROWS:
        raise NotCalibratableError(
            f"the reference has {len(actual):,} labelled rows with scores; {FEWEST_LABELLED_ROWS} are needed"
        )
    true = class_codes(actual, classes)
    if len(np.unique(true)) == 1:
        raise NotCalibratableError("all labels of the reference are of one class")
    calibrated = [1] if len(classes) == 2 else range(len(classes))
    if all(np.ptp(scores[:, code]) == 0 for code in calibrated):
        raise NotCalibratableError("the model gives every row of the reference the same scores")
    from sklearn.isotonic import IsotonicRegression  # imported here because scikit-learn takes 85 MB of memory

    of_class = []
    for code in calibrated:
        isotonic = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        fitted = isotonic.fit(scores[:, code], (true == code).astype(np.float64))
        known_scores = np.asarray(fitted.X_thresholds_, dtype=np.float64)
        of_class.append(ClassCalibration(known_scores, np.asarray(fitted.y_thresholds_, dtype=np.float64)))
    return Calibration(classes=tuple(classes), of_class=tuple(of_class), rows=len(actual))


def estimate_performance(
    calibration: Calibration, predicted: NDArray[np.object_], scores: NDArray[np.float64]
) -> EstimatedPerformance:
    """Return the expected figures of n predictions.

    Parameters
    ----------
    predicted
        Class labels, shape (n,), n > 0.
    scores
        Shape (n, classes), finite.

    Raises
    ------
    ValueError
        There are no rows, or a label is not one of the classes.
    """
    codes = class_codes(predicted, calibration.classes)
    probabilities = calibration.probabilities(scores)
    right = probabilities[np.arange(len(codes)), codes]
    matrix = np.zeros((len(calibration.classes), len(calibration.classes)))
    np.add.at(matrix.T, codes, probabilities)  # by true class (rows) and predicted class (columns)
    both = matrix.sum(axis=0) + matrix.sum(axis=1)
    f1_scores = np.divide(2 * np.diagonal(matrix), both, out=np.zeros(len(matrix)), where=both > 0)
    occurs = (matrix.sum(axis=1) >= HALF_A_ROW) | (matrix.sum(axis=0) > 0)
    return EstimatedPerformance(
        rows=len(codes),
        accuracy=float(right.mean()),
        accuracy_standard_error=float(np.sqrt((right * (1 - right)).sum()) / len(right)),
        f1_score=float(f1_scores[occurs].mean()),
        class_f1_scores=dict(zip(calibration.classes, f1_scores.tolist(), strict=True)),
        roc_auc=_roc_auc(scores, probabilities),
        confusion_matrix=matrix.tolist(),
    )


def expected_roc_auc(scores: NDArray[np.float64], probabilities: NDArray[np.float64]) -> float | None:
    """Return the area under the expected ROC curve.

    With p_i the probability that row i is of the class, the expected rates at a threshold t are
    sum(p_i [s_i >= t]) / sum(p_i) and sum((1 - p_i) [s_i >= t]) / sum(1 - p_i). Equal scores share a straight line.

    Parameters
    ----------
    scores, probabilities
        Of one class, shape (n,).

    Returns
    -------
    float or None
        None if no row is expected to be of the class, or none to be of another one.
    """
    _, places = np.unique(-scores, return_inverse=True)  # the largest score first
    positives = np.bincount(places, weights=probabilities)
    negatives = np.bincount(places, weights=1 - probabilities)
    if positives.sum() == 0 or negatives.sum() == 0:
        return None
    rate = np.concatenate([[0.0], np.cumsum(positives)]) / positives.sum()
    width = negatives / negatives.sum()
    return float((width * (rate[1:] + rate[:-1]) / 2).sum())


def _roc_auc(scores: NDArray[np.float64], probabilities: NDArray[np.float64]) -> float | None:
    codes = [1] if scores.shape[1] == 2 else range(scores.shape[1])
    areas = [
        area
        for code in codes
        if probabilities[:, code].sum() >= HALF_A_ROW
        and (area := expected_roc_auc(scores[:, code], probabilities[:, code])) is not None
    ]
    return float(np.mean(areas)) if areas else None
