"""Read observations back as columns, from the archive and from the part of the stream that is not archived yet.

The position in the stream identifies each row. Between archive and stream, no row is therefore missing or read twice,
and chunks may be compacted or deleted while they are read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from inference import selectors, stream
from inference.archive_format import from_bytes, readable_table
from inference.models import NO_ENTRY
from inference.stream import OBSERVED_AT_TYPE, ROUTING, Entry, redis_client

TIME = "observed_at"


@dataclass(frozen=True, slots=True, order=True)
class RowPlace:
    """Position of a row among all rows of a version: the number of its stream, and its row there, counted from 1."""

    stream_number: int
    row: int


AFTER_EVERY_ROW = RowPlace(2**31 - 1, 0)


@dataclass(frozen=True, slots=True)
class ArchivedRows:
    """Consecutive rows of one stream; at least one.

    Attributes
    ----------
    first
        Position of the first row.
    table
        The rows, oldest first.
    """

    first: RowPlace
    table: pa.Table


def read_observations(
    version_id: int,
    *,
    rows: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Return observations of a version, oldest first, from the archive and from the stream.

    Chunks are read one at a time and only as far as needed, so the memory holds the result and one chunk. The result
    begins where the schema of the requested columns last changed: older rows with another schema are left out.

    Parameters
    ----------
    rows
        Return the latest rows, at most this number.
    since, until
        Bounds of ``observed_at``; `until` is not included.
    columns
        Names as in `inference.stream.Window`; None for all. Columns that the rows do not have are left out.

    Returns
    -------
    pyarrow.Table
        Without columns if there are no such rows.

    Raises
    ------
    ValueError
        Neither `rows` nor `since` is given: the archive may be larger than the memory.
    redis.RedisError, django.db.DatabaseError
        Redis or the database is unavailable.
    """
    if rows is None and since is None:
        raise ValueError("Give rows or since: the archive may be larger than the memory.")
    parts: list[pa.Table] = []
    collected = 0
    for table in _tables_latest_first(version_id, rows, since, until, columns):
        part = table
        if since is not None:
            part = part.filter(pc.field(TIME) >= pa.scalar(since, OBSERVED_AT_TYPE))
        if until is not None:
            part = part.filter(pc.field(TIME) < pa.scalar(until, OBSERVED_AT_TYPE))
        part = _selected(part, columns)
        if parts and part.num_rows and not part.schema.equals(parts[0].schema):
            break
        parts += [part] if part.num_rows else []
        collected += part.num_rows
        if rows is not None and collected >= rows:
            break
    if not parts:
        return pa.table({})
    found = pa.concat_tables(reversed(parts))
    return found if rows is None else found.slice(max(0, collected - rows))


def iterate_archive(
    version_id: int,
    *,
    start: RowPlace | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    columns: Sequence[str] | None = None,
) -> Iterator[ArchivedRows]:
    """Yield the archived rows of a version, oldest first, one chunk at a time.

    Chunks may be written, compacted or deleted meanwhile; no row is yielded twice.

    Parameters
    ----------
    start
        The first row to yield.
    since, until
        Chunks without a row between these times are left out; the others are yielded whole.
    columns
        As for `read_observations`.
    """
    chunks = selectors.chunks_between(version_id, since, until)
    place = start or RowPlace(0, 0)
    while True:
        here = chunks.filter(stream_number=place.stream_number, last_row__gte=place.row).order_by("last_row")
        later = chunks.filter(stream_number__gt=place.stream_number).order_by("stream_number", "last_row")
        chunk = here.first() or later.first()
        if chunk is None:
            return
        table = _selected(from_bytes(chunk.payload, columns), columns)
        skipped = place.row - chunk.first_row if chunk.stream_number == place.stream_number else 0
        first_row = chunk.first_row + max(0, skipped)
        yield ArchivedRows(RowPlace(chunk.stream_number, first_row), table.slice(max(0, skipped)))
        place = RowPlace(chunk.stream_number, chunk.last_row + 1)


def _selected(table: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    """Return those of `columns` that a table has; None is all but the routing, which comes and goes with rollouts."""
    wanted = [name for name in table.column_names if name != ROUTING] if columns is None else columns
    return table.select([name for name in wanted if name in table.column_names])


def _tables_latest_first(
    version_id: int, rows: int | None, since: datetime | None, until: datetime | None, columns: Sequence[str] | None
) -> Iterator[pa.Table]:
    """Yield consecutive tables, the latest first; the rows of each table are ordered from the oldest."""
    entries, end = _unarchived_entries(version_id, rows if until is None else None)
    tables = [table for table in map(readable_table, entries) if table is not None]
    for _, same in groupby(tables, key=lambda table: table.schema):
        yield pa.concat_tables(reversed(list(same))).combine_chunks()
    read_columns = columns if columns is None or TIME in columns else [*columns, TIME]
    chunks = selectors.chunks_between(version_id, since, until)
    while True:
        here = chunks.filter(stream_number=end.stream_number, first_row__lt=end.row).order_by("-first_row")
        earlier = chunks.filter(stream_number__lt=end.stream_number).order_by("-stream_number", "-first_row")
        chunk = here.first() or earlier.first()
        if chunk is None:
            return
        table = from_bytes(chunk.payload, read_columns)
        if chunk.stream_number == end.stream_number and chunk.last_row >= end.row:
            table = table.slice(0, end.row - chunk.first_row)
        yield table
        end = RowPlace(chunk.stream_number, chunk.first_row)


def _unarchived_entries(version_id: int, rows: int | None) -> tuple[list[Entry], RowPlace]:
    """Return the entries that are not archived, latest first, and the position before which the archive continues.

    With `rows`, stop at the entries that contain that many.

    An entry that is archived during this read may be in both; the archive is then read only up to the oldest entry. An
    entry that is archived and trimmed during this read is not in the list, but in the archive by then.
    """
    position = selectors.archive_position(version_id)
    after = position.last_entry_id if position else NO_ENTRY
    entries: list[Entry] = []
    collected = 0
    for entry in stream.latest_first(redis_client(), version_id, after=after):
        entries.append(entry)
        collected += entry.rows
        if rows is not None and collected >= rows:
            break
    if position is None:
        return entries, RowPlace(1, entries[-1].rows_before + 1) if entries else AFTER_EVERY_ROW
    if not entries:
        return [], AFTER_EVERY_ROW
    if position.continues_with(entries[-1]):
        return entries, RowPlace(position.stream_number, entries[-1].rows_before + 1)
    return entries, RowPlace(position.stream_number + 1, 0)
