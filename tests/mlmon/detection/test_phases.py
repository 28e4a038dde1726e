"""Phases of rows. Oracles: the time zone arithmetic of `datetime`, weekdays of a calendar, and means of NumPy."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from mlmon.detection.phases import (
    NO_TIME,
    ReferencePhases,
    Season,
    explaining_phases,
    local_times,
    reference_phases,
)

HOUR = 3_600_000_000
MONDAY = "2026-03-16T00:00"


def hours_from(start: str, hours: int, rows_per_hour: int = 1) -> NDArray[np.int64]:
    """Return evenly spaced times, as microseconds."""
    first = int(np.datetime64(start, "us").astype(np.int64))
    return first + np.arange(hours * rows_per_hour, dtype=np.int64) * (HOUR // rows_per_hour)


def phases_of(local: NDArray[np.int64], season: Season) -> ReferencePhases:
    found = reference_phases(local, season)
    assert found is not None
    return found


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC"])
def test_local_times_are_those_of_datetime(zone: str) -> None:
    """A year in steps of 7 hours 13 minutes."""
    times = np.arange("2026-01-01", "2027-01-01", np.timedelta64(433, "m"), dtype="datetime64[us]")
    for given in (times, times.astype("datetime64[s]"), times.astype(np.int64)):
        for microseconds, local in zip(times.astype(np.int64).tolist(), local_times(given, zone).tolist(), strict=True):
            clock = datetime.fromtimestamp(microseconds / 1e6, UTC).astimezone(ZoneInfo(zone))
            assert local == clock.replace(tzinfo=UTC).timestamp() * 1e6


def test_offsets_change_within_an_hour_of_rows() -> None:
    """Clocks in Berlin go from 02:00 to 03:00 at 01:00 UTC."""
    times = np.array(["2026-03-29T00:59:59.999999", "2026-03-29T01:00:00"], dtype="datetime64[us]")
    expected = np.array(["2026-03-29T01:59:59.999999", "2026-03-29T03:00:00"], dtype="datetime64[us]")
    np.testing.assert_array_equal(local_times(times, "Europe/Berlin").astype("datetime64[us]"), expected)


@pytest.mark.parametrize(
    ("start", "hours", "rows_of_second_hour"), [("2026-03-28T23:00", 23, 0), ("2026-10-24T22:00", 25, 2)]
)
def test_days_of_23_and_25_hours(start: str, hours: int, rows_of_second_hour: int) -> None:
    local = local_times(hours_from(start, hours), "Europe/Berlin")
    expected = np.ones(25, dtype=np.int64)
    expected[2], expected[24] = rows_of_second_hour, 0
    np.testing.assert_array_equal(np.bincount(Season.HOUR_OF_DAY.codes(local), minlength=25), expected)
    assert np.unique(Season.HOUR_OF_DAY.cycles(local)).size == 1


def test_codes_of_known_dates() -> None:
    """2026-03-16 is a Monday, 1969-12-28 a Sunday."""
    local = np.array(
        [MONDAY, "2026-03-17T13:59", "2026-03-22T23:59", "1969-12-28T05:00", "NaT"], dtype="datetime64[us]"
    )
    numbers = local.astype(np.int64)
    assert Season.HOUR_OF_DAY.codes(numbers).tolist() == [0, 13, 23, 5, 24]
    assert Season.WEEKDAY.codes(numbers).tolist() == [0, 1, 6, 6, 7]
    assert Season.HOUR_OF_WEEK.codes(numbers).tolist() == [0, 37, 167, 149, 168]
    weeks = Season.HOUR_OF_WEEK.cycles(numbers)
    assert weeks[0] == weeks[1] == weeks[2] != weeks[3]


def test_rows_without_a_time_stay_without() -> None:
    times = np.array([MONDAY, "NaT"], dtype="datetime64[us]")
    assert local_times(times, "Europe/Berlin")[1] == NO_TIME


def test_an_unknown_zone_is_an_error() -> None:
    with pytest.raises(ZoneInfoNotFoundError):
        local_times(hours_from(MONDAY, 1), "Europe/Nowhere")


@pytest.mark.parametrize(
    ("season", "enough", "too_few"),
    [(Season.HOUR_OF_DAY, 240, 239), (Season.WEEKDAY, 70 * 24, 69 * 24), (Season.HOUR_OF_WEEK, 70 * 24, 70 * 24 - 1)],
)
@pytest.mark.parametrize("start", [MONDAY, "2026-03-18T13:00"])
def test_a_reference_needs_ten_cycles(season: Season, enough: int, too_few: int, start: str) -> None:
    assert reference_phases(hours_from(start, enough, 4), season) is not None
    assert reference_phases(hours_from(start, too_few, 4), season) is None
    assert reference_phases(hours_from(start, enough * 9 // 10, 4), season) is None


@pytest.mark.parametrize(("start", "hours"), [("2026-03-19T23:00", 239), ("2026-10-19T22:00", 241)])
def test_ten_days_in_which_clocks_change_are_enough(start: str, hours: int) -> None:
    local = local_times(hours_from(start, hours, 4), "Europe/Berlin")
    found = phases_of(local, Season.HOUR_OF_DAY)
    assert found.has_own.tolist() == [True] * 24 + [False]
    assert reference_phases(local_times(hours_from(start, hours - 1, 4), "Europe/Berlin"), Season.HOUR_OF_DAY) is None


def test_rare_phases_are_compared_with_all_rows() -> None:
    """Rows from 8 to 17 o'clock, some at 3 o'clock of seven days, and one without a time."""
    local = hours_from(MONDAY, 20 * 24, 4)
    hours, days = Season.HOUR_OF_DAY.codes(local), Season.HOUR_OF_DAY.cycles(local)
    kept = local[((hours >= 8) & (hours <= 17)) | ((hours == 3) & (days < days[0] + 7))]
    kept = np.append(kept, NO_TIME)
    found = phases_of(kept, Season.HOUR_OF_DAY)
    assert np.flatnonzero(found.has_own).tolist() == list(range(8, 18))
    assert found.rows.tolist() == [80.0 if 8 <= hour <= 17 else kept.size for hour in range(25)]
    series = np.arange(kept.size, dtype=np.float64)[:, None]
    means = found.means(series)
    assert means[3, 0] == means[24, 0] == series.mean()
    of_rows = found.row_means(series, means)
    assert of_rows.predicted[-1, 0] == of_rows.corrected[-1, 0] == series.mean()


def test_too_many_rows_without_a_phase_of_their_own() -> None:
    local = hours_from(MONDAY, 20 * 24, 4)
    local[::8] = NO_TIME
    assert reference_phases(local, Season.HOUR_OF_DAY) is None
    assert reference_phases(np.full(9, NO_TIME), Season.HOUR_OF_DAY) is None


def test_means_of_phases_and_of_the_other_cycles() -> None:
    local = local_times(hours_from(MONDAY, 12 * 24, 3)[50:-20], "Europe/Berlin")
    series = np.random.default_rng(3).normal(size=(local.size, 2))
    phases = phases_of(local, Season.HOUR_OF_DAY)
    means = phases.means(series)
    predicted = phases.row_means(series, means).predicted
    hours, days = local // HOUR % 24, local // (24 * HOUR)
    for row in (0, 1, 100, local.size - 1):
        same = hours == hours[row]
        np.testing.assert_allclose(means[hours[row]], series[same].mean(axis=0), rtol=1e-12)
        expected = series[same & (days != days[row])].mean(axis=0)
        np.testing.assert_allclose(predicted[row], expected, rtol=1e-10)


def test_corrected_residuals_have_the_variance_of_the_cycles() -> None:
    """The sum of squares over C equal cycles is C times the unbiased variance (`numpy.var` with ddof=1)."""
    local = hours_from(MONDAY, 12 * 24, 3)
    hours, days = local // HOUR % 24, (local - local[0]) // (24 * HOUR)
    of_cell = np.random.default_rng(4).normal(size=(12, 24))
    series = of_cell[days, hours][:, None]
    phases = phases_of(local, Season.HOUR_OF_DAY)
    residuals = series - phases.row_means(series, phases.means(series)).corrected
    for hour in (0, 7, 23):
        squares = float((residuals[hours == hour] ** 2).sum()) / 3
        assert squares == pytest.approx(12 * np.var(of_cell[:, hour], ddof=1), rel=1e-10)


def weather(rng: np.random.Generator, rows: int, rho: float) -> NDArray[np.float64]:
    found: NDArray[np.float64] = lfilter([np.sqrt(1 - rho * rho)], [1, -rho], rng.normal(size=rows + 500))[500:]
    return found


@pytest.mark.parametrize("rho", [0.0, 0.95])
@pytest.mark.parametrize("days", [10, 20, 70])
def test_phases_that_explain_nothing_are_not_used(rho: float, days: int) -> None:
    local = hours_from(MONDAY, days * 24, 20)
    for seed in range(5):
        series = weather(np.random.default_rng(seed), local.size, rho)[:, None]
        assert explaining_phases(series, local) is None


def test_the_season_that_explains_most_is_used() -> None:
    local = hours_from(MONDAY, 70 * 24, 20)
    hours = local / HOUR
    noise = np.random.default_rng(5).normal(size=local.size)
    daily = np.sin(2 * np.pi * hours / 24)
    weekday = ((hours // 24).astype(np.int64) % 7 == 3).astype(np.float64)
    cases = {
        Season.HOUR_OF_DAY: daily,
        Season.WEEKDAY: weekday,
        Season.HOUR_OF_WEEK: daily * weekday,
    }
    for season, level in cases.items():
        found = explaining_phases((2 * level + noise)[:, None], local)
        assert found is not None
        phases, explained = found
        assert phases.season is season
        assert explained == pytest.approx(np.var(2 * level) / (np.var(2 * level) + 1), abs=0.02)
    nine_weeks = local < local[0] + 63 * 24 * HOUR
    found = explaining_phases((2 * daily * weekday + noise)[nine_weeks, None], local[nine_weeks])
    assert found is not None
    assert found[0].season is Season.HOUR_OF_DAY
    assert explaining_phases((2 * weekday + noise)[:, None], local, most_phases=6) is None


def test_times_outside_the_calendar_are_an_error() -> None:
    with pytest.raises((ValueError, OverflowError)):
        local_times(np.array([-(10**17)]), "UTC")
