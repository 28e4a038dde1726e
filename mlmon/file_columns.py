"""Columns of a file or table without a schema: the kind of each column is inferred from its values."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlmon.exceptions import ComparisonInputError, ReferenceFileError
from mlmon.schema import Feature, FeatureKind, TensorType
from mlmon.tables import ReferenceTable, TableFile, TableLimits
from mlmon.values import MISSING_STRINGS, category_names
from mlmon.windows import Column

BOOLEANS = {"true": "true", "True": "true", "TRUE": "true", "false": "false", "False": "false", "FALSE": "false"}
LEADING_ZERO = r"^\s*-?0[0-9]"  # such as a postal code: a number would lose it
MOSTLY = 0.9  # share of numbers from which on a column of strings gets a note


class ColumnKind(StrEnum):
    """What a column of a file holds."""

    NUMBER = "number"
    BOOLEAN = "boolean"  # as the strings "true" and "false"
    TEXT = "text"
    TIME = "time"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class FileColumn:
    """One column of a file.

    Attributes
    ----------
    kind
        What it holds.
    values
        float64 for numbers, timestamp (microseconds, local time) for times, or else string; null for a missing value.
    strings
        The values as the file has them if it has strings (each column of CSV); else None.
    is_single
        Whether the file stores its numbers in single precision.
    note
        What a reader may want to know about how it was read; "" if there is nothing.
    """

    kind: ColumnKind
    values: Column
    strings: "Column | None" = None
    is_single: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class FileTable:
    """The columns of a file, and why others were not read, by name.

    Attributes
    ----------
    label
        In error messages: the path as it was given.
    name
        In notes and reports: the name of the file.
    """

    label: str
    name: str
    columns: Mapping[str, FileColumn]
    unread: Mapping[str, str]


def read_columns(
    source: Path | pa.Table,
    limits: TableLimits,
    *,
    ignored: Collection[str] = (),
    zone: str = "",
    name: str = "table",
) -> FileTable:
    """Read every column of a CSV file, a Parquet file or an Arrow table into memory.

    Parameters
    ----------
    source
        Files are recognised by their content, not by their name.
    limits
        Larger tables are rejected.
    ignored
        Names of columns that are not read.
    zone
        The local time to which times with a zone are converted, such as "America/New_York"; "" leaves each in its own
        zone. A time without a zone stays as it is.
    name
        Of an Arrow table, for messages.

    Raises
    ------
    ComparisonInputError
        The file, or a value in it, cannot be read.
    """
    label, name = (str(source), source.name) if isinstance(source, Path) else (name, name)
    if isinstance(source, Path) and not source.is_file():
        raise ComparisonInputError(f"There is no file {source}.")
    try:
        file = TableFile(source, limits)
        duplicates = [column for column, count in Counter(file.column_names).items() if count > 1]
        if duplicates:
            times = file.column_names.count(duplicates[0])
            raise ReferenceFileError(f"Column {duplicates[0]!r} is in the file {times} times.")
        wanted = [column for column in file.column_names if column not in ignored]
        columns, unread = _read_all(source, file, wanted, limits)
        columns = {column: _in_local_time(read, zone) for column, read in columns.items()}
        return FileTable(label, name, columns, unread)
    except (ReferenceFileError, OSError) as error:
        hint = " To leave the column out, ignore it (--ignore)." if "Column " in str(error) else ""
        raise ComparisonInputError(f"{label}: {error}{hint}") from error


def column_of_strings(strings: Column) -> FileColumn:
    """Return a column of strings as the kind that all its values have."""
    spelled = pc.is_in(strings, value_set=pa.array(MISSING_STRINGS))
    text, strings = strings, pc.if_else(spelled, pa.scalar(None, pa.string()), strings)
    present = strings.drop_null()
    if not len(present):
        return FileColumn(ColumnKind.EMPTY, strings, strings)
    if pc.all(pc.is_in(present, value_set=pa.array(list(BOOLEANS)))).as_py():
        spellings, names = pa.array(list(BOOLEANS)), pa.array(list(BOOLEANS.values()))
        chunks = [names.take(pc.index_in(chunk, value_set=spellings)) for chunk in strings.chunks]
        return FileColumn(ColumnKind.BOOLEAN, pa.chunked_array(chunks), strings)
    trimmed = pc.utf8_trim_whitespace(strings)
    try:
        numbers = trimmed.cast(pa.float64())
    except pa.ArrowInvalid:
        if (times := _times(trimmed)) is not None:
            return FileColumn(ColumnKind.TIME, times, strings)
        return FileColumn(ColumnKind.TEXT, text, text, note=_note_of_stray_string(trimmed))
    if pc.any(pc.match_substring_regex(present, LEADING_ZERO)).as_py():
        note = "read as text: some of its numbers start with a zero"
        return FileColumn(ColumnKind.TEXT, strings, strings, note=note)
    return FileColumn(ColumnKind.NUMBER, pc.if_else(pc.is_nan(numbers), None, numbers), strings)


def as_categories(column: FileColumn) -> FileColumn:
    """Return a column as a categorical one: numbers become their names, whole ones without a point."""
    if column.kind is not ColumnKind.NUMBER:
        return column if column.strings is None else FileColumn(ColumnKind.TEXT, column.strings, column.strings)
    values = column.values.to_numpy().astype(np.float64, copy=False)
    return FileColumn(ColumnKind.TEXT, pa.chunked_array([category_names(values)]), column.strings)


def in_single_precision(column: FileColumn) -> FileColumn:
    """Return numbers in single precision: equal to those that were stored so."""
    return replace(column, values=column.values.cast(pa.float32(), safe=False).cast(pa.float64()), is_single=True)


def is_whole(numbers: Column) -> bool:
    """Return whether no number has a fraction."""
    return bool(pc.all(pc.equal(numbers, pc.trunc(numbers)), min_count=0).as_py())


def _read_all(
    source: Path | pa.Table, file: TableFile, names: Sequence[str], limits: TableLimits
) -> tuple[dict[str, FileColumn], dict[str, str]]:
    """Return the columns, and why others cannot be read."""
    if file.schema is None:
        strings = _read(source, dict.fromkeys(names, TensorType.STRING), limits)
        return {name: column_of_strings(values) for name, values in strings.items()}, {}
    arrow_types: dict[str, Any] = {name: file.schema.field(name).type for name in names}
    types = {name: _tensor_type(kind) for name, kind in arrow_types.items()}
    read = _read(source, {name: kind for name, kind in types.items() if kind is not None}, limits)
    columns: dict[str, FileColumn] = {}
    unread: dict[str, str] = {}
    for name, kind in arrow_types.items():
        if (tensor_type := types[name]) is not None:
            column = _column_of_type(tensor_type, read[name])
            columns[name] = replace(column, is_single=pa.types.is_float32(kind))
        elif pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_decimal(kind):
            target: Any = pa.timestamp("us", getattr(kind, "tz", None))
            if pa.types.is_decimal(kind):
                target = pa.float64()
            parts = [batch.column(0).cast(target, safe=False) for batch, _ in file.arrow_batches([name])]
            column_kind = ColumnKind.NUMBER if pa.types.is_decimal(kind) else ColumnKind.TIME
            columns[name] = FileColumn(column_kind, pa.chunked_array(parts, target))
        else:
            unread[name] = f"has the type {str(kind)[:80]}"
    return columns, unread


def _read(source: Path | pa.Table, types: Mapping[str, TensorType], limits: TableLimits) -> dict[str, Column]:
    """Return the columns as string or float64."""
    if not types:
        return {}
    features = [Feature(name, FeatureKind.CATEGORICAL, False, "", 0, kind) for name, kind in types.items()]
    parts: dict[str, list[Any]] = {name: [] for name in types}
    for batch in ReferenceTable(source, features, limits).batches():
        for name, kind in types.items():
            target = pa.string() if kind is TensorType.STRING else pa.float64()
            parts[name].append(pa.array(batch.columns[name], target, from_pandas=True))
    return {name: pa.chunked_array(chunks) for name, chunks in parts.items()}


def _tensor_type(kind: Any) -> TensorType | None:
    """Return the type as which an Arrow column is read; None if it is none of these."""
    if pa.types.is_boolean(kind):
        return TensorType.BOOL
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return TensorType.FLOAT64
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_category = pa.types.is_dictionary(kind) and pa.types.is_integer(values)
    is_string = any(
        test(values)
        for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    )
    return TensorType.STRING if is_category or is_string else None


def _column_of_type(kind: TensorType, values: Column) -> FileColumn:
    if values.null_count == len(values):
        return FileColumn(ColumnKind.EMPTY, values.cast(pa.string()))
    if kind is TensorType.BOOL:
        return FileColumn(ColumnKind.BOOLEAN, pc.if_else(pc.equal(values, pa.scalar(1.0)), "true", "false"))
    if kind is not TensorType.STRING:
        return FileColumn(ColumnKind.NUMBER, values)
    # Numbers stored as strings in a format that has types for numbers are codes. Times often are stored so by tools.
    times = _times(pc.utf8_trim_whitespace(values))
    return FileColumn(ColumnKind.TEXT, values, values) if times is None else FileColumn(ColumnKind.TIME, times, values)


def _times(trimmed: Column) -> "Column | None":
    for target in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            return trimmed.cast(target)
        except pa.ArrowInvalid:
            continue
    return None


def _in_local_time(column: FileColumn, zone: str) -> FileColumn:
    """Return times without their zone, as local clocks showed them."""
    if column.kind is not ColumnKind.TIME or column.values.type.tz is None:
        return column
    times: Any = column.values
    own = zone or times.type.tz
    if own == "UTC":  # needs no time zone database, which a machine may lack
        note = "" if zone else "its hours are in UTC, so summer time looks like drift; use --zone to choose a time zone"
        return replace(column, values=times.cast(pa.timestamp("us")), note=note)
    try:
        return replace(column, values=pc.local_timestamp(times.cast(pa.timestamp("us", own))))
    except pa.ArrowInvalid as error:
        raise ReferenceFileError(f"There is no time zone {own!r} on this machine.") from error


def _note_of_stray_string(trimmed: Column) -> str:
    """Return a note with the first value that is not a number, if nearly all others are."""
    is_number = np.asarray(pc.match_substring_regex(trimmed, r"^[-+]?[0-9.]+([eE][-+]?[0-9]+)?$").fill_null(True))
    stray = int((~is_number).sum())
    present = len(trimmed) - trimmed.null_count
    if stray > (1 - MOSTLY) * present:
        return ""
    row = int(np.argmin(is_number))
    return (
        f"read as text: {stray:,} of its {present:,} values are not numbers, the first one in row {row + 1}: "
        f"{trimmed[row].as_py()[:60]!r}"
    )
