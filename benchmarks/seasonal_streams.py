"""Simulated streams that follow the hour and the weekday, judged with and without a seasonal reference.

A stream is a reference of whole days and the rows that follow it; it is quiet, or the first of ten features changes.
Checks come every 100 rows, with windows of the latest 1,000 and 500 rows. docs/benchmarks.md has the results.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtri

from mlmon.detection.categorical import categorical_p_values, categorical_scores
from mlmon.detection.dependence import series_dependence
from mlmon.detection.numeric import numeric_p_values, numeric_scores, panel_of
from mlmon.detection.phases import local_times
from mlmon.detection.rule import (
    CATEGORICAL_TESTS,
    NUMERIC_TESTS,
    SMALLEST_EFFECT,
    SMALLEST_MISSING_DIFFERENCE,
    largest_p_value,
)
from mlmon.detection.seasons import numeric_season, share_season, window_panel
from mlmon.detection.shares import share_p_values

WINDOWS = (1_000, 500)
STEP_ROWS = 100
FEATURES = 10
BUDGET = 10_000
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
        "numbers", "categories" or "missing" (1.0 for a missing value).
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
    """What a rule finds in a stream.

    Attributes
    ----------
    rows
        Until the first alarm, None without one.
    insufficient, seasonal
        The shares of features whose reference is too short, and that are compared by phase.
    phi
        The median of the features' phi in windows of 500 rows.
    """

    rows: int | None
    insufficient: float
    seasonal: float
    phi: float


def outcomes_of(stream: Stream, seed: int) -> tuple[Outcome, Outcome]:
    """Return what is found with and without a seasonal reference."""
    m = stream.rows_per_day * stream.reference_days
    count = m + WINDOWS[0] + STEP_ROWS * stream.checks
    local = local_times(START + (np.arange(count) * (DAY / stream.rows_per_day)).astype("timedelta64[us]"), ZONE)
    rng = np.random.default_rng([seed, 33])
    innovations = rng.normal(size=(count + 2_000, FEATURES))
    if stream.has_heavy_tails:
        innovations = rng.standard_t(4, size=innovations.shape) / np.sqrt(2)
    weather = lfilter([np.sqrt(1 - stream.rho**2)], [1, -stream.rho], innovations, axis=0)[2_000:]
    days = local / DAY
    level_seed = int(rng.integers(2**32))
    values = stream.of_level(stream.level(np.random.default_rng(level_seed), days) + weather, days)
    if stream.changes:
        level = stream.level(np.random.default_rng(level_seed), days + stream.hours_early / 24)
        changed = stream.of_level(level + weather + stream.shift, days)
        values[m + WINDOWS[0] :, 0] = changed[m + WINDOWS[0] :, 0]
    judge = {"numbers": _numbers, "categories": _categories, "missing": _categories}[stream.kind]
    with_season, without = (_outcome(judge(stream, values, local, m, is_seasonal)) for is_seasonal in (True, False))
    return with_season, without


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """The alarms of windows of one length, shape (checks, features), and of each feature, shape (features,)."""

    alarms: NDArray[np.bool_]
    phi: NDArray[np.float64]
    is_usable: NDArray[np.bool_]
    is_seasonal: NDArray[np.bool_]


def _outcome(judged: Sequence[_Judged]) -> Outcome:
    alarms = np.logical_or.reduce([each.alarms.any(axis=1) for each in judged])
    return Outcome(
        rows=int(alarms.argmax()) * STEP_ROWS if alarms.any() else None,
        insufficient=float(np.mean([1 - each.is_usable.mean() for each in judged])),
        seasonal=float(judged[-1].is_seasonal.mean()),
        phi=float(np.median(judged[-1].phi)),
    )


def _window_sums(blocks: NDArray[Any], n: int) -> NDArray[Any]:
    """Return the sums of the window of n rows at each check, from those of blocks of 100 rows."""
    running = np.concatenate([np.zeros((1, *blocks.shape[1:]), dtype=blocks.dtype), np.cumsum(blocks, axis=0)])
    last = WINDOWS[0] // STEP_ROWS
    sums: NDArray[Any] = running[last:] - running[last - n // STEP_ROWS : running.shape[0] - n // STEP_ROWS]
    return sums


def _counts(codes: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return the rows by code in each block."""
    return np.array([np.bincount(part, minlength=size) for part in codes.reshape(-1, STEP_ROWS)])


def _numbers(stream: Stream, values: Rows, local: NDArray[np.int64], m: int, is_seasonal: bool) -> list[_Judged]:
    d = values.shape[1]
    seasons = [numeric_season(column[:m], local[:m], WINDOWS) if is_seasonal else None for column in values.T]
    scores = [
        numeric_scores(column[:m], WINDOWS) if season is None else season.scores
        for column, season in zip(values.T, seasons, strict=True)
    ]
    width = panel_of(scores).width
    blocks = np.zeros((stream.checks + WINDOWS[0] // STEP_ROWS, d, width))
    phase_blocks = []
    for feature, (own, season) in enumerate(zip(scores, seasons, strict=True)):
        current = values[m:, feature]
        if season is not None:
            current = season.residuals(current, local[m:])
            phase_blocks.append(_counts(season.season.codes(local[m:]), season.rows.size))
        else:
            phase_blocks.append(np.ones((blocks.shape[0], 1), dtype=np.int64))
        for place, part in enumerate(current.reshape(-1, STEP_ROWS)):
            sums = own.sums(part)
            blocks[place, feature, : sums.size] = sums
    judged = []
    for n in WINDOWS:
        sums = _window_sums(blocks, n)
        phase_rows = [_window_sums(each, n) for each in phase_blocks]
        found = [own.dependence.at(n) for own in scores]
        phi, nu = np.array([each.phi for each in found]), np.array([each.nu for each in found])
        checks = sums.shape[0]
        panel = window_panel(
            panel_of(scores * checks), seasons * checks, [each[check] for check in range(checks) for each in phase_rows]
        )
        p_values, effects = numeric_p_values(
            panel, sums.reshape(checks * d, width), np.tile(phi, checks), np.tile(nu, checks)
        )
        usable = np.array([not each.is_insufficient for each in found])
        limit = largest_p_value(BUDGET, tests=NUMERIC_TESTS * d, windows=len(WINDOWS))
        is_alarm = ((p_values <= limit) & (np.abs(effects) >= SMALLEST_EFFECT)).any(axis=1)
        has_season = np.array([season is not None for season in seasons])
        judged.append(_Judged(is_alarm.reshape(checks, d) & usable, phi, usable, has_season))
    return judged


def _categories(stream: Stream, values: Rows, local: NDArray[np.int64], m: int, is_seasonal: bool) -> list[_Judged]:
    d, codes = values.shape[1], values.astype(np.int64)
    is_missing, k = stream.kind == "missing", int(codes.max()) + 1
    judged = []
    for n in WINDOWS:
        limit = largest_p_value(BUDGET, tests=(1 if is_missing else CATEGORICAL_TESTS) * d, windows=len(WINDOWS))
        alarms = np.zeros((stream.checks + 1, d), dtype=np.bool_)
        phi, usable, has_season = np.ones(d), np.ones(d, dtype=np.bool_), np.zeros(d, dtype=np.bool_)
        for feature, column in enumerate(codes.T):
            scores = categorical_scores(column[:m], k, WINDOWS)
            if is_missing:
                indicator = column[:m, None].astype(np.float64)
                scores = replace(scores, dependence=series_dependence(indicator, WINDOWS, are_indicators=True))
            season = share_season(column[:m], np.arange(k), local[:m], WINDOWS) if is_seasonal else None
            if season is not None:
                phases = _window_sums(_counts(season.season.codes(local[m:]), season.rows.size), n)
                scores = replace(scores, dependence=season.dependence)
            found = scores.dependence.at(n)
            phi[feature], usable[feature] = found.phi, not found.is_insufficient
            has_season[feature] = season is not None
            for check, now in enumerate(_window_sums(_counts(column[m:], k), n)):
                before: Any = scores.counts if season is None else season.counts(phases[check])
                if is_missing:
                    p_value = share_p_values(now[1], n, before[1], before.sum(), phi=found.phi, nu=found.nu)
                    is_large = abs(now[1] / n - before[1] / before.sum()) >= SMALLEST_MISSING_DIFFERENCE
                    alarms[check, feature] = p_value <= limit and is_large
                else:
                    own = replace(scores, counts=before)
                    p_values, effects, _ = categorical_p_values(own, now, found.phi, found.nu)
                    alarms[check, feature] = ((p_values <= limit) & (effects >= SMALLEST_EFFECT)).any()
        judged.append(_Judged(alarms & usable, phi, usable, has_season))
    return judged


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
