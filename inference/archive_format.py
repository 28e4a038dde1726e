"""Archived observations as bytes, and how entries of a stream become chunks."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from inference.prediction_ids import is_own_id
from inference.stream import Entry

MOST_CHUNK_ROWS = 100_000
MOST_CHUNK_MEMORY_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class ChunkDraft:
    """Rows that will make one chunk.

    Attributes
    ----------
    table
        Columns as `inference.stream.Window` describes them; at least one row.
    first_row
        Place of the first row in the stream, counted from 1.
    first_entry_id, last_entry_id
        The entries that hold its first and its last row.
    """

    table: pa.Table
    first_row: int
    first_entry_id: str
    last_entry_id: str

    @property
    def last_row(self) -> int:
        return self.first_row + self.table.num_rows - 1

    @property
    def prediction_ids(self) -> tuple[uuid.UUID, uuid.UUID]:
        """The smallest and the largest."""
        smallest, largest = _extremes(self.table.column("prediction_id"))
        return uuid.UUID(bytes=smallest), uuid.UUID(bytes=largest)

    @property
    def observed_at(self) -> tuple[datetime, datetime]:
        """The earliest and the latest."""
        return _extremes(self.table.column("observed_at"))


@dataclass(frozen=True, slots=True)
class Merge:
    """What entries come to.

    Attributes
    ----------
    drafts
        In the order of their rows; none overlap.
    rows_seen
        Rows of the stream up to the last one that was merged.
    rows_lost
        Rows between those that were merged: dropped from the stream before they were read, or damaged.
    """

    drafts: tuple[ChunkDraft, ...]
    rows_seen: int
    rows_lost: int

    @property
    def rows(self) -> int:
        return sum(draft.table.num_rows for draft in self.drafts)


def merge(entries: Sequence[Entry], rows_seen: int) -> Merge:
    """Merge entries of one stream.

    A chunk ends where the columns or their types change, where rows are missing, and at its bounds; an entry is never
    split. An entry that cannot be read is left out, and its rows count as lost at the next one.

    Parameters
    ----------
    entries
        In the stream's order, all of them after row `rows_seen`.
    rows_seen
        Rows of the stream before them that are settled.
    """
    parts: list[_Part] = []
    rows_lost = 0
    for entry in entries:
        table = readable_table(entry)
        if table is None or table.num_rows == 0:
            continue
        rows_lost += entry.rows_before - rows_seen
        if not parts or entry.rows_before != rows_seen or not parts[-1].has_room_for(table):
            parts.append(_Part(entries=[], tables=[]))
        parts[-1].add(entry, table)
        rows_seen = entry.rows_seen
    return Merge(drafts=tuple(part.draft() for part in parts), rows_seen=rows_seen, rows_lost=rows_lost)


def readable_table(entry: Entry) -> pa.Table | None:
    """Return an entry's rows; None where they are damaged or not as many as the entry says."""
    try:
        table = entry.table()
    except pa.ArrowInvalid:
        return None
    return table if table.num_rows == entry.rows else None


def joined(drafts: Sequence[ChunkDraft]) -> ChunkDraft:
    """Return chunks of one schema that follow each other as one."""
    return ChunkDraft(
        table=pa.concat_tables([draft.table for draft in drafts]).combine_chunks(),
        first_row=drafts[0].first_row,
        first_entry_id=drafts[0].first_entry_id,
        last_entry_id=drafts[-1].last_entry_id,
    )


def to_bytes(table: pa.Table) -> bytes:
    """Return a table as a compressed Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def from_bytes(payload: bytes | memoryview, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the table of `payload`; with `columns` only those of them that it has, the others not unpacked."""
    buffer = pa.py_buffer(payload)
    if columns is None:
        return pa.ipc.open_stream(buffer).read_all()
    names = pa.ipc.read_schema(buffer).names
    wanted = [name for name in columns if name in names]
    options = pa.ipc.IpcReadOptions(included_fields=[names.index(name) for name in wanted])
    return pa.ipc.open_stream(buffer, options=options).read_all().select(wanted)


def has_given_ids(table: pa.Table, version_id: int) -> bool:
    """Return whether some prediction id is not one that the version made (see `inference.prediction_ids`)."""
    ids: list[Any] = table.column("prediction_id").to_pylist()
    return any(not is_own_id(one, version_id) for one in ids)


def schema_fingerprint(schema: pa.Schema) -> str:
    """Return the SHA-256 of the columns' names and types, in hexadecimal."""
    return hashlib.sha256(str([(field.name, str(field.type)) for field in schema]).encode()).hexdigest()


@dataclass(slots=True)
class _Part:
    """Entries that are about to make one chunk."""

    entries: list[Entry]
    tables: list[pa.Table]
    rows: int = 0
    memory_bytes: int = 0

    def has_room_for(self, table: pa.Table) -> bool:
        """Return whether `table` fits by its columns and its size."""
        return (
            self.rows + table.num_rows <= MOST_CHUNK_ROWS
            and self.memory_bytes + table.nbytes <= MOST_CHUNK_MEMORY_BYTES
            and table.schema.equals(self.tables[0].schema)
        )

    def add(self, entry: Entry, table: pa.Table) -> None:
        self.entries.append(entry)
        self.tables.append(table)
        self.rows += table.num_rows
        self.memory_bytes += table.nbytes

    def draft(self) -> ChunkDraft:
        return ChunkDraft(
            table=pa.concat_tables(self.tables).combine_chunks(),
            first_row=self.entries[0].rows_before + 1,
            first_entry_id=self.entries[0].id,
            last_entry_id=self.entries[-1].id,
        )


def _extremes(column: "pa.ChunkedArray[Any]") -> tuple[Any, Any]:
    found: Any = pc.min_max(column).as_py()
    return found["min"], found["max"]
