"""Bins for ordered samples, and counting in them. Samples come sorted, so that counting is a binary search.

Two rules for bins of equal width are those of the libraries whose figures people know: evidently bins numbers by
Sturges' rule over both samples, nannyml by Doane's rule over the reference alone. Both take them from
``numpy.histogram_bin_edges``, and these functions return the same edges wherever NumPy returns any. The third rule uses
the deciles of the reference.
"""

import math
import sys
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

LARGEST = sys.float_info.max
FEWEST_ULPS_APART = 4.0  # between neighbouring edges; closer ones may have been rounded to the same number
FEWEST_DIGITS, MOST_DIGITS = 4, 17  # of a cut point in a label; a float64 has at most 17


def sturges_edges(reference: NDArray[np.float64], current: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the edges of Sturges' bins of both samples together.

    Parameters
    ----------
    reference, current
        Sorted ascending, finite, not empty; only their ends and sizes are used.

    Returns
    -------
    NDArray
        k + 1 ascending edges from the smallest value to the largest: ``numpy.histogram_bin_edges(both, "sturges")``,
        with k near 1 + log2 of the number of values. If all values are equal, there is one bin around them. If NumPy
        finds no room for the edges because the values are very large or very close, there are as many bins as fit. A
        range beyond the largest float64 is halved before it is divided.

    Raises
    ------
    ValueError
        A sample is empty or not finite.
    """
    if not reference.size or not current.size:
        raise ValueError("Both samples need at least one value.")
    first = min(float(reference[0]), float(current[0]))
    last = max(float(reference[-1]), float(current[-1]))
    return _equal_width_edges(first, last, 1.0 + math.log2(reference.size + current.size))


def doane_edges(reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the edges of Doane's bins, whose number grows with the skewness of the sample.

    Parameters
    ----------
    reference
        Sorted ascending, finite, not empty.

    Returns
    -------
    NDArray
        ``numpy.histogram_bin_edges(reference, "doane")`` (D. P. Doane, *Aesthetic Frequency Classifications*, 1976);
        at the ends of float64 as `sturges_edges`.

    Raises
    ------
    ValueError
        The sample is empty or not finite.
    """
    if not reference.size:
        raise ValueError("The reference needs at least one value.")
    n = reference.size
    # The skewness does not depend on the unit: scale by a power of two that keeps the third powers inside float64.
    _, exponent = np.frexp(max(abs(reference[0]), abs(reference[-1])))
    values = np.ldexp(reference, -exponent)
    bins = 1.0
    if n > 2 and np.isfinite(reference[[0, -1]]).all() and (spread := values.std()):
        scaled = (values - values.mean()) / spread
        skewness = float(np.mean(scaled * scaled * scaled))  # `** 3` takes twenty times as long
        error_of_skewness = math.sqrt(6.0 * (n - 2) / ((n + 1.0) * (n + 3)))
        bins += math.log2(n) + math.log2(1.0 + abs(skewness) / error_of_skewness)
    return _equal_width_edges(float(reference[0]), float(reference[-1]), bins)


def _equal_width_edges(first: float, last: float, wanted_bins: float) -> NDArray[np.float64]:
    if not (math.isfinite(first) and math.isfinite(last)):
        raise ValueError("Bins of equal width need finite values.")
    if first == last:
        low = min(first - 0.5, math.nextafter(first, -math.inf))
        high = max(first + 0.5, math.nextafter(first, math.inf))
        return np.array([max(-LARGEST, low), min(LARGEST, high)])
    span = last - first
    if span > LARGEST / 2:
        edges = 2.0 * _equal_width_edges(first / 2.0, last / 2.0, wanted_bins)
        edges[0], edges[-1] = first, last  # doubling half of the smallest float64 gives 0
        return edges
    # Divide by way of the width, as NumPy does: rounding can add a bin.
    width = span / wanted_bins
    bins = math.ceil(span / width) if width else 1
    step = span / bins
    edges = np.arange(bins + 1, dtype=np.float64)
    edges *= step
    with np.errstate(over="ignore"):  # rounding can carry the last edge beyond float64
        edges += first
    edges[-1] = last
    if step < FEWEST_ULPS_APART * math.ulp(max(-first, last)):
        return np.unique(edges)
    return edges


def decile_cut_points(deciles: NDArray[np.float64], smallest: float) -> NDArray[np.float64]:
    """Return the cut points of the bins between the deciles of a reference, ascending and distinct.

    If the lowest decile is also the smallest value (a tenth of the sample or more has it), values below it get a bin of
    their own. Otherwise a constant that falls would stay in its bin.

    Parameters
    ----------
    deciles
        The nine deciles, perhaps with equal values; NaN (a quantile between two infinities) is left out.
    smallest
        The smallest value of the reference.
    """
    cut_points = np.unique(deciles[~np.isnan(deciles)])
    if cut_points.size and -math.inf < cut_points[0] <= smallest:
        return np.insert(cut_points, 0, math.nextafter(cut_points[0], -math.inf))
    return cut_points


def decile_labels(cut_points: NDArray[np.float64]) -> tuple[str, ...]:
    """Return a name for each bin between cut points, such as ``"(1.5, 2.25]"``; the outer bins are open."""
    if not cut_points.size:
        return ("all",)
    has_minimum_apart = cut_points.size > 1 and cut_points[1] == np.nextafter(cut_points[0], math.inf)
    named = cut_points[1:] if has_minimum_apart else cut_points  # see `decile_cut_points`
    digits = FEWEST_DIGITS
    while digits < MOST_DIGITS and len({f"{cut:.{digits}g}" for cut in named}) < named.size:
        digits += 1
    names = [f"{cut:.{digits}g}" for cut in named]
    first = [f"< {names[0]}", f"= {names[0]}"] if has_minimum_apart else [f"<= {names[0]}"]
    return (*first, *(f"({low}, {high}]" for low, high in pairwise(names)), f"> {names[-1]}")


def counts_inside(ordered: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the number of values in each bin, and last the number of values outside all bins.

    Parameters
    ----------
    ordered
        Sorted ascending, without NaN.
    edges
        Ascending, shape (k + 1,). Bins are closed on the left; the last one is closed on both sides.

    Returns
    -------
    NDArray
        Shape (k + 1,): ``numpy.histogram(ordered, edges)``, and the values that it leaves out.
    """
    below = ordered.searchsorted(edges)
    below[-1] = ordered.searchsorted(edges[-1], "right")
    counts = np.empty(edges.size, dtype=np.int64)
    counts[:-1] = below[1:] - below[:-1]
    counts[-1] = ordered.size - counts[:-1].sum()
    return counts


def counts_between(
    ordered: NDArray[np.float64], cut_points: NDArray[np.float64], *, closed: str = "right"
) -> NDArray[np.int64]:
    """Return the number of values before, between and after cut points.

    Parameters
    ----------
    ordered
        Sorted ascending, without NaN.
    cut_points
        Ascending, shape (k - 1,).
    closed
        The side on which bins are closed, "right" or "left"; the outer bins are open.

    Returns
    -------
    NDArray
        Shape (k,). Every value is counted once.
    """
    counts = np.empty(cut_points.size + 1, dtype=np.int64)
    counts[:-1] = ordered.searchsorted(cut_points, "right" if closed == "right" else "left")
    counts[-1] = ordered.size
    counts[1:] -= counts[:-1].copy()
    return counts


def quantiles_of_sorted(values: NDArray[np.float64], shares: Sequence[float]) -> tuple[float, ...]:
    """Return quantiles of a sorted sample, which ``numpy.quantile`` would sort again.

    Parameters
    ----------
    values
        Ascending, finite, shape (n,), n at least 1.
    shares
        From 0 to 1.

    Returns
    -------
    tuple of float
        Linear between neighbours (definition 7 of Hyndman and Fan, NumPy's default).
    """
    places = np.array(shares) * (values.size - 1)
    low = np.floor(places).astype(np.int64)
    part, high = places - low, np.minimum(low + 1, values.size - 1)
    return tuple((values[low] * (1 - part) + values[high] * part).tolist())
