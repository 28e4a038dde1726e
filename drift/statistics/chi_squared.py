"""The two-sample chi-squared test of counts, and Cohen's w as its size of effect."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2


@dataclass(frozen=True, slots=True)
class ChiSquaredResult:
    """How far two rows of counts are from having the same shares.

    Attributes
    ----------
    statistic
        X-squared of the 2 x k table, without continuity correction.
    degrees_of_freedom
        Columns that are not empty, less one.
    p_value
        Upper tail of the chi-squared distribution; 1 where there is one column.
    cohens_w
        The debiased effect size, sqrt(max(0, (X-squared - df) / N)) with N = n*m/(n+m); 0 is no difference.
    """

    statistic: float
    degrees_of_freedom: int
    p_value: float
    cohens_w: float


def chi_squared(reference: NDArray[np.int64], current: NDArray[np.int64]) -> ChiSquaredResult:
    """Compare the counts of two samples over the same k levels or bins.

    Parameters
    ----------
    reference, current
        Counts, shape (k,), not negative. Columns that are empty in both are left out.

    Returns
    -------
    ChiSquaredResult
        Statistic and p-value are scipy's ``chi2_contingency(correction=False)``. E[X-squared] is df when nothing has
        changed, so subtracting df removes the bias of w that grows with the number of levels
        (J. Cohen, *Statistical Power Analysis for the Behavioral Sciences*, ch. 7).

    Raises
    ------
    ValueError
        The shapes differ, or a sample has no rows.
    """
    if reference.shape != current.shape:
        raise ValueError("Both samples need a count for each level.")
    filled = (reference + current) > 0
    observed = np.stack([reference[filled], current[filled]]).astype(np.float64)
    rows = observed.sum(axis=1)
    if not rows.all():
        raise ValueError("Both samples need at least one row.")
    total = rows.sum()
    expected = np.outer(rows, observed.sum(axis=0)) / total
    statistic = float(np.sum((observed - expected) ** 2 / expected))
    degrees_of_freedom = observed.shape[1] - 1
    effective_rows = rows[0] * rows[1] / total
    return ChiSquaredResult(
        statistic=statistic,
        degrees_of_freedom=degrees_of_freedom,
        p_value=float(chi2.sf(statistic, degrees_of_freedom)) if degrees_of_freedom else 1.0,
        cohens_w=math.sqrt(max(0.0, (statistic - degrees_of_freedom) / effective_rows)),
    )
