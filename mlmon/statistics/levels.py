"""From level counts of two samples to one table of counts that can be compared.

Three things would spoil a chi-squared test of raw levels, and Cohen's w even more: its columns weigh by the inverse of
their share, so that one row of a rare level among 100 has w = 0.7. So levels beyond the 50 commonest are one level,
"other"; small columns are pooled; and levels that the reference has never seen are judged by an exact test before
they may stand alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from mlmon.statistics.chi_squared import ChiSquaredResult, chi_squared

OTHER = "other"
MOST_LEVELS = 50
SMALLEST_EXPECTED_COUNT = 20.0
SMALLEST_UNSEEN_SHARE = 0.01
UNSEEN_SIGNIFICANCE = 1e-3
NO_LEVELS: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LevelCounts:
    """Two samples counted over the same k levels.

    Attributes
    ----------
    levels
        Names, in the reference's order; the last is "other" where there are levels beyond these or unseen ones.
    reference, current
        Counts, shape (k,).
    current_unseen
        The part of `current` whose level has no row in the reference, shape (k,): in "other", or in the column of a
        level that the reference names but never has (a class that was never predicted).
    unseen_levels
        Names of those levels, commonest first.
    """

    levels: tuple[str, ...]
    reference: NDArray[np.int64]
    current: NDArray[np.int64]
    current_unseen: NDArray[np.int64]
    unseen_levels: tuple[str, ...]

    @property
    def unseen(self) -> int:
        """Rows of the current window whose level has no row in the reference."""
        return int(self.current_unseen.sum())


@dataclass(frozen=True, slots=True)
class UnseenRows:
    """Rows of a window whose level no row of the reference has.

    By leaving one out, a row of the reference is unseen by the others exactly if its level occurs once; so the number
    of such levels is the reference's count of unseen rows (I. J. Good, *Biometrika* 40, 1953).

    Attributes
    ----------
    rows
        How many there are in the window.
    reference_singletons
        How many levels occur once in the reference.
    n, m
        Rows of the window and of the reference.
    """

    rows: int
    reference_singletons: int
    n: int
    m: int

    def p_value_at(self, dispersion: float) -> float:
        """Return the probability of so many by chance: the tail of the hypergeometric distribution.

        Without levels that occur once in the reference it is close to (n/(n+m))**rows. Where counts vary `dispersion`
        times as much as those of independent rows, all counts are taken to be so many times smaller.
        """
        from scipy.stats import hypergeom  # 40 MB: not at the start

        n, both = round(self.n / dispersion), round((self.n + self.m) / dispersion)
        rows = math.ceil(self.rows / dispersion)
        singletons = round(self.reference_singletons / dispersion)
        return float(hypergeom.sf(rows - 1, both, rows + singletons, n))


@dataclass(frozen=True, slots=True)
class PooledTable:
    """The columns of a chi-squared test.

    Attributes
    ----------
    reference, current
        Counts, shape (k,).
    unseen
        Where unseen levels have the last column to themselves, its rows.
    """

    reference: NDArray[np.int64]
    current: NDArray[np.int64]
    unseen: UnseenRows | None = None


@dataclass(frozen=True, slots=True)
class LevelsResult:
    """How far the levels of two samples are from having the same shares.

    Attributes
    ----------
    table
        The test of the pooled table: score and p-value then speak of the same columns.
    unseen
        Rows of unseen levels that stand alone; None without.
    seen
        The test of the other columns; None where there is nothing else, or no unseen rows.
    """

    table: ChiSquaredResult
    unseen: UnseenRows | None = None
    seen: ChiSquaredResult | None = None

    def p_value_at(self, dispersion: float) -> float:
        """Return the p-value where counts vary `dispersion` times as much as those of independent rows.

        The expected count of a column that the reference has no row of is too small for the chi-squared law. The
        p-value is then the smaller of its exact one and of the other columns', doubled for having looked twice.
        """
        if self.unseen is None:
            return self.table.p_value_at(dispersion)
        p_values = [self.unseen.p_value_at(dispersion)]
        if self.seen is not None:
            p_values.append(self.seen.p_value_at(dispersion))
        return min(1.0, len(p_values) * min(p_values))


def compare_levels(counts: LevelCounts, *, reference_singletons: int) -> LevelsResult:
    """Test the pooled table of two samples.

    Parameters
    ----------
    counts
        The aligned samples; both have rows.
    reference_singletons
        How many levels occur once in the reference.
    """
    pooled = pool_small_levels(counts, reference_singletons=reference_singletons)
    table = chi_squared(pooled.reference, pooled.current)
    if pooled.unseen is None:
        return LevelsResult(table)
    seen = chi_squared(pooled.reference[:-1], pooled.current[:-1]) if pooled.current[:-1].any() else None
    return LevelsResult(table, pooled.unseen, seen)


@dataclass(frozen=True, slots=True, eq=False)
class LevelReference:
    """Level counts of a reference, prepared for many windows.

    Attributes
    ----------
    levels
        Every level, those without a row too (a class that was never predicted), shape (k,).
    counts
        Rows of each, shape (k,).
    kept
        Indices of the 50 commonest levels, in the order of `levels`; one named "other" is counted with the rest.
    singletons
        How many levels occur once.
    """

    levels: tuple[str, ...]
    counts: NDArray[np.int64]
    kept: NDArray[np.int64]
    singletons: int

    def align(self, known: NDArray[np.int64], unknown: Mapping[str, int] = NO_LEVELS) -> LevelCounts:
        """Count both samples over the kept levels and "other".

        Parameters
        ----------
        known
            Rows of the window by level of the reference, shape (k,).
        unknown
            Rows of the window by level that the reference does not name.
        """
        unseen_known = np.where(self.counts == 0, known, 0)
        unseen = {**unknown, **{self.levels[index]: int(known[index]) for index in np.flatnonzero(unseen_known)}}
        columns = np.stack([self.counts[self.kept], known[self.kept], unseen_known[self.kept]])
        n_unknown = sum(unknown.values())
        totals = [self.counts.sum(), known.sum() + n_unknown, unseen_known.sum() + n_unknown]
        rest = np.array(totals, dtype=np.int64) - columns.sum(axis=1)
        names = tuple(self.levels[index] for index in self.kept)
        if rest.any():
            names = (*names, OTHER)
            columns = np.column_stack([columns, rest])
        return LevelCounts(
            levels=names,
            reference=columns[0],
            current=columns[1],
            current_unseen=columns[2],
            unseen_levels=tuple(sorted(unseen, key=lambda level: (-unseen[level], level))),
        )


def prepare_levels(levels: Sequence[str], counts: NDArray[np.int64]) -> LevelReference:
    """Return level counts prepared for many windows.

    Parameters
    ----------
    levels, counts
        Every level of the reference with its count, which may be 0.
    """
    candidates = [index for index, level in enumerate(levels) if level != OTHER]
    by_count = sorted(candidates, key=lambda index: (-int(counts[index]), levels[index]))
    return LevelReference(
        levels=tuple(levels),
        counts=counts,
        kept=np.array(sorted(by_count[:MOST_LEVELS]), dtype=np.int64),
        singletons=int((counts == 1).sum()),
    )


def pool_small_levels(counts: LevelCounts, *, reference_singletons: int) -> PooledTable:
    """Pool columns until each expects 20 rows of the window.

    Columns are added up from the rarest on (by both samples together: the margins of the table, so that the test keeps
    its level), beginning with "other". What is left over below 20 joins the smallest pool.

    Unseen levels stand alone where pooling would hide them: from a share of 1 % of the window on, and only if so many
    are not what the reference's own rare levels predict. All rows unseen is then a w of (n+m)/sqrt(n*m), the largest
    there is.

    Parameters
    ----------
    counts
        The aligned samples; both have rows.
    reference_singletons
        How many levels occur once in the reference.
    """
    n, m = int(counts.current.sum()), int(counts.reference.sum())
    reference, current = counts.reference, counts.current.copy()
    if not counts.unseen and ((reference + current) * n >= SMALLEST_EXPECTED_COUNT * (n + m)).all():
        return PooledTable(reference, current)
    unseen = UnseenRows(counts.unseen, reference_singletons, n=n, m=m)
    stands_alone = unseen.rows >= SMALLEST_UNSEEN_SHARE * n and unseen.p_value_at(1.0) < UNSEEN_SIGNIFICANCE
    if stands_alone:
        current -= counts.current_unseen
    order = _rarest_first(counts.levels, reference + current)
    pools = _pools(order, (reference + current) * n / (n + m))
    reference = np.array([reference[pool].sum() for pool in pools], dtype=np.int64)
    current = np.array([current[pool].sum() for pool in pools], dtype=np.int64)
    if not stands_alone:
        return PooledTable(reference, current)
    return PooledTable(np.append(reference, 0), np.append(current, unseen.rows), unseen)


def _rarest_first(levels: tuple[str, ...], totals: NDArray[np.int64]) -> list[int]:
    return sorted(range(len(levels)), key=lambda index: (levels[index] != OTHER, int(totals[index]), levels[index]))


def _pools(order: Sequence[int], expected: NDArray[np.float64]) -> list[list[int]]:
    pools: list[list[int]] = []
    open_pool: list[int] = []
    for index in order:
        open_pool.append(index)
        if expected[open_pool].sum() >= SMALLEST_EXPECTED_COUNT:
            pools.append(open_pool)
            open_pool = []
    if open_pool:
        if pools:
            pools[0].extend(open_pool)
        else:
            pools.append(open_pool)
    return pools
