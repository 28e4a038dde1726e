"""The yardstick: one np.sort of the window, the least work that a check of ordered features needs."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.arrays import FeatureArrays
from benchmarks.competitors import Side


def _sort_of_columns(arrays: FeatureArrays) -> Callable[[], NDArray[np.float64]]:
    """Return a sort of all columns, each contiguous; the codes of categories are sorted as numbers."""
    columns = arrays.window.as_matrix()
    return lambda: np.sort(columns, axis=1)


def _sort_of_rows(arrays: FeatureArrays) -> Callable[[], NDArray[np.float64]]:
    """Return a sort of all columns of a row-major table, shape (n, 100)."""
    rows = np.ascontiguousarray(arrays.window.as_matrix().T)
    return lambda: np.sort(rows, axis=0)


COLUMNS = Side(_sort_of_columns)
ROWS = Side(_sort_of_rows)
