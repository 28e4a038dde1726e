"""Reading CSV files: unpack and decode them, cut them into whole rows, and parse these with all cores."""

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, NamedTuple, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from mlmon.csv_layout import NO_DELIMITER, NOT_UTF8, CsvLayout, csv_layout, decimal_point
from mlmon.exceptions import ReferenceFileError
from mlmon.table_options import ReadOptions, TableFormat, TableLimits
from mlmon.values import FALSE_STRINGS, LARGEST_EXACT_INTEGER, MISSING_STRINGS, TRUE_STRINGS, TextFormat, shown

GZIP_MAGIC = b"\x1f\x8b"
HEADER_BYTES = 1 << 20
CHUNK_BYTES = 4 << 20  # read and parsed at once
BATCH_ROWS = 50_000
SAMPLE_BYTES = 1 << 16  # whose values say which type to try
LONGEST_ROW = 1 << 20  # bytes; also what one thread parses at once
_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_NUMBER = pa.float64()
_Item = TypeVar("_Item")


class _Rows(NamedTuple):
    """Whole rows.

    Attributes
    ----------
    content
        In UTF-8.
    are_quoted
        Whether there are quotation marks, so that a value may hold line breaks.
    before
        How many rows of the file come before them.
    """

    content: pa.Buffer
    are_quoted: bool
    before: int

    @classmethod
    def of(cls, content: bytes, end: int, before: int) -> "_Rows":
        return cls(pa.py_buffer(content).slice(0, end), content.find(b'"', 0, end) >= 0, before)


class CsvFile:
    """A CSV file with a header, perhaps compressed with gzip.

    Attributes
    ----------
    format, text
        What was detected, and how its values are written.
    names
        Of the columns; a wholly empty column without a name is no column.
    index_columns
        Names of the columns that have no name in the file and count its rows.

    Raises
    ------
    ReferenceFileError
        The compression, the encoding or the header cannot be read.
    """

    schema = None
    known_rows = 0

    def __init__(self, path: Path, limits: TableLimits, options: ReadOptions) -> None:
        self._path, self._limits = path, limits
        start, is_compressed = first_bytes(path)
        self._encoding = _encoding(start, options.encoding)
        start = next(self._chunks(HEADER_BYTES))[0]
        if b"\x00" in start:
            is_utf16 = start.count(0) > len(start) // 4
            hint = " If it is UTF-16 without a byte order mark, choose the encoding utf-16-le." if is_utf16 else ""
            raise ReferenceFileError(f"The file holds NUL bytes: it is neither CSV in UTF-8 nor Parquet.{hint}")
        self._layout = csv_layout(start)
        if self._layout.header_bytes >= HEADER_BYTES:
            raise ReferenceFileError("The header is longer than 1 MiB, or a quotation mark in it is never closed.")
        self._places = {name: place for place, name in enumerate(self._layout.names)}
        self.names = [name for place, name in enumerate(self._layout.names) if place not in self._layout.empty]
        self.index_columns = self._layout.index_columns
        self.text = TextFormat(self._layout.decimal_point, options.missing)
        if not self.text.decimal_point:
            self.text = TextFormat(self._later_decimal_point(), options.missing)
        self.format = TableFormat(
            kind="csv",
            delimiter=self._layout.delimiter.replace(NO_DELIMITER, ""),
            encoding=self._encoding,
            decimal_point=self.text.decimal_point,
            is_compressed=is_compressed,
        )

    def batches(
        self, columns: Sequence[str], types: Mapping[str, Any] = MappingProxyType({})
    ) -> Iterator[tuple[pa.RecordBatch, float]]:
        """Yield the rows, and the share of the file that has been read.

        Parameters
        ----------
        columns
            Names of the columns to read, as strings.
        types
            By name, the type of a column that is not read as strings: float64, or a dictionary of strings. Instead of
            float64 a column may be Boolean. It is a column of strings if a value is neither, or a number beyond 2**53,
            so that an error can show its digits.
        """
        if not columns:
            return
        for table, fraction in _read_ahead(self._tables(columns, dict(types))):
            for batch in table.combine_chunks().to_batches(max_chunksize=BATCH_ROWS):
                yield batch, fraction

    def _tables(self, columns: Sequence[str], types: dict[str, Any]) -> Iterator[tuple[pa.Table, float]]:
        """Yield the rows of each part of the file, and the share of the file that has been read."""
        rows, rest = 0, b""
        skipped = self._layout.header_bytes
        for chunk, fraction, is_last in self._chunks(CHUNK_BYTES):
            content = rest + (chunk[skipped:] if skipped else chunk)
            skipped = max(0, skipped - len(chunk))
            if is_last and content and not content.endswith(self._layout.newline):
                content += self._layout.newline
            if _has_backslashes(content, self._layout):
                raise ReferenceFileError(
                    f"After row {rows}: a quotation mark in a value is marked with a backslash. Double it instead "
                    '(escape=\'"\' in Spark, qmethod="double" in R).'
                )
            if end := _end_of_rows(content, self._layout):
                if not rows and _NUMBER in types.values():
                    sample = _end_of_rows(content[: min(end, SAMPLE_BYTES)], self._layout) or end
                    self._narrow(types, self._strings(_Rows.of(content, sample, 0), columns))
                table = self._parsed(_Rows.of(content, end, rows), columns, types)
                yield table, fraction
                rows += table.num_rows
            rest = content[end:]
            if len(rest) > LONGEST_ROW or (is_last and rest):
                raise ReferenceFileError(
                    f"After row {rows}: a quotation mark is never closed, or a row is longer than 1 MiB."
                )

    def _later_decimal_point(self) -> str:
        """Return the decimal point of the first rows that have one; "." if none has."""
        number, rows = r"^\s*[-+]?[0-9]*[.,][0-9]+([eE][-+]?[0-9]+)?\s*$", 0
        try:
            for batch, _ in self.batches(self.names):
                with_decimals: list[Any] = []
                for column in batch.columns:
                    with_decimals += column.filter(pc.match_substring_regex(column, number)).to_pylist()
                if point := decimal_point(with_decimals):
                    return point
                rows += batch.num_rows
                if rows > self._limits.rows:
                    break
        except ReferenceFileError:  # which reading the rows raises again
            pass
        return "."

    def _chunks(self, size: int) -> Iterator[tuple[bytes, float, bool]]:
        """Yield the content in UTF-8, the share of the file that has been read, and whether it is the last part."""
        decoder = None
        if self._encoding != "utf-8":
            decoder = codecs.getincrementaldecoder(self._encoding)(errors="surrogateescape")
        total, is_first = self._path.stat().st_size, True
        with _unpacked(self._path) as (content, file):
            is_last, unpacked = False, 0
            while not is_last:
                chunk = content.read(size)
                is_last, unpacked = len(chunk) < size, unpacked + len(chunk)
                self._limits.check_uncompressed(unpacked)
                if decoder is not None:
                    try:  # a byte that the encoding does not have stays as it is: it is found in its row, as not UTF-8
                        chunk = decoder.decode(chunk, final=is_last).encode(errors="surrogateescape")
                    except UnicodeError as error:
                        raise ReferenceFileError(f"The file is not in {self._encoding}: {error}.") from error
                yield chunk.removeprefix(codecs.BOM_UTF8) if is_first else chunk, file.tell() / total, is_last
                is_first = False

    def _parsed(self, rows: _Rows, columns: Sequence[str], types: dict[str, Any]) -> pa.Table:
        """Return whole rows as a table; change `types` if a value is no such number."""
        try:
            table = self._table(rows, columns, types)
            if not any(_has_beyond(table.column(name)) for name, kind in types.items() if kind == _NUMBER):
                return table
        except pa.ArrowInvalid:
            pass
        strings = self._strings(rows, columns)
        self._narrow(types, strings)
        try:
            return self._table(rows, columns, types)
        except pa.ArrowInvalid:  # such as an unusual space around a number
            types.clear()
            return strings

    def _narrow(self, types: dict[str, Any], strings: pa.Table) -> None:
        """Change the types of columns of numbers with a string that is none."""
        for name, kind in types.items():
            if kind in (_NUMBER, pa.bool_()):
                types[name] = _type_of(strings.column(name), self.text)

    def _table(self, rows: _Rows, columns: Sequence[str], types: Mapping[str, Any]) -> pa.Table:
        kinds = {self._places[name]: types.get(name, pa.string()) for name in columns}
        table = self._read(rows, {**kinds, **dict.fromkeys(self._layout.empty, pa.null())})
        return table.select([str(place) for place in kinds]).rename_columns(list(columns))

    def _strings(self, rows: _Rows, columns: Sequence[str]) -> pa.Table:
        """Return whole rows as strings; ReferenceFileError for the first row that cannot be read."""
        kinds = dict.fromkeys([*(self._places[name] for name in columns), *self._layout.empty], pa.binary())
        try:
            table = self._read(rows, kinds, use_threads=False)  # one thread counts the rows
        except pa.ArrowInvalid as error:
            found = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", str(error))
            if not found:
                raise ReferenceFileError(f"The CSV file cannot be read after row {rows.before}: {error}") from error
            row, expected, got = (int(number) for number in found.groups())
            raise ReferenceFileError(f"Row {rows.before + row} has {got} values; the header has {expected}.") from error
        for place in sorted(self._layout.empty):
            values: Any = table.column(str(place))
            lengths: Any = pc.binary_length(values)
            if (present := np.asarray(lengths) > 0).any():
                row = int(np.argmax(present))
                value = shown(values[row].as_py().decode(errors="backslashreplace"))
                raise ReferenceFileError(
                    f"Column {place + 1}, row {rows.before + row + 1}: {value} is in a column without a name. "
                    "Name it in the header."
                )
        return pa.table({name: self._decoded(name, table, rows.before) for name in columns})

    def _decoded(self, name: str, table: pa.Table, rows_before: int) -> Any:
        values: Any = table.column(str(self._places[name]))
        try:
            return values.cast(pa.string())
        except pa.ArrowInvalid:
            for row, value in enumerate(values.to_pylist(), start=rows_before + 1):
                try:
                    value.decode()
                except UnicodeDecodeError as error:
                    is_utf8 = self._encoding == "utf-8"
                    advice = NOT_UTF8 if is_utf8 else "Choose another encoding, such as cp850 or latin-1."
                    raise ReferenceFileError(
                        f"Column {shown(name)}, row {row}: byte 0x{value[error.start]:02x} is not "
                        f"{'UTF-8' if is_utf8 else self._encoding}. {advice}"
                    ) from error
            raise

    def _read(self, rows: _Rows, kinds: Mapping[int, Any], *, use_threads: bool = True) -> pa.Table:
        """Return the columns by place, parsed as their types."""
        places = [str(place) for place in range(len(self._layout.names))]
        return pyarrow.csv.read_csv(
            cast(IO[bytes], pa.BufferReader(rows.content)),
            pyarrow.csv.ReadOptions(column_names=places, block_size=LONGEST_ROW, use_threads=use_threads),
            pyarrow.csv.ParseOptions(
                delimiter=self._layout.delimiter,
                newlines_in_values=rows.are_quoted,
                ignore_empty_lines=len(places) > 1,  # which in one column are missing values
            ),
            pyarrow.csv.ConvertOptions(
                include_columns=[str(place) for place in kinds],
                column_types={str(place): kind for place, kind in kinds.items()},
                null_values=[*MISSING_STRINGS, *self.text.missing],
                true_values=list(TRUE_STRINGS),
                false_values=list(FALSE_STRINGS),
                strings_can_be_null=False,
                decimal_point=self.text.decimal_point or ".",
            ),
        )


def first_bytes(path: Path) -> tuple[bytes, bool]:
    """Return the first bytes of a file, unpacked if it is compressed with gzip, and whether it is."""
    with _unpacked(path) as (content, file):
        return content.read(16), content is not file


def _read_ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """Yield the items. From the second on, the next one is made in a thread while the caller uses the one before."""
    yield from islice(items, 1)
    with ThreadPoolExecutor(1, thread_name_prefix="csv-reader") as thread:
        following = thread.submit(next, items, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, items, None)
            yield item


@contextmanager
def _unpacked(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open a file; return its content, unpacked if it is gzip, and the file, whose position tells what has been read.

    Raises
    ------
    ReferenceFileError
        The content cannot be unpacked, when it is read.
    """
    with path.open("rb") as file:
        is_packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        try:
            yield cast(IO[bytes], gzip.GzipFile(fileobj=file)) if is_packed else file, file
        except EOFError as error:
            raise ReferenceFileError("The file is cut off: its gzip data have no end.") from error
        except (gzip.BadGzipFile, zlib.error) as error:
            raise ReferenceFileError(f"The gzip data of the file are damaged: {error}.") from error


def _encoding(start: bytes, chosen: str) -> str:
    """Return the encoding of a file by its first bytes, or else the chosen one, by Python's name."""
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if start.startswith(mark):
            return encoding
    return encoding_named(chosen or "utf-8")


def encoding_named(name: str) -> str:
    """Return Python's name of an encoding of text; ReferenceFileError if there is none."""
    try:
        "a".encode(name)  # which also refuses codecs that are no encodings of text
        return codecs.lookup(name).name.removesuffix("-sig")
    except (LookupError, ValueError) as error:
        raise ReferenceFileError(f"There is no encoding {shown(name)}. Usual ones are utf-8 and cp1252.") from error


def _end_of_rows(content: bytes, layout: CsvLayout) -> int:
    """Return the length of the whole rows at the start of `content`, which starts with a row."""
    newline = layout.newline
    if b'"' not in content:
        return content.rfind(newline) + 1
    characters = np.frombuffer(content, np.uint8)
    quotes = np.flatnonzero(characters == ord('"'))
    is_edge = np.zeros(256, np.bool_)
    is_edge[[*b'"\r\n', ord(layout.delimiter)]] = True
    opened, closed = quotes[::2], quotes[1::2]
    opened, closed = opened[opened > 0], closed[closed + 1 < len(content)]
    if is_edge[characters[opened - 1]].all() and is_edge[characters[closed + 1]].all():
        # Every quotation mark opens or closes a value, or is one half of a doubled one: a newline ends a row if the
        # number of marks before it is even.
        edges = [-1, *quotes.tolist(), len(content)]
        for index in range(2 * (len(quotes) // 2), -1, -2):
            if (end := content.rfind(newline, edges[index] + 1, edges[index + 1])) >= 0:
                return end + 1
        return 0
    # One mark is inside a value without quotation marks (5" pipe), where it has no meaning.
    edge = re.escape(layout.delimiter.encode()) + rb"\r\n"
    quoted = rb'(?<![^%b])"[^"]*(?:""[^"]*)*"(?!")' % edge
    row = re.compile(rb'[^"%b]*(?:(?:%b|(?<=[^%b])")[^"%b]*)*%b' % (newline, quoted, edge, newline, newline))
    end = 0
    while found := row.match(content, end):
        end = found.end()
    return end


def _has_backslashes(content: bytes, layout: CsvLayout) -> bool:
    """Return whether a quoted value goes on after ``\\"``, as Spark and R mark a quotation mark in it by default."""
    if b'\\"' not in content:
        return False
    edge = re.escape(layout.delimiter.encode()) + rb"\r\n"
    return re.search(rb'(?<![^%b])"[^"]*\\"[^%b"]' % (edge, edge), content) is not None


def _has_beyond(numbers: Any) -> bool:
    """Return whether float64 may have lost digits of a number."""
    extremes: Any = pc.min_max(numbers)
    return any(abs(extreme or 0) >= LARGEST_EXACT_INTEGER for extreme in extremes.as_py().values())


def _type_of(strings: Any, text: TextFormat) -> Any:
    """Return the type of which all strings are; string if it is neither float64 nor Boolean."""
    missing = pa.array([*MISSING_STRINGS, *text.missing], pa.string())
    present = strings.filter(pc.invert(pc.is_in(strings, value_set=missing)))
    if pc.all(pc.is_in(present, value_set=pa.array([*TRUE_STRINGS, *FALSE_STRINGS])), min_count=0).as_py():
        return _NUMBER if not len(present) else pa.bool_()
    numerals = pc.ascii_trim_whitespace(present)
    if text.decimal_point == ",":
        if pc.any(pc.match_substring(numerals, "."), min_count=0).as_py():
            return pa.string()
        numerals = pc.replace_substring(numerals, ",", ".")
    try:
        return pa.string() if _has_beyond(numerals.cast(_NUMBER)) else _NUMBER
    except pa.ArrowInvalid:
        return pa.string()
