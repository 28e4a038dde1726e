"""Predictions as arrays, with and without ground truth."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The predictions of a version for n rows.

    Attributes
    ----------
    predicted
        Class labels (object) or numbers (float64), shape (n,).
    scores
        Probabilities of the classes, shape (n, classes); a row of NaN if they are unknown, None if all are.
    """

    predicted: NDArray[Any]
    scores: NDArray[np.float64] | None

    @property
    def rows(self) -> int:
        return len(self.predicted)

    def with_scores(self) -> NDArray[np.bool_]:
        """Return which rows have scores, shape (n,)."""
        if self.scores is None:
            return np.zeros(self.rows, dtype=np.bool_)
        return np.asarray(np.isfinite(self.scores).all(axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPredictions:
    """Predictions with ground truth, oldest first.

    Attributes
    ----------
    actual
        As `Predictions.predicted`.
    predicted_at, observed_at
        When a row was predicted, and when its ground truth became known; datetime64[us], UTC.
    """

    predictions: Predictions
    actual: NDArray[Any]
    predicted_at: NDArray[np.datetime64]
    observed_at: NDArray[np.datetime64]

    @property
    def rows(self) -> int:
        return len(self.actual)


def prediction_errors(actual: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.float64]:
    """Return the errors of n predictions, shape (n,): 1 for a wrong class and 0 for the right one, or absolute errors.

    Parameters
    ----------
    actual, predicted
        Class labels (object) or finite numbers (float64), shape (n,).
    """
    if actual.dtype == object:
        return np.asarray(actual != predicted, dtype=np.float64)
    with np.errstate(over="ignore"):
        return np.asarray(np.minimum(np.abs(actual - predicted), np.finfo(np.float64).max))
