"""The layout of a CSV file, found in its first rows: delimiter, header, columns without a name, decimal point."""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass

from mlmon.exceptions import ReferenceFileError
from mlmon.values import shown

# If two of them fit, the first: commas are common in the values of other files, the others are rare in comma's.
DELIMITERS = ("\t", "|", ";", ",")
NO_DELIMITER = "\x1f"  # for a file of one column: its values may hold all of the above
SAMPLE_ROWS = 1000
NOT_UTF8 = "Save the file as UTF-8, or choose its encoding, which is often cp1252."
_EXCEL_DELIMITER = re.compile(r'"?sep=(.)"?(\r\n|\n|\r)', re.IGNORECASE)
_EXPONENT = r"(?:[eE][-+]?[0-9]+)?"
_WITH_POINT = re.compile(rf"[-+]?[0-9]*\.[0-9]+{_EXPONENT}")
_WITH_COMMA = re.compile(rf"[-+]?[0-9]*,[0-9]+{_EXPONENT}")
_THOUSANDS = re.compile(r"[-+]?[1-9][0-9]{0,2},[0-9]{3}")  # or three decimals: such a number decides nothing


@dataclass(frozen=True, slots=True)
class CsvLayout:
    """How a CSV file is written.

    Attributes
    ----------
    delimiter
        `NO_DELIMITER` for a file of one column.
    names
        Of all columns, as the header has them without spaces around them. A column without a name is "Unnamed: 0", with
        its place, as pandas calls it.
    empty
        Places of the columns that have neither a name nor a value in the first rows.
    index_columns
        Names of the columns that had no name and count the rows, as pandas and R write them.
    decimal_point
        "." or ","; "" if no value of the first rows decides it.
    newline
        What ends each row: a line feed, or in old Mac files a carriage return.
    header_bytes
        Length of what comes before the first row, in UTF-8.
    """

    delimiter: str
    names: tuple[str, ...]
    empty: frozenset[int]
    index_columns: tuple[str, ...]
    decimal_point: str
    newline: bytes
    header_bytes: int


def csv_layout(start: bytes) -> CsvLayout:
    """Return the layout of a CSV file.

    Parameters
    ----------
    start
        The first bytes of the file in UTF-8, enough for the header.

    Raises
    ------
    ReferenceFileError
        The header, or all rows together, cannot be used.
    """
    # Bytes that are not UTF-8 are kept: those of the rows are found, with their place, when they are read.
    text = start.decode("utf-8", errors="surrogateescape")
    delimiter, skipped = "", 0
    if named := _EXCEL_DELIMITER.match(text):
        delimiter, skipped = named[1], named.end()
        if delimiter not in DELIMITERS:
            raise ReferenceFileError(f"The first line names the delimiter {shown(delimiter)}; use one of , ; | or tab.")
        text = text[skipped:]
    delimiter = delimiter or _delimiter(text)
    names, *rows = _records(text, delimiter) or [[]]
    if not any(names):
        raise ReferenceFileError("The file has no header line: its first line is empty.")
    for column, name in enumerate(names, start=1):
        if any("\udc80" <= character <= "\udcff" for character in name):
            raise ReferenceFileError(f"The header's column {column}, {shown(name)}, is not UTF-8. {NOT_UTF8}")
    names, rows = _with_row_names([name.strip() for name in names], [row for row in rows if row])
    empty, index_columns = set(), []
    for place, name in enumerate(names):
        if name:
            continue
        values = [row[place].strip() for row in rows if place < len(row)]
        names[place] = f"Unnamed: {place}"
        if not any(values):
            empty.add(place)
        elif len(set(values)) == len(values) and all(value.isdecimal() for value in values):
            index_columns.append(names[place])
    lines = io.StringIO(text, newline="")
    next(csv.reader(lines, delimiter=delimiter))
    header = start.decode("utf-8", errors="surrogateescape")[: skipped + lines.tell()]
    return CsvLayout(
        delimiter=delimiter,
        names=tuple(names),
        empty=frozenset(empty),
        index_columns=tuple(index_columns),
        decimal_point="." if delimiter == "," else decimal_point(value for row in rows for value in row),
        newline=b"\r" if b"\r" in start and b"\n" not in start else b"\n",
        header_bytes=len(header.encode("utf-8", errors="surrogateescape")),
    )


def decimal_point(values: Iterable[str]) -> str:
    """Return the decimal point of most numbers with decimals, a comma in doubt; "" if there are none."""
    commas = points = 0
    for value in values:
        number = value.strip()
        commas += _WITH_COMMA.fullmatch(number) is not None and _THOUSANDS.fullmatch(number) is None
        points += _WITH_POINT.fullmatch(number) is not None
    return "" if commas == points == 0 else "," if commas >= points else "."


def _records(text: str, delimiter: str) -> list[list[str]]:
    """Return the header and the first rows; an empty list for an empty line."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    records: list[list[str]] = []
    try:
        for record in reader:
            records.append(record)
            if len(records) > SAMPLE_ROWS:
                break
        else:
            if len(records) > 2 and not text.endswith(("\r", "\n")):  # perhaps cut off
                records.pop()
    except csv.Error:  # a value of more than 128 KiB
        pass
    return records


def _delimiter(text: str) -> str:
    """Return the delimiter whose number in the header and in the rows agrees best."""
    best, best_share = NO_DELIMITER, 0.0
    for delimiter in DELIMITERS:
        header, *rows = _records(text, delimiter) or [[]]
        widths = [len(row) for row in rows if row]
        longer = len(header) + 1
        if set(widths) == {longer} and (len(header) > 1 or text.partition("\n")[2].startswith('"1"')):  # row names
            share = 1.0
        elif len(header) < 2:
            continue
        else:
            share = sum(width == len(header) for width in widths) / len(widths) if widths else 0.0
        if best == NO_DELIMITER or share > best_share:
            best, best_share = delimiter, share
    return best


def _with_row_names(names: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Return the header with an empty name for each column that only the rows have."""
    widths = {len(row) for row in rows}
    if widths == {len(names) - 1} and not names[-1]:
        return names[:-1], rows
    if widths != {len(names) + 1}:
        return names, rows
    if not any(row[-1] for row in rows):
        return [*names, ""], rows
    if len(rows) > 1 and [row[0] for row in rows] == [str(row) for row in range(1, len(rows) + 1)]:
        return ["", *names], rows
    raise ReferenceFileError(
        f"Every row has {len(names) + 1} values; the header has {len(names)}. If the first value names the row, as in "
        "a file of R's write.table, write the file with col.names = NA."
    )
