"""Times of columns without a schema: ISO 8601 and common written dates, and the parts of them that are compared.

A time is compared by its hour and its weekday only, so that a later file is not a changed one. Even these change if a
file covers only part of a day or of a week: a reference of a month has all weekdays, a window of one day has one. A
part is therefore compared only if both files cover enough whole cycles (`comparable_parts`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlmon.windows import Column

LOCAL: Any = pa.timestamp("us")
_MINUTES = r":(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
_HALF_AND_OFFSET = r"(?:\s?(?P<half>[AaPp]\.?[Mm]\.?))?(?:\s?(?P<offset>[Zz]|UTC|GMT|[-+]\d{2}(?::?\d{2})?))?"
_DATE = (
    r"(?:(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})"
    r"|(?P<part_1>\d{1,2})[-/.](?P<part_2>\d{1,2})[-/.](?P<year_last>\d{4}))"
)
CLOCK_TIME = rf"^\s*(?P<hour>\d{{1,2}}){_MINUTES}{_HALF_AND_OFFSET}\s*$"
DATE_TIME = rf"^\s*{_DATE}(?:(?:[Tt]|,?\s+)(?P<hour>\d{{1,2}})(?:{_MINUTES})?{_HALF_AND_OFFSET})?\s*$"
NO_OFFSET = -9999  # minutes; of a time without an offset
DAY_US = 86_400_000_000
WEEK_HOURS = 7 * 24
# Tuples, because pyarrow imports pandas when it builds an array, and a web process must not load pandas at start.
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
HOURS = tuple(f"{hour:02d}" for hour in range(24))
HOUR, WEEKDAY = "hour", "weekday"
FEWEST_DAYS = {HOUR: 7, WEEKDAY: 14}  # that a file must cover, so that a part can be compared
# Cohen's w between what the calendars of the two files alone would give. The verdict's smallest effect is .15; a month
# of 31 days against a long reference has .11.
LARGEST_CALENDAR_EFFECT = 0.12
OUTER_SHARE = 0.01  # of times at each end, which may be typing errors such as 1970-01-01, when the span is measured


class DateOrder(StrEnum):
    """The order of the parts of a date that does not begin with the year."""

    DAY_FIRST = "dd/mm/yyyy"
    MONTH_FIRST = "mm/dd/yyyy"


class AmbiguousDatesError(ValueError):
    """Day and month of the dates cannot be told apart; the message is the first such date."""


@dataclass(frozen=True, slots=True)
class Times:
    """A column of times.

    Attributes
    ----------
    local
        As clocks showed them: timestamp in microseconds without a zone, null for a missing or unreadable value.
    utc
        The instants, if every time has a zone or an offset; else None.
    zone
        The zone of `local`: "" if times have none, its name, "UTC", or "offset" if only offsets are known.
    has_date
        Whether they are more than times of a day.
    order
        How written dates were read; None if they began with the year.
    """

    local: Column
    utc: "Column | None" = None
    zone: str = ""
    has_date: bool = True
    order: DateOrder | None = None

    @property
    def has_clock(self) -> bool:
        """Whether a time is not midnight: dates alone have no hours to compare."""
        midnights = pc.floor_temporal(self.local, unit="day")
        return bool(pc.any(pc.not_equal(self.local, midnights)).as_py())

    def take(self, order: Any) -> "Times":
        """Return the times in another order."""
        return replace(self, local=self.local.take(order), utc=None if self.utc is None else self.utc.take(order))

    def in_zone(self, zone: str) -> "Times":
        """Return the times as clocks of a named zone showed them; those without a zone stay.

        Raises
        ------
        pyarrow.ArrowInvalid
            This machine does not know the zone.
        """
        if self.utc is None or zone == self.zone:
            return self
        if zone == "UTC":  # needs no time zone database, which a machine may lack
            return replace(self, local=self.utc, zone=zone)
        instants: Any = self.utc.cast(pa.timestamp("us", zone))
        local: Any = pc.local_timestamp(instants)
        return replace(self, local=local, zone=zone)


def times_of_arrow(values: Column) -> Times:
    """Return a column of Arrow timestamps.

    Raises
    ------
    pyarrow.ArrowInvalid
        This machine does not know its zone.
    """
    zone = getattr(values.type, "tz", None)
    if zone is None:
        return Times(values.cast(LOCAL, safe=False))
    utc: Any = values.cast(pa.timestamp("us", "UTC"), safe=False).cast(LOCAL)
    return Times(utc, utc, "UTC").in_zone("UTC" if zone in ("UTC", "Etc/UTC", "+00:00") else zone)


def times_of_strings(strings: Column, order: DateOrder | None) -> Times:
    """Return a column of written times; null for a string that is none.

    Parameters
    ----------
    strings
        Null for a missing value.
    order
        Of dates such as 03/04/2026; None to read it from the column: a part over 12 is the day.

    Raises
    ------
    AmbiguousDatesError
        The order is None, and no part decides it.
    """
    if (times := _iso_times(strings)) is not None:
        return times
    fields = _written_fields(strings, DATE_TIME)
    if not fields["is_read"].any():
        return _clock_times(strings)
    year_last = fields["is_read"] & (fields["year_last"] >= 0)
    if not year_last.any():
        order = None
    elif order is None:
        over = {
            DateOrder.DAY_FIRST: int((year_last & (fields["part_1"] > 12)).sum()),
            DateOrder.MONTH_FIRST: int((year_last & (fields["part_2"] > 12)).sum()),
        }
        order = max(over, key=lambda each: over[each])
        if len(set(over.values())) == 1:
            example = strings[int(np.argmax(year_last))].as_py()
            if any(over.values()) or example.count(".") < 2:  # mm.dd.yyyy is not written anywhere
                raise AmbiguousDatesError(example)
            order = DateOrder.DAY_FIRST
    is_day_first = order is DateOrder.DAY_FIRST
    year = np.where(year_last, fields["year_last"], fields["year"])
    month = np.where(year_last, fields["part_2" if is_day_first else "part_1"], fields["month"])
    day = np.where(year_last, fields["part_1" if is_day_first else "part_2"], fields["day"])
    months = np.clip((year - 1970) * 12 + month - 1, -24_000, 240_000).astype("datetime64[M]")
    dates = months.astype("datetime64[D]") + (day - 1)
    is_date = (month >= 1) & (month <= 12) & (day >= 1) & (dates.astype("datetime64[M]") == months)
    clock, is_clock = _clock_us(fields)
    local_us = dates.astype(np.int64) * DAY_US + clock
    is_read = fields["is_read"] & is_date & is_clock
    local = _timestamps(local_us, is_read)
    offsets = fields["offset"]
    if not is_read.any() or (offsets[is_read] == NO_OFFSET).any():
        return Times(local, order=order)
    utc = _timestamps(local_us - offsets.astype(np.int64) * 60_000_000, is_read)
    zone = "offset" if offsets[is_read].any() else "UTC"
    return Times(local, utc, zone, order=order)


def offsets_of_strings(strings: Column) -> NDArray[np.int64]:
    """Return the offsets of written times from UTC in minutes, shape (rows,); `NO_OFFSET` without one."""
    offsets: NDArray[np.int64] = _written_fields(strings, DATE_TIME)["offset"].astype(np.int64)
    return offsets


def in_one_zone(reference: Times, current: Times | None, zone: str) -> tuple[Times, Times | None]:
    """Return two columns of times as clocks of one zone showed them, if the zones of both are known.

    Parameters
    ----------
    zone
        The name of the zone; "" for that of the reference. Times of which only the offsets are known stay as they were
        written, unless the others are in UTC.

    Raises
    ------
    pyarrow.ArrowInvalid
        This machine does not know the zone.
    """
    if current is None:
        return reference.in_zone(zone) if zone else reference, None
    if reference.utc is None or current.utc is None or reference.zone == current.zone:
        pass  # as they are, unless the user named a zone
    elif not zone and reference.zone != "offset":
        zone = reference.zone
    elif not zone and current.zone == "UTC":
        zone = "UTC"
    return (reference.in_zone(zone), current.in_zone(zone)) if zone else (reference, current)


def parts_of(times: Times, part: str) -> "Column":
    """Return the hours or the weekdays of times by name."""
    names = pa.array(HOURS if part == HOUR else WEEKDAYS)
    indices: Any = pc.hour(times.local) if part == HOUR else pc.day_of_week(times.local)
    return pa.chunked_array([names.take(chunk) for chunk in indices.chunks], pa.string())


def comparable_parts(reference: Times, current: Times) -> tuple[list[str], Mapping[str, str]]:
    """Return the parts of times that can be compared, and why others cannot, by part.

    A part can be compared if both columns cover at least a week (two weeks for weekdays), and their calendars differ by
    little: if rows came at one rate, the shares of the part would have a Cohen's w of at most .12. Hours need a week,
    because the hours of a Sunday are not those of a Monday.
    """
    if not reference.has_date:
        return [HOUR], {}
    parts = [HOUR, WEEKDAY] if reference.has_clock else [WEEKDAY]
    spans = [_span_hours(times) for times in (reference, current)]
    if None in spans:  # a column without a value: its missing values are compared
        return parts, {}
    compared, reasons = [], {}
    for part in parts:
        (first, n_before), (second, n_now) = ((span, span[1] - span[0]) for span in spans if span is not None)
        before, now = _calendar_shares(first, part), _calendar_shares(second, part)
        shortest = min(n_before, n_now)
        if shortest < 24 * FEWEST_DAYS[part] * (1 - 3 * OUTER_SHARE):  # the span is without the outer times
            reasons[part] = (
                f"{part}s are compared only if both files cover {FEWEST_DAYS[part]} days; "
                f"the {'reference' if n_before == shortest else 'current file'} covers {_days(shortest)}"
            )
        elif float(np.sqrt(((now - before) ** 2 / (before + now) * 2).sum())) > LARGEST_CALENDAR_EFFECT:
            reasons[part] = f"{part}s are not compared, because the times that the files cover differ in their {part}s"
        else:
            compared.append(part)
    return compared, reasons


def _days(hours: int) -> str:
    days = -(-hours // 24)
    return f"{days} day{'' if days == 1 else 's'} or less"


def _span_hours(times: Times) -> tuple[int, int] | None:
    """Return the first hour and the hour after the last, since 1970, without the outermost times."""
    values = np.sort(np.asarray(times.local.drop_null().cast(pa.int64())))
    if not values.size:
        return None
    outer = int(values.size * OUTER_SHARE)
    first, last = int(values[outer]), int(values[values.size - 1 - outer])
    unit = DAY_US // 24 if times.has_clock else DAY_US
    return first // unit * (unit * 24 // DAY_US), (last // unit + 1) * (unit * 24 // DAY_US)


def _calendar_shares(span: tuple[int, int], part: str) -> NDArray[np.float64]:
    """Return the share of each hour of the day, or of each weekday, in a span of hours."""
    cycle = 24 if part == HOUR else WEEK_HOURS
    first, end = span
    whole, rest = divmod(end - first, cycle)
    hours = (first + 3 * 24 + np.arange(rest)) % cycle  # 1970-01-01 was a Thursday
    counts = np.bincount(hours, minlength=cycle) + whole
    shares: NDArray[np.float64] = counts.reshape(24 if part == HOUR else 7, -1).sum(axis=1) / max(1, end - first)
    return shares


def _iso_times(strings: Column) -> Times | None:
    """Return times if all are in ISO 8601 in one form, which Arrow reads fast; else None."""
    short = strings
    for _ in range(2):
        try:
            return Times(short.cast(LOCAL))
        except pa.ArrowInvalid:
            pass
        try:
            utc = short.cast(pa.timestamp("us", "UTC")).cast(LOCAL)
            local = pc.replace_substring_regex(short, r"\s?(?:[Zz]|[-+]\d{2}(?::?\d{2})?)$", "").cast(LOCAL)
        except pa.ArrowInvalid:
            short = pc.replace_substring_regex(strings, r"(\.\d{6})\d{1,3}", r"\1")
            continue
        is_utc = pc.all(pc.equal(local, utc), min_count=0).as_py()
        return Times(local, utc, "UTC" if is_utc else "offset")
    return None


def _clock_times(strings: Column) -> Times:
    """Return times of a day, on the first day of 1970."""
    fields = _written_fields(strings, CLOCK_TIME)
    clock, is_clock = _clock_us(fields)
    return Times(_timestamps(clock, fields["is_read"] & is_clock), has_date=False)


def _clock_us(fields: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return microseconds since midnight, and whether they are a time of a day."""
    hour, minute, second, half = (fields[name].astype(np.int64) for name in ("hour", "minute", "second", "half"))
    is_clock = (minute < 60) & (second <= 60) & np.where(half >= 0, (hour >= 1) & (hour <= 12), hour < 24)
    hour = np.where(half >= 0, hour % 12 + 12 * half, np.maximum(hour, 0))
    clock = ((hour * 60 + np.maximum(minute, 0)) * 60 + np.maximum(second, 0)) * 1_000_000
    return clock + np.maximum(fields["fraction"], 0), is_clock


def _written_fields(strings: Column, pattern: str) -> dict[str, NDArray[Any]]:
    """Return the parts of written times as whole numbers, -1 for an absent part, and whether each is one at all."""
    found: dict[str, list[Any]] = {}
    for chunk in strings.chunks:
        groups = pc.extract_regex(chunk, pattern)
        found.setdefault("is_read", []).append(np.asarray(groups.is_valid()))
        for field in groups.type:
            texts = pc.struct_field(groups, field.name).fill_null("")
            if field.name == "fraction":
                texts = pc.utf8_slice_codeunits(pc.utf8_rpad(texts, 6, "0"), 0, 6)
                numbers = np.asarray(texts.cast(pa.int32()))
            elif field.name == "half":
                numbers = np.asarray(
                    pc.index_in(pc.utf8_slice_codeunits(pc.utf8_lower(texts), 0, 1), pa.array(["a", "p"])).fill_null(-1)
                )
            elif field.name == "offset":
                numbers = _offset_minutes(texts)
            else:
                numbers = np.asarray(pc.if_else(pc.equal(texts, pa.scalar("")), "-1", texts).cast(pa.int32()))
            found.setdefault(field.name, []).append(numbers)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _offset_minutes(texts: Any) -> NDArray[np.int64]:
    """Return offsets such as +02:00 in minutes, 0 for Z, and `NO_OFFSET` without one."""
    written = texts.dictionary_encode()
    minutes = []
    for text in written.dictionary.to_pylist():
        digits = text[1:].replace(":", "").ljust(4, "0")
        sign = {"+": 1, "-": -1}.get(text[:1], 0)
        minutes.append(sign * (int(digits[:2]) * 60 + int(digits[2:])) if sign else NO_OFFSET if text == "" else 0)
    return np.asarray(pa.array(minutes, pa.int64()).take(written.indices))


def _timestamps(us: NDArray[np.int64], is_valid: NDArray[np.bool_]) -> "Column":
    return pa.chunked_array([pa.array(us, pa.int64(), mask=~is_valid).cast(LOCAL)])
