"""Reading reference files: CSV or Parquet to feature columns, batch by batch, within bounds.

Every refusal names the column and the row. Rows are counted from 1, without the header. In CSV an empty cell and the
spellings in `MISSING_TEXTS` are missing; a Parquet null or NaN is.
"""

import codecs
import csv
import difflib
import io
import re
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

from models_registry.columns import FeatureColumns, level_name
from models_registry.exceptions import ReferenceFileError
from models_registry.schema import Feature, TensorType

MISSING_TEXTS = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "None")
TRUE_TEXTS = ("true", "True", "TRUE", "1")
FALSE_TEXTS = ("false", "False", "FALSE", "0")
PARQUET_MAGIC = b"PAR1"
CSV_BLOCK_BYTES = 1 << 20
HEADER_BYTES = 1 << 20
BATCH_ROWS = 50_000
NO_ROWS = "The file has a header but no rows."
LARGEST_EXACT_INTEGER = 2.0**53
_WHOLE_NUMBERS = {TensorType.INT32: 2.0**31 - 1, TensorType.INT64: LARGEST_EXACT_INTEGER}
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
    """

    file_bytes: int
    rows: int
    cells: int = 500_000_000
    uncompressed_bytes: int = 2_000_000_000


@dataclass(frozen=True, slots=True)
class TableBatch:
    """Some rows of the file: one array for each feature, and how much of the file has been read (0 to 1)."""

    columns: FeatureColumns
    rows: int
    fraction: float


class ReferenceTable:
    """An opened reference file.

    Parameters
    ----------
    path
        A CSV file (UTF-8, comma, header) or a Parquet file; told apart by content.
    features
        The columns to read.
    limits
        What is refused for its size.

    Raises
    ------
    ReferenceFileError
        The file as a whole cannot be used: its encoding, its header, its size, its columns or their types.
    """

    def __init__(self, path: Path, features: Sequence[Feature], limits: TableLimits) -> None:
        self._path = path
        self._features = features
        self._limits = limits
        size = path.stat().st_size
        if size == 0:
            raise ReferenceFileError("The file is empty.")
        if size > limits.file_bytes:
            raise ReferenceFileError(f"The file has {size:,} bytes; at most {limits.file_bytes:,} are taken.")
        self._size = size
        with path.open("rb") as content:
            start = content.read(HEADER_BYTES)
        self._source = _Parquet(path, limits) if start[:4] == PARQUET_MAGIC else _Csv(path, start, size)
        self.ignored_columns = _check_header(self._source.names, features)

    def batches(self) -> Iterator[TableBatch]:
        """Yield the rows in the order of the file; ReferenceFileError at the first value that cannot be used."""
        rows = 0
        wanted = [feature.name for feature in self._features]
        for batch, fraction in self._source.batches(wanted):
            self._check_size(rows + batch.num_rows)
            columns = {
                feature.name: _feature_column(feature, batch.column(feature.name), rows) for feature in self._features
            }
            rows += batch.num_rows
            yield TableBatch(columns=columns, rows=batch.num_rows, fraction=fraction)
        if rows == 0:
            raise ReferenceFileError(NO_ROWS)

    def _check_size(self, rows: int) -> None:
        _check_rows(rows, len(self._source.names), self._limits)


class _Csv:
    """A CSV file, all columns as bytes: decoding and numbers are ours, so that an error can name its row."""

    def __init__(self, path: Path, start: bytes, size: int) -> None:
        self._path = path
        self._size = size
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise ReferenceFileError("The file is encoded as UTF-16; save it as UTF-8.")
        if b"\x00" in start:
            raise ReferenceFileError("The file holds NUL bytes: it is neither CSV in UTF-8 nor Parquet.")
        self.names = _csv_header(start)

    def batches(self, wanted: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, float]]:
        read = pyarrow.csv.ReadOptions(block_size=CSV_BLOCK_BYTES, use_threads=False)
        parse = pyarrow.csv.ParseOptions(newlines_in_values=True)
        convert = pyarrow.csv.ConvertOptions(
            include_columns=list(wanted),
            column_types=dict.fromkeys(wanted, pa.binary()),
            strings_can_be_null=False,
            quoted_strings_can_be_null=False,
        )
        with self._path.open("rb") as content:
            try:
                reader = pyarrow.csv.open_csv(content, read, parse, convert)
                for batch in reader:
                    yield batch, min(1.0, content.tell() / self._size)
            except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
                raise ReferenceFileError(_csv_reason(str(error))) from error


class _Parquet:
    """A Parquet file whose metadata was checked before a column is decoded."""

    def __init__(self, path: Path, limits: TableLimits) -> None:
        try:
            self._file = pq.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise ReferenceFileError(f"The Parquet file is damaged or cut off: {error}") from error
        metadata = self._file.metadata
        self.names = [field.name for field in self._file.schema_arrow]
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

    def batches(self, wanted: Sequence[str]) -> Iterator[tuple[pa.RecordBatch, float]]:
        read = 0
        try:
            for batch in self._file.iter_batches(batch_size=BATCH_ROWS, columns=list(wanted), use_threads=False):
                read += batch.num_rows
                yield batch, min(1.0, read / max(1, self._rows))
        except (pa.ArrowException, OSError) as error:
            raise ReferenceFileError(f"The Parquet file is damaged after row {read}: {error}") from error


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
    for name in names:
        if not name.isprintable():
            raise ReferenceFileError(f"The header is not text in UTF-8 at {name!r}. Save the file as UTF-8 CSV.")
    return names


def _csv_reason(message: str) -> str:
    """Return pyarrow's message in our words: it counts the header as row 1."""
    found = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", message)
    if found:
        row, expected, got = (int(number) for number in found.groups())
        return f"Row {row - 1} has {got} values; the header has {expected}."
    if "Empty CSV file" in message:
        return NO_ROWS
    return f"The CSV file cannot be read: {message}"


def _check_header(names: Sequence[str], features: Sequence[Feature]) -> list[str]:
    """Return the names of columns that are not features; refuse what is missing or there twice."""
    wanted = [feature.name for feature in features]
    for name in wanted:
        if names.count(name) > 1:
            raise ReferenceFileError(f"Column {name!r} is in the file {names.count(name)} times.")
    if missing := [name for name in wanted if name not in names]:
        raise ReferenceFileError(f"The file lacks {_columns(missing)}.{_suggestion(missing, names)}")
    known = set(wanted)
    return [name for name in names if name not in known]


def _columns(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:10])
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"column {shown}{more}" if len(names) == 1 else f"the columns {shown}{more}"


def _suggestion(missing: Sequence[str], names: Sequence[str]) -> str:
    close = difflib.get_close_matches(missing[0], names, n=1)
    if close:
        return f" Is {close[0]!r} meant for {missing[0]!r}?"
    return f" It has: {', '.join(repr(name) for name in names[:20])}."


def _feature_column(feature: Feature, values: Any, rows_before: int) -> NDArray[Any]:
    """Return one column of a batch as FeatureColumns has it, checked."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    texts = _is_text(values.type)
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        values = _decoded(feature, values, rows_before)
        texts = True
    if texts:
        values = pc.if_else(pc.is_in(values, value_set=pa.array(MISSING_TEXTS, values.type)), None, values)
    if feature.tensor_type is TensorType.STRING:
        column: NDArray[Any] = _string_column(feature, values, texts)
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


def _decoded(feature: Feature, values: Any, rows_before: int) -> Any:
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid:
        for row, value in enumerate(values.to_pylist(), start=rows_before + 1):
            try:
                value.decode()
            except UnicodeDecodeError as error:
                raise ReferenceFileError(
                    f"Column {feature.name!r}, row {row}: byte 0x{value[error.start]:02x} is not UTF-8. "
                    "Save the file as UTF-8."
                ) from error
        raise


def _string_column(feature: Feature, values: Any, texts: bool) -> NDArray[np.object_]:
    if texts:
        return np.asarray(values.to_numpy(zero_copy_only=False), dtype=object)
    if pa.types.is_integer(values.type):
        # A column of codes, such as a postal code, that Parquet kept as numbers: its levels are their texts.
        numbers = values.to_pylist()
        return np.array([None if number is None else level_name(float(number)) for number in numbers], dtype=object)
    raise ReferenceFileError(f"Column {feature.name!r} is of type {values.type} in the file; text is expected.")


def _number_column(feature: Feature, values: Any, texts: bool, rows_before: int) -> NDArray[np.float64]:
    if texts:
        numbers = _parsed(feature, values, rows_before)
    elif pa.types.is_boolean(values.type) or pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        numbers = _exact(feature, values, rows_before)
    elif pa.types.is_null(values.type):
        numbers = np.full(len(values), np.nan)
    else:
        raise ReferenceFileError(f"Column {feature.name!r} is of type {values.type} in the file; a number is expected.")
    _check_numbers(feature, numbers, rows_before)
    return numbers


def _exact(feature: Feature, values: Any, rows_before: int) -> NDArray[np.float64]:
    if pa.types.is_integer(values.type):
        beyond = (
            pc.or_(
                pc.greater(values, pa.scalar(int(LARGEST_EXACT_INTEGER), values.type)),
                pc.less(values, pa.scalar(-int(LARGEST_EXACT_INTEGER), values.type)),
            )
            if values.type.bit_width == 64 and pa.types.is_signed_integer(values.type)
            else None
        )
        if beyond is not None and pc.any(beyond).as_py():
            _refuse(feature, rows_before, np.asarray(beyond.fill_null(False)), "is beyond 2**53 and would lose digits")
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
        return np.asarray(stripped.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    except pa.ArrowInvalid:
        wrong = np.array([value is not None and not _is_number(value) for value in stripped.to_pylist()])
        _refuse(feature, rows_before, wrong, "is not a number", stripped)


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
