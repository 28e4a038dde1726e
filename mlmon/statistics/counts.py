"""Tests of counts: chi-squared with Cohen's w, rare and unseen categories, missing values, false discovery rate.

Three things would spoil a chi-squared test of raw categories, and Cohen's w even more: a column weighs by the inverse
of its share, so that one row of a rare category among 100 has w = 0.7. So categories beyond the 50 most frequent ones
are counted as one, "other"; small columns are pooled; and an exact test decides whether categories that the reference
does not have get a column of their own. The most frequent ones are those of both samples together: those of the
reference alone are there in part by chance, so that all of them would become rarer in the window.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

OTHER = "other"
MOST_CATEGORIES = 50
SMALLEST_EXPECTED_COUNT = 20.0
SMALLEST_UNSEEN_SHARE = 0.01
UNSEEN_SIGNIFICANCE = 1e-3
NO_CATEGORIES: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class UnseenRows:
    """Rows of a window whose category no row of the reference has.

    By leaving one out, a row of the reference is unseen by the others exactly if its category occurs once. So the
    number of such categories is the reference's count of unseen rows (I. J. Good, *Biometrika* 40, 1953).

    Attributes
    ----------
    rows
        Their number in the window.
    reference_singletons
        The number of categories that occur once in the reference.
    n, m
        Rows of the window and of the reference.
    """

    rows: int
    reference_singletons: int
    n: int
    m: int

    @property
    def p_value(self) -> float:
        """The probability of as many by chance: the tail of the hypergeometric distribution.

        If no category occurs once in the reference, it is close to (n/(n+m))**rows.
        """
        from scipy.stats import hypergeom  # imported here because it takes 40 MB

        return float(hypergeom.sf(self.rows - 1, self.n + self.m, self.rows + self.reference_singletons, self.n))


@dataclass(frozen=True, slots=True)
class ChiSquaredResult:
    """How far two rows of counts are from having the same shares.

    Attributes
    ----------
    statistic
        X-squared of the 2 x k table, without continuity correction.
    degrees_of_freedom
        Columns that are not empty, less one.
    effective_rows
        N = n m / (n + m).
    p_value
        The upper tail of the chi-squared distribution, for independent rows; 1 with one column.
    cohens_w
        The debiased effect size, sqrt(max(0, (X-squared - df) / N)); 0 is no difference. E[X-squared] is df if nothing
        has changed, so subtracting df removes the bias of w that grows with the number of columns (J. Cohen,
        *Statistical Power Analysis for the Behavioral Sciences*, ch. 7).
    unseen
        The rows of unseen categories, if these have the last column to themselves.
    seen
        The test of the other columns; None without `unseen`, or if there are no other rows.
    """

    statistic: float
    degrees_of_freedom: int
    effective_rows: float
    p_value: float
    cohens_w: float
    unseen: UnseenRows | None = None
    seen: "ChiSquaredResult | None" = None

    @property
    def exact_p_value(self) -> float:
        """The p-value for independent rows, exact for unseen categories.

        The expected count of a column without a reference row is too small for the chi-squared law. The p-value is then
        the smaller one of its exact p-value and that of the other columns, doubled because there are two tests.
        """
        if self.unseen is None:
            return self.p_value
        p_values = [self.unseen.p_value, *(() if self.seen is None else (self.seen.p_value,))]
        return float(min(1.0, len(p_values) * min(p_values)))


def chi_squared(reference: NDArray[np.int64], current: NDArray[np.int64]) -> ChiSquaredResult:
    """Compare the counts of two samples over the same k categories or bins.

    Parameters
    ----------
    reference, current
        Counts, shape (k,), not negative. Columns that are empty in both are left out.

    Returns
    -------
    ChiSquaredResult
        Statistic and p-value are those of ``scipy.stats.chi2_contingency(correction=False)``, by the closed form for
        two rows: sum of (r n - c m)^2 / (r + c), over n m.

    Raises
    ------
    ValueError
        The shapes differ, or a sample has no rows.

    Examples
    --------
    >>> test = chi_squared(np.array([50, 50]), np.array([40, 60]))
    >>> round(test.statistic, 3), round(test.p_value, 3), round(test.cohens_w, 3)
    (2.02, 0.155, 0.143)
    """
    if reference.shape != current.shape:
        raise ValueError("Both samples need a count for each category.")
    return chi_squared_of_rows(reference[None], current[None])[0]


def chi_squared_of_rows(reference: NDArray[np.int64], current: NDArray[np.int64]) -> list[ChiSquaredResult]:
    """Return `chi_squared` of each row of counts, shapes (d, k)."""
    totals = reference + current
    m, n = reference.sum(axis=1).astype(np.float64), current.sum(axis=1).astype(np.float64)
    if not (m.all() and n.all()):
        raise ValueError("Both samples need at least one row.")
    # Between the counts that the reference predicts and the window's.
    differences = reference * (n / m)[:, None] - current
    statistics = (differences * differences / np.maximum(totals, 1)).sum(axis=1) * (m / n)
    degrees, effective = np.count_nonzero(totals, axis=1) - 1, n * (m / (n + m))
    p_values = np.where(degrees > 0, chdtrc(np.maximum(degrees, 1), statistics), 1.0)
    sizes = np.sqrt(np.maximum(0.0, (statistics - degrees) / effective))
    columns = (statistics, degrees, effective, p_values, sizes)
    return [ChiSquaredResult(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def compare_bins(pairs: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> list[ChiSquaredResult]:
    """Test the counts of pairs of samples, a reference and a window, in ordered bins.

    Neighbouring bins are joined until each expects 20 rows of the window, because the chi-squared law needs expected
    counts of that size. Bins that are left over at the end join the last pool.
    """
    return chi_squared_of_rows(*side_by_side([_pooled_neighbours(*pair) for pair in pairs]))


def side_by_side(pairs: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> NDArray[np.int64]:
    """Return pairs of counts in rows, shape (2, d, k), with zeros behind those of a shorter pair.

    Columns that are empty in both samples change none of the tests and measures of counts.
    """
    counts = np.zeros((2, len(pairs), max((before.size for before, _ in pairs), default=0)), dtype=np.int64)
    for place, (before, now) in enumerate(pairs):
        counts[0, place, : before.size], counts[1, place, : now.size] = before, now
    return counts


def _pooled_neighbours(
    reference: NDArray[np.int64], current: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    totals = reference + current
    smallest = SMALLEST_EXPECTED_COUNT * int(totals.sum()) / int(current.sum())
    if (totals >= smallest).all():
        return reference, current
    starts, held = [0], 0
    for index, total in enumerate(totals.tolist()):
        if held >= smallest:
            starts.append(index)
            held = 0
        held += total
    if held < smallest and len(starts) > 1:
        starts.pop()
    return np.add.reduceat(reference, starts), np.add.reduceat(current, starts)


@dataclass(frozen=True, slots=True)
class CategoryCounts:
    """Two samples counted over the same k categories.

    Attributes
    ----------
    names
        In the reference's order; the last one is "other" if there are more categories than these, or unseen ones.
    reference, current
        Counts, shape (k,).
    current_unseen
        The part of `current` whose category has no row in the reference, shape (k,): in "other", or in the column of a
        category that the reference names but does not have (a class that was never predicted).
    unseen_names
        Names of those categories, the most frequent first.
    n_unseen
        Rows of the window whose category has no row in the reference.
    """

    names: tuple[str, ...]
    reference: NDArray[np.int64]
    current: NDArray[np.int64]
    current_unseen: NDArray[np.int64]
    unseen_names: tuple[str, ...]
    n_unseen: int


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceCategories:
    """The counts of the reference's categories, prepared for many windows.

    Attributes
    ----------
    names
        All categories, with those that have no row (a class that was never predicted), shape (k,).
    counts
        Rows of each, shape (k,).
    n_singletons
        The number of categories that occur once.
    """

    names: tuple[str, ...]
    counts: NDArray[np.int64]
    n_singletons: int

    def align(self, known: NDArray[np.int64], unknown: Mapping[str, int] = NO_CATEGORIES) -> CategoryCounts:
        """Count both samples over the 50 categories that are most frequent in both together, and "other".

        Parameters
        ----------
        known
            Rows of the window by category of the reference, shape (k,).
        unknown
            Rows of the window by category that the reference does not name.
        """
        totals = self.counts + known
        most = MOST_CATEGORIES
        if OTHER in self.names:  # it is counted with the rest
            totals[self.names.index(OTHER)] = -1
            most = min(most, totals.size - 1)
        kept = np.sort(np.argsort(-totals, kind="stable")[:most])
        unseen_known = np.where(self.counts == 0, known, 0)
        unseen = {**unknown, **{self.names[index]: int(known[index]) for index in np.flatnonzero(unseen_known)}}
        columns = np.stack([self.counts[kept], known[kept], unseen_known[kept]])
        n_unknown = sum(unknown.values())
        rows = [self.counts.sum(), known.sum() + n_unknown, unseen_known.sum() + n_unknown]
        rest = np.array(rows, dtype=np.int64) - columns.sum(axis=1)
        names = tuple(self.names[index] for index in kept)
        if rest.any():
            names = (*names, OTHER)
            columns = np.column_stack([columns, rest])
        return CategoryCounts(
            names=names,
            reference=columns[0],
            current=columns[1],
            current_unseen=columns[2],
            unseen_names=tuple(sorted(unseen, key=lambda name: (-unseen[name], name))),
            n_unseen=int(rows[2]),
        )


def prepare_categories(names: Sequence[str], counts: NDArray[np.int64]) -> ReferenceCategories:
    """Return counts prepared for many windows: every category of the reference with its count, which may be 0."""
    return ReferenceCategories(tuple(names), counts, n_singletons=int((counts == 1).sum()))


def compare_categories(counts: CategoryCounts, *, reference_singletons: int) -> ChiSquaredResult:
    """Test the categories of two samples, after pooling columns until each expects 20 rows of the window.

    Columns are added up from the rarest one on (by both samples together: these are the margins of the table, so the
    test keeps its significance level), beginning with "other". What is left over below 20 joins the smallest pool.

    Unseen categories get a column of their own if pooling would hide them: from 1 % of the window on, and only if the
    reference's own rare categories do not predict as many. If all rows are unseen, w is (n+m)/sqrt(n*m), the largest
    possible value.

    Parameters
    ----------
    counts
        The aligned samples; both have rows.
    reference_singletons
        The number of categories that occur once in the reference.
    """
    n, m = int(counts.current.sum()), int(counts.reference.sum())
    reference, current = counts.reference, counts.current.copy()
    if not counts.n_unseen and ((reference + current) * n >= SMALLEST_EXPECTED_COUNT * (n + m)).all():
        return chi_squared(reference, current)
    unseen = UnseenRows(counts.n_unseen, reference_singletons, n=n, m=m)
    stands_alone = unseen.rows >= SMALLEST_UNSEEN_SHARE * n and unseen.p_value < UNSEEN_SIGNIFICANCE
    if stands_alone:
        current -= counts.current_unseen
    totals = reference + current
    names = counts.names
    order = sorted(range(len(names)), key=lambda index: (names[index] != OTHER, int(totals[index]), names[index]))
    pools = _pools(order, totals * n / (n + m))
    reference = np.array([reference[pool].sum() for pool in pools], dtype=np.int64)
    current = np.array([current[pool].sum() for pool in pools], dtype=np.int64)
    if not stands_alone:
        return chi_squared(reference, current)
    seen = chi_squared(reference, current) if current.any() else None
    table = chi_squared(np.append(reference, 0), np.append(current, unseen.rows))
    return replace(table, unseen=unseen, seen=seen)


def _pools(order: Sequence[int], expected: NDArray[np.float64]) -> list[list[int]]:
    """Return the columns in pools that expect 20 rows each."""
    pools: list[list[int]] = []
    open_pool: list[int] = []
    for index in order:
        open_pool.append(index)
        if expected[open_pool].sum() >= SMALLEST_EXPECTED_COUNT:
            pools.append(open_pool)
            open_pool = []
    if open_pool and pools:
        pools[0].extend(open_pool)
    elif open_pool:
        pools.append(open_pool)
    return pools


def benjamini_hochberg(p_values: Sequence[float], *, hypotheses: int, rate: float) -> float:
    """Return the largest of the p-values that is rejected at this false discovery rate; 0 if none is.

    Y. Benjamini and Y. Hochberg, *Journal of the Royal Statistical Society B* 57, 1995: the largest p with
    p <= rank * rate / hypotheses. ``scipy.stats.false_discovery_control`` adjusts p-values in the same way.

    Parameters
    ----------
    p_values
        Of some of the hypotheses; the others have 1.
    hypotheses
        The number of all hypotheses.
    rate
        The expected share of rejected hypotheses that are true, at most.
    """
    ordered = np.sort(np.asarray(p_values, dtype=np.float64))
    rejected = ordered <= np.arange(1, ordered.size + 1) * (rate / hypotheses)
    return float(ordered[rejected][-1]) if rejected.any() else 0.0
