"""The L-infinity distance of two discrete distributions."""

import numpy as np
from numpy.typing import NDArray

from mlmon.statistics.bins import shares


def l_infinity_distance(reference: NDArray[np.int64], current: NDArray[np.int64]) -> float:
    """Return max |p - q| of two rows of counts: the largest change of a single share.

    Parameters
    ----------
    reference, current
        Counts (or shares), shape (k,), not negative. nannyml has it of levels only; of numbers it takes the bins of
        `mlmon.statistics.hellinger`.

    Returns
    -------
    float
        In [0, 1]: 0 for equal shares, 1 only for two different constants. nannyml's "l_infinity".

    Raises
    ------
    ValueError
        A sample has no rows.
    """
    return float(np.abs(shares(reference) - shares(current)).max())
