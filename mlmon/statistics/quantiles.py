"""Quantiles of a sample that is sorted already: a look-up, where a library would sort it again."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def quantiles_of_sorted(values: NDArray[np.float64], levels: Sequence[float]) -> tuple[float, ...]:
    """Return quantiles, linear between neighbours (Hyndman and Fan's 7th definition, NumPy's default).

    Parameters
    ----------
    values
        Finite and ascending, shape (n,), n at least 1.
    levels
        From 0 to 1.
    """
    return tuple(_quantile(values, level) for level in levels)


def _quantile(values: NDArray[np.float64], level: float) -> float:
    place = level * (values.size - 1)
    low = math.floor(place)
    part = place - low
    high = min(low + 1, values.size - 1)
    return float(values[low]) * (1 - part) + float(values[high]) * part
