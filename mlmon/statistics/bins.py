"""Bins of equal width for ordered samples, and counting in them; samples come sorted, so that counting is a search.

The two rules are those of the libraries whose figures people know: evidently bins numbers by Sturges' rule over both
samples, nannyml by Doane's rule over the reference alone. Both take them from ``numpy.histogram_bin_edges``, and so do
these functions, wherever numpy has an answer.
"""

import math
import sys

import numpy as np
from numpy.typing import NDArray

LARGEST = sys.float_info.max
FEWEST_ULPS_APART = 4.0  # of neighbouring edges; closer ones may have been rounded to the same number


def sturges_edges(reference: NDArray[np.float64], current: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the edges of Sturges' bins of both samples together.

    Parameters
    ----------
    reference, current
        Sorted ascending, finite, not empty; only their ends and sizes are looked at.

    Returns
    -------
    NDArray
        k + 1 rising edges from the smallest value to the largest:
        ``numpy.histogram_bin_edges(both, "sturges")``, with k near 1 + log2 of the number of values. Where all values
        are one number there is one bin around it. Where that number is so large, or the values so close, that numpy
        finds no room for the edges, there are as many bins as there is room for. A range beyond the largest float64 is
        divided by halves.

    Raises
    ------
    ValueError
        A sample is empty or not finite.
    """
    if not reference.size or not current.size:
        raise ValueError("Both samples need at least one value.")
    first = min(float(reference[0]), float(current[0]))
    last = max(float(reference[-1]), float(current[-1]))
    _need_finite(first, last)
    return _edges(first, last, 1.0 + math.log2(reference.size + current.size))


def doane_edges(reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the edges of Doane's bins, whose number grows with the sample's skewness.

    Parameters
    ----------
    reference
        Sorted ascending, finite, not empty.

    Returns
    -------
    NDArray
        ``numpy.histogram_bin_edges(reference, "doane")``; for the ends of float64 see `sturges_edges`.

    Raises
    ------
    ValueError
        The sample is empty or not finite.
    """
    if not reference.size:
        raise ValueError("The reference needs at least one value.")
    first, last = float(reference[0]), float(reference[-1])
    _need_finite(first, last)
    return _edges(first, last, _doane_bins(reference))


def counts_between(ordered: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the number of values in each bin; bins are closed on the left, the last one on both sides.

    Parameters
    ----------
    ordered
        Sorted ascending, without NaN.
    edges
        Rising, shape (k + 1,).

    Returns
    -------
    NDArray
        Shape (k,): ``numpy.histogram(ordered, edges)``. Values outside the edges are not counted.
    """
    below = ordered.searchsorted(edges)
    below[-1] = ordered.searchsorted(edges[-1], "right")
    counts: NDArray[np.int64] = below[1:] - below[:-1]
    return counts


def counts_between_and_outside(ordered: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return `counts_between` and, last, the number of values outside the edges: shape (k + 1,), nothing is lost."""
    counts = np.empty(edges.size, dtype=np.int64)
    counts[:-1] = counts_between(ordered, edges)
    counts[-1] = ordered.size - counts[:-1].sum()
    return counts


def shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the counts as parts of 1.

    Raises
    ------
    ValueError
        There are no rows.
    """
    rows = counts.sum()
    if not rows:
        raise ValueError("Both samples need at least one row.")
    of_rows: NDArray[np.float64] = counts / rows
    return of_rows


def _edges(first: float, last: float, wanted_bins: float) -> NDArray[np.float64]:
    if first == last:
        return _edges_around(first)
    span = last - first
    if span > LARGEST / 2:
        edges = 2.0 * _edges(first / 2.0, last / 2.0, wanted_bins)
        edges[0], edges[-1] = first, last  # half of the smallest number there is, doubled, is 0
        return edges
    # By way of the width, as numpy does: rounding can make it one bin more.
    width = span / wanted_bins
    bins = math.ceil(span / width) if width else 1
    step = span / bins
    edges = np.arange(bins + 1, dtype=np.float64)
    edges *= step
    edges += first
    edges[-1] = last
    if step < FEWEST_ULPS_APART * math.ulp(max(-first, last)):
        return np.unique(edges)
    return edges


def _edges_around(value: float) -> NDArray[np.float64]:
    low = max(-LARGEST, min(value - 0.5, math.nextafter(value, -math.inf)))
    high = min(LARGEST, max(value + 0.5, math.nextafter(value, math.inf)))
    return np.array([low, high])


def _need_finite(first: float, last: float) -> None:
    if not (math.isfinite(first) and math.isfinite(last)):
        raise ValueError("Bins of equal width need finite values.")


def _doane_bins(reference: NDArray[np.float64]) -> float:
    """Return how many bins Doane's formula asks for (D. P. Doane, *Aesthetic Frequency Classifications*, 1976)."""
    n = reference.size
    # The skewness does not depend on the unit: a power of two that keeps the third powers inside float64.
    _, exponent = np.frexp(max(abs(reference[0]), abs(reference[-1])))
    values = np.ldexp(reference, -exponent)
    spread = values.std()
    if n <= 2 or not spread:
        return 1.0
    scaled = (values - values.mean()) / spread
    skewness = float(np.mean(scaled * scaled * scaled))  # `** 3` takes twenty times as long
    error_of_skewness = math.sqrt(6.0 * (n - 2) / ((n + 1.0) * (n + 3)))
    return 1.0 + math.log2(n) + math.log2(1.0 + abs(skewness) / error_of_skewness)
