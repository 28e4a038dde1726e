"""One column of a window beside its prepared reference: counts and figures for the measures."""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlmon.measures import Pair
from mlmon.prepared import PreparedCategories, PreparedColumn, PreparedNumbers
from mlmon.results import QUANTILE_LEVELS, Distribution
from mlmon.statistics.bins import LARGEST, counts_between, counts_inside, quantiles_of_sorted, sturges_edges
from mlmon.statistics.counts import CategoryCounts, ChiSquaredResult, compare_bins, compare_categories
from mlmon.statistics.kolmogorov_smirnov import ks_tests

Column: TypeAlias = "pa.ChunkedArray[Any]"  # pyarrow's classes take no parameters at run time


class SimpleTest(NamedTuple):
    """A test statistic and its p-value, as if rows were independent of each other."""

    statistic: float
    p_value: float


class ConstantValue(NamedTuple):
    """The only value of a window, and its share in the reference."""

    name: str
    reference_share: float


class BinCounts(NamedTuple):
    """Both samples of numbers, counted in bins of three rules.

    Attributes
    ----------
    deciles
        Between the reference's deciles; by value if the reference has few values.
    sturges
        In Sturges' bins of the finite values of both samples; by value if the reference has few values. None if a
        sample has no finite value.
    doane
        In Doane's bins of the reference's finite values, and last the finite values outside them. None if a sample has
        no finite value.
    """

    deciles: Pair
    sturges: Pair | None
    doane: Pair | None


def numbers_of(column: Column) -> NDArray[np.float64]:
    """Return a column of numbers as float64; null becomes NaN."""
    numbers: NDArray[np.float64] = (column if column.type == pa.float64() else column.cast(pa.float64())).to_numpy()
    return numbers


class NumericWindow:
    """The last rows of a numeric column.

    Parameters
    ----------
    reference
        Prepared.
    column
        Numbers; null and NaN are missing.
    rows
        The length of the window.

    Attributes
    ----------
    values
        All of them; NaN is missing.
    ordered, finite
        The values that are not missing, and the finite ones of them, ascending.
    n_values
        Number of values that are not missing.
    mean, reference_mean
        Of the finite values; None without any, or beyond float64.
    categories
        Both samples by value; None if the reference has more than 20 values.
    decile_counts
        The values between the reference's deciles.
    has_bins
        Whether the chi-squared test is that of the deciles; otherwise it is by value.
    constant
        The only value of the window, if there is one.
    ranks
        How many values of the reference are below each of `ordered`, once they were tested; None if that was not
        needed.
    """

    reference: PreparedNumbers
    ordered: NDArray[np.float64]
    finite: NDArray[np.float64]

    def __init__(self, reference: PreparedNumbers, column: Column, rows: int) -> None:
        values = numbers_of(column.slice(len(column) - rows))
        ordered = np.sort(values)  # NaN comes last
        self.reference, self.values, self.rows = reference, values, rows
        self.ordered = ordered[: ordered.searchsorted(math.nan)]
        self.n_values = self.ordered.size
        is_finite = np.isfinite(self.ordered[:1]).all() and np.isfinite(self.ordered[-1:]).all()
        self.finite = self.ordered if is_finite else self.ordered[np.isfinite(self.ordered)]
        with np.errstate(over="ignore", invalid="ignore"):  # the sum may be beyond float64, on both sides
            mean = float(self.finite.sum()) / self.finite.size if self.finite.size else math.nan
        reference_mean = reference.profile.mean
        self.mean = mean if math.isfinite(mean) else None
        self.reference_mean = reference_mean if math.isfinite(reference_mean) else None
        self.categories = None if reference.categories is None else reference.categories.count(self.ordered)
        self.decile_counts = counts_between(self.ordered, reference.deciles.edges)
        infinities = self.n_values - self.finite.size + reference.n_values - reference.finite.size
        self.has_bins = self.categories is None and not infinities
        self.ranks: NDArray[np.int64] | None = None
        self.constant: ConstantValue | None = None
        if self.n_values and self.ordered[0] == self.ordered[-1]:
            value, before = self.ordered[0], reference.ordered.values
            n_reference = int(before.searchsorted(value, "right") - before.searchsorted(value))
            self.constant = ConstantValue(f"{value:g}", n_reference / max(1, before.size))

    @cached_property
    def simple_test(self) -> SimpleTest:
        """The Kolmogorov-Smirnov test."""
        test_together([self])
        return self.simple_test

    @cached_property
    def test(self) -> ChiSquaredResult:
        """The chi-squared test behind Cohen's w: by value if there are few values, or else in deciles.

        Infinities are categories of their own beside the deciles.
        """
        test_together([self])
        return self.test

    @cached_property
    def counts(self) -> BinCounts:
        """Both samples in the bins that measures use."""
        reference = self.reference
        deciles: Pair = reference.deciles.counts, self.decile_counts
        sturges: Pair | None = None
        doane: Pair | None = None
        if self.categories is not None:
            deciles = sturges = self.categories.reference, self.categories.current
        elif self.finite.size and reference.finite.size:
            edges = sturges_edges(reference.finite, self.finite)
            sturges = counts_inside(reference.finite, edges)[:-1], counts_inside(self.finite, edges)[:-1]
        if self.finite.size and reference.doane is not None:
            doane = reference.doane.counts, counts_inside(self.finite, reference.doane.edges)
        return BinCounts(deciles, sturges, doane)

    def distribution(self) -> Distribution | None:
        """Return both samples counted for a chart; None if there is nothing to draw."""
        if self.categories is not None:
            return _category_distribution(self.categories)
        chart, reference = self.reference.chart, self.reference.finite
        if chart is None or not self.finite.size:
            return None
        inner = chart.edges.tolist()
        current = counts_between(self.finite, chart.edges, closed="left").tolist()
        first, last = min(reference[0], self.finite[0]), max(reference[-1], self.finite[-1])
        low, high = int(first == inner[0]), int(last == inner[-1] and not current[-1] and not chart.counts[-1])
        kept = slice(low, len(current) - high)
        return Distribution(
            labels=(),
            edges=(float(first), *inner, float(last))[low : len(inner) + 2 - high],
            reference=tuple(chart.counts.tolist()[kept]),
            current=tuple(current[kept]),
            reference_quantiles=quantiles_of_sorted(reference, QUANTILE_LEVELS),
            current_quantiles=quantiles_of_sorted(self.finite, QUANTILE_LEVELS),
        )


def test_together(windows: Sequence[NumericWindow]) -> None:
    """Compute the tests of windows side by side, which costs less than one after the other.

    The windows and their references have values. `simple_test`, `test` and `ranks` of each window are set.
    """
    found = ks_tests([each.reference.ordered for each in windows], [each.ordered for each in windows])
    binned = [each for each in windows if each.has_bins]
    tests = compare_bins([(each.reference.deciles.counts, each.decile_counts) for each in binned])
    for each, test in zip(binned, tests, strict=True):
        each.test = test
    for each, (distance, p_value, ranks) in zip(windows, found, strict=True):
        each.simple_test, each.ranks = SimpleTest(distance, p_value), ranks
        if not each.has_bins:
            each.test = _test_of_categories(each)


def _test_of_categories(window: NumericWindow) -> ChiSquaredResult:
    """Test a window by value if there are few values, or else with infinities as categories beside the deciles."""
    reference = window.reference
    if window.categories is not None and reference.categories is not None:
        singletons = reference.categories.reference.n_singletons
        return compare_categories(window.categories, reference_singletons=singletons)
    cut_points = np.union1d(reference.deciles.edges, [-math.inf, LARGEST])
    before = counts_between(reference.ordered.values, cut_points)
    now = counts_between(window.ordered, cut_points)
    unseen = np.where(before == 0, now, 0)
    names = tuple(map(str, range(before.size)))
    counts = CategoryCounts(names, before, now, unseen, (), n_unseen=int(unseen.sum()))
    return compare_categories(counts, reference_singletons=0)


class CategoricalWindow:
    """The last rows of a categorical column.

    Parameters
    ----------
    reference
        Prepared.
    column
        Strings; null is missing.
    rows
        The length of the window.

    Attributes
    ----------
    n_values
        Number of values that are not missing.
    categories
        Both samples by category.
    column
        The rows of the window.
    codes
        The category of each row by its place in the reference; -1 if it is missing or not in the reference.
    constant
        The only category of the window, if there is one.
    """

    mean = reference_mean = None

    def __init__(self, reference: PreparedCategories, column: Column, rows: int) -> None:
        column = column.slice(len(column) - rows)
        indices: Any = pc.index_in(column, value_set=reference.names)
        codes = indices.fill_null(-1).to_numpy()  # -1: missing, or not in the reference
        counts = np.bincount(codes + 1, minlength=len(reference.names) + 1)
        known, unknown = counts[1:], {}
        if counts[0] > column.null_count:
            others: Any = column.filter(pa.array(codes < 0)).drop_null().value_counts()
            unknown = dict(zip(others.field(0).to_pylist(), others.field(1).to_pylist(), strict=True))
        self.reference, self.column, self.rows, self.codes = reference, column, rows, codes
        self.n_values = rows - column.null_count
        self.categories = reference.categories.align(known, unknown)
        self.constant: ConstantValue | None = None
        present = np.flatnonzero(known)
        if present.size == 1 and not unknown:
            share = float(reference.categories.counts[present[0]] / reference.n_values) if reference.n_values else 0.0
            self.constant = ConstantValue(reference.categories.names[present[0]], share)
        elif not present.size and len(unknown) == 1:
            self.constant = ConstantValue(next(iter(unknown)), 0.0)

    @cached_property
    def test(self) -> ChiSquaredResult:
        """The chi-squared test of the pooled categories."""
        return compare_categories(self.categories, reference_singletons=self.reference.categories.n_singletons)

    @cached_property
    def simple_test(self) -> SimpleTest:
        """X-squared and its p-value."""
        return SimpleTest(self.test.statistic, self.test.exact_p_value)

    def distribution(self) -> Distribution:
        """Return both samples counted for a chart."""
        return _category_distribution(self.categories)


ColumnWindow = NumericWindow | CategoricalWindow


def open_window(reference: PreparedColumn, column: Column, rows: int) -> ColumnWindow:
    """Return the last rows of a column that has the reference's kind."""
    if isinstance(reference, PreparedNumbers):
        return NumericWindow(reference, column, rows)
    return CategoricalWindow(reference, column, rows)


def _category_distribution(counts: CategoryCounts) -> Distribution:
    return Distribution(counts.names, (), tuple(counts.reference.tolist()), tuple(counts.current.tolist()))
