"""Reading reference files: CSV or Parquet to feature columns, batch by batch, within bounds.

Every refusal names the column and the row. Rows are counted from 1, without the header. In CSV an empty cell and the
spellings in `MISSING_TEXTS` are missing; a Parquet null or NaN is.
"""

import codecs
import csv
import difflib
import io
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mlmon.columns import FeatureColumns
from mlmon.exceptions import ReferenceFileError
from mlmon.schema import Feature, TensorType

MISSING_TEXTS = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None")
TRUE_TEXTS = ("true", "True", "TRUE", "1")
FALSE_TEXTS = ("false", "False", "FALSE", "0")
PARQUET_MAGIC = b"PAR1"
CSV_BLOCK_BYTES = 1 << 20
HEADER_BYTES = 1 << 20
BATCH_ROWS = 50_000
FIRST_ROWS = 1000  # of a look into a column
NO_ROWS = "The file has a header but no rows."
LARGEST_EXACT_INTEGER = 2.0**53
LONGEST_TEXT = 1000  # characters; serving takes no longer one either
TOO_LONG = f"is longer than the {LONGEST_TEXT} characters that are taken"
_WHOLE_NUMBERS = {TensorType.INT32: 2.0**31 - 1, TensorType.INT64: LARGEST_EXACT_INTEGER}
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
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
_MISSING: Any = None  # as a variable: comparing an array with a literal None reads as a mistake


@dataclass(frozen=True, slots=True)
class TableLimits:
    """Bounds of a reference file: a small file can hold a very large table.

    Attributes
    ----------
    file_bytes
        Of the file on the disk.
    rows, cells
        Of the table; cells are rows times columns of the file.
    uncompressed_bytes
        Of a Parquet file's columns as its metadata gives them.
    text_bytes
        Of all texts of the features together: a Parquet file holds a level once, however many rows have it.
    """

    file_bytes: int
    rows: int
    cells: int = 100_000_000
    uncompressed_bytes: int = 2_000_000_000
    text_bytes: int = 1_000_000_000


@dataclass(frozen=True, slots=True)
class TableBatch:
    """Some rows of the file: one array for each feature, and how much of the file has been read (0 to 1)."""

    columns: FeatureColumns
    rows: int
    fraction: float


class TableFile:
    """An opened CSV or Parquet file.

    Parameters
    ----------
    path
        A CSV file (UTF-8, comma, header) or a Parquet file; told apart by content.
    limits
        What is refused for its size.

    Raises
    ------
    ReferenceFileError
        The file as a whole cannot be used: its encoding, its header, its size.
    """

    def __init__(self, path: Path, limits: TableLimits) -> None:
        self._limits = limits
        size = path.stat().st_size
        if size == 0:
            raise ReferenceFileError("The file is empty.")
        if size > limits.file_bytes:
            raise ReferenceFileError(f"The file has {size:,} bytes; at most {limits.file_bytes:,} are taken.")
        with path.open("rb") as content:
            start = content.read(HEADER_BYTES)
        for magic, kind in _OTHER_FILES.items():
            if start.startswith(magic):
                raise ReferenceFileError(f"The file is {kind}; save it as CSV in UTF-8 or as Parquet.")
        self._source = _Parquet(path, limits) if start[:4] == PARQUET_MAGIC else _Csv(path, start, size)
        self.column_names = self._source.names

    def raw_rows(self, columns: Sequence[str]) -> Iterator[tuple[list[dict[str, object]], float]]:
        """Yield rows by column name, and the share of the file that has been read (0 to 1), batch by batch.

        Values are as they are in the file: texts, numbers, truth values, times, None for missing.

        Raises
        ------
        ReferenceFileError
            A column is missing or there twice, its type has no such values, or the file cannot be read on.
        """
        for name in columns:
            if self.column_names.count(name) != 1:
                is_there = "more than once" if name in self.column_names else "not"
                shown = ", ".join(_shown(one) for one in self.column_names[:20])
                raise ReferenceFileError(f"Column {name!r} is {is_there} in the file. It has: {shown}.")
            if name not in self._source.plain_columns():
                raise ReferenceFileError(f"Column {name!r} holds neither texts nor numbers nor truth values.")
        rows = 0
        for batch, fraction in self._source.batches(columns):
            rows += batch.num_rows
            _check_rows(rows, len(self.column_names), self._limits)
            values = [_plain_values(batch.column(name)) for name in columns]
            yield [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)], fraction

    def raw_values(self, column: str) -> Iterator[list[object]]:
        """Yield the values of one column, as `raw_rows` does."""
        for rows, _ in self.raw_rows([column]):
            yield [row[column] for row in rows]

    def first_values(self, columns: Sequence[str]) -> dict[str, list[object]]:
        """Return the first values of those of the columns that have plain ones: a look into the file."""
        wanted = [name for name in self._source.plain_columns() if name in columns]
        batch = next((batch for batch, _ in self._source.batches(wanted)), None) if wanted else None
        return {} if batch is None else {name: _plain_values(batch.column(name)[:FIRST_ROWS]) for name in wanted}


class ReferenceTable(TableFile):
    """A file with a column for each feature.

    Parameters
    ----------
    path, limits
        As of `TableFile`.
    features
        The columns to read.

    Raises
    ------
    ReferenceFileError
        The file as a whole cannot be used, or its columns or their types.
    """

    def __init__(self, path: Path, features: Sequence[Feature], limits: TableLimits) -> None:
        super().__init__(path, limits)
        self._features = features
        self.ignored_columns = _check_header(self.column_names, features)
        self._source.check_types(features)

    def batches(self) -> Iterator[TableBatch]:
        """Yield the rows in the order of the file; ReferenceFileError at the first value that cannot be used."""
        rows = text_bytes = 0
        wanted = [feature.name for feature in self._features]
        for batch, fraction in self._source.batches(wanted):
            _check_rows(rows + batch.num_rows, len(self._source.names), self._limits)
            text_bytes += sum(_text_bytes(feature, batch.column(feature.name), rows) for feature in self._features)
            if text_bytes > self._limits.text_bytes:
                raise ReferenceFileError(
                    f"The texts of the file take more than {self._limits.text_bytes:,} bytes; no more are taken."
                )
            columns = {
                feature.name: _feature_column(feature, batch.column(feature.name), rows) for feature in self._features
            }
            rows += batch.num_rows
            yield TableBatch(columns=columns, rows=batch.num_rows, fraction=fraction)
        if rows == 0:
            raise ReferenceFileError(NO_ROWS)


class _Csv:
    """A CSV file, all columns as bytes: decoding and numbers are ours, so that an error can name its row."""

    def __init__(self, path: Path, start: bytes, size: int) -> None:
        self._path = path
        self._size = size
        if b"\x00" in start:
            raise ReferenceFileError("The file holds NUL bytes: it is neither CSV in UTF-8 nor Parquet.")
        self.names = _csv_header(start)

    def check_types(self, features: Sequence[Feature]) -> None:
        """Take every column: a CSV file has no types."""

    def plain_columns(self) -> list[str]:
        """Return every column: a CSV file has no types."""
        return self.names

    def batches(self, wanted: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, float]]:
        read = pyarrow.csv.ReadOptions(block_size=CSV_BLOCK_BYTES, use_threads=False)
        parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
        convert = pyarrow.csv.ConvertOptions(
            include_columns=list(wanted),
            column_types=dict.fromkeys(wanted, pa.binary()),
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
    """A Parquet file whose metadata was checked before a column is decoded."""

    def __init__(self, path: Path, limits: TableLimits) -> None:
        try:
            schema = pq.ParquetFile(path).schema_arrow
            texts = [field.name for field in schema if _is_text(field.type) or _is_binary(field.type)]
            # As dictionaries, so that a text which a million rows share is in memory once until its size is known.
            # Encodings that share parts of texts (DELTA_BYTE_ARRAY) cannot be read so, and are refused.
            self._file = pq.ParquetFile(path, read_dictionary=texts)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise ReferenceFileError(f"The Parquet file is damaged or cut off: {error}") from error
        metadata = self._file.metadata
        self._schema = schema
        self.names = list(schema.names)
        _check_rows(metadata.num_rows, len(self.names), limits)
        uncompressed = sum(
            metadata.row_group(group).column(column).total_uncompressed_size
            for group in range(metadata.num_row_groups)
            for column in range(metadata.num_columns)
        )
        if uncompressed > limits.uncompressed_bytes:
            raise ReferenceFileError(
                f"The file unpacks to {uncompressed:,} bytes; at most {limits.uncompressed_bytes:,} are taken."
            )
        self._rows = metadata.num_rows

    def check_types(self, features: Sequence[Feature]) -> None:
        """Refuse columns by their type before they are read: one row of a list can hold any number of values."""
        for feature in features:
            kind = self._schema.field(feature.name).type
            values = kind.value_type if pa.types.is_dictionary(kind) else kind
            usable = _is_text(values) or _is_binary(values) or pa.types.is_integer(values) or pa.types.is_null(values)
            if feature.tensor_type is not TensorType.STRING:
                usable = usable or pa.types.is_floating(values) or pa.types.is_boolean(values)
            if not usable:
                expected = "text" if feature.tensor_type is TensorType.STRING else "a number"
                raise ReferenceFileError(
                    f"Column {feature.name!r} is of type {str(kind)[:80]} in the file; {expected} is expected."
                )

    def plain_columns(self) -> list[str]:
        """Return the columns of texts, numbers and truth values."""
        return [field.name for field in self._schema if _is_plain(field.type)]

    def batches(self, wanted: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, float]]:
        read = 0
        try:
            for batch in self._file.iter_batches(batch_size=BATCH_ROWS, columns=list(wanted), use_threads=False):
                read += batch.num_rows
                yield batch, min(1.0, read / max(1, self._rows))
        except (pa.ArrowException, OSError) as error:
            raise ReferenceFileError(_parquet_reason(str(error), read)) from error


def _check_rows(rows: int, columns: int, limits: TableLimits) -> None:
    if rows > limits.rows:
        raise ReferenceFileError(f"The file has {rows:,} rows or more; at most {limits.rows:,} are taken.")
    if rows * columns > limits.cells:
        raise ReferenceFileError(f"The file has {rows * columns:,} cells or more; at most {limits.cells:,} are taken.")


def _csv_header(start: bytes) -> list[str]:
    # Bytes that are not UTF-8 are kept as they are: those of the body are found, with their place, when it is read.
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
                f"The header's column {column}, {_shown(name)}, is not text in UTF-8. Save the file as UTF-8."
            )
    return names


def _parquet_reason(message: str, rows_before: int) -> str:
    if "Not yet implemented" in message:
        return f"The Parquet file has an encoding that is not read ({message}). Write it with the usual encodings."
    return f"The Parquet file is damaged after row {rows_before}: {message}"


def _csv_reason(message: str, rows_before: int) -> str:
    """Return pyarrow's message in our words: it counts the header as row 1."""
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
    """Return the names of columns that are not features; refuse what is missing or there twice."""
    wanted = [feature.name for feature in features]
    counts = Counter(names)
    for name in wanted:
        if counts[name] > 1:
            raise ReferenceFileError(f"Column {name!r} is in the file {counts[name]} times.")
    if missing := [name for name in wanted if name not in counts]:
        raise ReferenceFileError(f"The file lacks {_columns(missing)}.{_suggestion(missing, names)}")
    known = set(wanted)
    # Escaped where they cannot be shown: PostgreSQL takes no NUL.
    return [name if name.isprintable() else repr(name)[1:-1] for name in names if name not in known]


def _columns(names: Sequence[str]) -> str:
    shown = ", ".join(_shown(name) for name in names[:10])
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"column {shown}{more}" if len(names) == 1 else f"the columns {shown}{more}"


def _suggestion(missing: Sequence[str], names: Sequence[str]) -> str:
    for separator in ";\t|":
        if len(names) == 1 and separator in names[0]:
            return f" Its header is separated by {separator!r}; separate the values by commas."
    close = difflib.get_close_matches(missing[0], names[:1000], n=1)
    if close:
        return f" Is {_shown(close[0])} meant for {_shown(missing[0])}?"
    return f" It has: {', '.join(_shown(name) for name in names[:20])}{', …' if len(names) > 20 else ''}."


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:99]}…"


def _feature_column(feature: Feature, values: Any, rows_before: int) -> NDArray[Any]:
    """Return one column of a batch as FeatureColumns has it, checked."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    texts = _is_text(values.type) or _is_binary(values.type)
    if texts:
        values = _decoded(feature, values.cast(pa.binary()), rows_before)  # a Parquet text may be no UTF-8 either
        values = pc.if_else(pc.is_in(values, value_set=pa.array(MISSING_TEXTS, values.type)), None, values)
    if feature.tensor_type is TensorType.STRING:
        column: NDArray[Any] = _string_column(feature, values, texts, rows_before)
        missing = column == _MISSING
    else:
        column = _number_column(feature, values, texts, rows_before)
        missing = np.isnan(column)
    if feature.is_required and missing.any():
        row = rows_before + int(np.argmax(missing)) + 1
        raise ReferenceFileError(
            f"Column {feature.name!r}, row {row}: a value is missing, and the feature is required."
        )
    return column


def _is_text(kind: Any) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_binary(kind: Any) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def _is_plain(kind: Any) -> bool:
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    numbers = pa.types.is_integer(values) or pa.types.is_floating(values) or pa.types.is_boolean(values)
    return bool(numbers or _is_text(values) or _is_binary(values) or pa.types.is_timestamp(values))


def _plain_values(values: Any) -> list[object]:
    """Return a column's values; bytes that are no UTF-8 with their escapes, which no label has."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if _is_text(values.type):
        values = values.cast(pa.binary())
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp("us", values.type.tz), safe=False)  # what Python's own times hold
    return [_plain_value(value) for value in values.to_pylist()]


def _plain_value(value: object) -> object:
    if isinstance(value, bytes):
        text = value.decode(errors="backslashreplace")
        return None if text in MISSING_TEXTS else text
    return None if isinstance(value, float) and math.isnan(value) else value


def _text_bytes(feature: Feature, values: Any, rows_before: int) -> int:
    """Return how long the texts of a column are together, before they are unpacked; refuse one that is no level."""
    levels = values.dictionary if pa.types.is_dictionary(values.type) else values
    if not _is_text(levels.type) and not _is_binary(levels.type):
        return 0
    lengths = pc.binary_length(levels)
    nul = pc.match_substring(levels, "\0")
    if pa.types.is_dictionary(values.type):
        lengths, nul = lengths.take(values.indices), nul.take(values.indices)
    row_lengths = np.asarray(lengths.fill_null(0), dtype=np.int64)
    if (long := row_lengths > 4 * LONGEST_TEXT).any():  # UTF-8 takes up to 4 bytes for a character
        _refuse(feature, rows_before, long, TOO_LONG)
    if (with_nul := np.asarray(nul.fill_null(False))).any():
        _refuse(feature, rows_before, with_nul, "holds a NUL byte")
    return int(row_lengths.sum())


def _decoded(feature: Feature, values: Any, rows_before: int) -> Any:
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        for row, value in enumerate(values.to_pylist(), start=rows_before + 1):
            try:
                (value or b"").decode()
            except UnicodeDecodeError as error:
                raise ReferenceFileError(
                    f"Column {feature.name!r}, row {row}: byte 0x{value[error.start]:02x} is not UTF-8. "
                    "Save the file as UTF-8."
                ) from error
        raise


def _string_column(feature: Feature, values: Any, texts: bool, rows_before: int) -> NDArray[np.object_]:
    if texts:
        long = np.asarray(pc.utf8_length(values).fill_null(0)) > LONGEST_TEXT
        if long.any():
            _refuse(feature, rows_before, long, TOO_LONG)
        return np.asarray(values.to_numpy(zero_copy_only=False), dtype=object)
    if pa.types.is_integer(values.type):
        # A column of codes, such as a postal code, that Parquet kept as numbers: its levels are their texts.
        return np.asarray(values.cast(pa.string()).to_numpy(zero_copy_only=False), dtype=object)
    return np.full(len(values), None, dtype=object)  # of type null: a column without a value


def _number_column(feature: Feature, values: Any, texts: bool, rows_before: int) -> NDArray[np.float64]:
    if texts:
        numbers = _parsed(feature, values, rows_before)
    elif pa.types.is_null(values.type):
        numbers = np.full(len(values), np.nan)
    else:
        numbers = _exact(feature, values, rows_before)
    _check_numbers(feature, numbers, rows_before)
    return numbers


def _exact(feature: Feature, values: Any, rows_before: int) -> NDArray[np.float64]:
    if pa.types.is_integer(values.type) and values.type.bit_width == 64:
        largest = pa.scalar(int(LARGEST_EXACT_INTEGER), values.type)
        beyond = pc.greater(values, largest)
        if pa.types.is_signed_integer(values.type):
            beyond = pc.or_(beyond, pc.less(values, pa.scalar(-int(LARGEST_EXACT_INTEGER), values.type)))
        if (marked := np.asarray(beyond.fill_null(False))).any():
            _refuse(feature, rows_before, marked, "is beyond 2**53 and would lose digits", values)
    numbers = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(numbers, dtype=np.float64)


def _parsed(feature: Feature, values: Any, rows_before: int) -> NDArray[np.float64]:
    stripped = pc.utf8_trim_whitespace(values)
    if feature.tensor_type is TensorType.BOOL:
        true = pc.is_in(stripped, value_set=pa.array(TRUE_TEXTS, stripped.type))
        false = pc.is_in(stripped, value_set=pa.array(FALSE_TEXTS, stripped.type))
        wrong = np.asarray(pc.and_(pc.is_valid(stripped), pc.invert(pc.or_(true, false))))
        if wrong.any():
            _refuse(feature, rows_before, wrong, "is not true or false", stripped)
        numbers = np.asarray(true, dtype=np.float64)
        numbers[np.asarray(pc.is_null(stripped))] = np.nan
        return numbers
    try:
        numbers = np.asarray(stripped.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    except pa.ArrowInvalid:
        wrong = np.array([value is not None and not _is_number(value) for value in stripped.to_pylist()])
        _refuse(feature, rows_before, wrong, "is not a number", stripped)
    # 2**53 too: 2**53 + 1 is read as the same number.
    if feature.tensor_type in _WHOLE_NUMBERS and (beyond := np.abs(numbers) >= LARGEST_EXACT_INTEGER).any():
        _refuse(feature, rows_before, beyond, f"is beyond the range of {feature.tensor_type}", stripped)
    return numbers


def _is_number(text: str) -> bool:
    try:
        pa.scalar(text).cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _check_numbers(feature: Feature, numbers: NDArray[np.float64], rows_before: int) -> None:
    if feature.tensor_type is TensorType.BOOL:
        wrong = ~np.isnan(numbers) & (numbers != 0) & (numbers != 1)
        if wrong.any():
            _refuse(feature, rows_before, wrong, "is not true or false", numbers)
    if feature.tensor_type is TensorType.FLOAT32:
        beyond = np.isfinite(numbers) & (np.abs(numbers) > _LARGEST_FLOAT32)  # infinity itself it holds
        if beyond.any():
            _refuse(feature, rows_before, beyond, "is beyond the range of float32", numbers)
    limit = _WHOLE_NUMBERS.get(feature.tensor_type)
    if limit is None:
        return
    fractions = ~np.isnan(numbers) & (numbers != np.trunc(numbers))
    if fractions.any():
        _refuse(feature, rows_before, fractions, "is not a whole number", numbers)
    beyond = np.abs(numbers) > limit
    if beyond.any():
        _refuse(feature, rows_before, beyond, f"is beyond the range of {feature.tensor_type}", numbers)


def _refuse(feature: Feature, rows_before: int, wrong: NDArray[np.bool_], reason: str, values: Any = None) -> NoReturn:
    """Raise for the first row that is marked in `wrong`."""
    index = int(np.argmax(wrong))
    value = None if values is None else values[index]
    shown = repr(value.as_py() if hasattr(value, "as_py") else float(value))[:60] if value is not None else "the value"
    raise ReferenceFileError(f"Column {feature.name!r}, row {rows_before + index + 1}: {shown} {reason}.")
