"""The format of archived observations, and how entries of a stream become chunks."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from inference.stream import Entry

MOST_CHUNK_ROWS = 100_000
MOST_CHUNK_MEMORY_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class ChunkDraft:
    """The rows of a chunk before it is stored.

    Attributes
    ----------
    table
        Columns as in `inference.stream.Window`; at least one row.
    first_row
        Position of the first row in the stream, counted from 1.
    first_entry_id, last_entry_id
        The entries that contain its first and its last row.
    """

    table: pa.Table
    first_row: int
    first_entry_id: str
    last_entry_id: str

    @property
    def prediction_ids(self) -> tuple[uuid.UUID, uuid.UUID]:
        """The smallest and the largest prediction id."""
        extremes: Any = pc.min_max(self.table.column("prediction_id")).as_py()
        return uuid.UUID(bytes=extremes["min"]), uuid.UUID(bytes=extremes["max"])


@dataclass(frozen=True, slots=True)
class Merge:
    """The result of merging entries.

    Attributes
    ----------
    drafts
        In the order of their rows, without overlap.
    rows_seen
        Rows of the stream up to the last merged one.
    rows_lost
        Rows between the merged ones: trimmed from the stream before they were read, or damaged.
    """

    drafts: tuple[ChunkDraft, ...]
    rows_seen: int
    rows_lost: int


def merge(entries: Sequence[Entry], rows_seen: int) -> Merge:
    """Merge entries of one stream into chunks.

    A chunk ends where the columns or their types change, where rows are missing, and at its size limits; an entry is
    never split. An unreadable entry is left out, and its rows count as lost at the next entry.

    Parameters
    ----------
    entries
        In the stream's order, all of them after row `rows_seen`.
    rows_seen
        Rows of the stream before the entries, archived or lost.
    """
    groups: list[list[tuple[Entry, pa.Table]]] = []
    rows_lost = rows = memory_bytes = 0
    for entry in entries:
        table = readable_table(entry)
        if table is None or table.num_rows == 0:
            continue
        rows_lost += entry.rows_before - rows_seen
        rows, memory_bytes = rows + table.num_rows, memory_bytes + table.nbytes
        is_full = rows > MOST_CHUNK_ROWS or memory_bytes > MOST_CHUNK_MEMORY_BYTES
        is_gap = entry.rows_before != rows_seen
        if not groups or is_gap or is_full or not table.schema.equals(groups[-1][0][1].schema):
            groups.append([])
            rows, memory_bytes = table.num_rows, table.nbytes
        groups[-1].append((entry, table))
        rows_seen = entry.rows_seen
    drafts = [
        ChunkDraft(
            table=pa.concat_tables([table for _, table in group]).combine_chunks(),
            first_row=group[0][0].rows_before + 1,
            first_entry_id=group[0][0].id,
            last_entry_id=group[-1][0].id,
        )
        for group in groups
    ]
    return Merge(drafts=tuple(drafts), rows_seen=rows_seen, rows_lost=rows_lost)


def readable_table(entry: Entry) -> pa.Table | None:
    """Return the rows of an entry; None if they are damaged or their number is wrong."""
    try:
        table = entry.table()
    except pa.ArrowInvalid:
        return None
    return table if table.num_rows == entry.rows else None


def from_bytes(payload: bytes | memoryview, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the table of `payload`; with `columns`, only those of them that it has, without decompressing others."""
    buffer = pa.py_buffer(payload)
    if columns is None:
        return pa.ipc.open_stream(buffer).read_all()
    names = pa.ipc.read_schema(buffer).names
    wanted = [name for name in columns if name in names]
    options = pa.ipc.IpcReadOptions(included_fields=[names.index(name) for name in wanted])
    return pa.ipc.open_stream(buffer, options=options).read_all().select(wanted)
