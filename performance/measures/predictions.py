"""Predictions as arrays, with and without ground truth."""

from collections.abc import Sequence
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

    def median_delay_seconds(self) -> float:
        """Return the median time from a prediction to its ground truth; at least 0, because clocks differ."""
        delays = (self.observed_at - self.predicted_at) / np.timedelta64(1, "s")
        return max(0.0, float(np.median(delays)))


def scores_from_confidence(
    predicted: NDArray[np.object_], confidence: NDArray[np.float64], classes: Sequence[str]
) -> NDArray[np.float64] | None:
    """Return the scores that follow from the confidence: shape (n, 2) for two classes, None for more."""
    if len(classes) != 2:
        return None
    second = np.where(predicted == classes[1], confidence, 1 - confidence)
    return np.column_stack([1 - second, second])
