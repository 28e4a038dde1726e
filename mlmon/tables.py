"""Reading reference tables: CSV, Parquet or Arrow to feature columns, batch by batch, within limits.

Every error names the column and the row. Rows are counted from 1, without the header. `mlmon.values` says what a value
means.
"""

import codecs
import csv
import difflib
import io
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from mlmon.exceptions import ReferenceFileError, RowValueError
from mlmon.schema import Feature, TensorType
from mlmon.values import (
    MISSING_STRINGS,
    FeatureColumns,
    TextFormat,
    column_of_arrow,
    is_bytes,
    is_plain,
    is_string,
    plain_values,
    shown,
    string_bytes,
)

PARQUET_MAGIC = b"PAR1"
CSV_BLOCK_BYTES = 1 << 20
HEADER_BYTES = 1 << 20
BATCH_ROWS = 50_000
FIRST_ROWS = 1000  # of a preview of a column
NO_ROWS = "The file has a header but no rows."
_OTHER_FILES = {
    b"PK\x03\x04": "an Excel workbook or a zip file",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"\x1f\x8b": "compressed with gzip",
    b"PARE": "an encrypted Parquet file",
    codecs.BOM_UTF32_LE: "encoded as UTF-32",
    codecs.BOM_UTF32_BE: "encoded as UTF-32",
    codecs.BOM_UTF16_LE: "encoded as UTF-16",
    codecs.BOM_UTF16_BE: "encoded as UTF-16",
}
Batches: TypeAlias = Iterator[tuple[pa.RecordBatch, float]]  # with the share of the table that has been read (0 to 1)


@dataclass(frozen=True, slots=True)
class TableLimits:
    """Limits of a reference table: a small file can hold a very large one.

    Attributes
    ----------
    file_bytes
        Of the file on disk.
    rows, cells
        Of the table; cells are rows times columns of the file.
    uncompressed_bytes
        Of the columns of a Parquet file, according to its metadata.
    text_bytes
        Of all strings of the features together: a Parquet file holds a string once, however many rows have it.
    """

    file_bytes: int
    rows: int
    cells: int = 100_000_000
    uncompressed_bytes: int = 2_000_000_000
    text_bytes: int = 1_000_000_000


UNLIMITED = TableLimits(*[sys.maxsize] * 5)


@dataclass(frozen=True, slots=True)
class TableBatch:
    """Some rows of a table: one array for each feature, and the share of the table that has been read (0 to 1)."""

    columns: FeatureColumns
    rows: int
    fraction: float


class TableFile:
    """An opened CSV or Parquet file, or an Arrow table.

    Parameters
    ----------
    source
        A CSV file (UTF-8, comma, header) or a Parquet file, recognised by its content; or an Arrow table.
    limits
        Larger tables are rejected.

    Attributes
    ----------
    column_names
        As the source has them.
    schema
        The types of the columns; None for CSV, which has none.
    text
        How values are written in CSV; None if they have types.

    Raises
    ------
    ReferenceFileError
        The source as a whole cannot be used: its encoding, its header, its size.
    """

    def __init__(self, source: Path | pa.Table, limits: TableLimits) -> None:
        self._limits = limits
        self._source = _ArrowTable(source) if isinstance(source, pa.Table) else _open_file(source, limits)
        self.column_names, self.schema = self._source.names, self._source.schema
        self.text = TextFormat() if self.schema is None else None
        _check_rows(self._source.known_rows, len(self.column_names), limits)

    @property
    def plain_columns(self) -> list[str]:
        """The columns of strings, numbers, booleans and times."""
        if self.schema is None:
            return self.column_names
        return [field.name for field in self.schema if is_plain(field.type)]

    def arrow_batches(self, columns: Sequence[str]) -> Batches:
        """Yield rows as the source holds them; in CSV every value is bytes."""
        rows = 0
        for batch, fraction in self._source.batches(columns):
            rows += batch.num_rows
            _check_rows(rows, len(self.column_names), self._limits)
            yield batch, fraction

    def raw_rows(
        self, columns: Sequence[str], *, labels: Collection[str] = ()
    ) -> Iterator[tuple[list[dict[str, object]], float]]:
        """Yield rows by column name, and the share of the file that has been read (0 to 1), batch by batch.

        Values are those of the file: strings, numbers, booleans, times, None for missing. In the columns `labels` of a
        CSV file only an empty cell is missing, because "NA" and "None" may be classes.

        Raises
        ------
        ReferenceFileError
            A column is missing, duplicate or of a type without such values, or the rest of the file cannot be read.
        """
        for name in columns:
            if self.column_names.count(name) != 1:
                found = "more than once" if name in self.column_names else "not"
                names = ", ".join(map(shown, self.column_names[:20]))
                raise ReferenceFileError(f"Column {shown(name)} is {found} in the file. It has: {names}.")
            if name not in self.plain_columns:
                raise ReferenceFileError(f"Column {shown(name)} has neither strings nor numbers nor booleans.")
        for batch, fraction in self.arrow_batches(columns):
            values = [plain_values(batch.column(name)) for name in columns]
            if self.text is not None:
                spellings = {*MISSING_STRINGS, *self.text.missing}
                for place, name in enumerate(columns):
                    if name not in labels:
                        values[place] = [None if value in spellings else value for value in values[place]]
            yield [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)], fraction

    def raw_labels(self, column: str) -> Iterator[list[object]]:
        """Yield the values of one column of labels, as `raw_rows` does."""
        for rows, _ in self.raw_rows([column], labels=[column]):
            yield [row[column] for row in rows]

    def first_values(self, columns: Sequence[str]) -> dict[str, list[object]]:
        """Return the first values of those of the columns that have plain ones."""
        wanted = [name for name in self.plain_columns if name in columns]
        batch = next((batch for batch, _ in self._source.batches(wanted)), None) if wanted else None
        return {} if batch is None else {name: plain_values(batch.column(name)[:FIRST_ROWS]) for name in wanted}


class ReferenceTable(TableFile):
    """A table with a column for each feature.

    Parameters
    ----------
    source, limits
        As of `TableFile`.
    features
        The columns to read.

    Attributes
    ----------
    ignored_columns
        Names of the columns that are not features.

    Raises
    ------
    ReferenceFileError
        The source as a whole cannot be used, or its columns or their types.
    """

    def __init__(self, source: Path | pa.Table, features: Sequence[Feature], limits: TableLimits) -> None:
        super().__init__(source, limits)
        self._features = features
        self.ignored_columns = _check_header(self.column_names, features)
        if self.schema is not None:
            _check_types(self.schema, features)

    def batches(self) -> Iterator[TableBatch]:
        """Yield the rows in the order of the table; ReferenceFileError at the first value that cannot be used."""
        rows = text_bytes = 0
        features = self._features
        for batch, fraction in self.arrow_batches([feature.name for feature in features]):
            try:
                text_bytes += sum(string_bytes(feature, batch.column(feature.name)) for feature in features)
                if text_bytes > self._limits.text_bytes:
                    raise ReferenceFileError(
                        f"The strings of the file take more than {self._limits.text_bytes:,} bytes, the limit."
                    )
                columns = {
                    feature.name: column_of_arrow(feature, batch.column(feature.name), self.text)
                    for feature in features
                }
            except RowValueError as error:
                hint = " Save the file as UTF-8." if "is not UTF-8" in error.reason else ""
                place = f"Column {shown(error.feature)}, row {rows + error.row + 1}"
                raise ReferenceFileError(f"{place}: {error.reason}.{hint}") from error
            rows += batch.num_rows
            yield TableBatch(columns=columns, rows=batch.num_rows, fraction=fraction)
        if rows == 0:
            raise ReferenceFileError(NO_ROWS)


class _Csv:
    """A CSV file. All columns are read as bytes and converted in `mlmon.values`, so that an error can name its row."""

    schema = None
    known_rows = 0

    def __init__(self, path: Path, start: bytes, size: int) -> None:
        self._path = path
        self._size = size
        if b"\x00" in start:
            raise ReferenceFileError("The file holds NUL bytes: it is neither CSV in UTF-8 nor Parquet.")
        self.names = _csv_header(start)

    def batches(self, columns: Sequence[str]) -> Batches:
        read = pyarrow.csv.ReadOptions(block_size=CSV_BLOCK_BYTES, use_threads=False)
        parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
        convert = pyarrow.csv.ConvertOptions(
            include_columns=list(columns),
            column_types=dict.fromkeys(columns, pa.binary()),
            strings_can_be_null=False,
            quoted_strings_can_be_null=False,
        )
        rows = 0
        with self._path.open("rb") as content:
            try:
                reader = pyarrow.csv.open_csv(content, read, parse, convert)
                for batch in reader:
                    rows += batch.num_rows
                    yield batch, min(1.0, content.tell() / self._size)
            except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
                raise ReferenceFileError(_csv_reason(str(error), rows)) from error


class _Parquet:
    """A Parquet file whose metadata is checked before a column is decoded."""

    def __init__(self, path: Path, limits: TableLimits) -> None:
        try:
            self.schema: pa.Schema = pq.ParquetFile(path).schema_arrow
            strings = [field.name for field in self.schema if is_string(field.type) or is_bytes(field.type)]
            # As dictionaries, so that a string that a million rows share is in memory once until its size is known.
            # Encodings that share parts of strings (DELTA_BYTE_ARRAY) cannot be read so, and are rejected.
            self._file = pq.ParquetFile(path, read_dictionary=strings)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise ReferenceFileError(f"The Parquet file is damaged or cut off: {error}") from error
        metadata = self._file.metadata
        self.names = list(self.schema.names)
        self.known_rows = metadata.num_rows
        uncompressed = sum(
            metadata.row_group(group).column(column).total_uncompressed_size
            for group in range(metadata.num_row_groups)
            for column in range(metadata.num_columns)
        )
        _check_rows(self.known_rows, len(self.names), limits)
        if uncompressed > limits.uncompressed_bytes:
            raise ReferenceFileError(
                f"The file unpacks to {uncompressed:,} bytes; the limit is {limits.uncompressed_bytes:,}."
            )

    def batches(self, columns: Sequence[str]) -> Batches:
        read = 0
        try:
            for batch in self._file.iter_batches(batch_size=BATCH_ROWS, columns=list(columns), use_threads=False):
                read += batch.num_rows
                yield batch, min(1.0, read / max(1, self.known_rows))
        except (pa.ArrowException, OSError) as error:
            reason = f"The Parquet file is damaged after row {read}: {error}"
            if "Not yet implemented" in str(error):
                reason = f"The Parquet file has an unsupported encoding ({error}). Write it with the usual encodings."
            raise ReferenceFileError(reason) from error


class _ArrowTable:
    """A table in memory."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.schema: pa.Schema = table.schema
        self.names = table.column_names
        self.known_rows = table.num_rows

    def batches(self, columns: Sequence[str]) -> Batches:
        read = 0
        for batch in self._table.select(list(columns)).to_batches(max_chunksize=BATCH_ROWS):
            read += batch.num_rows
            yield batch, read / max(1, self.known_rows)


def _open_file(path: Path, limits: TableLimits) -> _Csv | _Parquet:
    size = path.stat().st_size
    if size == 0:
        raise ReferenceFileError("The file is empty.")
    if size > limits.file_bytes:
        raise ReferenceFileError(f"The file has {size:,} bytes; the limit is {limits.file_bytes:,}.")
    with path.open("rb") as content:
        start = content.read(HEADER_BYTES)
    for magic, kind in _OTHER_FILES.items():
        if start.startswith(magic):
            raise ReferenceFileError(f"The file is {kind}; save it as CSV in UTF-8 or as Parquet.")
    return _Parquet(path, limits) if start.startswith(PARQUET_MAGIC) else _Csv(path, start, size)


def _check_rows(rows: int, columns: int, limits: TableLimits) -> None:
    if rows > limits.rows:
        raise ReferenceFileError(f"The file has {rows:,} rows or more; the limit is {limits.rows:,}.")
    if rows * columns > limits.cells:
        raise ReferenceFileError(f"The file has {rows * columns:,} cells or more; the limit is {limits.cells:,}.")


def _csv_header(start: bytes) -> list[str]:
    # Bytes that are not UTF-8 are kept: those of the body are found, with their place, when it is read.
    text = start.decode("utf-8-sig", errors="surrogateescape")
    try:
        names = next(csv.reader(io.StringIO(text, newline="")))
    except (csv.Error, StopIteration) as error:
        raise ReferenceFileError("The file has no header line that can be read.") from error
    if not any(names):
        raise ReferenceFileError("The file has no header line: its first line is empty.")
    for column, name in enumerate(names, start=1):
        if any("\udc80" <= character <= "\udcff" for character in name):
            raise ReferenceFileError(
                f"The header's column {column}, {shown(name)}, is not UTF-8. Save the file as UTF-8."
            )
    return names


def _csv_reason(message: str, rows_before: int) -> str:
    """Return pyarrow's message for a user: pyarrow counts the header as row 1."""
    found = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", message)
    if found:
        row, expected, got = (int(number) for number in found.groups())
        return f"Row {row - 1} has {got} values; the header has {expected}."
    if "Empty CSV file" in message:
        return NO_ROWS
    if "block boundaries" in message or "out of sync" in message:
        return f"After row {rows_before}: a quotation mark is never closed, or a row is longer than 1 MiB."
    return f"The CSV file cannot be read after row {rows_before}: {message}"


def _check_header(names: Sequence[str], features: Sequence[Feature]) -> list[str]:
    """Return the names of columns that are not features; raise if a feature is missing or duplicate."""
    wanted = [feature.name for feature in features]
    counts = Counter(names)
    for name in wanted:
        if counts[name] > 1:
            raise ReferenceFileError(f"Column {shown(name)} is in the file {counts[name]} times.")
    if missing := [name for name in wanted if name not in counts]:
        listed = ", ".join(map(shown, missing[:10])) + (f" and {len(missing) - 10} more" if missing[10:] else "")
        noun = "column" if len(missing) == 1 else "the columns"
        raise ReferenceFileError(f"The file lacks {noun} {listed}.{_suggestion(missing[0], names)}")
    known = set(wanted)
    # Escaped if they cannot be shown: PostgreSQL stores no NUL.
    return [name if name.isprintable() else repr(name)[1:-1] for name in names if name not in known]


def _suggestion(missing: str, names: Sequence[str]) -> str:
    for separator in ";\t|":
        if len(names) == 1 and separator in names[0]:
            return f" Its header is separated by {separator!r}; separate the values by commas."
    close = difflib.get_close_matches(missing, names[:1000], n=1)
    if close:
        return f" Is it the column {shown(close[0])}?"
    return f" It has: {', '.join(map(shown, names[:20]))}{', …' if len(names) > 20 else ''}."


def _check_types(schema: pa.Schema, features: Sequence[Feature]) -> None:
    """Reject columns by their type before they are read: one row of a list can hold any number of values."""
    for feature in features:
        kind = schema.field(feature.name).type
        values: Any = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not is_plain(values) or pa.types.is_timestamp(values):
            expected = "strings" if feature.tensor_type is TensorType.STRING else "numbers"
            raise ReferenceFileError(
                f"Column {shown(feature.name)} has the type {str(kind)[:80]} in the file; expected {expected}."
            )
