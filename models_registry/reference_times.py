"""The times of a reference file's rows: find their column, read its values, and the order of the rows by time."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlmon.detection.phases import NO_TIME
from mlmon.exceptions import ReferenceFileError, RowValueError, TimeValueError
from mlmon.instants import instants_of
from mlmon.tables import ReferenceTable
from mlmon.values import MISSING_STRINGS, decoded_strings, is_bytes, is_string, shown, string_lengths

TIME_NAMES = frozenset({"date", "datetime", "event_time", "observed_at", "time", "timestamp", "ts"})
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST_NAME = 255  # characters; of a stored column
LONGEST_TIME = 100  # bytes


@dataclass(frozen=True, slots=True)
class ReferenceTimes:
    """The times of a reference's rows.

    Attributes
    ----------
    column
        Name of the column; "" without one.
    instants
        Microseconds since 1970 in UTC, `NO_TIME` for a row without a time, shape (rows,). None without a column.
    zone
        The time zone in which values without an offset were read.
    note
        Why there are no times, for the person who uploaded the file.
    """

    column: str = ""
    instants: NDArray[np.int64] | None = None
    zone: str = "UTC"
    note: str = ""

    @property
    def timed_rows(self) -> int | None:
        return None if self.instants is None else int((self.instants != NO_TIME).sum())

    def ends(self) -> tuple[datetime | None, datetime | None]:
        """Return the first and the last time; None without times."""
        known = np.array([], dtype=np.int64) if self.instants is None else self.instants[self.instants != NO_TIME]
        if not known.size:
            return None, None
        first, last = (EPOCH + timedelta(microseconds=int(end)) for end in (known.min(), known.max()))
        return first, last

    def order(self) -> NDArray[np.int64] | None:
        """Return the rows in the order of time, those without a time last; None if they are in this order."""
        if self.instants is None:
            return None
        ends = np.where(self.instants == NO_TIME, np.iinfo(np.int64).max, self.instants)
        return None if (ends[1:] >= ends[:-1]).all() else np.argsort(ends, kind="stable")


def read_times(
    table: ReferenceTable, chosen: str, zone: str, *, features: Collection[str], label_column: str
) -> ReferenceTimes:
    """Return the times of a reference file's rows.

    Without a chosen column, it is the only column beside the features and the ground truth that is named in
    `TIME_NAMES` or has a type for dates or times of a date in Parquet. Numbers are Unix times in a chosen column only.

    Parameters
    ----------
    chosen
        The column that the uploader named; "" to detect it.
    zone
        The IANA name of the time zone of times without an offset.

    Raises
    ------
    ReferenceFileError
        The chosen column does not exist, or has a value that is no time, or none at all.
    """
    if chosen:
        if table.column_names.count(chosen) != 1:
            raise ReferenceFileError(_no_such_column(chosen, table.column_names))
        return ReferenceTimes(chosen, _instants(table, chosen, zone, with_numbers=True), zone)
    taken = {*features, label_column}
    others = [name for name in table.column_names if name not in taken and table.column_names.count(name) == 1]
    others = [name for name in others if name.isprintable() and len(name) <= LONGEST_NAME]  # PostgreSQL has no NUL
    candidates = [name for name in others if name.lower() in TIME_NAMES or _has_times(table.schema, name)]
    if not candidates:
        return ReferenceTimes(zone=zone, note="No column of the file looks like times.")
    if len(candidates) > 1:
        listed = ", ".join(candidates[:10])
        note = f"Several columns look like times: {listed}. Name one when you upload the file."
        return ReferenceTimes(zone=zone, note=note)
    (column,) = candidates
    try:
        return ReferenceTimes(column, _instants(table, column, zone, with_numbers=False), zone)
    except ReferenceFileError as error:
        return ReferenceTimes(zone=zone, note=f"Column {shown(column)} is not used as times. {error}")


def _has_times(schema: pa.Schema | None, name: str) -> bool:
    return schema is not None and (
        pa.types.is_timestamp(schema.field(name).type) or pa.types.is_date(schema.field(name).type)
    )


def _instants(table: ReferenceTable, column: str, zone: str, *, with_numbers: bool) -> NDArray[np.int64]:
    parts: list[Any] = []
    rows = 0
    for batch, _ in table.arrow_batches([column]):
        values: Any = batch.column(0)
        lengths = string_lengths(values)
        if lengths is not None and (long := lengths > LONGEST_TIME).any():  # before a dictionary is unpacked
            row = rows + int(np.argmax(long)) + 1
            reason = f"expected a time, got a string of more than {LONGEST_TIME} bytes"
            raise ReferenceFileError(f"Column {shown(column)}, row {row}: {reason}.")
        values = values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
        if is_string(values.type) or is_bytes(values.type):
            try:
                strings: Any = pc.utf8_trim_whitespace(decoded_strings(column, values))
            except RowValueError as error:
                reason = f"Column {shown(column)}, row {rows + error.row + 1}: {error.reason}."
                raise ReferenceFileError(reason) from error
            missing = [""] if table.text is None else [*MISSING_STRINGS, *table.text.missing]
            values = pc.if_else(pc.is_in(strings, value_set=pa.array(missing, pa.string())), None, strings)
        parts.append(values)
        rows += batch.num_rows
    if not rows:
        return np.array([], dtype=np.int64)  # the reader of the features refuses such a file
    decimal_point = "." if table.text is None else table.text.decimal_point
    try:
        instants = instants_of(pa.chunked_array(parts), zone, with_numbers=with_numbers, decimal_point=decimal_point)
    except TimeValueError as error:
        raise ReferenceFileError(f"Column {shown(column)}, row {error.row + 1}: {error.reason}.") from error
    if (instants == NO_TIME).all():
        raise ReferenceFileError(f"Column {shown(column)} has no times: all its values are missing.")
    return instants


def _no_such_column(chosen: str, names: list[str]) -> str:
    if chosen in names:
        return f"The file has several columns {shown(chosen)}. Rename all but one."
    return f"The file has no column {shown(chosen)} for the times. Its columns are: {', '.join(names[:20])}."
