"""Which of many hypotheses to list: the false discovery rate."""

from collections.abc import Sequence

import numpy as np


def benjamini_hochberg(p_values: Sequence[float], *, hypotheses: int, rate: float) -> float:
    """Return the largest of the p-values that is rejected at this false discovery rate; 0 where none is.

    Y. Benjamini and Y. Hochberg, *Journal of the Royal Statistical Society B* 57, 1995: the largest p with
    p <= rank * rate / hypotheses. ``scipy.stats.false_discovery_control`` adjusts p-values the same way.

    Parameters
    ----------
    p_values
        Of some of the hypotheses; the others have 1.
    hypotheses
        How many there are in all.
    rate
        At most this share of the rejected ones is expected to be true.
    """
    ordered = np.sort(np.asarray(p_values, dtype=np.float64))
    rejected = ordered <= np.arange(1, ordered.size + 1) * (rate / hypotheses)
    return float(ordered[rejected][-1]) if rejected.any() else 0.0
