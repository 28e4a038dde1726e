"""How right a classifier is, by its ground truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from performance.measures.calibration_error import expected_calibration_error

ONE_CLASS = "only one class occurs in the ground truth"
NO_SCORES = "the class probabilities of these predictions were not recorded"


@dataclass(frozen=True, slots=True)
class ClassPerformance:
    """Precision, recall and F1 of one class, and how often it is the true one; 0 where a ratio is 0/0."""

    precision: float
    recall: float
    f1_score: float
    support: int


@dataclass(frozen=True, slots=True)
class ClassificationPerformance:
    """Figures of a classifier's predictions with ground truth; scikit-learn computes them.

    Attributes
    ----------
    rows
        How many predictions.
    accuracy, balanced_accuracy
        Share of right predictions; mean recall of the classes that occur in the ground truth.
    precision, recall, f1_score
        Unweighted ("macro") means over the classes that occur in the ground truth or are predicted.
    roc_auc
        Of the probability of the second class where there are two; otherwise the mean over the classes, each one
        against the rest.
    log_loss
        Mean of -ln(probability of the true class).
    brier_score
        Mean squared error of the probability of the second class where there are two (0 to 1); otherwise the sum over
        the classes (0 to 2), as Brier defined it.
    expected_calibration_error
        See `performance.measures.calibration_error`.
    classes
        By class, in the order of the model's classes.
    confusion_matrix
        Rows: the true class, columns: the predicted one, in the order of the model's classes.
    unavailable
        Why a figure is None, by its name.
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
) -> ClassificationPerformance:
    """Return the figures of n predictions.

    Parameters
    ----------
    actual, predicted
        Class labels, shape (n,).
    classes
        All classes of the model, in the order of its scores.
    scores
        Probabilities, shape (n, classes); a row of NaN or 0 where they are not known, None where none are.

    Raises
    ------
    ValueError
        No rows, or a label that is not one of the classes.
    """
    from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support  # 85 MB: not at start

    true, answered = class_codes(actual, classes), class_codes(predicted, classes)
    codes = np.arange(len(classes))
    precision, recall, f1, support = precision_recall_fscore_support(true, answered, labels=codes, zero_division=0)
    occurs = (support > 0) | (np.bincount(answered, minlength=len(classes)) > 0)
    by_scores, unavailable = _of_scores(true, answered, scores, len(classes))
    return ClassificationPerformance(
        rows=len(true),
        accuracy=float(accuracy_score(true, answered)),
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
        confusion_matrix=confusion_matrix(true, answered, labels=codes).tolist(),
        unavailable=unavailable,
    )


def class_codes(labels: NDArray[np.object_], classes: Sequence[str]) -> NDArray[np.int64]:
    """Return the places of labels in `classes`; ValueError where there are none, or one is none of the classes."""
    code_of = {name: code for code, name in enumerate(classes)}
    if len(labels) == 0:
        raise ValueError("There are no rows.")
    try:
        return np.array([code_of[label] for label in labels.tolist()], dtype=np.int64)
    except KeyError as error:
        raise ValueError(f"{error.args[0]!r} is not one of the classes.") from None


def _of_scores(
    true: NDArray[np.int64], answered: NDArray[np.int64], scores: NDArray[np.float64] | None, n_classes: int
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the figures that need probabilities, of the rows that have them, and why others are missing."""
    from sklearn.metrics import brier_score_loss, log_loss

    known = np.zeros(len(true), dtype=bool) if scores is None else np.isfinite(scores).all(axis=1) & scores.any(axis=1)
    names = ("roc_auc", "log_loss", "brier_score", "expected_calibration_error")
    if scores is None or not known.any():
        return {}, dict.fromkeys(names, NO_SCORES)
    true, answered, scores = true[known], answered[known], scores[known]
    scores = scores / scores.sum(axis=1, keepdims=True)  # float32 probabilities miss 1 by some 1e-7
    codes = np.arange(n_classes)
    target = scores[:, 1] if n_classes == 2 else scores
    figures = {
        "log_loss": float(log_loss(true, scores, labels=codes)),
        "brier_score": float(
            brier_score_loss(true, target, pos_label=1)
            if n_classes == 2
            else brier_score_loss(true, target, labels=codes, scale_by_half=False)
        ),
        "expected_calibration_error": expected_calibration_error(
            scores[np.arange(len(true)), answered], answered == true
        ),
    }
    if len(np.unique(true)) == 1:
        return figures, {"roc_auc": ONE_CLASS}
    figures["roc_auc"] = _roc_auc(true, scores)
    return figures, {}


def _roc_auc(true: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve; of several classes the mean over those that occur."""
    from sklearn.metrics import roc_auc_score

    if scores.shape[1] == 2:
        return float(roc_auc_score(true == 1, scores[:, 1]))
    areas = [roc_auc_score(true == code, scores[:, code]) for code in np.unique(true)]
    return float(np.mean(areas))
