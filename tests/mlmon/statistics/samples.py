"""Samples and counts that the tests of the measures share."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from mlmon.prepared import PreparedCategories, PreparedNumbers, prepare_column
from mlmon.profiling import column_profile
from mlmon.windows import CategoricalWindow, NumericWindow

LARGEST = sys.float_info.max

# Few distinct values, so that ties within and between the samples are common.
tied_samples = arrays(np.float64, st.integers(1, 60), elements=st.integers(-5, 5).map(float)).map(np.sort)
# Of ordinary size: any number with the digits of a float32.
ordinary_samples = arrays(
    np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
).map(np.sort)
# Everything finite that a float64 holds: 1e300, neighbours of 1, subnormals.
extreme_samples = arrays(
    np.float64,
    st.integers(1, 40),
    elements=st.one_of(
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from([0.0, 1.0, float(np.nextafter(1.0, 2.0)), 1e300, -1e300, LARGEST, -LARGEST, 5e-324, 2e-310]),
    ),
).map(np.sort)
finite_samples = st.one_of(tied_samples, ordinary_samples)

counts = arrays(np.int64, 6, elements=st.integers(0, 500)).filter(lambda row: bool(row.any()))
large_counts = arrays(np.int64, 6, elements=st.integers(0, 10**12)).filter(lambda row: bool(row.any()))
any_counts = st.one_of(counts, large_counts)


def smooth_sample() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return 1000 and 300 smooth numbers without chance, which other libraries were run on."""
    rows, window_rows = np.arange(1, 1001), np.arange(1, 301)
    reference = np.sin(rows * 0.7) * 3 + (rows % 17) / 5.0
    current = np.cos(window_rows * 1.3) * 3.5 + (window_rows % 13) / 4.0
    return np.sort(reference), np.sort(current)


def skewed_sample() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return 1000 and 300 numbers with a long tail."""
    rows, window_rows = np.arange(1, 1001), np.arange(1, 301)
    return np.sort(np.exp(np.sin(rows * 0.7) * 2)), np.sort(np.exp(np.cos(window_rows * 1.3) * 2.2))


def category_counts() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the counts of 13 categories, of which the reference has 11."""
    return np.bincount(np.arange(1000) * 7 % 11, minlength=13), np.bincount(np.arange(300) ** 2 % 13, minlength=13)


def numeric_window(reference: NDArray[np.float64], current: NDArray[np.float64]) -> NumericWindow:
    """Return a window of numbers beside its prepared reference."""
    column: Any = pa.chunked_array([pa.array(current)])
    with np.errstate(over="ignore"):  # NumPy warns about values beyond the smallest float64
        prepared = prepare_column(column_profile(pa.array(reference)))
    assert isinstance(prepared, PreparedNumbers)
    return NumericWindow(prepared, column, current.size)


def categorical_window(reference: Sequence[str], current: Sequence[str]) -> CategoricalWindow:
    """Return a window of categories beside its prepared reference."""
    column: Any = pa.chunked_array([pa.array(current, pa.string())])
    prepared = prepare_column(column_profile(pa.array(reference, pa.string())))
    assert isinstance(prepared, PreparedCategories)
    return CategoricalWindow(prepared, column, len(current))
