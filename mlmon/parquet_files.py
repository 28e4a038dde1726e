"""Reading Parquet files, and folders of them, whose size is checked before a column is decoded."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from mlmon.exceptions import ReferenceFileError
from mlmon.table_options import TableFormat, TableLimits
from mlmon.values import is_bytes, is_string, shown

PARQUET_MAGIC = b"PAR1"
BATCH_ROWS = 50_000
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
Batches: TypeAlias = Iterator[tuple[pa.RecordBatch, float]]  # with the share of the table that has been read (0 to 1)


class ParquetFile:
    """A Parquet file.

    Attributes
    ----------
    names, schema, known_rows
        Of its columns and rows, according to its metadata.
    index_columns
        Names of the columns that pandas declares as its index.

    Raises
    ------
    ReferenceFileError
        The file is damaged or too large.
    """

    text = None
    format = TableFormat("parquet")

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
        self.index_columns = index_columns(self.schema)
        self.known_rows = metadata.num_rows
        self.uncompressed_bytes = sum(
            metadata.row_group(group).column(column).total_uncompressed_size
            for group in range(metadata.num_row_groups)
            for column in range(metadata.num_columns)
        )
        limits.check_rows(self.known_rows, len(self.names))
        limits.check_uncompressed(self.uncompressed_bytes)

    def batches(self, columns: Sequence[str], types: Mapping[str, Any] = MappingProxyType({})) -> Batches:
        """Yield the rows; `types` means nothing, because the values have theirs."""
        read = 0
        try:
            for batch in self._file.iter_batches(batch_size=BATCH_ROWS, columns=list(columns)):
                read += batch.num_rows
                yield batch, min(1.0, read / max(1, self.known_rows))
        except (pa.ArrowException, OSError) as error:
            reason = f"The Parquet file is damaged after row {read}: {error}"
            if "Not yet implemented" in str(error):
                reason = f"The Parquet file has an unsupported encoding ({error}). Write it with the usual encodings."
            raise ReferenceFileError(reason) from error


class ParquetFolder:
    """A folder of Parquet files that are one table, as Spark, Dask and Hive write it.

    Files and folders whose names start with ``_`` or ``.`` are no part of it. Each folder named ``key=value`` gives the
    rows in it a column ``key``: of whole numbers if all its values are, else of strings.

    Raises
    ------
    ReferenceFileError
        A file is no Parquet file, its columns differ from those of the first one, or the files are too large together.
    """

    text = None
    format = TableFormat("parquet folder")

    def __init__(self, folder: Path, limits: TableLimits) -> None:
        self._folder, self._limits = folder, limits
        self._paths = [
            path
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not any(part.startswith(("_", ".")) for part in path.relative_to(folder).parts)
        ]
        if not self._paths:
            raise ReferenceFileError("The folder has no Parquet files.")
        limits.check_file_bytes(sum(path.stat().st_size for path in self._paths))
        first, self.known_rows, uncompressed = self._opened(self._paths[0]), 0, 0
        schema = first.schema
        for path in self._paths:
            file = self._opened(path)
            if difference := _difference(schema, file.schema):
                raise ReferenceFileError(f"{self._name(path)}: {difference} in {self._name(self._paths[0])}.")
            for place, field in enumerate(schema):
                if pa.types.is_null(field.type):  # of a file without a value in the column
                    schema = schema.set(place, file.schema.field(field.name))
            self.known_rows += file.known_rows
            uncompressed += file.uncompressed_bytes
            limits.check_rows(self.known_rows, len(file.names))
            limits.check_uncompressed(uncompressed)
        self.index_columns = first.index_columns
        self.schema = self._with_keys(schema)
        self.names = list(self.schema.names)

    def batches(self, columns: Sequence[str], types: Mapping[str, Any] = MappingProxyType({})) -> Batches:
        """Yield the rows, file by file; `types` means nothing, because the values have theirs."""
        read = 0
        for path in self._paths:
            keys, file = dict(self._keys(path)), self._opened(path)
            try:
                in_file = [name for name in columns if name not in keys] or file.names[:1]  # one, to count the rows
                for batch, _ in file.batches(in_file):
                    arrays: list[Any] = []
                    for name in columns:
                        values: Any = None if name in keys else batch.column(name)
                        if values is None:
                            values = pa.repeat(pa.scalar(keys[name], pa.string()), batch.num_rows)
                        is_other = name in keys or pa.types.is_null(values.type)
                        arrays.append(values.cast(self.schema.field(name).type) if is_other else values)
                    read += batch.num_rows
                    yield pa.RecordBatch.from_arrays(arrays, names=list(columns)), read / max(1, self.known_rows)
            except ReferenceFileError as error:
                raise ReferenceFileError(f"{self._name(path)}: {error}") from error

    def _opened(self, path: Path) -> ParquetFile:
        with path.open("rb") as content:
            is_parquet = content.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
        if not is_parquet:
            raise ReferenceFileError(f"{self._name(path)}: every file of a folder must be a Parquet file.")
        try:
            return ParquetFile(path, self._limits)
        except ReferenceFileError as error:
            raise ReferenceFileError(f"{self._name(path)}: {error}") from error

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self._folder.parent))

    def _keys(self, path: Path) -> list[tuple[str, str | None]]:
        """Return the keys and values in the names of the folders of a file."""
        parts = [part.partition("=") for part in path.relative_to(self._folder).parent.parts if "=" in part]
        return [(unquote(key), None if value == _NO_VALUE else unquote(value)) for key, _, value in parts]

    def _with_keys(self, schema: pa.Schema) -> pa.Schema:
        """Return the schema with a column for each key."""
        keys = [self._keys(path) for path in self._paths]
        for place, (key, _) in enumerate(keys[0]):
            if key in schema.names:
                raise ReferenceFileError(f"Column {shown(key)} is in the files and in the names of their folders.")
            values = {value for file in keys for _, value in file[place : place + 1] if value is not None}
            are_numbers = all(re.fullmatch(r"0|-?[1-9][0-9]{0,17}", value) for value in values)
            schema = schema.append(pa.field(key, pa.int64() if are_numbers and values else pa.string()))
        for path, file in zip(self._paths, keys, strict=True):
            if [key for key, _ in file] != [key for key, _ in keys[0]]:
                first = self._name(self._paths[0])
                raise ReferenceFileError(f"{self._name(path)}: its folders have not the keys of those of {first}.")
        return schema


def index_columns(schema: pa.Schema) -> tuple[str, ...]:
    """Return the names of the columns that pandas declares as its index, or names so."""
    try:
        declared = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))["index_columns"]
    except (ValueError, KeyError, TypeError):
        declared = []
    names = {name for name in declared if isinstance(name, str)} if isinstance(declared, list) else set()
    return tuple(name for name in schema.names if name in names or re.fullmatch(r"__index_level_\d+__", name))


def _difference(first: pa.Schema, other: pa.Schema) -> str:
    """Return how the columns of a file differ from those of the first one; "" if they do not."""
    before, now = [dict(zip(schema.names, schema.types, strict=True)) for schema in (first, other)]
    for name, kind in before.items():
        if name not in now:
            return f"the file lacks column {shown(name)}, which is"
        if now[name] != kind and not pa.types.is_null(now[name]) and not pa.types.is_null(kind):
            return f"column {shown(name)} has the type {now[name]}, but {kind}"
    if extra := [name for name in now if name not in before]:
        return f"the file has column {shown(extra[0])}, which is not"
    return "" if len(first.names) == len(other.names) else "the file has other duplicate columns than"
