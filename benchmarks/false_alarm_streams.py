"""Simulated streams of observations, and the first alarm of each rule on a stream.

All rules read the results of the same calls of the shipped check, so they differ in nothing else.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtri

from mlmon.comparison import compare
from mlmon.prepared import PreparedReference, prepare
from mlmon.profiling import profile_of
from mlmon.results import ComparisonResult, Criteria, FeatureResult, Thresholds, VerdictStatus
from mlmon.schema import FeatureKind, TaskType

REFERENCE_ROWS, WINDOW_ROWS, STEP_ROWS, CHECKS = 10_000, 1_000, 100, 200
EXTRA_WINDOWS = (500, 700)  # in addition to the one of 1,000
LONGEST_DELAY = 6_000  # rows; a shift without an alarm by then is missed
NUMERIC_OF_TEN = 7
CATEGORIES = ("north", "south", "east", "west", "centre")
SHARES = np.array([0.4, 0.25, 0.2, 0.1, 0.05])
CRITERIA = Criteria(Thresholds(feature=0.1, prediction=0.1))


class Rule(StrEnum):
    """When a check is an alarm."""

    MLMON = "mlmon"  # the verdict
    TUTORIAL = "tutorial"  # KS > 0.1 of a numeric feature, p < .05 of a categorical one
    P05 = "p05"  # p < .05 of any feature


class Shift(StrEnum):
    """What happens to one feature of ten."""

    MEAN = "mean"  # a quarter of a standard deviation higher
    VARIANCE = "variance"  # multiplied by 1.5
    CONTAMINATION = "contamination"  # a tenth of the values are three standard deviations higher
    CATEGORY = "category"  # from a share of 20 % to 30 %


# Part of each stream's seed. The results in docs/benchmarks.md were made with these numbers.
SEED_OF_SHIFT = {None: 0, Shift.MEAN: 4, Shift.VARIANCE: 8, Shift.CONTAMINATION: 13, Shift.CATEGORY: 5}


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of stream.

    Attributes
    ----------
    autocorrelation
        rho of AR(1) for all features; categories are cut from such numbers.
    shift
        What happens after the first window; None for a stream without drift.
    extra_window_rows
        Sizes of windows in addition to the one of 1,000.
    """

    features: int
    autocorrelation: float = 0.0
    shift: Shift | None = None
    extra_window_rows: tuple[int, ...] = ()

    def numeric_features(self, seed: int) -> NDArray[np.bool_]:
        """Return which features are numeric: seven of ten. A single feature is numeric in seven of ten streams."""
        first = seed if self.features == 1 else 0
        return (first + np.arange(self.features)) % 10 < NUMERIC_OF_TEN


def first_alarms(case: Case, seed: int) -> dict[Rule, int | None]:
    """Return the number of rows from the first check, or from the shift, to the first alarm of each rule."""
    rng = np.random.default_rng([seed, case.features, int(100 * case.autocorrelation), SEED_OF_SHIFT[case.shift]])
    source = Source(rng, case.numeric_features(seed), case.autocorrelation)
    reference = _reference(source)
    alarms: dict[Rule, int | None] = dict.fromkeys(Rule)
    criteria = replace(CRITERIA, extra_window_rows=case.extra_window_rows)
    for rows, window in _windows(source, case):
        result = compare(reference, window, None, criteria, window_rows=WINDOW_ROWS, with_details=False)
        for rule, is_alarm in ALARMS.items():
            if alarms[rule] is None and is_alarm(result):
                alarms[rule] = rows
        if None not in alarms.values():
            break
    return alarms


def _is_significant(feature: FeatureResult) -> bool:
    return feature.p_value is not None and feature.p_value < 0.05


def _is_tutorial_alarm(result: ComparisonResult) -> bool:
    return any(
        (feature.statistic or 0.0) > 0.1 if feature.kind is FeatureKind.NUMERIC else _is_significant(feature)
        for feature in result.features
    )


ALARMS: Mapping[Rule, Callable[[ComparisonResult], bool]] = {
    Rule.MLMON: lambda result: result.verdict.status is VerdictStatus.ALARM,
    Rule.TUTORIAL: _is_tutorial_alarm,
    Rule.P05: lambda result: any(_is_significant(feature) for feature in result.features),
}


class Source:
    """An endless stream of rows. The features are independent of each other, and each can depend on its own past.

    Attributes
    ----------
    numeric
        Shape (features,): which features are numeric.
    """

    def __init__(self, rng: np.random.Generator, numeric: NDArray[np.bool_], autocorrelation: float) -> None:
        self.numeric = numeric
        self._rng, self._rho = rng, autocorrelation
        self._last = rng.normal(size=numeric.size)

    def draw(self, rows: int) -> NDArray[np.float64]:
        """Return the next rows, shape (features, rows), each value standard normal."""
        noise = self._rng.normal(size=(self.numeric.size, rows))
        if not self._rho:
            return noise
        noise *= np.sqrt(1 - self._rho**2)
        values, _ = lfilter([1.0], [1.0, -self._rho], noise, axis=1, zi=self._rho * self._last[:, None])
        self._last = values[:, -1]
        drawn: NDArray[np.float64] = values
        return drawn

    def table(self, values: NDArray[np.float64], shares: Mapping[int, NDArray[np.float64]] | None = None) -> pa.Table:
        """Return drawn values as observations.

        Parameters
        ----------
        shares
            By index of a categorical feature: shares that differ from `SHARES`. Categories are cut from the values.
        """
        columns: dict[str, Any] = {}
        for index, is_numeric in enumerate(self.numeric):
            column: Any = values[index]
            if not is_numeric:
                cuts = ndtri(np.cumsum((shares or {}).get(index, SHARES))[:-1])
                column = pa.array(CATEGORIES, pa.string()).take(pa.array(np.searchsorted(cuts, values[index])))
            columns[f"feature_{index:03d}"] = pa.array(column)
        return pa.table(columns)

    def shifted_table(self, values: NDArray[np.float64], shift: Shift) -> pa.Table:
        """Return drawn values as observations, with a shift of the first numeric or categorical feature."""
        numeric, categorical = int(np.argmax(self.numeric)), int(np.argmin(self.numeric))
        match shift:
            case Shift.MEAN:
                values[numeric] += 0.25
            case Shift.VARIANCE:
                values[numeric] *= np.sqrt(1.5)
            case Shift.CONTAMINATION:
                values[numeric] += 3.0 * (self._rng.random(values.shape[1]) < 0.1)
            case Shift.CATEGORY:
                rest = 0.7 / 0.8
                return self.table(values, {categorical: SHARES * [rest, rest, 0.3 / 0.2, rest, rest]})
        return self.table(values)


def _reference(source: Source) -> PreparedReference:
    table = source.table(source.draw(REFERENCE_ROWS))
    predictions = pa.array(["yes"] * REFERENCE_ROWS)
    return prepare(profile_of(table, predictions, ["yes"], TaskType.CLASSIFICATION))


def _windows(source: Source, case: Case) -> Iterator[tuple[int, pa.Table]]:
    """Yield the number of rows that have passed, and the latest rows, at each check."""
    longest = max(WINDOW_ROWS, *case.extra_window_rows, 0)
    if case.shift is None:
        table = source.table(source.draw(longest + CHECKS * STEP_ROWS))
        passed = range(0, CHECKS * STEP_ROWS, STEP_ROWS)
    else:
        before, after = source.draw(longest), source.draw(LONGEST_DELAY)
        table = pa.concat_tables([source.table(before), source.shifted_table(after, case.shift)]).combine_chunks()
        passed = range(STEP_ROWS, LONGEST_DELAY + 1, STEP_ROWS)
    for rows in passed:
        yield rows, table.slice(rows, longest)
