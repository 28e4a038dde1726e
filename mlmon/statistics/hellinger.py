"""The Hellinger distance of two discrete distributions."""

import math

import numpy as np
from numpy.typing import NDArray

from mlmon.statistics.bins import shares


def hellinger_distance(reference: NDArray[np.int64], current: NDArray[np.int64]) -> float:
    """Return sqrt(1/2 sum (sqrt p - sqrt q)^2) of two rows of counts: 0 for equal shares, 1 for disjoint ones.

    Parameters
    ----------
    reference, current
        Counts (or shares), shape (k,), not negative. nannyml's bins of numbers are Doane's of the reference, and one
        more for all values outside them: `mlmon.statistics.bins.counts_between_and_outside`.

    Returns
    -------
    float
        In [0, 1]: nannyml's "hellinger".

    Raises
    ------
    ValueError
        A sample has no rows.
    """
    difference = np.sqrt(shares(reference)) - np.sqrt(shares(current))
    return min(1.0, math.sqrt(float(difference @ difference) / 2.0))
