"""The Wasserstein distance of two samples of an ordered quantity, by merging them sorted."""

import math

import numpy as np
from numpy.typing import NDArray

SMALLEST_STANDARD_DEVIATION = 1e-3  # evidently's floor: a constant reference would make any distance infinite


def wasserstein_distance(reference: NDArray[np.float64], current: NDArray[np.float64]) -> float:
    """Return W1, the integral of |F - G|: how far a value has to move on average to turn one sample into the other.

    Parameters
    ----------
    reference, current
        Shapes (m,) and (n,), sorted ascending, finite, not empty.

    Returns
    -------
    float
        In the values' unit, in [0, range]: ``scipy.stats.wasserstein_distance``. Infinite only where the distance
        itself is beyond the largest float64.

    Raises
    ------
    ValueError
        A sample is empty or not finite.
    """
    m, n = reference.size, current.size
    if m == 0 or n == 0:
        raise ValueError("Both samples need at least one value.")
    ends = (float(reference[0]), float(reference[-1]), float(current[0]), float(current[-1]))
    if not all(map(math.isfinite, ends)):
        raise ValueError("The Wasserstein distance needs finite values.")
    if math.isinf(max(ends) - min(ends)):
        return 2.0 * wasserstein_distance(reference / 2.0, current / 2.0)
    values = np.concatenate([reference, current])
    order = np.argsort(values, kind="stable")  # two sorted runs: a merge, not a sort
    widths = np.diff(values[order])
    # F and G at the k-th value of both, as whole numbers of 1 / (m n): equal heights then differ by exactly 0.
    from_reference = np.cumsum(order[:-1] < m)
    heights = np.abs(from_reference * n - (np.arange(1, m + n) - from_reference) * m) / (m * n)
    return float((heights * widths).sum())


def normalised_wasserstein_distance(distance: float, reference_std: float) -> float:
    """Return W1 in standard deviations of the reference (ddof 0), which are taken to be at least .001.

    The definition is that of evidently's "wasserstein". The floor is in the values' own unit: a feature whose values
    differ by less than a thousandth has small figures.
    """
    return distance / max(reference_std, SMALLEST_STANDARD_DEVIATION)
