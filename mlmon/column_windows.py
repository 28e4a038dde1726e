"""One column of a window beside its prepared reference: every figure about the two, each computed when asked for."""

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlmon.prepared import PreparedColumn, PreparedLevels, PreparedNumbers, counts_around
from mlmon.results import QUANTILE_LEVELS, Channel, Distribution, Measure, Method
from mlmon.statistics.bins import counts_between, counts_between_and_outside, sturges_edges
from mlmon.statistics.chi_squared import ChiSquaredResult, chi_squared, smallest_detectable_w
from mlmon.statistics.deciles import counts_with_infinities_apart, pooled_counts
from mlmon.statistics.hellinger import hellinger_distance
from mlmon.statistics.jensen_shannon import jensen_shannon_divergence
from mlmon.statistics.kolmogorov_smirnov import finite_sample_p_value, ks_distance, ks_p_value, limit_p_value
from mlmon.statistics.l_infinity import l_infinity_distance
from mlmon.statistics.levels import LevelCounts, LevelsResult, compare_levels
from mlmon.statistics.population_stability import population_stability_index
from mlmon.statistics.quantiles import quantiles_of_sorted
from mlmon.statistics.wasserstein import normalised_wasserstein_distance, wasserstein_distance
from mlmon.verdict import Evidence

Column: TypeAlias = "pa.ChunkedArray[Any]"  # pyarrow's classes take no parameters at run time

LIMIT_LAW_EXCESS = 10.0  # over sqrt(N): how much larger the limit law's p-value is, at most, down to 1e-9


class NumberWindow:
    """Values of an ordered quantity, some of them perhaps missing; there is at least one.

    Parameters
    ----------
    reference
        Prepared.
    ordered
        The window's values, ascending, without NaN, shape (n,), not empty.
    rows
        Rows of the window, with and without a value.
    """

    default_method: ClassVar = Method.KOLMOGOROV_SMIRNOV
    methods: ClassVar = tuple(method for method in Method if method is not Method.NONE)

    def __init__(self, reference: PreparedNumbers, ordered: NDArray[np.float64], rows: int) -> None:
        self.reference, self.ordered, self.rows = reference, ordered, rows

    @cached_property
    def distance(self) -> float:
        """The KS statistic."""
        return ks_distance(self.reference.ordered, self.ordered)

    @property
    def statistic(self) -> float:
        """What is reported as the test's statistic: D."""
        return self.distance

    @cached_property
    def p_value(self) -> float:
        """Of `statistic`, as if rows were independent of each other."""
        return ks_p_value(self.reference.ordered, self.ordered, self.distance)

    @cached_property
    def finite(self) -> NDArray[np.float64]:
        """The finite values, ascending."""
        if math.isfinite(self.ordered[0]) and math.isfinite(self.ordered[-1]):
            return self.ordered
        return self.ordered[np.isfinite(self.ordered)]

    @cached_property
    def mean(self) -> float | None:
        """Of the finite values; None without any, or beyond float64."""
        if not self.finite.size:
            return None
        with np.errstate(over="ignore"):
            mean = float(self.finite.sum()) / self.finite.size
        return mean if math.isfinite(mean) else None

    @property
    def reference_mean(self) -> float | None:
        """Of the reference's finite values; None without any, or beyond float64."""
        mean = self.reference.profile.mean
        return mean if math.isfinite(mean) else None

    @cached_property
    def level_counts(self) -> LevelCounts | None:
        """Both samples by value; None where the reference has more than 20."""
        levels = self.reference.levels
        return None if levels is None else levels.count(self.ordered)

    @cached_property
    def decile_counts(self) -> NDArray[np.int64]:
        """The window's counts between the reference's deciles."""
        return self.reference.deciles.count(self.ordered)

    @cached_property
    def levels_result(self) -> LevelsResult | None:
        """The test of the levels; None where the reference has more than 20 values."""
        levels = self.reference.levels
        if levels is None or self.level_counts is None:
            return None
        return compare_levels(self.level_counts, reference_singletons=levels.reference.singletons)

    @cached_property
    def table(self) -> ChiSquaredResult:
        """The chi-squared test of the verdict: of the levels, else of the deciles."""
        result = self.levels_result or self._infinities_result
        if result is not None:
            return result.table
        return chi_squared(*pooled_counts(self.reference.deciles, self.reference.n_values, self.ordered))

    @cached_property
    def _infinities_result(self) -> LevelsResult | None:
        """The test of the deciles where a sample has infinities, which are levels of their own; else None."""
        values = self.reference.ordered.values
        if self.finite.size == self.ordered.size and self.reference.finite.size == values.size:
            return None
        reference, current = counts_with_infinities_apart(self.reference.deciles, values, self.ordered)
        names = tuple(f"{index}" for index in range(reference.size))
        unseen = np.where(reference == 0, current, 0)
        return compare_levels(LevelCounts(names, reference, current, unseen, ()), reference_singletons=0)

    @property
    def n_values(self) -> int:
        """How many values are not missing."""
        return self.ordered.size

    @property
    def is_constant(self) -> bool:
        """Whether all values are one."""
        return bool(self.ordered[0] == self.ordered[-1])

    @property
    def first_name(self) -> str:
        """The smallest value as text."""
        return f"{self.ordered[0]:g}"

    @property
    def reference_share_of_first(self) -> float:
        """How much of the reference is the smallest value."""
        values, first = self.reference.ordered.values, self.ordered[0]
        return float(values.searchsorted(first, "right") - values.searchsorted(first)) / values.size

    def evidence(self, channel: Channel, name: str, *, level: float) -> Evidence:
        """Return what the verdict is to know, at its level."""
        dispersion = self.reference.profile.dispersion
        phi, table = dispersion.at(self.rows), self.table
        if self.levels_result is not None:
            p_value, own_level = self.levels_result.p_value_at(phi), level
        else:  # two looks, each at half the level
            of_bins = (self._infinities_result or table).p_value_at(phi)
            p_value, own_level = min(1.0, 2 * min(self._ks_p_value(phi, level / 2), of_bins)), level / 2
        return _evidence(self, channel, name, phi=phi, p_value=p_value, level=own_level)

    def measure(self, method: Method) -> Measure:
        """Return one measure; its value is None where it is not defined for these values."""
        match method:
            case Method.KOLMOGOROV_SMIRNOV:
                return Measure(self.distance, {"p_value": self.p_value})
            case Method.CHI_SQUARED:
                return _chi_squared_measure(self.table)
            case Method.POPULATION_STABILITY_INDEX:
                reference, current = self._value_or_decile_counts
                return Measure(population_stability_index(reference, current), {"bins": reference.size})
            case Method.WASSERSTEIN:
                return self._wasserstein()
            case Method.JENSEN_SHANNON_DISTANCE | Method.JENSEN_SHANNON_DIVERGENCE:
                return self._jensen_shannon(is_distance=method is Method.JENSEN_SHANNON_DISTANCE)
            case _:
                return self._of_doane_bins(method)

    def distribution(self) -> Distribution | None:
        """Return both samples counted for a picture; None where there is nothing to draw."""
        if self.level_counts is not None:
            return _levels_distribution(self.level_counts)
        picture = self.reference.picture
        if picture is None or not self.finite.size:
            return None
        inner, reference = picture.edges.tolist(), self.reference.finite
        current = counts_around(self.finite, picture.edges).tolist()
        first, last = min(reference[0], self.finite[0]), max(reference[-1], self.finite[-1])
        low, high = int(first == inner[0]), int(last == inner[-1] and not current[-1] and not picture.counts[-1])
        kept = slice(low, len(current) - high)
        edges = (float(first), *inner, float(last))[low : len(inner) + 2 - high]
        return Distribution(
            (),
            edges,
            tuple(picture.counts.tolist()[kept]),
            tuple(current[kept]),
            quantiles_of_sorted(reference, QUANTILE_LEVELS),
            quantiles_of_sorted(self.finite, QUANTILE_LEVELS),
        )

    def _ks_p_value(self, phi: float, level: float) -> float:
        rows = self.table.effective_rows / phi
        p_value = limit_p_value(self.distance, rows)
        if level < p_value <= level * (1 + LIMIT_LAW_EXCESS / math.sqrt(rows)):  # here it could hide an alarm
            return finite_sample_p_value(self.distance, rows)
        return p_value

    @property
    def _value_or_decile_counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if self.level_counts is not None:
            return self.level_counts.reference, self.level_counts.current
        return self.reference.deciles.counts, self.decile_counts

    def _wasserstein(self) -> Measure:
        if not (self.finite.size and self.reference.finite.size):
            return Measure(None)
        std = self.reference.profile.std
        distance = normalised_wasserstein_distance(wasserstein_distance(self.reference.finite, self.finite), std)
        return Measure(distance if math.isfinite(distance) else None, {"reference_standard_deviation": std})

    @cached_property
    def _sturges(self) -> tuple[float, int] | None:
        """The Jensen-Shannon divergence, and over how many bins or levels."""
        if self.level_counts is not None:
            reference, current = self.level_counts.reference, self.level_counts.current
        elif self.finite.size and self.reference.finite.size:
            edges = sturges_edges(self.reference.finite, self.finite)
            reference, current = counts_between(self.reference.finite, edges), counts_between(self.finite, edges)
        else:
            return None
        return jensen_shannon_divergence(reference, current), reference.size

    def _jensen_shannon(self, *, is_distance: bool) -> Measure:
        if self._sturges is None:
            return Measure(None)
        divergence, bins = self._sturges
        return Measure(math.sqrt(divergence) if is_distance else divergence, {"bins": bins})

    def _of_doane_bins(self, method: Method) -> Measure:
        doane = self.reference.doane
        if doane is None or not self.finite.size:
            return Measure(None)
        distance_of = hellinger_distance if method is Method.HELLINGER else l_infinity_distance
        current = counts_between_and_outside(self.finite, doane.edges)
        return Measure(distance_of(doane.counts, current), {"bins": doane.counts.size})


class LevelWindow:
    """Levels, some of them perhaps missing; there is at least one.

    Parameters
    ----------
    reference
        Prepared.
    known
        The window's counts of the reference's levels, shape (k,).
    unknown
        Its counts of others, by level.
    rows
        Rows of the window, with and without a value.
    """

    default_method: ClassVar = Method.CHI_SQUARED
    methods: ClassVar = (
        Method.CHI_SQUARED,
        Method.POPULATION_STABILITY_INDEX,
        Method.JENSEN_SHANNON_DISTANCE,
        Method.JENSEN_SHANNON_DIVERGENCE,
        Method.HELLINGER,
        Method.L_INFINITY,
    )
    mean: ClassVar[float | None] = None
    reference_mean: ClassVar[float | None] = None

    def __init__(
        self, reference: PreparedLevels, known: NDArray[np.int64], unknown: Mapping[str, int], rows: int
    ) -> None:
        self.reference, self.rows = reference, rows
        self.level_counts: LevelCounts = reference.levels.align(known, unknown)
        self._present = np.flatnonzero(known)
        self._n_unknown_levels = len(unknown)

    @cached_property
    def levels_result(self) -> LevelsResult:
        """The test of the levels."""
        return compare_levels(self.level_counts, reference_singletons=self.reference.levels.singletons)

    @property
    def table(self) -> ChiSquaredResult:
        """The chi-squared test of the pooled levels."""
        return self.levels_result.table

    @property
    def statistic(self) -> float:
        """What is reported as the test's statistic: X-squared."""
        return self.table.statistic

    @cached_property
    def p_value(self) -> float:
        """Of `statistic`, as if rows were independent of each other."""
        return self.levels_result.p_value_at(1.0)

    @property
    def is_constant(self) -> bool:
        """Whether all values are one."""
        return self._present.size + self._n_unknown_levels == 1

    @property
    def _first(self) -> int | None:
        return int(self._present[0]) if self._present.size else None

    @property
    def n_values(self) -> int:
        """How many values are not missing."""
        return int(self.level_counts.current.sum())

    @property
    def first_name(self) -> str:
        """The first level that the window has."""
        return self.level_counts.unseen_levels[0] if self._first is None else self.reference.levels.levels[self._first]

    @property
    def reference_share_of_first(self) -> float:
        """How much of the reference is the first level that the window has."""
        counts = self.reference.levels.counts
        return 0.0 if self._first is None else float(counts[self._first] / counts.sum())

    def evidence(self, channel: Channel, name: str, *, level: float) -> Evidence:
        """Return what the verdict is to know, at its level."""
        phi = self.reference.profile.dispersion.at(self.rows)
        return _evidence(self, channel, name, phi=phi, p_value=self.levels_result.p_value_at(phi), level=level)

    def measure(self, method: Method) -> Measure:
        """Return one measure."""
        reference, current = self.level_counts.reference, self.level_counts.current
        parameters = {"levels": reference.size}
        match method:
            case Method.CHI_SQUARED:
                return _chi_squared_measure(self.table)
            case Method.POPULATION_STABILITY_INDEX:
                return Measure(population_stability_index(reference, current), parameters)
            case Method.JENSEN_SHANNON_DISTANCE:
                return Measure(math.sqrt(self._divergence), parameters)
            case Method.JENSEN_SHANNON_DIVERGENCE:
                return Measure(self._divergence, parameters)
            case Method.HELLINGER:
                return Measure(hellinger_distance(reference, current), parameters)
            case Method.L_INFINITY:
                return Measure(l_infinity_distance(reference, current), parameters)
            case _:
                return Measure(None)  # levels have no order

    def distribution(self) -> Distribution:
        """Return both samples counted for a picture."""
        return _levels_distribution(self.level_counts)

    @cached_property
    def _divergence(self) -> float:
        return jensen_shannon_divergence(self.level_counts.reference, self.level_counts.current)


ColumnWindow = NumberWindow | LevelWindow


class NumberColumn:
    """A numeric column of all that was observed; windows are its last rows."""

    def __init__(self, reference: PreparedNumbers, column: Column) -> None:
        self.reference = reference
        self._values = column.cast(pa.float64()).to_numpy()

    def present(self, rows: int) -> int:
        """Return how many of the last `rows` values are not missing."""
        return self._ordered(rows).size

    def window(self, rows: int) -> NumberWindow:
        """Return the last `rows` rows, of which one at least has a value."""
        return NumberWindow(self.reference, self._ordered(rows), rows)

    def _ordered(self, rows: int) -> NDArray[np.float64]:
        if self._sorted is None or self._sorted[0] != rows:
            ordered = np.sort(self._values[self._values.size - rows :])  # NaN is sorted last
            self._sorted = rows, ordered[: ordered.searchsorted(math.nan)]
        return self._sorted[1]

    _sorted: tuple[int, NDArray[np.float64]] | None = None


class LevelColumn:
    """A categorical column of all that was observed; windows are its last rows."""

    def __init__(self, reference: PreparedLevels, column: Column) -> None:
        self.reference = reference
        self._column: Any = column
        indices: Any = pc.index_in(column, value_set=reference.names)
        self._codes = indices.fill_null(-1).to_numpy()  # of missing values and of unknown levels: -1

    def present(self, rows: int) -> int:
        """Return how many of the last `rows` values are not missing."""
        return rows - int(self._column.slice(len(self._column) - rows).null_count)

    def window(self, rows: int) -> LevelWindow:
        """Return the last `rows` rows, of which one at least has a value."""
        codes = self._codes[self._codes.size - rows :]
        known = np.bincount(codes + 1, minlength=len(self.reference.names) + 1)
        n_unknown = int(known[0]) - (rows - self.present(rows))
        unknown = self._unknown(rows, codes) if n_unknown else {}
        return LevelWindow(self.reference, known[1:], unknown, rows)

    def _unknown(self, rows: int, codes: NDArray[np.int32]) -> dict[str, int]:
        levels = self._column.slice(len(self._column) - rows).filter(pa.array(codes < 0)).drop_null()
        counted = levels.value_counts()
        return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))


def observed_column(reference: PreparedColumn, column: Column) -> NumberColumn | LevelColumn:
    """Return a column of all that was observed; it has the reference's type."""
    if isinstance(reference, PreparedNumbers):
        return NumberColumn(reference, column)
    return LevelColumn(reference, column)


def _evidence(
    window: ColumnWindow, channel: Channel, name: str, *, phi: float, p_value: float, level: float
) -> Evidence:
    table = window.table
    return Evidence(
        channel=channel,
        name=name,
        window_rows=window.rows,
        p_value=p_value,
        effect=table.cohens_w,
        smallest_detectable=smallest_detectable_w(
            level=level,
            degrees_of_freedom=table.degrees_of_freedom,
            effective_rows=table.effective_rows,
            dispersion=phi,
        ),
        dispersion=phi,
        is_measured=window.reference.profile.dispersion.is_measured_at(window.rows),
        chi2_statistic=table.statistic,
        degrees_of_freedom=table.degrees_of_freedom,
    )


def _chi_squared_measure(table: ChiSquaredResult) -> Measure:
    parameters = {
        "statistic": table.statistic,
        "degrees_of_freedom": table.degrees_of_freedom,
        "p_value": table.p_value,
    }
    return Measure(table.cohens_w, parameters)


def _levels_distribution(counts: LevelCounts) -> Distribution:
    return Distribution(counts.levels, (), tuple(counts.reference.tolist()), tuple(counts.current.tolist()))
