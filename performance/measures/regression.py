"""Performance of a regression from its ground truth."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

CONSTANT = "the ground truth does not vary"
TOO_LARGE = "the numbers are too large"


@dataclass(frozen=True, slots=True)
class RegressionPerformance:
    """Figures of a regression's labelled predictions, computed by scikit-learn.

    Attributes
    ----------
    rows
        Number of predictions.
    mean_absolute_error, root_mean_squared_error
        In the unit of the target.
    r2_score
        Coefficient of determination: 1 is perfect, 0 is as good as the mean of the ground truth.
    bias
        Mean of predicted minus actual, in the unit of the target.
    unavailable
        The reason why a figure is None, by its name.
    """

    rows: int
    mean_absolute_error: float | None
    root_mean_squared_error: float | None
    r2_score: float | None
    bias: float | None
    unavailable: Mapping[str, str] = field(default_factory=dict)


def regression_performance(actual: NDArray[np.float64], predicted: NDArray[np.float64]) -> RegressionPerformance:
    """Return the figures of n predictions.

    Parameters
    ----------
    actual, predicted
        Finite numbers, shape (n,).

    Raises
    ------
    ValueError
        There are no rows.
    """
    # Imported here because scikit-learn takes 85 MB of memory.
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    if len(actual) == 0:
        raise ValueError("There are no rows.")
    varies = bool(actual.min() < actual.max())
    with np.errstate(over="ignore", invalid="ignore"):
        figures = {
            "mean_absolute_error": float(mean_absolute_error(actual, predicted)),
            "root_mean_squared_error": float(root_mean_squared_error(actual, predicted)),
            "r2_score": float(r2_score(actual, predicted)) if varies else math.nan,
            "bias": float(np.mean(predicted - actual)),
        }
    unavailable = {name: TOO_LARGE for name, value in figures.items() if not math.isfinite(value)}
    if not varies:
        unavailable["r2_score"] = CONSTANT
    known = {name: None if name in unavailable else value for name, value in figures.items()}
    return RegressionPerformance(rows=len(actual), unavailable=unavailable, **known)
