"""The two-sample Kolmogorov-Smirnov test, by merging two sorted samples."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kstwo


@dataclass(frozen=True, slots=True)
class KolmogorovSmirnovResult:
    """The distance of two empirical distributions and how surprising it is.

    Attributes
    ----------
    statistic
        D = sup |F - G|, in [0, 1].
    p_value
        Two-sided, by the finite-sample law of one sample of round(n*m/(n+m)) rows.
    """

    statistic: float
    p_value: float


def kolmogorov_smirnov(reference: NDArray[np.float64], current: NDArray[np.float64]) -> KolmogorovSmirnovResult:
    """Compare two samples of an ordered quantity.

    Parameters
    ----------
    reference, current
        Shapes (m,) and (n,), sorted ascending, without NaN; ties and infinities are allowed.

    Returns
    -------
    KolmogorovSmirnovResult
        The p-value is scipy's ``ks_2samp(method="asymp")``. With ties it is conservative.

    Raises
    ------
    ValueError
        A sample is empty.
    """
    m, n = reference.size, current.size
    if m == 0 or n == 0:
        raise ValueError("Both samples need at least one value.")
    statistic = ks_distance(reference, current)
    effective_rows = float(np.round(float(m) * n / (float(m) + n)))
    # One row against one: round(1/2) is 0, and nothing can be said.
    p_value = float(kstwo.sf(statistic, effective_rows)) if effective_rows else 1.0
    return KolmogorovSmirnovResult(statistic=statistic, p_value=p_value)


def ks_distance(reference: NDArray[np.float64], current: NDArray[np.float64]) -> float:
    """Return sup |F - G| of two sorted samples, in O(n log m) for a window of n against a reference of m.

    Between two neighbouring values of `current` its distribution is flat and that of `reference` only rises, so the
    supremum is a right or left limit at a value of `current`: the other m values need not be visited.
    """
    distance = 0.0
    for limit in ("right", "left"):
        f = np.searchsorted(reference, current, side=limit) / reference.size
        g = np.searchsorted(current, current, side=limit) / current.size
        distance = max(distance, float(np.max(np.abs(f - g))))
    return distance
