"""Columns of times as instants, in microseconds since 1970 in UTC: from Arrow's times, strings and Unix times."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlmon.column_kinds import NUMBER, THIS_CENTURY
from mlmon.detection.phases import MICROSECONDS_PER_SECOND, NO_TIME, local_times
from mlmon.exceptions import TimeValueError
from mlmon.time_zones import instants_of_clocks
from mlmon.times import DAY_US, NO_OFFSET, AmbiguousDatesError, offsets_of_strings, times_of_strings
from mlmon.values import shown
from mlmon.windows import Column

FIRST_SECOND, END_SECOND = -2_208_988_800, 4_102_444_800  # 1900-01-01 and 2100-01-01 since 1970
UNITS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
EXPECTED = "expected a time from 1900 to 2100, such as 2026-01-31T14:05:00Z"


def instants_of(values: Column, zone: str, *, with_numbers: bool, decimal_point: str = ".") -> NDArray[np.int64]:
    """Return a column of times as instants.

    Parameters
    ----------
    values
        Timestamps, dates, numbers, or strings: times as `mlmon.times` reads them, or numbers as a CSV file has them.
        Null for a missing value.
    zone
        The IANA name of the time zone of values without an offset. An hour that its clocks showed twice is the first
        one.
    with_numbers
        Whether numbers are Unix times from 2000 to 2100, all of them in seconds, milliseconds or microseconds.
    decimal_point
        Of numbers in strings.

    Returns
    -------
    numpy.ndarray
        Microseconds since 1970 in UTC, `NO_TIME` for a missing value, shape (rows,).

    Raises
    ------
    TimeValueError
        For the first value that is no time from 1900 to 2100, or that no clock of the zone has shown.
    """
    kind = values.type
    if values.null_count == len(values):
        return np.full(len(values), NO_TIME, dtype=np.int64)
    if pa.types.is_date(kind):
        return _of_timestamps(values.cast(pa.timestamp("s" if pa.types.is_date32(kind) else "ms")), zone)
    if pa.types.is_timestamp(kind):
        return _of_timestamps(values, zone)
    if pa.types.is_string(kind):
        numerals: Any = values if decimal_point in (".", "") else pc.replace_substring(values, decimal_point, ".")
        if not pc.match_substring_regex(numerals[_first(values.is_valid())], NUMBER).as_py():
            return _of_strings(values, zone)
        numerals = pc.if_else(pc.match_substring_regex(numerals, NUMBER), numerals, None)
        return _of_numbers(numerals.cast(pa.float64()), values, with_numbers)
    if pa.types.is_floating(kind):
        values = pc.if_else(pc.is_nan(values), None, values)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _of_numbers(values.cast(pa.float64(), safe=False), values, with_numbers)
    raise TimeValueError(_first(values.is_valid()), f"{EXPECTED}, got a value of the type {str(kind)[:80]}")


def _of_timestamps(values: Any, zone: str) -> NDArray[np.int64]:
    first, end = (pa.scalar(second * UNITS_PER_SECOND[values.type.unit]) for second in (FIRST_SECOND, END_SECOND))
    ticks = values.cast(pa.int64())
    # Others may overflow in microseconds.
    near: Any = pc.if_else(pc.and_(pc.greater_equal(ticks, first), pc.less(ticks, end)), values, None)
    times = _integers(near.cast(pa.timestamp("us", values.type.tz), safe=False))
    return _checked(times, np.full(times.size, values.type.tz is not None), values, zone)


def _of_strings(values: Column, zone: str) -> NDArray[np.int64]:
    try:
        times = times_of_strings(values, None)
    except AmbiguousDatesError as error:
        row = _first(pc.equal(values, pa.scalar(str(error))))
        reason = f"the day or the month may be first in {shown(str(error))}; write the year first: yyyy-mm-dd"
        raise TimeValueError(row, reason) from error
    if times.utc is not None:
        return _checked(_integers(times.utc), np.ones(len(values), dtype=np.bool_), values, zone)
    if not times.has_date:
        row = _first(values.is_valid())
        raise TimeValueError(row, f"{EXPECTED}, got {_shown(values, row)}")
    local, offsets = _integers(times.local), offsets_of_strings(values)
    has_offset = (local != NO_TIME) & (offsets != NO_OFFSET)
    local[has_offset] -= offsets[has_offset] * 60 * MICROSECONDS_PER_SECOND
    return _checked(local, has_offset, values, zone)


def _of_numbers(numbers: Any, values: Column, with_numbers: bool) -> NDArray[np.int64]:
    """Return Unix times, in the unit in which the first one is of this century."""
    if values.null_count == len(values):
        return np.full(len(values), NO_TIME, dtype=np.int64)
    row = _first(values.is_valid())
    if not with_numbers:
        raise TimeValueError(row, f"{_shown(values, row)} is a number, which is a time only if its column is named")
    unix = np.array(numbers.to_numpy(), dtype=np.float64)  # NaN for a missing value, and for one that is no number
    first, end = THIS_CENTURY
    per_second = next((unit for unit in (1, 10**3, 10**6) if first * unit <= unix[row] < end * unit), 1)
    is_time = (unix >= first * per_second) & (unix < end * per_second)
    if (wrong := np.asarray(values.is_valid()) & ~is_time).any():
        row = int(np.argmax(wrong))
        expected = (
            "expected a Unix time from 2000 to 2100, in seconds, milliseconds or microseconds as in the first row"
        )
        raise TimeValueError(row, f"{expected}, got {_shown(values, row)}")
    times = np.full(unix.size, NO_TIME, dtype=np.int64)
    times[is_time] = np.rint(unix[is_time] * (MICROSECONDS_PER_SECOND // per_second)).astype(np.int64)
    return times


def _checked(times: NDArray[np.int64], has_offset: NDArray[np.bool_], values: Column, zone: str) -> NDArray[np.int64]:
    """Return instants; raise for the first value that is none.

    Parameters
    ----------
    times
        Instants where `has_offset` is true, elsewhere what the clocks of the zone showed; `NO_TIME` for a value that is
        missing or could not be read.
    """
    is_far = (times < FIRST_SECOND * MICROSECONDS_PER_SECOND) | (times >= END_SECOND * MICROSECONDS_PER_SECOND)
    if (wrong := is_far & np.asarray(values.is_valid())).any():  # NO_TIME is far too
        row = int(np.argmax(wrong))
        raise TimeValueError(row, f"{EXPECTED}, got {_shown(values, row)}")
    is_local = ~is_far & ~has_offset
    local = times[is_local]
    times[is_local] = instants_of_clocks(local, zone)
    is_clock = local % DAY_US != 0  # a date begins with its first instant, even if that is not midnight
    if (never := is_clock & (local_times(times[is_local], zone) != local)).any():
        row = int(np.flatnonzero(is_local)[np.argmax(never)])
        reason = f"clocks in {zone} never showed {_shown(values, row)}, as they were set forward"
        raise TimeValueError(row, f"{reason}; add the offset, or change the time zone of the model")
    return times


def _integers(timestamps: Any) -> NDArray[np.int64]:
    """Return timestamps in microseconds as integers, `NO_TIME` for null."""
    return np.array(timestamps.cast(pa.int64()).fill_null(NO_TIME).to_numpy(), dtype=np.int64)


def _first(is_one: Any) -> int:
    """Return the first row for which a column of booleans is true."""
    return int(np.argmax(np.asarray(is_one.fill_null(False))))


def _shown(values: Column, row: int) -> str:
    return shown(values.slice(row, 1).cast(pa.string())[0].as_py(), 60)
