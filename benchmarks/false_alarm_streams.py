"""Simulated streams of observations, and when each rule raises its first alarm on one of them.

The rules read the results of the shipped check, so that they differ in nothing but the rule.
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
SEVERAL_WINDOWS = (500, 700)  # beside the one of 1,000
LONGEST_WINDOW = max(WINDOW_ROWS, *SEVERAL_WINDOWS)
LONGEST_DELAY = 6_000  # rows; a shift that no check has seen by then is missed
NUMERIC_SHARE = 0.7
LEVELS = ("north", "south", "east", "west", "centre")
SHARES = np.array([0.4, 0.25, 0.2, 0.1, 0.05])
CRITERIA = Criteria(Thresholds(feature=0.1, prediction=0.1))


class Rule(StrEnum):
    """When a check is an alarm."""

    MLMON = "mlmon"  # the verdict
    TUTORIAL = "tutorial"  # KS > 0.1 of a number, p < .05 of a level
    P05 = "p05"  # p < .05 of any feature


class Shift(StrEnum):
    """What happens to one feature of ten."""

    MEAN = "mean"  # up by a quarter of a standard deviation
    VARIANCE = "variance"  # half as large again
    CONTAMINATION = "contamination"  # a tenth of the values come from three standard deviations higher
    LEVEL = "level"  # a level of 20 % has 30 %


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of stream.

    Attributes
    ----------
    autocorrelation
        rho of AR(1): that of the numbers, and of the numbers that levels are cut from.
    shift
        What happens after the first `LONGEST_WINDOW` rows; None where nothing does.
    extra_window_rows
        Of windows beside the one of 1,000.
    """

    features: int
    autocorrelation: float = 0.0
    shift: Shift | None = None
    extra_window_rows: tuple[int, ...] = ()

    def numeric_features(self, seed: int) -> NDArray[np.bool_]:
        """Return which features are numbers: seven of each ten; a single one is a number in seven of ten streams."""
        first = seed if self.features == 1 else 0
        return (first + np.arange(self.features)) % 10 < 10 * NUMERIC_SHARE


def first_alarms(case: Case, seed: int) -> dict[Rule, int | None]:
    """Return how many rows a stream has had, from its first check or its shift on, at each rule's first alarm."""
    rng = np.random.default_rng([seed, case.features, int(100 * case.autocorrelation), len(case.shift or "")])
    source = _Source(rng, case.numeric_features(seed), case.autocorrelation)
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


def _is_tutorial_alarm(result: ComparisonResult) -> bool:
    return any(_is_beyond_the_tutorial(feature) for feature in result.features)


def _is_beyond_the_tutorial(feature: FeatureResult) -> bool:
    if feature.kind is FeatureKind.NUMERIC:
        return (feature.statistic or 0.0) > 0.1
    return _p_value(feature) < 0.05


def _p_value(feature: FeatureResult) -> float:
    return 1.0 if feature.p_value is None else feature.p_value


ALARMS: Mapping[Rule, Callable[[ComparisonResult], bool]] = {
    Rule.MLMON: lambda result: result.verdict.status is VerdictStatus.ALARM,
    Rule.TUTORIAL: _is_tutorial_alarm,
    Rule.P05: lambda result: any(_p_value(feature) < 0.05 for feature in result.features),
}


class _Source:
    """Rows of independent features, each with a memory of its own past, as long as they are asked for."""

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

    def uniform(self, rows: int) -> NDArray[np.float64]:
        """Return numbers from 0 to 1, shape (rows,)."""
        return self._rng.random(rows)

    def table(self, values: NDArray[np.float64], shares: Mapping[int, NDArray[np.float64]] | None = None) -> pa.Table:
        """Return rows as they are observed; levels are cut from the normal values, feature by feature."""
        columns: dict[str, Any] = {}
        for index, is_number in enumerate(self.numeric):
            own = (shares or {}).get(index, SHARES)
            columns[f"feature_{index:03d}"] = pa.array(values[index]) if is_number else _levels(values[index], own)
        return pa.table(columns)


def _levels(normal: NDArray[np.float64], shares: NDArray[np.float64]) -> "pa.Array[Any]":
    codes = np.searchsorted(ndtri(np.cumsum(shares)[:-1]), normal)
    indices: Any = pa.array(codes)
    return pa.array(LEVELS, pa.string()).take(indices)


def _reference(source: _Source) -> PreparedReference:
    table = source.table(source.draw(REFERENCE_ROWS))
    predictions = pa.array(["yes"] * REFERENCE_ROWS)
    return prepare(profile_of(table, predictions, ["yes"], TaskType.CLASSIFICATION))


def _windows(source: _Source, case: Case) -> Iterator[tuple[int, pa.Table]]:
    """Return the rows that have passed, and the newest rows, at each check."""
    longest = max(WINDOW_ROWS, *case.extra_window_rows, 0)
    if case.shift is None:
        table = source.table(source.draw(longest + CHECKS * STEP_ROWS))
        passed = range(0, CHECKS * STEP_ROWS, STEP_ROWS)
    else:
        before, after = source.draw(longest), source.draw(LONGEST_DELAY)
        table = pa.concat_tables([source.table(before), _shifted(source, after, case.shift)]).combine_chunks()
        passed = range(STEP_ROWS, LONGEST_DELAY + 1, STEP_ROWS)
    for rows in passed:
        yield rows, table.slice(rows, longest)


def _shifted(source: _Source, values: NDArray[np.float64], shift: Shift) -> pa.Table:
    first_number, first_level = int(np.argmax(source.numeric)), int(np.argmin(source.numeric))
    match shift:
        case Shift.MEAN:
            values[first_number] += 0.25
        case Shift.VARIANCE:
            values[first_number] *= np.sqrt(1.5)
        case Shift.CONTAMINATION:
            values[first_number] += 3.0 * (source.uniform(values.shape[1]) < 0.1)
        case Shift.LEVEL:
            rest = 0.7 / 0.8
            return source.table(values, {first_level: SHARES * [rest, rest, 0.3 / 0.2, rest, rest]})
    return source.table(values)
