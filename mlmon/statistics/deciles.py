"""Counts of an ordered quantity in the bins that its reference's deciles make."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mlmon.statistics.bins import LARGEST

MOST_DIGITS = 17  # of a float64
SMALLEST_EXPECTED_COUNT = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class DecileReference:
    """A reference sample counted between its deciles, prepared for many windows.

    Attributes
    ----------
    cut_points
        Rising, shape (k - 1,): bins are right-closed, the outer ones open.
    counts
        Reference values in each bin, shape (k,).
    """

    cut_points: NDArray[np.float64]
    counts: NDArray[np.int64]

    def count(self, current: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return how many values of a window, ascending and without NaN, are in each bin, shape (k,)."""
        return _counts(current, self.cut_points)

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each bin, in order, such as ``"(1.5, 2.25]"``."""
        if not self.cut_points.size:
            return ("all",)
        cut_points = self.cut_points
        has_minimum_apart = cut_points.size > 1 and cut_points[1] == np.nextafter(cut_points[0], math.inf)
        texts = _texts(cut_points[1:] if has_minimum_apart else cut_points)  # see `prepare_deciles`
        first = [f"< {texts[0]}", f"= {texts[0]}"] if has_minimum_apart else [f"<= {texts[0]}"]
        inner = [f"({low}, {high}]" for low, high in pairwise(texts)]
        return (*first, *inner, f"> {texts[-1]}")


def prepare_deciles(deciles: NDArray[np.float64], reference: NDArray[np.float64]) -> DecileReference:
    """Return a reference counted between its deciles.

    Where the lowest decile is also the reference's minimum (a tenth of it or more is that one value), values below it
    get a bin of their own: else a constant that falls would stay in its bin.

    Parameters
    ----------
    deciles
        The nine deciles of the reference; equal ones make one cut point.
    reference
        Sorted ascending, without NaN, not empty.
    """
    cut_points = np.unique(deciles[~np.isnan(deciles)])  # NaN: a quantile between two infinities
    if cut_points.size and -math.inf < cut_points[0] <= reference[0]:
        cut_points = np.insert(cut_points, 0, math.nextafter(cut_points[0], -math.inf))
    return DecileReference(cut_points=cut_points, counts=_counts(reference, cut_points))


def pooled_counts(
    deciles: DecileReference, reference_rows: int, current: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return both samples' counts in bins of which each expects at least 20 of the window's values.

    Bins that expect fewer join their neighbour: the chi-squared law needs the counts.

    Parameters
    ----------
    deciles
        Of the reference, which has so many rows.
    current
        Sorted ascending, without NaN, not empty.
    """
    of_reference, of_current = deciles.counts, deciles.count(current)
    totals = of_reference + of_current
    smallest = SMALLEST_EXPECTED_COUNT * (reference_rows + current.size) / current.size
    if (totals >= smallest).all():
        return of_reference, of_current
    starts = _starts_of_pools(totals.tolist(), smallest)
    return np.add.reduceat(of_reference, starts), np.add.reduceat(of_current, starts)


def counts_with_infinities_apart(
    deciles: DecileReference, reference: NDArray[np.float64], current: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return both samples' counts in the reference's deciles, and in a bin of its own for either infinity.

    Parameters
    ----------
    reference, current
        Sorted ascending, without NaN, not empty.
    """
    cut_points = np.union1d(deciles.cut_points, [-math.inf, LARGEST])
    return _counts(reference, cut_points), _counts(current, cut_points)


def _starts_of_pools(totals: list[int], smallest: float) -> list[int]:
    """Return where runs of bins begin that hold `smallest` values or more each; what is left over joins the last."""
    starts, held = [0], 0
    for index, total in enumerate(totals):
        if held >= smallest:
            starts.append(index)
            held = 0
        held += total
    if held < smallest and len(starts) > 1:
        starts.pop()
    return starts


def _counts(ordered: NDArray[np.float64], cut_points: NDArray[np.float64]) -> NDArray[np.int64]:
    counts = np.empty(cut_points.size + 1, dtype=np.int64)
    counts[:-1] = ordered.searchsorted(cut_points, "right")
    counts[-1] = ordered.size
    counts[1:] -= counts[:-1].copy()
    return counts


def _texts(cut_points: NDArray[np.float64]) -> list[str]:
    """Return the cut points with as few digits, from four on, as tell them apart."""
    digits = 4
    while digits < MOST_DIGITS and len({f"{cut:.{digits}g}" for cut in cut_points}) < cut_points.size:
        digits += 1
    return [f"{cut:.{digits}g}" for cut in cut_points]
