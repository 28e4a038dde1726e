"""Reading reference tables: CSV, Parquet or Arrow to feature columns, batch by batch, within limits.

Every error names the column and the row. Rows are counted from 1, without the header. `mlmon.values` says what a value
means.
"""

import codecs
import difflib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mlmon.csv_files import CsvFile, first_bytes
from mlmon.exceptions import ReferenceFileError, RowValueError
from mlmon.feature_columns import FeatureColumns
from mlmon.parquet_files import BATCH_ROWS, PARQUET_MAGIC, Batches, ParquetFile, ParquetFolder, index_columns
from mlmon.schema import Feature, FeatureKind, TensorType
from mlmon.table_options import UNLIMITED as UNLIMITED
from mlmon.table_options import ReadOptions as ReadOptions
from mlmon.table_options import TableFormat as TableFormat
from mlmon.table_options import TableLimits as TableLimits
from mlmon.values import MISSING_STRINGS, column_of_arrow, is_plain, plain_values, shown, string_bytes

_STRINGS = pa.dictionary(pa.int32(), pa.string())  # each distinct string is checked and converted once
FIRST_ROWS = 1000  # of a preview of a column
NO_ROWS = "The file has a header but no rows."
_OTHER_FILES = {
    b"PK\x03\x04": "an Excel workbook or a zip file",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"PARE": "an encrypted Parquet file",
    b"ARROW1": "an Arrow file",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard",
    codecs.BOM_UTF32_LE: "encoded as UTF-32",
    codecs.BOM_UTF32_BE: "encoded as UTF-32",
}


@dataclass(frozen=True, slots=True)
class TableBatch:
    """Some rows of a table: one array for each feature, and the share of the table that has been read (0 to 1)."""

    columns: FeatureColumns
    rows: int
    fraction: float


class TableFile:
    """An opened CSV or Parquet file, a folder of Parquet files, or an Arrow table.

    Parameters
    ----------
    source
        A CSV file with a header (`mlmon.csv_files`) or a Parquet file, recognised by its content; a folder of Parquet
        files (`mlmon.parquet_files`); or an Arrow table.
    limits
        Larger tables are rejected.
    options
        What the file does not show.

    Attributes
    ----------
    column_names
        As the source has them, without those that are ignored.
    schema
        The types of the columns; None for CSV, which has none.
    format
        What was detected.
    text
        How values are written in CSV; None if they have types.
    index_columns
        Names of columns that count or name the rows: those that pandas declares as its index, or names so, and those
        of a CSV file that have no name.

    Raises
    ------
    ReferenceFileError
        The source as a whole cannot be used: its encoding, its header, its size.
    """

    def __init__(self, source: Path | pa.Table, limits: TableLimits, options: ReadOptions = ReadOptions()) -> None:  # noqa: B008
        self._limits = limits
        self._source = _ArrowTable(source) if isinstance(source, pa.Table) else _open_file(source, limits, options)
        self.schema, self.format, self.text = self._source.schema, self._source.format, self._source.text
        self.column_names = [name for name in self._source.names if name not in options.ignored]
        self.index_columns = tuple(name for name in self._source.index_columns if name not in options.ignored)
        limits.check_rows(self._source.known_rows, len(self._source.names))

    @property
    def plain_columns(self) -> list[str]:
        """The columns of strings, numbers, booleans and times."""
        if self.schema is None:
            return self.column_names
        names = set(self.column_names)
        return [field.name for field in self.schema if is_plain(field.type) and field.name in names]

    def arrow_batches(self, columns: Sequence[str], types: Mapping[str, Any] = MappingProxyType({})) -> Batches:
        """Yield rows as the source holds them; in CSV every value is a string.

        Parameters
        ----------
        columns
            Names of the columns to read.
        types
            As what columns of a CSV file are read where their values allow it (`CsvFile.batches`).

        Raises
        ------
        ReferenceFileError
            Several columns have a name in `columns`, or the rows cannot be read.
        """
        self._check_duplicates(columns)
        rows = 0
        for batch, fraction in self._source.batches(columns, types):
            rows += batch.num_rows
            self._limits.check_rows(rows, len(self._source.names))
            yield batch, fraction

    def _check_duplicates(self, columns: Sequence[str]) -> None:
        counts = Counter(self._source.names)
        if name := next((name for name in columns if counts[name] > 1), None):
            places = [str(place) for place, other in enumerate(self._source.names, start=1) if other == name]
            listed = f"{', '.join(places[:-1])} and {places[-1]}"
            raise ReferenceFileError(f"Column {shown(name)} is in the file {len(places)} times: as columns {listed}.")

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
            if name not in self.column_names:
                names = ", ".join(map(shown, self.column_names[:20]))
                raise ReferenceFileError(f"Column {shown(name)} is not in the file. It has: {names}.")
            if name not in self.plain_columns:
                raise ReferenceFileError(f"Column {shown(name)} has neither strings nor numbers nor booleans.")
        rows = 0
        for batch, fraction in self.arrow_batches(columns):
            for name in columns if self.schema is not None else ():
                # A row of CSV is limited; in Parquet a million rows can share a long string.
                try:
                    string_bytes(Feature(name, FeatureKind.CATEGORICAL, False, "", 0, TensorType.STRING), batch[name])
                except RowValueError as error:
                    row = rows + error.row + 1
                    raise ReferenceFileError(f"Column {shown(name)}, row {row}: {error.reason}.") from error
            rows += batch.num_rows
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
    source, limits, options
        As of `TableFile`.
    features
        The columns to read.

    Attributes
    ----------
    ignored_columns
        Names of the columns that are not features.
    spelled_missing
        By feature with strings: how many rows that `batches` has yielded have NA, None or the like as a category.

    Raises
    ------
    ReferenceFileError
        The source as a whole cannot be used, or its columns or their types.
    """

    def __init__(
        self,
        source: Path | pa.Table,
        features: Sequence[Feature],
        limits: TableLimits,
        options: ReadOptions = ReadOptions(),  # noqa: B008
    ) -> None:
        super().__init__(source, limits, options)
        self._features = features
        self.spelled_missing: dict[str, Counter[str]] = {}
        self._check_duplicates([feature.name for feature in features])
        self.ignored_columns = _check_header(self.column_names, features)
        if self.schema is not None:
            _check_types(self.schema, features)

    def batches(self) -> Iterator[TableBatch]:
        """Yield the rows in the order of the table; ReferenceFileError at the first value that cannot be used."""
        rows = text_bytes = 0
        features = self._features
        self.spelled_missing = {}
        types = {one.name: _STRINGS if one.tensor_type is TensorType.STRING else pa.float64() for one in features}
        for batch, fraction in self.arrow_batches([*types], types):
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
                row = rows + error.row
                reason = error.reason if self.text is None else self._reason_as_written(error, row)
                hint = " Save the file as UTF-8." if "is not UTF-8" in reason else ""
                raise ReferenceFileError(f"Column {shown(error.feature)}, row {row + 1}: {reason}.{hint}") from error
            self._count_spelled_missing(batch)
            rows += batch.num_rows
            yield TableBatch(columns=columns, rows=batch.num_rows, fraction=fraction)
        if rows == 0:
            raise ReferenceFileError(NO_ROWS)

    def _count_spelled_missing(self, batch: pa.RecordBatch) -> None:
        """Count the categories of a CSV file that mean a missing value in other columns, such as NA."""
        if self.text is None:
            return
        for feature in self._features:
            if feature.tensor_type is TensorType.STRING:
                strings: Any = batch.column(feature.name)
                strings = strings if pa.types.is_dictionary(strings.type) else strings.dictionary_encode()
                spellings = [each for each in MISSING_STRINGS if each and each not in self.text.missing]
                is_spelled = pc.is_in(strings.dictionary, value_set=pa.array(spellings, strings.dictionary.type))
                if pc.any(is_spelled).as_py():
                    spelled = strings.filter(is_spelled.take(strings.indices)).to_pylist()
                    self.spelled_missing.setdefault(feature.name, Counter()).update(spelled)

    def _reason_as_written(self, error: RowValueError, row: int) -> str:
        """Return the reason of an error with the value as a CSV file has it: it may have been read as a number."""
        feature = next(feature for feature in self._features if feature.name == error.feature)
        for batch, _ in self.arrow_batches([feature.name]):
            if row < batch.num_rows:
                try:
                    column_of_arrow(feature, batch.column(0).slice(row, 1), self.text)
                except RowValueError as written:
                    return written.reason
            row -= batch.num_rows
        return error.reason


class _ArrowTable:
    """A table in memory."""

    text = None
    format = TableFormat("arrow")

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.schema: pa.Schema = table.schema
        self.names = table.column_names
        self.index_columns = index_columns(self.schema)
        self.known_rows = table.num_rows

    def batches(self, columns: Sequence[str], types: Mapping[str, Any] = MappingProxyType({})) -> Batches:
        read = 0
        for batch in self._table.select(list(columns)).to_batches(max_chunksize=BATCH_ROWS):
            read += batch.num_rows
            yield batch, read / max(1, self.known_rows)


def _open_file(path: Path, limits: TableLimits, options: ReadOptions) -> CsvFile | ParquetFile | ParquetFolder:
    if path.is_dir():
        return ParquetFolder(path, limits)
    size = path.stat().st_size
    if size == 0:
        raise ReferenceFileError("The file is empty.")
    limits.check_file_bytes(size)
    start, is_compressed = first_bytes(path)
    for magic, kind in _OTHER_FILES.items():
        if start.startswith(magic):
            raise ReferenceFileError(f"The file is {kind}; save it as CSV in UTF-8 or as Parquet.")
    if not start.startswith(PARQUET_MAGIC):
        return CsvFile(path, limits, options)
    if is_compressed:
        raise ReferenceFileError("The file is a Parquet file that was compressed with gzip; unpack it.")
    return ParquetFile(path, limits)


def _check_header(names: Sequence[str], features: Sequence[Feature]) -> list[str]:
    """Return the names of columns that are not features; raise if a feature is missing or duplicate."""
    wanted, present = [feature.name for feature in features], set(names)
    if missing := [name for name in wanted if name not in present]:
        listed = ", ".join(map(shown, missing[:10])) + (f" and {len(missing) - 10} more" if missing[10:] else "")
        noun = "column" if len(missing) == 1 else "the columns"
        raise ReferenceFileError(f"The file lacks {noun} {listed}.{_suggestion(missing[0], names)}")
    known = set(wanted)
    # Escaped if they cannot be shown: PostgreSQL stores no NUL.
    return [name if name.isprintable() else repr(name)[1:-1] for name in names if name not in known]


def _suggestion(missing: str, names: Sequence[str]) -> str:
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
