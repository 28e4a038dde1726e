"""Phases of rows, such as the hour of day, and whether they explain a feature."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

FEWEST_CYCLES = 10  # that a reference must cover
FEWEST_CYCLES_OF_PHASE = 8  # with rows in the phase: a day of 23 hours or a holiday may lack it
FEWEST_ROWS_OF_PHASE = 20
LARGEST_SHARE_WITHOUT_PHASE = 0.1  # of the reference's rows, in phases with fewer
SMALLEST_EXPLAINED = 0.01  # of the squared deviations, when predicted from the other cycles
MICROSECONDS_PER_SECOND = 1_000_000
MICROSECONDS_PER_HOUR = 3600 * MICROSECONDS_PER_SECOND
SECONDS_PER_QUARTER = 900
HOURS_FROM_MONDAY = 72  # 1970-01-01 was a Thursday
NO_TIME = int(np.iinfo(np.int64).min)  # of NaT


class Season(StrEnum):
    """What the phase of a row is."""

    HOUR_OF_DAY = "hour_of_day"
    WEEKDAY = "weekday"
    HOUR_OF_WEEK = "hour_of_week"

    @property
    def phases(self) -> int:
        """The number of phases. One more code, which equals it, is for rows without a time."""
        return {Season.HOUR_OF_DAY: 24, Season.WEEKDAY: 7, Season.HOUR_OF_WEEK: 168}[self]

    @property
    def phase_hours(self) -> int:
        """The length of a phase."""
        return 24 if self is Season.WEEKDAY else 1

    def codes(self, local: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the phase of each row by its wall clock (`local_times`), 0 to `phases`; weeks start on Monday."""
        hours = local // MICROSECONDS_PER_HOUR + HOURS_FROM_MONDAY
        return np.where(local == NO_TIME, self.phases, hours // self.phase_hours % self.phases)

    def cycles(self, local: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return a number for the day or week of each row; weeks start on Monday."""
        hours = local // MICROSECONDS_PER_HOUR + HOURS_FROM_MONDAY
        return hours // (self.phases * self.phase_hours)


def local_times(times: NDArray[np.int64] | NDArray[np.datetime64], zone: str) -> NDArray[np.int64]:
    """Return the wall-clock time of each row in a time zone, as microseconds.

    An hour that occurs twice when daylight saving ends has the same phase both times.

    Parameters
    ----------
    times
        Microseconds since 1970 in UTC, or datetime64 in UTC, shape (rows,). NaT is a row without a time.
    zone
        A name of the IANA database, such as "Europe/Berlin". A quarter of an hour has the offset of its start; few
        zones change their offset within one (Gaza, at 00:01).

    Raises
    ------
    zoneinfo.ZoneInfoNotFoundError
        There is no such zone.
    ValueError, OverflowError
        A time is outside the years 1 to 9999.
    """
    local = times.astype("datetime64[us]").astype(np.int64) if times.dtype.kind == "M" else times.astype(np.int64)
    is_known = local != NO_TIME
    clock = ZoneInfo(zone)
    local[is_known] += quarter_offsets(
        local[is_known], lambda seconds: datetime.fromtimestamp(seconds, clock).utcoffset()
    )
    return local


def quarter_offsets(times: NDArray[np.int64], offset_at: Callable[[int], timedelta | None]) -> NDArray[np.int64]:
    """Return the offset of each time in microseconds: that of the start of its quarter of an hour, asked for once.

    Parameters
    ----------
    times
        Microseconds since 1970, by UTC or by a wall clock, shape (rows,).
    offset_at
        Returns the offset at a number of seconds since 1970; None is an offset of 0.
    """
    quarters, places = np.unique(times // (SECONDS_PER_QUARTER * MICROSECONDS_PER_SECOND), return_inverse=True)
    offsets = np.zeros(quarters.size, dtype=np.int64)
    for place, number in enumerate(quarters.tolist()):
        offset = offset_at(number * SECONDS_PER_QUARTER)
        offsets[place] = round(offset.total_seconds() * MICROSECONDS_PER_SECOND) if offset else 0
    return offsets[places]


@dataclass(frozen=True, slots=True, eq=False)
class RowMeans:
    """The mean of its phase for each row of a reference, without some or all of its own cycle, shape (m, series).

    Attributes
    ----------
    predicted
        Of the other cycles alone.
    corrected
        The mean from which residuals have the variance of the rows themselves.
    """

    predicted: NDArray[np.float64]
    corrected: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ReferencePhases:
    """The phases of a reference of m rows.

    Attributes
    ----------
    season
        What a phase is.
    codes
        The phase of each row, shape (m,).
    cells
        A number for the phase in its own day or week, shape (m,).
    has_own
        Whether rows in a phase are compared with the reference's rows in this phase, else with all rows, shape
        (phases + 1,). The latter are phases that the reference shows too seldom, and rows without a time.
    """

    season: Season
    codes: NDArray[np.int64]
    cells: NDArray[np.int64]
    has_own: NDArray[np.bool_]

    @property
    def rows(self) -> NDArray[np.float64]:
        """Rows of the reference that a phase is compared with, shape (phases + 1,)."""
        counts = np.bincount(self.codes, minlength=self.has_own.size)
        return np.where(self.has_own, counts, self.codes.size).astype(np.float64)

    def means(self, series: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the means of series, shape (m, series), among the rows of each phase, shape (phases + 1, series)."""
        size = self.has_own.size
        counts = np.maximum(np.bincount(self.codes, minlength=size), 1)
        of_phase = np.stack([np.bincount(self.codes, column, size) / counts for column in series.T], axis=1)
        return np.where(self.has_own[:, None], of_phase, series.mean(axis=0))

    def row_means(self, series: NDArray[np.float64], means: NDArray[np.float64]) -> RowMeans:
        """Return the mean of its phase for each row of series, shape (m, series), without its own cycle.

        A mean contains the row's own cycle, so that deviations from it are too small: the variance of the means of a
        phase's C cycles by 1/C, if the cycles are independent and equally long. `predicted` moves the mean away from
        the row's cycle so far that the cycle is left out (the jackknife), `corrected` only so far that this variance is
        right (MacKinnon and White, *Journal of Econometrics* 29, 1985, call the estimates HC3 and HC2).

        Parameters
        ----------
        series, means
            Series and their means by phase (`means`).
        """
        in_cell = np.bincount(self.cells)
        in_phase = np.bincount(self.codes, minlength=self.has_own.size)[self.codes]
        is_own = self.has_own[self.codes]
        factor = np.where(is_own, in_phase / np.where(is_own, in_phase - in_cell[self.cells], 1), 1.0)[:, None]
        of_cell = np.stack([np.bincount(self.cells, column) for column in series.T], axis=1)
        own = means[self.codes]
        deviations = of_cell[self.cells] / in_cell[self.cells, None] - own
        return RowMeans(own - (factor - 1) * deviations, own - (np.sqrt(factor) - 1) * deviations)


def reference_phases(local: NDArray[np.int64], season: Season) -> ReferencePhases | None:
    """Return the phases of a reference, or None if it covers fewer than ten cycles or too few rows have a phase.

    Parameters
    ----------
    local
        The rows' wall-clock times (`local_times`), shape (m,).
    season
        What a phase is.
    """
    known = local[local != NO_TIME]
    if not known.size:
        return None
    size, first, last = season.phases + 1, int(known.min()), int(known.max())
    covered_hours = (last - first) / MICROSECONDS_PER_HOUR + season.phase_hours
    if covered_hours < FEWEST_CYCLES * season.phases * season.phase_hours:
        return None
    codes = season.codes(local)
    cycles = np.where(local == NO_TIME, 0, season.cycles(local) - season.cycles(np.array(first)))
    cells = cycles * size + codes
    rows = np.bincount(codes, minlength=size)
    cycles_of_phase = np.bincount(np.unique(cells) % size, minlength=size)
    has_own = (cycles_of_phase >= FEWEST_CYCLES_OF_PHASE) & (rows >= FEWEST_ROWS_OF_PHASE)
    has_own[-1] = False
    if rows[~has_own].sum() > LARGEST_SHARE_WITHOUT_PHASE * codes.size:
        return None
    return ReferencePhases(season, codes, cells, has_own)


def explaining_phases(
    series: NDArray[np.float64], local: NDArray[np.int64], *, most_phases: int = Season.HOUR_OF_WEEK.phases
) -> tuple[ReferencePhases, float] | None:
    """Return the phases that explain series best, and the share of their squared deviations that they explain.

    Each row is predicted by the mean of its phase in all other cycles, so that chance explains less than nothing. A
    season is used only if its squared errors are at least 1 % smaller than those of a simpler one, or of no season.

    Parameters
    ----------
    series
        Of the reference's rows, shape (m, series).
    local
        Their wall-clock times, shape (m,).
    most_phases
        Seasons with more phases are left out.
    """
    total = smallest = float(((series - series.mean(axis=0)) ** 2).sum())
    chosen = None
    for season in Season:
        phases = reference_phases(local, season) if season.phases <= most_phases else None
        if phases is None:
            continue
        predicted = phases.row_means(series, phases.means(series)).predicted
        errors = float(((series - predicted) ** 2).sum())
        if errors < (1 - SMALLEST_EXPLAINED) * smallest:
            smallest, chosen = errors, phases
    return None if chosen is None else (chosen, 1 - smallest / total)
