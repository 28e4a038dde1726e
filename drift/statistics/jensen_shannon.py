"""The Jensen-Shannon divergence of two discrete distributions."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr


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
    if not reference.sum() or not current.sum():
        raise ValueError("Both samples need at least one row.")
    p = reference / reference.sum()
    q = current / current.sum()
    mean = (p + q) / 2
    divergence = float(np.sum(rel_entr(p, mean) + rel_entr(q, mean))) / 2
    return max(0.0, divergence)  # rounding gives -1e-17 for equal shares
