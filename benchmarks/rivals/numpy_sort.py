"""The measuring rod: one np.sort of the window, the least that a check of ordered features can cost."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.arrays import FeatureArrays, Sample


def prepare(arrays: FeatureArrays) -> Callable[[], NDArray[np.float64]]:
    """Return a sort of all columns, each contiguous; levels are sorted as the numbers of their codes."""
    columns = as_matrix(arrays.window)
    return lambda: np.sort(columns, axis=1)


def answers(_found: Any) -> Mapping[str, float]:
    """Return nothing: nothing is compared."""
    return {}


def as_matrix(sample: Sample) -> NDArray[np.float64]:
    """Return all features as float64, shape (100, n)."""
    return np.concatenate([sample.numbers, sample.codes.astype(np.float64)])
