"""Performance of a classifier from its ground truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

ONE_CLASS = "only one class occurs in the ground truth"
NO_SCORES = "the class probabilities of these predictions were not captured"
BINS = 10


@dataclass(frozen=True, slots=True)
class ClassPerformance:
    """Precision, recall, F1 and support of one class; a ratio of 0/0 is 0."""

    precision: float
    recall: float
    f1_score: float
    support: int


@dataclass(frozen=True, slots=True)
class ClassificationPerformance:
    """Figures of a classifier's labelled predictions, computed by scikit-learn.

    Attributes
    ----------
    rows
        Number of predictions.
    accuracy, balanced_accuracy
        Share of correct predictions; mean recall of the classes in the ground truth.
    precision, recall, f1_score
        Unweighted ("macro") means over the classes that occur in the ground truth or in the predictions.
    roc_auc
        For two classes, of the probability of the second one; for more, the mean over the classes, each against the
        rest.
    log_loss
        Mean of -ln(probability of the true class).
    brier_score
        For two classes, the mean squared error of the probability of the second one (0 to 1); for more, the sum over
        the classes (0 to 2), as Brier defined it.
    expected_calibration_error
        See `expected_calibration_error`.
    classes
        Figures by class, in the order of the model's classes.
    confusion_matrix
        Rows are true classes, columns are predicted classes, both in the order of the model's classes.
    unavailable
        The reason why a figure is None, by its name.
    """

    rows: int
    accuracy: float
    balanced_accuracy: float
    precision: float
    recall: float
    f1_score: float
    roc_auc: float | None
    log_loss: float | None
    brier_score: float | None
    expected_calibration_error: float | None
    classes: Mapping[str, ClassPerformance]
    confusion_matrix: Sequence[Sequence[int]]
    unavailable: Mapping[str, str] = field(default_factory=dict)


def classification_performance(
    actual: NDArray[np.object_],
    predicted: NDArray[np.object_],
    classes: Sequence[str],
    scores: NDArray[np.float64] | None = None,
    *,
    without_scores: str = NO_SCORES,
) -> ClassificationPerformance:
    """Return the figures of n predictions.

    Parameters
    ----------
    actual, predicted
        Class labels, shape (n,).
    classes
        All classes of the model, in the order of its scores.
    scores
        Probabilities, shape (n, classes); a row of NaN or 0 if they are unknown, None if all are.
    without_scores
        The reason for figures that are None because no probabilities are known.

    Raises
    ------
    ValueError
        There are no rows, or a label is not one of the classes.
    """
    # Imported here because scikit-learn takes 85 MB of memory.
    from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

    true, predicted_codes = class_codes(actual, classes), class_codes(predicted, classes)
    codes = np.arange(len(classes))
    precision, recall, f1, support = precision_recall_fscore_support(
        true, predicted_codes, labels=codes, zero_division=0
    )
    occurs = (support > 0) | (np.bincount(predicted_codes, minlength=len(classes)) > 0)
    by_scores, unavailable = _of_scores(true, predicted_codes, scores, len(classes), without_scores)
    return ClassificationPerformance(
        rows=len(true),
        accuracy=float(accuracy_score(true, predicted_codes)),
        balanced_accuracy=float(recall[support > 0].mean()),
        precision=float(precision[occurs].mean()),
        recall=float(recall[occurs].mean()),
        f1_score=float(f1[occurs].mean()),
        roc_auc=by_scores.get("roc_auc"),
        log_loss=by_scores.get("log_loss"),
        brier_score=by_scores.get("brier_score"),
        expected_calibration_error=by_scores.get("expected_calibration_error"),
        classes={
            name: ClassPerformance(float(precision[code]), float(recall[code]), float(f1[code]), int(support[code]))
            for code, name in enumerate(classes)
        },
        confusion_matrix=confusion_matrix(true, predicted_codes, labels=codes).tolist(),
        unavailable=unavailable,
    )


def class_codes(labels: NDArray[np.object_], classes: Sequence[str]) -> NDArray[np.int64]:
    """Return the index of each label in `classes`; raise ValueError for no labels or an unknown one."""
    code_of = {name: code for code, name in enumerate(classes)}
    if len(labels) == 0:
        raise ValueError("There are no rows.")
    try:
        return np.array([code_of[label] for label in labels.tolist()], dtype=np.int64)
    except KeyError as error:
        raise ValueError(f"{error.args[0]!r} is not one of the classes.") from None


def expected_calibration_error(confidence: NDArray[np.float64], is_right: NDArray[np.bool_]) -> float:
    """Return the mean distance between confidence and accuracy over ten bins of equal width, weighted by their rows.

    The definition is equation 3 of Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (2017):
    bin m holds the predictions with a confidence in ((m-1)/10, m/10].

    Parameters
    ----------
    confidence
        Probability of the predicted class, shape (n,), in [0, 1]; n > 0.
    is_right
        Whether the predicted class is the true one, shape (n,).
    """
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    distance = np.bincount(bins, weights=confidence - is_right, minlength=BINS)  # rows times (confidence - accuracy)
    return float(np.abs(distance).sum() / len(confidence))


def _of_scores(
    true: NDArray[np.int64],
    predicted: NDArray[np.int64],
    scores: NDArray[np.float64] | None,
    n_classes: int,
    without_scores: str,
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the figures of the rows with probabilities, and the reasons for missing figures."""
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    known = np.zeros(len(true), dtype=bool) if scores is None else np.isfinite(scores).all(axis=1) & scores.any(axis=1)
    names = ("roc_auc", "log_loss", "brier_score", "expected_calibration_error")
    if scores is None or not known.any():
        return {}, dict.fromkeys(names, without_scores)
    true, predicted, scores = true[known], predicted[known], scores[known]
    scores = scores / scores.sum(axis=1, keepdims=True)  # float32 probabilities add up to 1 only within 1e-7
    codes = np.arange(n_classes)
    confidence = scores[np.arange(len(true)), predicted]
    if n_classes == 2:
        brier_score = brier_score_loss(true, scores[:, 1], pos_label=1)
    else:
        brier_score = brier_score_loss(true, scores, labels=codes, scale_by_half=False)
    figures = {
        "log_loss": float(log_loss(true, scores, labels=codes)),
        "brier_score": float(brier_score),
        "expected_calibration_error": expected_calibration_error(confidence, predicted == true),
    }
    occurring = np.unique(true)
    if len(occurring) == 1:
        return figures, {"roc_auc": ONE_CLASS}
    areas = [roc_auc_score(true == code, scores[:, code]) for code in (occurring if n_classes > 2 else [1])]
    return figures | {"roc_auc": float(np.mean(areas))}, {}
