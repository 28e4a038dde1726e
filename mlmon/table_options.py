"""How a table is read: limits, choices, and what was detected."""

import sys
from dataclasses import dataclass

from mlmon.exceptions import ReferenceFileError


@dataclass(frozen=True, slots=True)
class TableLimits:
    """Limits of a table: a small file can hold a very large one.

    Attributes
    ----------
    file_bytes
        Of the file on disk, or of all files of a folder together.
    rows, cells
        Of the table; cells are rows times columns of the file.
    uncompressed_bytes
        Of the columns of a Parquet file, according to its metadata; of a CSV file after gzip.
    text_bytes
        Of all strings of the columns that are read: a Parquet file holds a string once, however many rows have it.
    """

    file_bytes: int
    rows: int
    cells: int = 100_000_000
    uncompressed_bytes: int = 2_000_000_000
    text_bytes: int = 1_000_000_000

    def check_file_bytes(self, size: int) -> None:
        """Raise ReferenceFileError if a file, or all files of a folder together, are larger."""
        if size > self.file_bytes:
            raise ReferenceFileError(f"The file has {size:,} bytes; the limit is {self.file_bytes:,}.")

    def check_uncompressed(self, size: int) -> None:
        """Raise ReferenceFileError if the uncompressed content is larger."""
        if size > self.uncompressed_bytes:
            raise ReferenceFileError(
                f"The file unpacks to {size:,} bytes or more; the limit is {self.uncompressed_bytes:,}."
            )

    def check_rows(self, rows: int, columns: int) -> None:
        """Raise ReferenceFileError if there are more rows, or more cells in so many columns."""
        if rows > self.rows:
            raise ReferenceFileError(f"The file has {rows:,} rows or more; the limit is {self.rows:,}.")
        if rows * columns > self.cells:
            raise ReferenceFileError(f"The file has {rows * columns:,} cells or more; the limit is {self.cells:,}.")


UNLIMITED = TableLimits(*[sys.maxsize] * 5)


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a user knows about a file that the file does not show.

    Attributes
    ----------
    encoding
        Of a CSV file, by a name that Python knows, such as "cp1252"; "" for UTF-8, or UTF-16 with a byte order mark.
    ignored
        Names of columns that are left out, even if several columns have the name.
    missing
        Further strings that are missing values in every column of a CSV file, such as "-999".
    """

    encoding: str = ""
    ignored: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class TableFormat:
    """What was detected in a file.

    Attributes
    ----------
    kind
        "csv", "parquet", "parquet folder" or "arrow".
    delimiter
        Of a CSV file; "" if the file has one column.
    encoding
        Of a CSV file, such as "utf-8"; else "".
    decimal_point
        "," or "." in a CSV file; else "".
    is_compressed
        Whether a CSV file is compressed with gzip.
    """

    kind: str
    delimiter: str = ""
    encoding: str = ""
    decimal_point: str = ""
    is_compressed: bool = False
