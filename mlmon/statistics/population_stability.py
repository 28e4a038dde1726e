"""The population stability index of two discrete distributions."""

import numpy as np
from numpy.typing import NDArray

PSEUDO_COUNT = 0.5  # rows added to each bin of both samples, so that an empty bin does not make the index infinite


def population_stability_index(reference: NDArray[np.int64], current: NDArray[np.int64]) -> float:
    """Return sum (p - q) ln(p / q), with half a row added to every bin of both samples.

    Parameters
    ----------
    reference, current
        Counts, shape (k,), not negative: of the reference's deciles, or of levels. Bins that are empty in both are
        left out, so that naming a level that nobody has changes nothing.

    Returns
    -------
    float
        At least 0, without an upper bound: the sum of both Kullback-Leibler divergences (H. Jeffreys, 1946), in nats.
        The half row makes samples of the same shares but of different sizes differ a little: by less than
        k / (4 n) with n rows in the smaller one.

    Raises
    ------
    ValueError
        A sample has no rows.
    """
    m, n = int(reference.sum()), int(current.sum())
    if not m or not n:
        raise ValueError("Both samples need at least one row.")
    filled = (reference + current) > 0
    if not filled.all():
        reference, current = reference[filled], current[filled]
    added = PSEUDO_COUNT * reference.size
    p = (reference + PSEUDO_COUNT) / (m + added)
    q = (current + PSEUDO_COUNT) / (n + added)
    return max(0.0, float((p - q) @ np.log(p / q)))
