"""Counts of an ordered quantity in the bins that its reference's deciles make."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

MOST_DIGITS = 17  # of a float64


@dataclass(frozen=True, slots=True)
class BinnedCounts:
    """Two samples counted in the same k bins.

    Attributes
    ----------
    labels
        A name for each bin, in order, such as ``"(1.5, 2.25]"``.
    reference, current
        Counts, shape (k,).
    """

    labels: tuple[str, ...]
    reference: NDArray[np.int64]
    current: NDArray[np.int64]


def decile_counts(
    deciles: NDArray[np.float64], reference: NDArray[np.float64], current: NDArray[np.float64]
) -> BinnedCounts:
    """Count two samples in right-closed bins between the reference's deciles; the outer bins are open.

    Parameters
    ----------
    deciles
        The nine deciles of the reference; equal ones make one cut point.
    reference, current
        Sorted ascending, without NaN, not empty.

    Returns
    -------
    BinnedCounts
        Where the lowest decile is also the reference's minimum (a tenth of it or more is that one value), values below
        it get a bin of their own: else a constant that falls would stay in its bin.
    """
    cut_points = np.unique(deciles[~np.isnan(deciles)])  # NaN: a quantile between two infinities
    labels = _labels(cut_points)
    if cut_points.size and -math.inf < cut_points[0] <= reference[0]:
        lowest = _texts(cut_points)[0]
        labels = (f"< {lowest}", f"= {lowest}", *labels[1:])
        cut_points = np.insert(cut_points, 0, np.nextafter(cut_points[0], -math.inf))
    return BinnedCounts(labels=labels, reference=_counts(reference, cut_points), current=_counts(current, cut_points))


def _counts(ordered: NDArray[np.float64], cut_points: NDArray[np.float64]) -> NDArray[np.int64]:
    at_most = np.searchsorted(ordered, cut_points, side="right")
    return np.diff(at_most, prepend=0, append=ordered.size).astype(np.int64)


def _labels(cut_points: NDArray[np.float64]) -> tuple[str, ...]:
    if not cut_points.size:
        return ("all",)
    texts = _texts(cut_points)
    inner = [f"({low}, {high}]" for low, high in pairwise(texts)]
    return (f"<= {texts[0]}", *inner, f"> {texts[-1]}")


def _texts(cut_points: NDArray[np.float64]) -> list[str]:
    """Return the cut points with as few digits, from four on, as tell them apart."""
    digits = 4
    while digits < MOST_DIGITS and len({f"{cut:.{digits}g}" for cut in cut_points}) < cut_points.size:
        digits += 1
    return [f"{cut:.{digits}g}" for cut in cut_points]
