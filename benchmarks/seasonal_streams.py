"""Simulated streams that follow the hour and the weekday, checked by phase and without.

A stream is a reference of whole days and the rows that follow it; it is quiet, or the first of ten features changes.
Checks come every 100 rows, with windows of the latest 1,000 and 500 rows. docs/benchmarks.md has the results.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtri

from benchmarks.false_alarm_checks import CRITERIA, STEP_ROWS, WINDOW_ROWS, is_insufficient, observed, prepared
from mlmon.comparison import compare
from mlmon.detection.dependence import OutcomeBlocks
from mlmon.detection.phases import local_times
from mlmon.prepared import PreparedReference
from mlmon.results import Channel, VerdictStatus

SHORT_ROWS = 500  # of the shorter window
FEATURES = 10
ZONE = "Europe/Berlin"
START = np.datetime64("2026-03-15T23:00", "us")  # a Monday; daylight saving starts two weeks later
DAY = 86_400_000_000  # microseconds
FIVE = (0.4, 0.25, 0.2, 0.1, 0.05)
Rows: TypeAlias = NDArray[Any]
Generator: TypeAlias = np.random.Generator


@dataclass(frozen=True, slots=True)
class Stream:
    """A kind of stream: ten features of a level by wall clock, and AR(1) weather of 1 sd.

    Attributes
    ----------
    level
        Returns the level at wall-clock times in days since 1970, a Thursday, shape (rows,), by feature.
    rho
        Correlation of the weather in one row and the next.
    kind
        "numbers", "categories" or "missing" (a value is missing if `of_level` returns 1.0).
    of_level
        Returns the values of levels plus weather, by days.
    shift, hours_early
        Change of the first feature after the first windows: weather standard deviations, and hours of its level.
    rows_per_day, reference_days, checks
        Lengths.
    has_heavy_tails
        Whether the weather has Student's t distribution with 4 degrees of freedom, scaled to 1 sd.
    """

    level: Callable[[Generator, Rows], Rows]
    rho: float
    kind: str = "numbers"
    of_level: Callable[[Rows, Rows], Rows] = lambda values, days: values
    shift: float = 0.0
    hours_early: float = 0.0
    rows_per_day: int = 1_000
    reference_days: int = 20
    checks: int = 200
    has_heavy_tails: bool = False

    @property
    def changes(self) -> bool:
        """Whether the first feature changes."""
        return bool(self.shift or self.hours_early)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the checks of a stream find, by phase or without.

    Attributes
    ----------
    rows
        Until the first alarm: from the first check, or from the change. None without an alarm.
    insufficient, seasonal
        The shares of features whose reference is too short, and that are compared by phase.
    phi
        The median of the features' phi in windows of 500 rows.
    alarmed
        What the first alarm is about: channel and test.
    """

    rows: int | None
    insufficient: float
    seasonal: float
    phi: float
    alarmed: tuple[str, ...] = ()


def outcomes_of(stream: Stream, seed: int) -> tuple[Outcome, Outcome]:
    """Return what the shipped check finds by phase, and what it finds without."""
    m = stream.rows_per_day * stream.reference_days
    count = m + WINDOW_ROWS + STEP_ROWS * stream.checks
    times = (START + (np.arange(count) * (DAY / stream.rows_per_day)).astype("timedelta64[us]")).astype(np.int64)
    columns = _columns(stream, np.random.default_rng([seed, 33]), local_times(times, ZONE) / DAY, m + WINDOW_ROWS)
    reference = prepared({name: values[:m] for name, values in columns.items()}, times[:m], ZONE)
    current = {name: values[m:] for name, values in columns.items()}
    by_phase, without = (_checked(stream, reference, current, times[m:], is_seasonal) for is_seasonal in (True, False))
    return by_phase, without


def _columns(stream: Stream, rng: Generator, days: Rows, changes_from: int) -> dict[str, Rows]:
    """Return the features at wall-clock times in days, the first of which changes from a row on."""
    innovations = rng.normal(size=(days.size + 2_000, FEATURES))
    if stream.has_heavy_tails:
        innovations = rng.standard_t(4, size=innovations.shape) / np.sqrt(2)
    weather = lfilter([np.sqrt(1 - stream.rho**2)], [1, -stream.rho], innovations, axis=0)[2_000:]
    level_seed = int(rng.integers(2**32))
    values = stream.of_level(stream.level(np.random.default_rng(level_seed), days) + weather, days)
    if stream.changes:
        level = stream.level(np.random.default_rng(level_seed), days + stream.hours_early / 24)
        changed = stream.of_level(level + weather + stream.shift, days)
        values[changes_from:, 0] = changed[changes_from:, 0]
    if stream.kind == "missing":
        values = np.where(values > 0, np.nan, rng.normal(size=values.shape))
    elif stream.kind == "categories":
        values = values.astype(np.int64)
    return {f"feature {place}": column for place, column in enumerate(values.T)}


def _checked(
    stream: Stream, reference: PreparedReference, current: dict[str, Rows], times: NDArray[np.int64], is_seasonal: bool
) -> Outcome:
    """Return what checks of the latest 1,000 and 500 rows find up to their first alarm."""
    features, _ = observed(current)
    criteria, first = replace(CRITERIA, is_seasonal=is_seasonal), STEP_ROWS if stream.changes else 0
    rows, insufficient, seasonal = None, 0.0, 0.0
    alarmed: tuple[str, ...] = ()
    channel = Channel.MISSING_VALUES if stream.kind == "missing" else Channel.DISTRIBUTION
    for passed in range(first, first + STEP_ROWS * stream.checks, STEP_ROWS):
        result = compare(
            reference,
            features.slice(passed, WINDOW_ROWS),
            None,
            criteria,
            window_rows=WINDOW_ROWS,
            times=times[passed : passed + WINDOW_ROWS],
            with_details=False,
        )
        insufficient = float(np.mean([is_insufficient(feature) for feature in result.features]))
        seasonal = sum(bool(each.season) for each in result.hypotheses if each.channel is channel) / FEATURES
        if result.verdict.status is VerdictStatus.ALARM:
            rows = passed
            alarmed = tuple(sorted({f"{each.channel}: {each.test}" for each in result.hypotheses if each.is_alarm}))
            break
    detector = reference.seasonal if is_seasonal and reference.seasonal is not None else reference.detector
    found = [detector.dispersion(SHORT_ROWS)[name] for name in current]
    dispersions = [each.missing if stream.kind == "missing" else each.values for each in found]
    phi = np.median([1.0 if isinstance(each, OutcomeBlocks) else each.phi for each in dispersions])
    return Outcome(rows, insufficient, seasonal, float(phi), alarmed)


def daily(amplitude: float, swing: float = 0.0) -> Callable[[Generator, Rows], Rows]:
    """Return sines of a day, each feature with its own offset, whose amplitude swings by a share within a week."""

    def level(rng: Generator, days: Rows) -> Rows:
        size = amplitude * (1 + swing * np.sin(2 * np.pi * days / 7))
        found: Rows = size[:, None] * np.sin(2 * np.pi * (days[:, None] + rng.random(FEATURES)))
        return found

    return level


def by_weekday(amplitude: float) -> Callable[[Generator, Rows], Rows]:
    """Return a level for each weekday and feature, normally distributed with this standard deviation."""

    def level(rng: Generator, days: Rows) -> Rows:
        levels: Rows = rng.normal(0, amplitude, (7, FEATURES))[(np.floor(days).astype(np.int64) + 3) % 7]
        return levels

    return level


def _multiplied(values: Rows, days: Rows) -> Rows:
    products: Rows = np.exp(1.5 * values)
    return products


def _whole_numbers(values: Rows, days: Rows) -> Rows:
    counts: Rows = np.floor(np.exp(values + 0.5))
    return counts


def _skewed_by_day(values: Rows, days: Rows) -> Rows:
    """Return lognormal values by day and their mirror image by night, with the same mean and variance."""
    skewed = np.exp(values) - np.exp(0.5)
    is_day = (days % 1 < 0.5)[:, None]
    values = np.where(is_day, skewed, -skewed)
    values += 2 * np.sin(2 * np.pi * days)[:, None]
    return values


def _closed_by_night(values: Rows, days: Rows) -> Rows:
    opened: Rows = np.where((days % 1 < 0.25)[:, None], 0.0, np.maximum(0.0, values + 1))
    return opened


def _five(values: Rows, days: Rows) -> Rows:
    codes: Rows = np.searchsorted(ndtri(np.cumsum(FIVE)[:-1]) * np.sqrt(1.5), values)
    return codes


def _missing(values: Rows, days: Rows) -> Rows:
    marks: Rows = values > ndtri(0.95) * np.sqrt(1.5)
    return marks.astype(np.float64)


FLAT, SWING = daily(0.0), 0.3
SHAPED = {
    "multiplicative": Stream(daily(1, SWING), 0.5, of_level=_multiplied),
    "counts": Stream(daily(0.5, SWING), 0.5, of_level=_whole_numbers),
    "zeros by night": Stream(FLAT, 0.3, of_level=_closed_by_night),
    "skewness by hour": Stream(FLAT, 0.3, of_level=_skewed_by_day),
    "five categories by hour": Stream(daily(1, SWING), 0.5, kind="categories", of_level=_five),
    "missing values by hour": Stream(daily(1, SWING), 0.5, kind="missing", of_level=_missing),
}
QUIET: Mapping[str, Stream] = {
    "amplitude 1, AR 0": Stream(daily(1, SWING), 0.0),
    "amplitude 3, AR 0": Stream(daily(3, SWING), 0.0),
    "amplitude 2, AR .5": Stream(daily(2, SWING), 0.5),
    "amplitude 3, AR .8": Stream(daily(3, SWING), 0.8),
    "amplitude 3, AR .95": Stream(daily(3, SWING), 0.95),
    "amplitude 3, AR .8, 10 days": Stream(daily(3, SWING), 0.8, reference_days=10),
    "amplitude 2, AR .8, 500 rows a day": Stream(daily(2, SWING), 0.8, rows_per_day=500),
    "amplitude 3, AR .8, 2,400 rows a day": Stream(daily(3, SWING), 0.8, rows_per_day=2_400),
    "amplitude 2, AR .5, heavy tails": Stream(daily(2, SWING), 0.5, has_heavy_tails=True),
    "no cycle, AR 0": Stream(FLAT, 0.0),
    "no cycle, AR .95": Stream(FLAT, 0.95),
    "no cycle, AR .99": Stream(FLAT, 0.99),
    "amplitude 2, AR .99, 10 days": Stream(daily(2, SWING), 0.99, reference_days=10),
    **SHAPED,
    "ten weeks, amplitude 3, AR .8": Stream(daily(3, SWING), 0.8, reference_days=70),
    "ten weeks, by weekday, AR .8": Stream(by_weekday(1), 0.8, reference_days=70),
}
CHANGED: Mapping[str, Stream] = {
    **{
        f"{change}, amplitude {amplitude}, AR {rho}": Stream(
            daily(amplitude), rho, shift=shift, hours_early=hours, checks=40
        )
        for amplitude, rho in ((1, 0.8), (3, 0.8), (3, 0.5))
        for change, shift, hours in (("mean + .5 sd", 0.5, 0), ("mean + .75 sd", 0.75, 0), ("three hours early", 0, 3))
    },
    "mean + .5 sd, no cycle, AR 0.8": Stream(FLAT, 0.8, shift=0.5, checks=40),
    "three hours early, amplitude 2, AR 0.8": Stream(daily(2), 0.8, hours_early=3, checks=40),
    **{
        f"mean + {shift} sd, {name}": replace(SHAPED[name], shift=shift, checks=40)
        for name, shift in zip(SHAPED, (0.5, 0.5, 0.5, 0.5, 1.0, 1.0), strict=True)
    },
    "mean + .5 sd, ten weeks, amplitude 3, AR .8": Stream(
        daily(3, SWING), 0.8, shift=0.5, reference_days=70, checks=40
    ),
    "mean + .5 sd, ten weeks, by weekday, AR .8": Stream(by_weekday(1), 0.8, shift=0.5, reference_days=70, checks=40),
}
