"""Reading the columns of a file or table without a schema into memory, before the kind of each is known."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mlmon.exceptions import ComparisonInputError, ReferenceFileError, RowValueError
from mlmon.tables import NO_ROWS, ReadOptions, TableFile, TableFormat, TableLimits
from mlmon.values import decoded_strings, is_plain, shown, string_lengths
from mlmon.windows import Column

PANDAS_INDEX = re.compile(r"__index_level_\d+__")


@dataclass(frozen=True, slots=True)
class RawColumn:
    """One column as the file has it.

    Attributes
    ----------
    values
        string, float64, bool or timestamp; null for a value that the file format marks as missing (in Parquet and Arrow
        also NaN).
    is_written
        Whether the file has no types, so that the strings are numbers, times and booleans as they were written (CSV).
    is_single
        Whether numbers are stored in single precision.
    is_integer
        Whether numbers are stored as whole ones.
    is_clock
        Whether times are times of a day.
    """

    values: Column
    is_written: bool = False
    is_single: bool = False
    is_integer: bool = False
    is_clock: bool = False


@dataclass(frozen=True, slots=True)
class FileTable:
    """The columns of a file, by name.

    Attributes
    ----------
    label
        In error messages: the path as it was given.
    name
        In notes and reports: the name of the file.
    names
        Of all columns but the ignored ones, in their order.
    all_names
        Of all columns.
    columns
        Those that can be read.
    unread
        The types of the others, such as lists.
    index_columns
        Names of columns that are the index of a data frame.
    format
        What was detected in the file.
    rows
        How many rows were read.
    is_complete
        Whether these are all rows of the file.
    """

    label: str
    name: str
    names: tuple[str, ...]
    all_names: frozenset[str]
    columns: Mapping[str, RawColumn]
    unread: Mapping[str, Any]
    index_columns: frozenset[str]
    format: TableFormat
    rows: int
    is_complete: bool = True


def read_table(
    source: Path | pa.Table,
    limits: TableLimits,
    *,
    ignored: Collection[str] = (),
    encoding: str = "",
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
    encoding
        Of a CSV file; "" for UTF-8, or UTF-16 with a byte order mark.
    name
        Of an Arrow table, for messages.

    Raises
    ------
    ComparisonInputError
        The file cannot be read.
    """
    label, name = (str(source), source.name) if isinstance(source, Path) else (name, name)
    if isinstance(source, Path) and not source.exists():
        raise ComparisonInputError(f"There is no file {source}.")
    try:
        table = read_columns(source, limits, ReadOptions(encoding, ignored=frozenset(ignored)))
    except (ReferenceFileError, OSError) as error:
        hint = " To leave the column out, ignore it (--ignore)." if str(error).startswith("Column ") else ""
        raise ComparisonInputError(f"{label}: {error}{hint}") from error
    return replace(table, label=label, name=name)


def read_columns(
    source: Path | pa.Table,
    limits: TableLimits,
    options: ReadOptions = ReadOptions(),  # noqa: B008 -- immutable
    *,
    most_cells: int | None = None,
) -> FileTable:
    """Read every column of a table into memory; label and name stay empty.

    Parameters
    ----------
    most_cells
        Stop after the batch of rows with which this many values have been read; None to read all rows.

    Raises
    ------
    ReferenceFileError
        The file cannot be read.
    """
    file = TableFile(source, limits, replace(options, ignored=frozenset()))
    names = [column for column in file.column_names if column not in options.ignored]
    types: dict[str, Any] = {} if file.schema is None else dict(zip(file.schema.names, file.schema.types, strict=True))
    readable = [column for column in names if file.schema is None or _can_be_read(types[column])]
    parts: dict[str, list[Any]] = {column: [] for column in readable}
    rows = text_bytes = 0
    is_complete = True
    for batch, _ in file.arrow_batches(readable):
        if most_cells is not None and rows * len(readable) >= most_cells:
            is_complete = False
            break
        rows += batch.num_rows
        for column, values in zip(readable, batch.columns, strict=True):
            lengths = string_lengths(values)
            text_bytes += 0 if lengths is None else int(lengths.sum())
            if text_bytes > limits.text_bytes:
                raise ReferenceFileError(
                    f"The strings of the file take more than {limits.text_bytes:,} bytes, the limit."
                )
            parts[column].append(_plain(values, column, rows - batch.num_rows))
    if not rows and readable:
        raise ReferenceFileError(NO_ROWS)
    return FileTable(
        label="",
        name="",
        names=tuple(names),
        all_names=frozenset(file.column_names),
        columns={column: _raw_column(chunks, types.get(column)) for column, chunks in parts.items()},
        unread={column: types[column] for column in names if column not in parts},
        # In CSV too, which a program may have written of such a Parquet file.
        index_columns=frozenset({*file.index_columns, *filter(PANDAS_INDEX.fullmatch, names)}),
        format=file.format,
        rows=rows,
        is_complete=is_complete,
    )


def _raw_column(chunks: Sequence[Any], kind: Any) -> RawColumn:
    """Return a column of an Arrow type; None for CSV."""
    values = pa.chunked_array(chunks)
    if kind is None:
        return RawColumn(values, is_written=True)
    is_integer = pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale <= 0)
    is_single, is_clock = pa.types.is_float32(kind), pa.types.is_time(kind)
    return RawColumn(values, is_single=is_single, is_integer=is_integer, is_clock=is_clock)


def _can_be_read(kind: Any) -> bool:
    types = pa.types
    values = kind.value_type if types.is_dictionary(kind) else kind
    return is_plain(values) or any(test(values) for test in (types.is_date, types.is_time, types.is_duration))


def _plain(values: Any, name: str, rows_before: int) -> Any:
    """Return the values of a batch as string, float64, bool or timestamp."""
    types = pa.types
    if types.is_dictionary(values.type):
        values = values.dictionary_decode()
        if types.is_integer(values.type) or types.is_floating(
            values.type
        ):  # codes, such as those of pandas' categories
            values = pc.if_else(pc.is_nan(values), None, values) if types.is_floating(values.type) else values
            return values.cast(pa.string())
    kind = values.type
    if types.is_boolean(kind):
        return values
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        numbers = values.cast(pa.float64(), safe=False)
        return pc.if_else(pc.is_nan(numbers), None, numbers)
    if types.is_duration(kind):
        return pc.divide(values.cast(pa.duration("us"), safe=False).cast(pa.int64()).cast(pa.float64()), 1e6)
    if types.is_timestamp(kind) or types.is_date(kind):
        return values.cast(pa.timestamp("us", getattr(kind, "tz", None)), safe=False)
    if types.is_time(kind):
        return values.cast(pa.time64("us"), safe=False).cast(pa.int64()).cast(pa.timestamp("us"))
    try:
        return decoded_strings(name, values)
    except RowValueError as error:
        row = rows_before + error.row + 1
        raise ReferenceFileError(f"Column {shown(name)}, row {row}: {error.reason}.") from error
