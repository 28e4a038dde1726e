"""The exact Kolmogorov-Smirnov distance between a prepared reference and a window, and its p-value.

Visiting every value of both samples costs several times as much as sorting the window, and few values need it. At a
grid of reference values the two distribution functions are known exactly, and between two grid points both can only
rise. So the supremum of their difference is bounded in each cell of the grid, and only the cells whose bound exceeds
what is already known are searched value by value.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import kolmogorov

FINEST_GRID = 4096
SMALLEST_GRID = 128
GRID_POINTS_PER_ROOT = 13.0  # of the rows of the window; measured: fewer search more cells, more cost a search each
SMALL_WINDOW = 100  # rows; below, SciPy computes the exact law of two samples
MOST_RANKED_ROWS = 5_000  # of a window; finding the rank of each value takes less time up to here than the grid does
LIMIT_LAW_ROWS = 150  # effective rows; from there on the limit law's p-value is at most a tenth too large at p = .02


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Distinct reference values with the reference's distribution function F at them.

    Attributes
    ----------
    points
        Ascending, shape (k,): the smallest and the largest value of the reference, and some between.
    below, at_most
        F from the left and from the right at each point, shape (k,).
    """

    points: NDArray[np.float64]
    below: NDArray[np.float64]
    at_most: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class OrderedReference:
    """A sorted reference sample, with a grid for each size of window that it has been compared with.

    Attributes
    ----------
    values
        Ascending, without NaN, shape (m,). An empty sample has no distance to anything.
    grids
        By number of points.
    """

    values: NDArray[np.float64]
    grids: dict[int, Grid] = field(default_factory=dict)

    def grid_for(self, rows: int) -> Grid:
        """Return the grid for a window of `rows` rows."""
        wanted = min(max(GRID_POINTS_PER_ROOT * math.sqrt(rows), SMALLEST_GRID), FINEST_GRID)
        size = 1 << int(math.log2(wanted))
        if size not in self.grids:
            values = self.values
            ranks = np.linspace(0, values.size - 1, min(size, values.size)).astype(np.int64)
            points = np.unique(values[ranks])
            below, at_most = values.searchsorted(points), values.searchsorted(points, "right")
            self.grids[size] = Grid(points, below / values.size, at_most / values.size)
        return self.grids[size]


class KolmogorovSmirnov(NamedTuple):
    """A distance with its p-value, and what was found on the way.

    Attributes
    ----------
    distance, p_value
        As `ks_distance` and `ks_p_values` return them.
    ranks
        How many values of the reference are below each value of the window, shape (n,); None if it was not needed.
    """

    distance: float
    p_value: float
    ranks: NDArray[np.int64] | None


def ks_tests(references: Sequence[OrderedReference], windows: Sequence[NDArray[np.float64]]) -> list[KolmogorovSmirnov]:
    """Compare several windows with a reference each, as `ks_distance` does.

    Parameters
    ----------
    references
        Of m values each.
    windows
        Ascending, without NaN, not empty.
    """
    ranks: list[NDArray[np.int64] | None] = [None] * len(windows)
    distances = [0.0] * len(windows)
    untied: dict[int, dict[int, NDArray[np.float64]]] = {}  # F at the window's values, by its length and place
    for place, (reference, current) in enumerate(zip(references, windows, strict=True)):
        if current.size > MOST_RANKED_ROWS:
            distances[place] = ks_distance(reference, current)
            continue
        values, n = reference.values, current.size
        starts = np.append(0, 1 + np.flatnonzero(current[1:] != current[:-1]))
        distinct = current[starts]
        below = values.searchsorted(distinct)
        ranks[place] = below if starts.size == n else np.repeat(below, np.diff(starts, append=n))
        at_most = _at_most(values, distinct, below)
        if starts.size == n and at_most is below:  # the window has no value twice, and none of the reference's
            untied.setdefault(n, {})[place] = below / values.size
            continue
        from_left = np.abs(below / values.size - starts / n).max()
        distances[place] = float(max(from_left, np.abs(at_most / values.size - np.append(starts[1:], n) / n).max()))
    for n, shares in untied.items():
        f, steps = np.stack(list(shares.values())), np.arange(n + 1) / n
        largest = np.maximum((f - steps[:-1]).max(axis=1), (steps[1:] - f).max(axis=1))
        for place, distance in zip(shares, largest.tolist(), strict=True):
            distances[place] = distance
    p_values = ks_p_values(references, windows, distances)
    return [KolmogorovSmirnov(*found) for found in zip(distances, p_values, ranks, strict=True)]


def ks_distance(reference: OrderedReference, current: NDArray[np.float64]) -> float:
    """Return sup |F - G|, in [0, 1]: the statistic of ``scipy.stats.ks_2samp``. Infinities are values like others.

    Parameters
    ----------
    reference
        Of m values.
    current
        Ascending, without NaN, shape (n,), not empty.

    Examples
    --------
    >>> ks_distance(OrderedReference(np.arange(4.0)), np.array([2.5, 3.5]))
    0.75
    """
    grid, n = reference.grid_for(current.size), current.size
    below = current.searchsorted(grid.points)
    at_most = _at_most(current, grid.points, below)
    g_below, g_at_most = below / n, at_most / n
    known = max(float(np.abs(grid.below - g_below).max()), float(np.abs(grid.at_most - g_at_most).max()))
    # Strictly between two points F rises from `at_most` to `below`, and so does G.
    most = np.maximum(grid.below[1:] - g_at_most[:-1], g_below[1:] - grid.at_most[:-1])
    cells = (most > known).nonzero()[0]
    if not cells.size:
        return known
    return max(known, _largest_inside(reference.values, current, at_most[cells], below[cells + 1]))


def ks_p_values(
    references: Sequence[OrderedReference], windows: Sequence[NDArray[np.float64]], distances: Sequence[float]
) -> list[float]:
    """Return the two-sided p-values of distances between independent rows; with ties they are conservative.

    Windows of fewer than 100 rows have that of ``scipy.stats.ks_2samp``, which is exact for references of up to 10,000
    rows. Others have the finite-sample law up to 150 effective rows, and beyond those the limit law, which costs a
    thousandth of it and is conservative: the less so, the larger the sample and the larger the p-value.
    """
    m, n = (np.array([each.size for each in of]) for of in ([each.values for each in references], windows))
    # Two samples of m and n rows differ by chance as one sample of N rows differs from its law.
    effective_rows = n * (m / (n + m))
    p_values: list[float] = kolmogorov(np.sqrt(effective_rows) * np.asarray(distances)).tolist()
    for place in np.flatnonzero(n < SMALL_WINDOW).tolist():
        from scipy.stats import ks_2samp  # imported here because it takes 40 MB

        with warnings.catch_warnings():
            # SciPy warns if it cannot compute the exact law, and returns that of the finite-sample law.
            warnings.simplefilter("ignore", RuntimeWarning)
            p_values[place] = float(ks_2samp(references[place].values, windows[place]).pvalue)
    for place in np.flatnonzero((n >= SMALL_WINDOW) & (effective_rows < LIMIT_LAW_ROWS)).tolist():
        p_values[place] = finite_sample_p_value(distances[place], float(effective_rows[place]))
    return p_values


def finite_sample_p_value(distance: float, effective_rows: float) -> float:
    """Return the law of one sample of round(N) rows: the p-value of ``scipy.stats.ks_2samp(method="asymp")``."""
    from scipy.stats import kstwo  # imported here because it takes 40 MB

    rows = float(np.round(effective_rows))
    return float(kstwo.sf(distance, rows)) if rows else 1.0  # one row against one says nothing


def _at_most(current: NDArray[np.float64], points: NDArray[np.float64], below: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of window values at or below each point; only points that the window has need a search."""
    shared = (current[np.minimum(below, current.size - 1)] == points).nonzero()[0]
    if not shared.size:
        return below
    at_most = below.copy()
    at_most[shared] = current.searchsorted(points[shared], "right")
    return at_most


def _largest_inside(
    reference: NDArray[np.float64],
    current: NDArray[np.float64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> float:
    """Return the largest |F - G| at the window's values ``current[start:end]``, from the left and from the right."""
    counts = ends - starts
    rows = int(counts.sum())
    if not rows:  # G is constant there: F - G is largest at the ends of the cells, which are known
        return 0.0
    indices = np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(rows)
    values = current[indices]
    m, n = reference.size, current.size
    f_left = reference.searchsorted(values)
    f_right = _at_most(reference, values, f_left)
    g_left, g_right = _ranks_of_ties(values, indices)
    from_left, from_right = np.abs(f_left / m - g_left / n), np.abs(f_right / m - g_right / n)
    return float(max(from_left.max(), from_right.max()))


def _ranks_of_ties(
    values: NDArray[np.float64], indices: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many window values are below each value, and how many are at most it; a run lies in one cell."""
    starts_run = np.empty(values.size, dtype=np.bool_)
    starts_run[0] = True
    np.not_equal(values[1:], values[:-1], out=starts_run[1:])
    if starts_run.all():
        return indices, indices + 1
    starts = starts_run.nonzero()[0]
    run = np.cumsum(starts_run) - 1
    lengths = np.diff(starts, append=values.size)
    left = indices[starts][run]
    return left, left + lengths[run]
