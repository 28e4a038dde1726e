"""Columns of a file of which nothing is known but the file: what each one holds is read from its values."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlmon.columns import level_names
from mlmon.exceptions import ReferenceFileError
from mlmon.schema import Feature, FeatureKind, TensorType
from mlmon.tables import PARQUET_MAGIC, ReferenceTable, TableLimits

Column: TypeAlias = "pa.ChunkedArray[Any]"  # pyarrow's classes take no parameters at run time

BOOLEAN_TEXTS = {"true": "true", "True": "true", "TRUE": "true", "false": "false", "False": "false", "FALSE": "false"}
LEADING_ZERO = r"^\s*-?0[0-9]"  # such as a postal code: a number would lose it
MOSTLY = 0.9  # of the values are numbers, and yet the column is one of texts: worth a word


class ColumnKind(StrEnum):
    """What a column of a file holds."""

    NUMBER = "number"
    BOOLEAN = "boolean"  # as the texts "true" and "false"
    TEXT = "text"
    TIME = "time"
    EMPTY = "empty"


class ComparedFileError(Exception):
    """A file that cannot be compared. The message names the file, and the column and row where there is one."""


@dataclass(frozen=True, slots=True)
class FileColumn:
    """One column of a file.

    Attributes
    ----------
    kind
        What it holds.
    values
        float64 of numbers, timestamp (microseconds, local time) of times, else string; null where a value is missing.
    texts
        The values as the file has them, where it has texts (each column of CSV); else None.
    is_single
        Whether the file keeps its numbers in single precision.
    note
        What a reader may want to know about how it was read; "" where there is nothing.
    """

    kind: ColumnKind
    values: Column
    texts: "Column | None" = None
    is_single: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class FileTable:
    """The columns of a file, and why others were not read, by name."""

    path: Path
    n_rows: int
    columns: Mapping[str, FileColumn]
    unread: Mapping[str, str]


def read_columns(path: Path, limits: TableLimits, *, ignored: Collection[str] = (), zone: str = "") -> FileTable:
    """Read every column of a CSV or Parquet file into memory.

    Parameters
    ----------
    path
        Told apart by content, not by name.
    limits
        What is refused for its size.
    ignored
        Names of columns that are not looked at.
    zone
        In whose local time the times are that a file gives with a zone, such as "America/New_York"; "" leaves each
        in its own zone. A time without a zone is taken as it stands.

    Raises
    ------
    ComparedFileError
        The file, or a value in it, cannot be read.
    """
    if not path.is_file():
        raise ComparedFileError(f"There is no file {path}.")
    try:
        names = ReferenceTable(path, (), limits).column_names
        _refuse_twins(names)
        wanted = [name for name in names if name not in ignored]
        table = _read_parquet(path, wanted, limits) if _is_parquet(path) else _read_csv(path, wanted, limits)
        return replace(table, columns={name: _in_local_time(column, zone) for name, column in table.columns.items()})
    except (ReferenceFileError, OSError) as error:
        hint = " A column can be left out with --ignore." if "Column " in str(error) else ""
        raise ComparedFileError(f"{path}: {error}{hint}") from error


def column_of_texts(texts: Column) -> FileColumn:
    """Return a column of texts as what its values, all of them, turn out to be."""
    present = texts.drop_null()
    if not len(present):
        return FileColumn(ColumnKind.EMPTY, texts, texts)
    if pc.all(pc.is_in(present, value_set=pa.array(list(BOOLEAN_TEXTS)))).as_py():
        return FileColumn(ColumnKind.BOOLEAN, _booleans(texts), texts)
    trimmed = pc.utf8_trim_whitespace(texts)
    if (numbers := _numbers(trimmed)) is not None:
        if pc.any(pc.match_substring_regex(present, LEADING_ZERO)).as_py():
            return FileColumn(ColumnKind.TEXT, texts, texts, note="read as text: some of its numbers start with a zero")
        return FileColumn(ColumnKind.NUMBER, numbers, texts)
    if (times := _times(trimmed)) is not None:
        return FileColumn(ColumnKind.TIME, times, texts)
    return FileColumn(ColumnKind.TEXT, texts, texts, note=_stray_text(trimmed))


def as_levels(column: FileColumn) -> FileColumn:
    """Return a column as one of levels: numbers become their texts, whole ones without a point."""
    if column.kind is not ColumnKind.NUMBER:
        return column if column.texts is None else FileColumn(ColumnKind.TEXT, column.texts, column.texts)
    values = column.values.to_numpy().astype(np.float64, copy=False)
    return FileColumn(ColumnKind.TEXT, pa.chunked_array([level_names(values)]), column.texts)


def in_single_precision(column: FileColumn) -> FileColumn:
    """Return numbers as single precision has them: equal to those that were kept so."""
    return replace(column, values=column.values.cast(pa.float32(), safe=False).cast(pa.float64()), is_single=True)


def is_whole(numbers: Column) -> bool:
    """Return whether no number has a fraction."""
    return bool(pc.all(pc.equal(numbers, pc.trunc(numbers)), min_count=0).as_py())


def _refuse_twins(names: Sequence[str]) -> None:
    twins = [name for name, count in Counter(names).items() if count > 1]
    if twins:
        raise ReferenceFileError(f"Column {twins[0]!r} is in the file {names.count(twins[0])} times.")


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as content:
        return content.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC


def _read_csv(path: Path, names: Sequence[str], limits: TableLimits) -> FileTable:
    read, n_rows = _read(path, dict.fromkeys(names, TensorType.STRING), limits)
    return FileTable(path, n_rows, {name: column_of_texts(texts) for name, texts in read.items()}, {})


def _read_parquet(path: Path, names: Sequence[str], limits: TableLimits) -> FileTable:
    schema = pq.read_schema(path)
    types = {name: _tensor_type(schema.field(name).type) for name in names}
    read, n_rows = _read(path, {name: kind for name, kind in types.items() if kind is not None}, limits)
    columns: dict[str, FileColumn] = {}
    unread: dict[str, str] = {}
    for name, kind in types.items():
        if kind is not None:
            is_single = pa.types.is_float32(schema.field(name).type)
            columns[name] = replace(_parquet_column(kind, read[name]), is_single=is_single)
        elif _is_readable(schema.field(name).type):
            columns[name] = _cast_column(path, name)
        else:
            unread[name] = f"is of type {str(schema.field(name).type)[:80]}"
    return FileTable(path, n_rows, columns, unread)


def _read(path: Path, types: Mapping[str, TensorType], limits: TableLimits) -> tuple[dict[str, Column], int]:
    """Return the columns as string or float64, and the number of rows."""
    features = [Feature(name, FeatureKind.CATEGORICAL, False, "", 0, kind) for name, kind in types.items()]
    parts: dict[str, list[Any]] = {name: [] for name in types}
    n_rows = 0
    for batch in ReferenceTable(path, features, limits).batches():
        n_rows += batch.rows
        for name, kind in types.items():
            target = pa.string() if kind is TensorType.STRING else pa.float64()
            parts[name].append(pa.array(batch.columns[name], target, from_pandas=True))
    return {name: pa.chunked_array(chunks) for name, chunks in parts.items()}, n_rows


def _tensor_type(kind: Any) -> TensorType | None:
    """Return as what a Parquet column is read; None where it is none of these."""
    if pa.types.is_boolean(kind):
        return TensorType.BOOL
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return TensorType.FLOAT64
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_level = pa.types.is_dictionary(kind) and pa.types.is_integer(values)
    is_text = any(
        test(values)
        for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    )
    return TensorType.STRING if is_level or is_text else None


def _is_readable(kind: Any) -> bool:
    return pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_decimal(kind)


def _parquet_column(kind: TensorType, values: Column) -> FileColumn:
    if values.null_count == len(values):
        return FileColumn(ColumnKind.EMPTY, values.cast(pa.string()))
    if kind is TensorType.BOOL:
        return FileColumn(ColumnKind.BOOLEAN, pc.if_else(pc.equal(values, pa.scalar(1.0)), "true", "false"))
    if kind is not TensorType.STRING:
        return FileColumn(ColumnKind.NUMBER, values)
    # Who wrote numbers as texts where there are types for numbers means codes; for times, tools often do.
    times = _times(pc.utf8_trim_whitespace(values))
    return FileColumn(ColumnKind.TEXT, values, values) if times is None else FileColumn(ColumnKind.TIME, times, values)


def _cast_column(path: Path, name: str) -> FileColumn:
    """Return a column of times, dates or decimals, read in batches."""
    parts = []
    target: Any = pa.timestamp("us")
    for batch in pq.ParquetFile(path).iter_batches(columns=[name], use_threads=False):
        values = batch.column(0)
        if pa.types.is_decimal(values.type):
            target = pa.float64()
        elif pa.types.is_timestamp(values.type):
            target = pa.timestamp("us", values.type.tz)
        parts.append(values.cast(target, safe=False))
    kind = ColumnKind.NUMBER if pa.types.is_floating(target) else ColumnKind.TIME
    return FileColumn(kind, pa.chunked_array(parts, target))


def _booleans(texts: Column) -> Column:
    spellings = pa.array(list(BOOLEAN_TEXTS))
    names = pa.array(list(BOOLEAN_TEXTS.values()))
    return pa.chunked_array([names.take(pc.index_in(chunk, value_set=spellings)) for chunk in texts.chunks])


def _numbers(trimmed: Column) -> "Column | None":
    try:
        numbers = trimmed.cast(pa.float64())
    except pa.ArrowInvalid:
        return None
    present: Column = pc.if_else(pc.is_nan(numbers), None, numbers)
    return present


def _times(trimmed: Column) -> "Column | None":
    for target in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
        try:
            return trimmed.cast(target)
        except pa.ArrowInvalid:
            continue
    return None


def _in_local_time(column: FileColumn, zone: str) -> FileColumn:
    """Return times without their zone: as the clocks on the wall there showed them."""
    if column.kind is not ColumnKind.TIME or column.values.type.tz is None:
        return column
    times: Any = column.values
    own = zone or times.type.tz
    if own == "UTC":  # which needs no list of zones, and a machine may have none
        note = (
            "" if zone else "its hours are those of UTC, where summer time looks like drift; --zone says whose to take"
        )
        return replace(column, values=times.cast(pa.timestamp("us")), note=note)
    try:
        return replace(column, values=pc.local_timestamp(times.cast(pa.timestamp("us", own))))
    except pa.ArrowInvalid as error:
        raise ReferenceFileError(f"There is no time zone {own!r} on this machine.") from error


def _stray_text(trimmed: Column) -> str:
    """Return the first value that is no number, where nearly all are."""
    is_number = np.asarray(pc.match_substring_regex(trimmed, r"^[-+]?[0-9.]+([eE][-+]?[0-9]+)?$").fill_null(True))
    stray = int((~is_number).sum())
    present = len(trimmed) - trimmed.null_count
    if stray > (1 - MOSTLY) * present:
        return ""
    row = int(np.argmin(is_number))
    return (
        f"read as text: {stray:,} of its {present:,} values are no numbers, the first one in row {row + 1}: "
        f"{trimmed[row].as_py()[:60]!r}"
    )
