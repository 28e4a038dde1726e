"""The Jensen-Shannon divergence of two discrete distributions, and its root, which is a distance."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

from mlmon.statistics.bins import shares


def jensen_shannon_divergence(reference: NDArray[np.int64], current: NDArray[np.int64]) -> float:
    """Return the divergence of two rows of counts, natural log: 0 for equal shares, ln 2 for disjoint ones.

    Parameters
    ----------
    reference, current
        Counts (or shares), shape (k,), not negative.

    Returns
    -------
    float
        In nats, in [0, ln 2]: the square of ``scipy.spatial.distance.jensenshannon``.

    Raises
    ------
    ValueError
        A sample has no rows.
    """
    p, q = shares(reference), shares(current)
    mean = (p + q) / 2
    divergence = float((rel_entr(p, mean) + rel_entr(q, mean)).sum()) / 2
    return min(max(divergence, 0.0), math.log(2.0))  # rounding gives -1e-17 for equal shares


def jensen_shannon_distance(reference: NDArray[np.int64], current: NDArray[np.int64]) -> float:
    """Return the root of `jensen_shannon_divergence`: 0 for equal shares, sqrt(ln 2) = .8326 for disjoint ones.

    It is a metric (D. M. Endres and J. E. Schindelin, *A new metric for probability distributions*, 2003), and what
    evidently calls "jensenshannon". nannyml takes the logarithm to base 2: its figures are 1 / sqrt(ln 2) = 1.2011
    times as large, over other bins.
    """
    return math.sqrt(jensen_shannon_divergence(reference, current))
