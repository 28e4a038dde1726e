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
