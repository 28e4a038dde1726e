"""The Wasserstein distance of two samples of an ordered quantity, by their quantile functions.

W1 is the integral of |F - G|, and as well that of the distance of the quantile functions. Those are steps of width 1/m
and 1/n whose places do not depend on the values, so the two samples need not be merged.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlmon.statistics.bins import LARGEST

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
    longer, shorter = (reference, current) if m >= n else (current, reference)
    if max(ends) - min(ends) < LARGEST / longer.size:
        return _integral(longer, shorter)
    scale = 2.0 ** (longer.size.bit_length() + 2)  # the sum over all values would not fit into a float64
    return scale * _integral(longer / scale, shorter / scale)


def normalised_wasserstein_distance(distance: float, reference_std: float) -> float:
    """Return W1 in standard deviations of the reference (ddof 0), which are taken to be at least .001.

    The definition is that of evidently's "wasserstein". The floor is in the values' own unit: a feature whose values
    differ by less than a thousandth has small figures.
    """
    return distance / max(reference_std, SMALLEST_STANDARD_DEVIATION)


def _integral(longer: NDArray[np.float64], shorter: NDArray[np.float64]) -> float:
    """Return the integral of the distance of the two quantile functions."""
    m, n = longer.size, shorter.size
    if m % n == 0:
        return float(np.abs(longer.reshape(n, m // n) - shorter[:, None]).sum()) / m
    steps = _steps(m, n)
    total = float(np.abs(longer - shorter[steps.of_shorter]).sum()) / m
    straddling = longer[steps.straddling]
    correction = np.abs(straddling - shorter[1:]) - np.abs(straddling - shorter[:-1])
    return total + float(steps.beyond @ correction)


@dataclass(frozen=True, slots=True, eq=False)
class _Steps:
    """Where the n steps of one quantile function lie among the m >= n steps of another.

    Step i of the longer sample, [i/m, (i+1)/m), lies in step floor(i n / m) of the shorter one, but for the steps in
    which a break k/n falls: what is beyond the break belongs to the next step.

    Attributes
    ----------
    of_shorter
        floor(i n / m), shape (m,).
    straddling
        By break: the step that ends at it or beyond it, shape (n - 1,).
    beyond
        By break: the width of that step's part beyond it, shape (n - 1,).
    """

    of_shorter: NDArray[np.int64]
    straddling: NDArray[np.int64]
    beyond: NDArray[np.float64]


@functools.lru_cache(maxsize=4)  # the columns of a window have few numbers of missing values, most of them none
def _steps(m: int, n: int) -> _Steps:
    breaks = np.arange(1, n, dtype=np.int64)
    first_after = -(-breaks * m // n)  # ceil(k m / n): the first step that begins at the break or after it
    return _Steps(
        of_shorter=np.repeat(np.arange(n), np.diff(first_after, prepend=0, append=m)),
        straddling=first_after - 1,
        beyond=(first_after * n - breaks * m) / (float(m) * n),
    )
