"""The same sort over a table of rows: the columns are not contiguous."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.arrays import FeatureArrays
from benchmarks.rivals.numpy_sort import answers, as_matrix

__all__ = ["answers", "prepare"]


def prepare(arrays: FeatureArrays) -> Callable[[], NDArray[np.float64]]:
    """Return a sort of all columns of a row-major table, shape (n, 100)."""
    rows = np.ascontiguousarray(as_matrix(arrays.window).T)
    return lambda: np.sort(rows, axis=0)
