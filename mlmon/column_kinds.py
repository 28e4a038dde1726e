"""The kind of a column without a schema, inferred from the reference, and both files' columns read by it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlmon.file_columns import RawColumn
from mlmon.times import DateOrder, Times, times_of_arrow, times_of_strings
from mlmon.values import (
    FALSE_STRINGS,
    LARGEST_EXACT_INTEGER,
    MISSING_STRINGS,
    TRUE_STRINGS,
    TextFormat,
    category_name,
    category_names,
)
from mlmon.windows import Column

NUMBER = r"(?i)^[-+]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[-+]?[0-9]+)?|inf|infinity)$"
LEADING_ZERO = r"^[-+]?0[0-9]+$"  # such as a postal code: a number would lose it
UUID = r"(?i)^\{?[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\}?$"
MOSTLY = 0.9  # share of readable values from which on the others are stray
FEW_NUMBERS = 20  # different ones; with more, numbers among as many other strings are a quantity, not categories
THIS_CENTURY = (946_684_800, 4_102_444_800)  # 2000-01-01 and 2100-01-01 in seconds since 1970
SAMPLE = 1000  # values that are tried before a whole column is
FEWEST_IN_SAMPLE = 30  # values; with fewer, most of the column is missing, and the others are the sample
WORTH_TRYING = 0.3  # share of readable values in the sample from which on the whole column is read
_BOOLEANS: Any = dict.fromkeys(TRUE_STRINGS, 1.0) | dict.fromkeys(FALSE_STRINGS, 0.0)


class ColumnKind(StrEnum):
    """What a column of a file holds."""

    NUMBER = "number"
    BOOLEAN = "boolean"
    STRING = "string"
    TIME = "time"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class ColumnType:
    """How a column is read in both files, as the reference shows it.

    Attributes
    ----------
    kind
        What the column holds.
    date_order
        Of written dates; None if they have none.
    has_named_numbers
        Whether its strings are numbers that are names, so that NA is missing in it.
    note
        What a reader may want to know about the choice; "" if there is nothing.
    """

    kind: ColumnKind
    date_order: DateOrder | None = None
    has_named_numbers: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class FileColumn:
    """One column, read.

    Attributes
    ----------
    type
        How it was read.
    values
        float64 for numbers, "true" and "false" for booleans, string for strings; null for a missing or an unreadable
        value. For times, those that local clocks showed.
    times
        Of a column of times.
    is_single
        Whether numbers are stored in single precision.
    n_present
        How many values are not missing, unreadable ones included.
    n_distinct
        How many different strings there are; 0 for other kinds.
    n_unreadable
        How many values are not of the kind.
    first_row, first_value
        The first of them; rows are counted from 1.
    spelled_missing
        How many strings of a CSV file are categories that are missing values elsewhere, such as NA, by string.
    """

    type: ColumnType
    values: Column
    times: Times | None = None
    is_single: bool = False
    n_present: int = 0
    n_distinct: int = 0
    n_unreadable: int = 0
    first_row: int = 0
    first_value: str = ""
    spelled_missing: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_mostly_unreadable(self) -> bool:
        """Whether more than half of the values are not of the kind."""
        return 2 * self.n_unreadable > self.n_present

    def take(self, order: Any) -> "FileColumn":
        """Return the column in another order of rows."""
        times = None if self.times is None else self.times.take(order)
        return replace(self, values=self.values.take(order), times=times)


def read_reference(
    column: RawColumn, text: TextFormat, date_order: DateOrder | None = None, *, are_names: bool = False
) -> FileColumn:
    """Return a column of the reference, and how it was read.

    Parameters
    ----------
    text
        How strings are written.
    date_order
        Of dates such as 03/04/2026; None to read it from the column.
    are_names
        Whether its numbers are names.

    Raises
    ------
    AmbiguousDatesError
        It holds dates whose day and month cannot be told apart.
    """
    values, kind = column.values, _kind_of_arrow(column.values)
    if kind is not None:
        is_named = are_names and kind is ColumnKind.NUMBER
        found = ColumnType(ColumnKind.STRING, has_named_numbers=True) if is_named else ColumnType(kind)
        return read_column(column, found, text)
    sample = _without(_evenly_spaced(values), ("", *text.missing, *MISSING_STRINGS)).drop_null()
    if len(sample) < FEWEST_IN_SAMPLE:
        given = _without(values, ("", *text.missing)).drop_null()
        present = _without(given, MISSING_STRINGS).drop_null()
        if not len(present):
            is_string = len(given) and not column.is_written
            return read_column(column, ColumnType(ColumnKind.STRING if is_string else ColumnKind.EMPTY), text)
        sample = _evenly_spaced(present)
    if _readable_share(_numbers(sample, text)) > WORTH_TRYING:
        numbers = read_column(column, ColumnType(ColumnKind.NUMBER), text)
        found = _type_of_numbers(numbers, column)
        if are_names and found.kind is ColumnKind.NUMBER:
            found = ColumnType(ColumnKind.STRING, has_named_numbers=True)
        return numbers if found == numbers.type else read_column(column, found, text)
    if (
        not are_names
        and _readable_share(times_of_strings(sample, date_order or DateOrder.DAY_FIRST).local) > WORTH_TRYING
    ):
        times = read_column(column, ColumnType(ColumnKind.TIME, date_order), text)
        if not times.is_mostly_unreadable:
            return times
    return read_column(column, ColumnType(ColumnKind.STRING), text)


def read_column(column: RawColumn, kind: ColumnType, text: TextFormat) -> FileColumn:
    """Return a column, read as the reference's type.

    Raises
    ------
    AmbiguousDatesError
        It holds dates whose day and month cannot be told apart, and the reference does not settle their order.
    """
    values = column.values
    is_string = pa.types.is_string(values.type)
    if kind.kind in (ColumnKind.STRING, ColumnKind.EMPTY):
        return _read_strings(column, kind, text)
    if values.null_count == len(values):
        values, is_string = pa.chunked_array([pa.nulls(len(values), pa.string())]), True
    if kind.kind is ColumnKind.NUMBER and is_string and not text.missing:
        numbers = _all_numbers(values, text)
        if numbers is not None:
            return FileColumn(kind, numbers, n_present=len(numbers) - numbers.null_count)
    if is_string:
        values = _without(values, ("", *MISSING_STRINGS, *text.missing))
    if kind.kind is ColumnKind.TIME:
        return _read_times(column, kind, values)
    read = _booleans(values, text) if kind.kind is ColumnKind.BOOLEAN else _numbers(values, text)
    return _with_unreadable(FileColumn(kind, read, is_single=column.is_single), values)


def identifier_reason(column: FileColumn, raw: RawColumn) -> str:
    """Return why the values of a column of the reference identify rows; "" if they do not."""
    present = column.values.drop_null()
    if column.type.kind is ColumnKind.NUMBER:
        if _only_increases(column.values):
            return "Its whole numbers only increase, as row numbers and times do."
        if unit := _unit_of_times(present):
            return f"Its numbers are times, in {unit} since 1970."
        beyond: Any = pc.greater_equal(pc.abs(present), pa.scalar(float(LARGEST_EXACT_INTEGER)))
        if 2 * beyond.filter(beyond).length() > len(present) and (raw.is_integer or _are_digits(raw)):
            return "Most of its whole numbers are beyond 2^53, as identifiers are."
    if column.type.kind is ColumnKind.STRING and len(present):
        if column.n_distinct > 0.5 * len(present) and len(present) >= 30:
            return f"{column.n_distinct:,} of its {len(present):,} values differ, as identifiers do."
        if column.n_distinct > 50 and pc.all(pc.match_substring_regex(present, UUID)).as_py():
            return "Its values are UUIDs."
    return ""


def is_distinct_whole(column: FileColumn) -> bool:
    """Return whether a column has whole numbers only, and each once."""
    if column.type.kind is not ColumnKind.NUMBER or column.values.null_count or not is_whole(column.values):
        return False
    distinct: Any = pc.count_distinct(column.values).as_py()
    return bool(distinct == len(column.values))


def as_categories(column: FileColumn) -> FileColumn:
    """Return a column as a categorical one: numbers become their names, whole ones without a point."""
    if column.type.kind is not ColumnKind.NUMBER:
        return column
    values = column.values.to_numpy().astype(np.float64, copy=False)
    return replace(column, type=ColumnType(ColumnKind.STRING), values=pa.chunked_array([category_names(values)]))


def in_single_precision(column: FileColumn) -> FileColumn:
    """Return numbers in single precision: equal to those that were stored so."""
    return replace(column, values=column.values.cast(pa.float32(), safe=False).cast(pa.float64()), is_single=True)


def is_whole(numbers: Column) -> bool:
    """Return whether no number has a fraction."""
    return bool(pc.all(pc.equal(numbers, pc.trunc(numbers)), min_count=0).as_py())


def spelled_plainly(categories: Column) -> Column:
    """Return numbers that are names without a point if whole, unless two spellings of one number are two names."""
    encoded = categories.combine_chunks().dictionary_encode()
    names: list[Any] = encoded.dictionary.to_pylist()
    plain = [name if name in _BOOLEANS else _meaning(name) or name for name in names]
    if len(set(plain)) < len(plain):
        return categories
    return pa.chunked_array([pa.array(plain, pa.string()).take(encoded.indices)])


def spelled_as(current: Column, reference: Column) -> Column:
    """Return categories as the reference spells them: `1` for `1.0` or `True`, if it has one spelling of each value.

    Booleans mean numbers only if neither column has other strings than booleans and numbers.
    """
    encoded = current.combine_chunks().dictionary_encode()
    names: list[Any] = encoded.dictionary.to_pylist()
    known: list[Any] = reference.drop_null().unique().to_pylist()
    if set(names) <= set(known):
        return current
    meanings = {name: _meaning(name) for name in {*names, *known}}
    if None not in meanings.values():
        numbers = {"true": "1", "false": "0"}
        meanings = {name: numbers.get(meaning or "", meaning) for name, meaning in meanings.items()}
    spellings: dict[str, list[str]] = {}
    for name in known:
        if meaning := meanings[name]:
            spellings.setdefault(meaning, []).append(name)
    known_names = set(known)
    spelled = []
    for name in names:
        same = spellings.get(meanings[name] or "", [])
        spelled.append(same[0] if name not in known_names and len(same) == 1 else name)
    return pa.chunked_array([pa.array(spelled, pa.string()).take(encoded.indices)])


def _meaning(name: str) -> str | None:
    """Return one spelling for all spellings of a number or a boolean; None for other strings."""
    if name in _BOOLEANS:
        return "true" if _BOOLEANS[name] else "false"
    stripped = name.strip()
    digits = stripped.lstrip("-")
    if not digits or not (digits[0].isdecimal() or digits[0] == ".") or not stripped.isascii() or "_" in stripped:
        return None
    if digits[0] == "0" and digits[1:2].isdecimal():  # a code that starts with a zero is not the number without it
        return None
    try:
        return category_name(float(stripped))
    except ValueError:
        return None


def _type_of_numbers(read: FileColumn, column: RawColumn) -> ColumnType:
    """Return the type of strings many of which are numbers or booleans, given what could be read as a number."""
    numbers, strings = read.values, column.values
    if column.is_written and pc.any(_is_one_of(_evenly_spaced(strings), tuple(_BOOLEANS))).as_py():
        n_booleans = len(numbers.filter(pc.is_in(numbers, value_set=pa.array([0.0, 1.0]))))
        if n_booleans >= MOSTLY * read.n_present:
            return ColumnType(ColumnKind.BOOLEAN)
    if read.n_unreadable > (1 - MOSTLY) * read.n_present:
        n_distinct: Any = pc.count_distinct(numbers, mode="only_valid").as_py()
        if read.is_mostly_unreadable or n_distinct <= FEW_NUMBERS:
            return ColumnType(ColumnKind.STRING)
    if is_whole(numbers):
        if not column.is_written:  # strings in a format that has types for numbers are codes
            return ColumnType(ColumnKind.STRING)
        zeros = strings.filter(pc.starts_with(pc.utf8_ltrim(strings, "-+ "), "0"))
        if pc.any(pc.match_substring_regex(zeros, LEADING_ZERO)).as_py():
            note = "some of its numbers start with a zero, as codes do, so it is compared as categories"
            return ColumnType(ColumnKind.STRING, note=note)
    return ColumnType(ColumnKind.NUMBER)


def _kind_of_arrow(values: Column) -> ColumnKind | None:
    """Return the kind of a column whose type shows it; None for strings."""
    if values.null_count == len(values):
        return ColumnKind.EMPTY
    if pa.types.is_boolean(values.type):
        return ColumnKind.BOOLEAN
    if pa.types.is_floating(values.type):
        return ColumnKind.NUMBER
    return ColumnKind.TIME if pa.types.is_timestamp(values.type) else None


def _read_strings(column: RawColumn, kind: ColumnType, text: TextFormat) -> FileColumn:
    values: Any = column.values
    if pa.types.is_timestamp(values.type) and values.null_count < len(values):
        return _with_unreadable(FileColumn(kind, pa.chunked_array([pa.nulls(len(values), pa.string())])), values)
    if pa.types.is_floating(values.type):
        values = pa.chunked_array([category_names(values.to_numpy().astype(np.float64, copy=False))])
    encoded = values.cast(pa.string()).dictionary_encode().combine_chunks()
    names: Any = encoded.dictionary
    has_missing_spellings = kind.kind is ColumnKind.EMPTY or kind.has_named_numbers
    names = _without(names, ("", *text.missing, *(MISSING_STRINGS if has_missing_spellings else ())))
    strings = pa.chunked_array([names.take(encoded.indices)])
    spelled: dict[str, int] = {}
    if column.is_written:
        counts = np.bincount(np.asarray(encoded.indices.drop_null()), minlength=len(names))
        places = np.flatnonzero(np.asarray(_is_one_of(names, MISSING_STRINGS)) & (counts > 0)).tolist()
        spelled = {names[place].as_py(): int(counts[place]) for place in places}
    return FileColumn(
        kind,
        strings,
        n_present=len(strings) - strings.null_count,
        n_distinct=len(names) - names.null_count,
        spelled_missing=spelled,
    )


def _numbers(values: Any, text: TextFormat) -> Column:
    """Return values as float64, booleans as 1 and 0; null for one that is missing or no number."""
    if pa.types.is_timestamp(values.type):
        return pa.chunked_array([pa.nulls(len(values), pa.float64())])
    numbers: Any = _all_numbers(values, text)
    if numbers is not None:
        return cast(Column, numbers)
    if len(values) > 2 * SAMPLE and len(_evenly_spaced(values).unique()) < SAMPLE // 4:
        encoded: Any = values.dictionary_encode().combine_chunks()
        of_names: Any = _numbers(pa.chunked_array([encoded.dictionary]), text).combine_chunks()
        return pa.chunked_array([of_names.take(encoded.indices)])
    trimmed: Any = pc.utf8_trim_whitespace(_with_point(values, text))
    is_number = pc.match_substring_regex(trimmed, NUMBER)
    numbers = pc.if_else(is_number, trimmed, None).cast(pa.float64())
    words: Any = pc.index_in(trimmed, pa.array(list(_BOOLEANS)))
    of_words = pa.array(list(_BOOLEANS.values()), pa.float64())
    numbers = pc.coalesce(numbers, pa.chunked_array([of_words.take(chunk) for chunk in words.chunks], pa.float64()))
    return cast(Column, pc.if_else(pc.is_nan(numbers), None, numbers))


def _all_numbers(values: Column, text: TextFormat) -> "Column | None":
    """Return values as numbers if all that are not null are written as numbers."""
    try:
        numbers: Any = _with_point(values, text).cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    return cast(Column, pc.if_else(pc.is_nan(numbers), None, numbers))


def _with_point(values: Any, text: TextFormat) -> Any:
    """Return written numbers with a decimal point."""
    if text.decimal_point == "." or not pa.types.is_string(values.type):
        return values
    with_point = pc.match_substring(values, ".")  # which is no thousands separator either, but an error
    return pc.if_else(with_point, "a point", pc.replace_substring(values, text.decimal_point, "."))


def _booleans(values: Column, text: TextFormat) -> Column:
    """Return values as "true" and "false", 1 and 0 included; null for one that is missing or neither."""
    numbers: Any = _numbers(values, text)
    is_true, is_false = (pc.equal(numbers, pa.scalar(number)) for number in (1.0, 0.0))
    booleans: Any = pc.if_else(is_true, "true", pc.if_else(is_false, "false", pa.scalar(None, pa.string())))
    return cast(Column, booleans)


def _read_times(column: RawColumn, kind: ColumnType, values: Column) -> FileColumn:
    if pa.types.is_timestamp(values.type):
        times = times_of_arrow(values)
        times = replace(times, has_date=not column.is_clock)
    elif pa.types.is_string(values.type):
        times = times_of_strings(values, kind.date_order)
    else:
        times = Times(pa.chunked_array([pa.nulls(len(values), pa.timestamp("us"))]))
    kind = replace(kind, date_order=times.order or kind.date_order)
    return _with_unreadable(FileColumn(kind, times.local, times), values)


def _with_unreadable(column: FileColumn, values: Column) -> FileColumn:
    """Return the column with the count and the first of the values that could not be read."""
    n_present = len(values) - values.null_count
    n_unreadable = column.values.null_count - values.null_count
    if n_unreadable <= 0:
        return replace(column, n_present=n_present)
    is_unreadable = np.asarray(column.values.is_null()) & np.asarray(values.is_valid())
    row = int(np.argmax(is_unreadable))
    value = str(values[row].as_py())
    return replace(column, n_present=n_present, n_unreadable=n_unreadable, first_row=row + 1, first_value=value)


def _are_digits(raw: RawColumn) -> bool:
    if not pa.types.is_string(raw.values.type):
        return False
    long = raw.values.filter(pc.greater_equal(pc.binary_length(raw.values), pa.scalar(16))).drop_null()
    return bool(pc.all(pc.match_substring_regex(long, r"^\s*[-+]?[0-9]+\s*$")).as_py())


def _evenly_spaced(values: Any) -> Any:
    """Return about `SAMPLE` values from all parts of a column."""
    step = max(1, len(values) // SAMPLE)
    parts = [chunk.take(pa.array(range(0, len(chunk), step), pa.int64())) for chunk in values.chunks]
    return pa.chunked_array(parts, values.type)


def _without(strings: Any, missing: Collection[str]) -> Any:
    """Return strings with null for those that are missing."""
    return pc.if_else(_is_one_of(strings, missing), None, strings)


def _is_one_of(strings: Any, spellings: Collection[str]) -> Any:
    return pc.is_in(strings, value_set=pa.array(list(spellings), pa.string()))


def _unit_of_times(numbers: Column) -> str:
    """Return the unit of numbers all of which are times of this century; "" if they are not."""
    extremes: Any = pc.min_max(numbers).as_py()
    for unit, factor in {"seconds": 1.0, "milliseconds": 1e3, "microseconds": 1e6}.items():
        if len(numbers) and THIS_CENTURY[0] * factor <= extremes["min"] <= extremes["max"] < THIS_CENTURY[1] * factor:
            distinct: Any = pc.count_distinct(numbers).as_py()
            return unit if distinct > FEW_NUMBERS else ""
    return ""


def _only_increases(numbers: Column) -> bool:
    if len(numbers) < 3 or numbers.null_count or not is_whole(numbers):
        return False
    values = numbers.combine_chunks()
    return bool(pc.all(pc.greater(values.slice(1), values.slice(0, len(values) - 1))).as_py())


def _readable_share(values: Column) -> float:
    return 1 - values.null_count / max(1, len(values))
