"""Reading observations back as columns: from the archive, and from the stream what is not archived yet.

Rows are told apart by their place in their stream. So the seam between archive and stream has neither a gap nor a row
twice, and chunks may be compacted or deleted while they are read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from inference import selectors, stream
from inference.archive_format import from_bytes, readable_table
from inference.models import NO_ENTRY, ObservationChunk
from inference.redis_client import redis_client
from inference.selectors import ChunkFilter, RowPlace
from inference.stream import OBSERVED_AT_TYPE, Entry

TIME = "observed_at"


@dataclass(frozen=True, slots=True)
class ArchivedRows:
    """Rows that follow each other in one stream; at least one.

    Attributes
    ----------
    first
        Where the first one is.
    table
        The rows, oldest first.
    """

    first: RowPlace
    table: pa.Table

    @property
    def last(self) -> RowPlace:
        return RowPlace(self.first.stream_number, self.first.row + self.table.num_rows - 1)


def read_observations(
    version_id: int,
    *,
    rows: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Return observations of a version, oldest first, wherever they are.

    Chunks are read one by one and only as far as needed, so memory is that of the result and of one chunk. The result
    begins where the schema of the columns asked for last changed: older rows of another schema are left out.

    Parameters
    ----------
    rows
        So many at most: the newest.
    since, until
        Bounds of ``observed_at``; `until` is not included.
    columns
        Names as in `inference.stream.Window`; all of them where not given. One that the rows lack is left out.

    Returns
    -------
    pyarrow.Table
        Without columns where there are no such rows.

    Raises
    ------
    ValueError
        Neither `rows` nor `since` is given: the archive may be larger than the memory.
    redis.RedisError, django.db.DatabaseError
        One of the two places did not answer.
    """
    if rows is None and since is None:
        raise ValueError("Say how many rows, or since when.")
    parts: list[pa.Table] = []
    collected = 0
    for table in _newest_first(version_id, rows, ChunkFilter(since, until), columns):
        part = _between(table, since, until, columns)
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
    """Yield what is archived of a version, oldest first, a chunk at a time.

    Chunks that are written, compacted or deleted meanwhile are met as they are then, and no row is met twice.

    Parameters
    ----------
    start
        The first row to yield.
    since, until
        Chunks that have no row between these times are left out; the others are whole.
    columns
        As for `read_observations`.
    """
    place = start or RowPlace(0, 0)
    while (chunk := selectors.chunk_from(version_id, place, ChunkFilter(since, until))) is not None:
        table = from_bytes(chunk.payload, columns)
        skipped = place.row - chunk.first_row if chunk.stream_number == place.stream_number else 0
        first_row = chunk.first_row + max(0, skipped)
        yield ArchivedRows(RowPlace(chunk.stream_number, first_row), table.slice(max(0, skipped)))
        place = RowPlace(chunk.stream_number, chunk.last_row + 1)


def _newest_first(
    version_id: int, rows: int | None, wanted: ChunkFilter, columns: Sequence[str] | None
) -> Iterator[pa.Table]:
    """Yield tables whose rows follow each other backwards; each is oldest first in itself."""
    entries, end = _live_entries(version_id, rows if wanted.until is None else None)
    yield from _joined_backwards(entries)
    read_columns = columns if columns is None or TIME in columns else [*columns, TIME]
    while (chunk := selectors.chunk_before(version_id, end, wanted)) is not None:
        yield _rows_before(end, chunk, read_columns)
        end = RowPlace(chunk.stream_number, chunk.first_row)


def _live_entries(version_id: int, rows: int | None) -> tuple[list[Entry], RowPlace]:
    """Return what is not archived, newest first, and the place from which the archive goes on backwards.

    With `rows` the newest entries that hold so many are enough.

    An entry that is archived while this reads may be in both: the archive is then read up to the oldest one only.
    Entries that are archived and trimmed while this reads are in neither list nor stream, but in the archive by then.
    """
    position = selectors.archive_position(version_id)
    after = position.last_entry_id if position else NO_ENTRY
    entries: list[Entry] = []
    collected = 0
    for entry in stream.newest_first(redis_client(), version_id, after=after):
        entries.append(entry)
        collected += entry.rows
        if rows is not None and collected >= rows:
            break
    if position is None:
        return entries, RowPlace(1, entries[-1].rows_before + 1) if entries else RowPlace.end()
    if not entries:
        return [], RowPlace.end()
    if position.continues_with(entries[-1]):
        return entries, RowPlace(position.stream_number, entries[-1].rows_before + 1)
    return entries, RowPlace(position.stream_number + 1, 0)


def _joined_backwards(entries: Sequence[Entry]) -> Iterator[pa.Table]:
    tables = [table for table in map(readable_table, entries) if table is not None]
    for _, same in groupby(tables, key=lambda table: table.schema):
        yield pa.concat_tables(reversed(list(same))).combine_chunks()


def _rows_before(end: RowPlace, chunk: ObservationChunk, columns: Sequence[str] | None) -> pa.Table:
    table = from_bytes(chunk.payload, columns)
    if chunk.stream_number == end.stream_number and chunk.last_row >= end.row:
        return table.slice(0, end.row - chunk.first_row)
    return table


def _between(
    table: pa.Table, since: datetime | None, until: datetime | None, columns: Sequence[str] | None
) -> pa.Table:
    if since is not None:
        table = table.filter(pc.field(TIME) >= pa.scalar(since, OBSERVED_AT_TYPE))
    if until is not None:
        table = table.filter(pc.field(TIME) < pa.scalar(until, OBSERVED_AT_TYPE))
    return table if columns is None else table.select([name for name in columns if name in table.column_names])
