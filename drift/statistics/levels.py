"""From level counts of two samples to one table of counts that can be compared.

Three things would spoil a chi-squared test of raw levels, and Cohen's w even more: its columns weigh by the inverse of
their share, so that one row of a rare level among 100 has w = 0.7. So levels beyond the 50 commonest are one level,
"other"; small columns are pooled; and levels that the reference has never seen are judged by an exact test before
they may stand alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import hypergeom

from drift.statistics.chi_squared import ChiSquaredResult, chi_squared

OTHER = "other"
MOST_LEVELS = 50
SMALLEST_EXPECTED_COUNT = 20.0
SMALLEST_UNSEEN_SHARE = 0.01
UNSEEN_SIGNIFICANCE = 1e-3


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
class PooledTable:
    """The columns of a chi-squared test.

    Attributes
    ----------
    reference, current
        Counts, shape (k,).
    unseen_p_value
        Where unseen levels have a column of their own: the exact probability of so many unseen rows, else None.
    """

    reference: NDArray[np.int64]
    current: NDArray[np.int64]
    unseen_p_value: float | None


def compare_levels(counts: LevelCounts, *, reference_singletons: int) -> ChiSquaredResult:
    """Test the pooled table of two samples.

    Statistic, degrees of freedom and w are those of the pooled table, not of the raw one: score and p-value then speak
    of the same columns. Where unseen levels stand alone, their expected count is too small for the chi-squared law;
    the p-value is then the smaller of their exact one and of the other columns', doubled for having looked twice.

    Parameters
    ----------
    counts
        The aligned samples; both have rows.
    reference_singletons
        How many levels occur once in the reference.
    """
    table = pool_small_levels(counts, reference_singletons=reference_singletons)
    result = chi_squared(table.reference, table.current)
    if table.unseen_p_value is None:
        return result
    p_values = [table.unseen_p_value]
    if table.current[:-1].any():
        p_values.append(chi_squared(table.reference[:-1], table.current[:-1]).p_value)
    return replace(result, p_value=min(1.0, len(p_values) * min(p_values)))


def align_levels(
    reference_levels: Sequence[str], reference_counts: NDArray[np.int64], current: Mapping[str, int]
) -> LevelCounts:
    """Count both samples over the reference's 50 commonest levels and "other".

    Parameters
    ----------
    reference_levels, reference_counts
        Every level of the reference with its count, which may be 0.
    current
        Count by level of the current window.

    Returns
    -------
    LevelCounts
        A level that is itself named "other" shares the column of that name.
    """
    seen = {level for level, count in zip(reference_levels, reference_counts.tolist(), strict=True) if count}
    unseen = {level: count for level, count in current.items() if level not in seen and count}
    kept_indices = _commonest(reference_levels, reference_counts)
    kept = [reference_levels[index] for index in kept_indices]
    columns = np.array(
        [
            [int(reference_counts[index]) for index in kept_indices],
            [current.get(level, 0) for level in kept],
            [unseen.get(level, 0) for level in kept],
        ],
        dtype=np.int64,
    )
    totals = np.array([reference_counts.sum(), sum(current.values()), sum(unseen.values())], dtype=np.int64)
    rest = totals - columns.sum(axis=1)
    if rest.any():
        kept.append(OTHER)
        columns = np.column_stack([columns, rest])
    return LevelCounts(
        levels=tuple(kept),
        reference=columns[0],
        current=columns[1],
        current_unseen=columns[2],
        unseen_levels=tuple(sorted(unseen, key=lambda level: (-unseen[level], level))),
    )


def pool_small_levels(counts: LevelCounts, *, reference_singletons: int) -> PooledTable:
    """Pool columns until each expects 20 rows of the window.

    Columns are added up from the rarest on (by both samples together: the margins of the table, so that the test keeps
    its level), beginning with "other". What is left over below 20 joins the smallest pool.

    Unseen levels stand alone where pooling would hide them: from a share of 1 % of the window on, and only if so many
    are not what the reference's own rare levels predict. By leaving one out, a row of the reference is unseen by the
    others exactly if its level occurs once; so the number of such levels is the reference's count of unseen rows
    (I. J. Good, *Biometrika* 40, 1953), and the tail of the hypergeometric distribution is the p-value. With none it is
    close to (n/(n+m))**k. All rows unseen is then a w of (n+m)/sqrt(n*m), the largest there is.

    Parameters
    ----------
    counts
        The aligned samples; both have rows.
    reference_singletons
        How many levels occur once in the reference.
    """
    n, m = int(counts.current.sum()), int(counts.reference.sum())
    reference, current = counts.reference, counts.current.copy()
    unseen_p_value = _unseen_p_value(counts.unseen, reference_singletons, n=n, m=m)
    stands_alone = counts.unseen >= SMALLEST_UNSEEN_SHARE * n and unseen_p_value < UNSEEN_SIGNIFICANCE
    if stands_alone:
        current -= counts.current_unseen
    order = _rarest_first(counts.levels, reference + current)
    pools = _pools(order, (reference + current) * n / (n + m))
    reference = np.array([reference[pool].sum() for pool in pools], dtype=np.int64)
    current = np.array([current[pool].sum() for pool in pools], dtype=np.int64)
    if not stands_alone:
        return PooledTable(reference, current, None)
    return PooledTable(np.append(reference, 0), np.append(current, counts.unseen), unseen_p_value)


def _commonest(levels: Sequence[str], counts: NDArray[np.int64]) -> list[int]:
    """Return the indices of the commonest levels in the order given; a level named "other" is counted with the rest."""
    candidates = [index for index, level in enumerate(levels) if level != OTHER]
    by_count = sorted(candidates, key=lambda index: (-int(counts[index]), levels[index]))
    return sorted(by_count[:MOST_LEVELS])


def _unseen_p_value(unseen: int, reference_singletons: int, *, n: int, m: int) -> float:
    if not unseen:
        return 1.0
    return float(hypergeom.sf(unseen - 1, n + m, unseen + reference_singletons, n))


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
