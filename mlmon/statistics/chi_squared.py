"""The two-sample chi-squared test of counts, and Cohen's w as its size of effect."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, chdtri


@dataclass(frozen=True, slots=True)
class ChiSquaredResult:
    """How far two rows of counts are from having the same shares.

    Attributes
    ----------
    statistic
        X-squared of the 2 x k table, without continuity correction.
    degrees_of_freedom
        Columns that are not empty, less one.
    effective_rows
        N = n m / (n + m).
    """

    statistic: float
    degrees_of_freedom: int
    effective_rows: float

    @property
    def cohens_w(self) -> float:
        """The debiased effect size, sqrt(max(0, (X-squared - df) / N)); 0 is no difference.

        E[X-squared] is df when nothing has changed, so subtracting df removes the bias of w that grows with the number
        of levels (J. Cohen, *Statistical Power Analysis for the Behavioral Sciences*, ch. 7).
        """
        return math.sqrt(max(0.0, (self.statistic - self.degrees_of_freedom) / self.effective_rows))

    @property
    def p_value(self) -> float:
        """The upper tail of the chi-squared distribution; 1 where there is one column."""
        return self.p_value_at(1.0)

    def p_value_at(self, dispersion: float) -> float:
        """Return the p-value where counts vary `dispersion` times as much as those of independent rows."""
        if not self.degrees_of_freedom:
            return 1.0
        return float(chdtrc(self.degrees_of_freedom, self.statistic / dispersion))


def chi_squared(reference: NDArray[np.int64], current: NDArray[np.int64]) -> ChiSquaredResult:
    """Compare the counts of two samples over the same k levels or bins.

    Parameters
    ----------
    reference, current
        Counts, shape (k,), not negative. Columns that are empty in both are left out.

    Returns
    -------
    ChiSquaredResult
        Statistic and p-value are scipy's ``chi2_contingency(correction=False)``, by the closed form for two rows:
        sum of (r n - c m)^2 / (r + c), over n m.

    Raises
    ------
    ValueError
        The shapes differ, or a sample has no rows.
    """
    if reference.shape != current.shape:
        raise ValueError("Both samples need a count for each level.")
    totals = reference + current
    if not totals.all():
        filled = totals > 0
        reference, current, totals = reference[filled], current[filled], totals[filled]
    m, n = float(reference.sum()), float(current.sum())
    if not m or not n:
        raise ValueError("Both samples need at least one row.")
    differences = reference * (n / m) - current  # of the window's counts from those that the reference predicts
    return ChiSquaredResult(
        statistic=float((differences * differences / totals).sum()) * (m / n),
        degrees_of_freedom=totals.size - 1,
        effective_rows=n * (m / (n + m)),
    )


def smallest_detectable_w(
    *, level: float, degrees_of_freedom: int, effective_rows: float, dispersion: float = 1.0
) -> float:
    """Return the smallest debiased w with a p-value of at most `level`."""
    if not degrees_of_freedom:
        return math.inf
    statistic = dispersion * float(chdtri(degrees_of_freedom, level))
    return math.sqrt(max(0.0, statistic - degrees_of_freedom) / effective_rows)
