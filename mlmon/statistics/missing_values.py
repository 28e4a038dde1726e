"""Whether the share of missing values has changed: a channel of its own, whatever the values that are there."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri

from mlmon.statistics.chi_squared import chi_squared


@dataclass(frozen=True, slots=True)
class MissingCounts:
    """Missing values and rows of two samples."""

    reference_missing: int
    reference_rows: int
    current_missing: int
    current_rows: int

    @property
    def difference(self) -> float:
        """Share of missing values in the window less that in the reference, in [-1, 1]."""
        return self.current_missing / self.current_rows - self.reference_missing / self.reference_rows

    def p_value_at(self, dispersion: float) -> float:
        """Return the two-sided p-value of the 2 x 2 table.

        Fisher's exact test for independent rows (``scipy.stats.fisher_exact``); where counts vary `dispersion` times as
        much as those, chi-squared of X-squared / dispersion.
        """
        missing = np.array([self.reference_missing, self.current_missing])
        table = np.stack([missing, np.array([self.reference_rows, self.current_rows]) - missing])
        if dispersion > 1.0:
            return chi_squared(table[:, 0], table[:, 1]).p_value_at(dispersion)
        from scipy.stats import fisher_exact  # 40 MB: not at the start

        return float(fisher_exact(table).pvalue)


def smallest_detectable_difference(counts: MissingCounts, *, level: float, dispersion: float) -> float:
    """Return the smallest rise of the share with a p-value of at most `level`, by chi-squared.

    With the reference's share p, N = n m / (n + m) and a = n / (n + m), a rise d has X-squared
    N d^2 / (s (1 - s)) with the pooled share s = p + a d; that is a quadratic equation in d.
    """
    n, m = counts.current_rows, counts.reference_rows
    share, a = counts.reference_missing / m, n / (n + m)
    c = dispersion * float(chdtri(1, level)) / (m * a)
    # d^2 (1 + c a^2) - d c a (1 - 2 p) - c p (1 - p) = 0
    linear = c * a * (1 - 2 * share)
    quadratic = 1 + c * a * a
    return (linear + math.sqrt(linear * linear + 4 * quadratic * c * share * (1 - share))) / (2 * quadratic)
