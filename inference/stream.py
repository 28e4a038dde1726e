"""The live window: a Redis stream for each model version, whose entries are packed Arrow record batches.

An entry has three fields: ``b``, the rows as an Arrow IPC stream; ``n``, their number; and ``r``, the number of rows
that the version has captured up to and including this entry. An entry therefore states the position of its rows, and a
reader sees the gap between two entries. Entries are never changed; the oldest ones are trimmed.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal, cast

import pyarrow as pa
import pyarrow.compute as pc
import redis
from django.conf import settings

READ_BYTES = 2**18  # per read from the socket: an 80 MB window arrives in half the time of the default, 2**16
FEATURE_PREFIX = "feature."
ROUTING = "routing"  # column of rows that were captured during a rollout; windows do not have it
FIRST_PAGE_ENTRIES = 16
MOST_PAGE_ENTRIES = 256
PAGE_BYTES = 4 * 2**20  # approximate size of one reply: 80 MB in one reply takes twice as long as in parts of this size
CLOCK_SKEW = timedelta(seconds=5)  # between the host that captured a row and the Redis host, which numbers the entries
OBSERVED_AT_TYPE = pa.timestamp("us", tz="UTC")

OBSERVATION_FIELDS = [
    pa.field("prediction_id", pa.binary(16), nullable=False),
    pa.field("observed_at", OBSERVED_AT_TYPE, nullable=False),
    pa.field("confidence", pa.float64()),
    pa.field("latency_ms", pa.float64()),
]

_clients: dict[tuple[int, str], redis.Redis] = {}


@dataclass(frozen=True, slots=True)
class Window:
    """The latest observations of a model version, oldest first.

    Attributes
    ----------
    table
        Columns ``prediction_id`` (16 bytes, UUIDv7), ``observed_at`` (UTC, microseconds), ``confidence`` (0 to 1 or
        null), ``latency_ms``, ``prediction`` (class as string, or float64), for a classifier with more than two classes
        ``scores`` (`models_registry.class_scores`), and ``feature.<name>`` for each feature (float64 or string; null is
        missing). No columns if the window is empty.
    end_id
        Id of the last stream entry; "" if the window is empty.
    rows_seen
        Number of observations ever captured, up to the end of the window.
    """

    table: pa.Table
    end_id: str
    rows_seen: int

    @property
    def features(self) -> pa.Table:
        """The feature columns under their own names."""
        names = [name for name in self.table.column_names if name.startswith(FEATURE_PREFIX)]
        return self.table.select(names).rename_columns([name.removeprefix(FEATURE_PREFIX) for name in names])


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a stream.

    Attributes
    ----------
    id
        The id that Redis assigned: Unix milliseconds, "-", a sequence number within the millisecond.
    rows
        Number of rows in the entry.
    rows_seen
        Number of rows ever captured for the version, up to and including this entry.
    payload
        The rows, as an Arrow IPC stream.
    """

    id: str
    rows: int
    rows_seen: int
    payload: bytes

    @property
    def rows_before(self) -> int:
        """Number of rows ever captured for the version before this entry."""
        return self.rows_seen - self.rows

    @property
    def milliseconds(self) -> int:
        """Unix milliseconds at which Redis stored the entry."""
        return id_order(self.id)[0]

    def table(self) -> pa.Table:
        """Return the rows; raise pyarrow.ArrowInvalid if the payload is damaged."""
        return pa.ipc.open_stream(self.payload).read_all()


def redis_client() -> redis.Redis:
    """Return this process's Redis client (bytes in, bytes out); a forked child gets its own."""
    key = os.getpid(), settings.REDIS_URL
    if key not in _clients:
        _clients[key] = redis.Redis.from_url(
            settings.REDIS_URL,
            socket_timeout=5,
            socket_connect_timeout=2,
            socket_read_size=READ_BYTES,
            health_check_interval=30,
        )
    return _clients[key]


def stream_key(version_id: int, name: str = "observations") -> str:
    """Return the key of a version's stream, or of another value that belongs to the version.

    The braces keep all keys of a version on one node of a Redis cluster.
    """
    return f"mlmon:{{{version_id}}}:{name}"


def id_order(entry_id: str) -> tuple[int, int]:
    """Return the sort key of an entry id."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)


def to_bytes(table: pa.Table, *, compression: Literal["zstd"] | None = None) -> bytes:
    """Return a table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def entry_of(item: tuple[bytes, dict[bytes, bytes]]) -> Entry:
    """Return the entry for an item of a Redis reply."""
    entry_id, fields = item
    return Entry(id=entry_id.decode(), rows=int(fields[b"n"]), rows_seen=int(fields[b"r"]), payload=fields[b"b"])


def read_window(client: redis.Redis, version_id: int, rows: int, end_id: str | None = None) -> Window:
    """Return the latest `rows` observations, or fewer if the stream has fewer.

    The window begins where the columns or their types last changed: older rows with another schema are left out. If
    columns were only removed, because a feature is no longer stored, the window continues with the remaining columns.

    Parameters
    ----------
    end_id
        Id of the entry at which the window ends, to read the same window again; None for the latest entry. If that
        entry is no longer in the stream, the window is empty.
    """
    entries: list[Entry] = []
    collected = 0
    for entry in latest_first(client, version_id, end_id=end_id):
        entries.append(entry)
        collected += entry.rows
        if collected >= rows:
            break
    return _window(entries, rows)


def read_window_since(
    client: redis.Redis, version_id: int, since: datetime, *, most_rows: int, end_id: str | None = None
) -> Window:
    """Return the latest observations with ``observed_at`` at or after `since`, at most `most_rows`.

    A change of the schema and `end_id` have the same effect as in `read_window`. If no row is recent enough, the table
    has no rows, and `end_id` is the id of the last entry that was read.
    """
    oldest_id_ms = (since - CLOCK_SKEW).timestamp() * 1000  # an entry is written after its rows are observed
    entries: list[Entry] = []
    collected = 0
    for entry in latest_first(client, version_id, end_id=end_id):
        if entries and (collected >= most_rows or entry.milliseconds < oldest_id_ms):
            break
        entries.append(entry)
        collected += entry.rows
    window = _window(entries, most_rows)
    if not window.end_id:
        return window
    is_recent = pc.greater_equal(window.table.column("observed_at"), pa.scalar(since, OBSERVED_AT_TYPE))
    return replace(window, table=window.table.filter(is_recent))


def latest_first(
    client: redis.Redis, version_id: int, *, end_id: str | None = None, after: str | None = None
) -> Iterator[Entry]:
    """Yield entries backwards from the latest one to the one after `after`, a page at a time.

    With `end_id`, start at that entry; yield nothing if it is no longer in the stream.
    """
    upper = end_id or "+"
    lower = f"({after}" if after else "-"
    count = FIRST_PAGE_ENTRIES
    while page := client.xrevrange(stream_key(version_id), max=upper, min=lower, count=count):
        entries = [entry_of(item) for item in cast(list[Any], page)]
        if upper == end_id and entries[0].id != end_id:
            return
        yield from entries
        upper = f"({entries[-1].id}"
        mean_bytes = sum(len(entry.payload) for entry in entries) / len(entries)
        count = max(1, min(MOST_PAGE_ENTRIES, int(PAGE_BYTES / mean_bytes)))


def _window(entries: Sequence[Entry], most_rows: int) -> Window:
    """Return the window that ends with the first of `entries`, which are ordered from the latest to the oldest.

    Payloads usually begin with the same bytes, the schema. It is then parsed once instead of for each of a thousand
    entries, which took a third of the time of a read.
    """
    if not entries:
        return Window(table=pa.table({}), end_id="", rows_seen=0)
    source = pa.BufferReader(entries[0].payload)
    pa.ipc.read_message(source)
    schema_bytes = entries[0].payload[: source.tell()]
    latest_schema = pa.ipc.read_schema(pa.py_buffer(schema_bytes))
    place = latest_schema.get_field_index(ROUTING)
    schema = latest_schema if place < 0 else latest_schema.remove(place)
    latest_batches: list[list[pa.RecordBatch]] = []
    for entry in entries:
        if entry.payload.startswith(schema_bytes):
            first = pa.ipc.read_record_batch(pa.py_buffer(entry.payload).slice(len(schema_bytes)), latest_schema)
            found = [first] if first.num_rows == entry.rows else entry.table().to_batches()
            latest_batches.append(found if place < 0 else [batch.select(schema.names) for batch in found])
            continue
        table = entry.table()  # another schema, or the same schema written as other bytes
        if not all(table.column_names.count(one.name) == 1 and table.schema.field(one.name) == one for one in schema):
            break
        latest_batches.append(table.select(schema.names).replace_schema_metadata(schema.metadata).to_batches())
    batches = [batch for entry_batches in reversed(latest_batches) for batch in entry_batches]
    table = pa.Table.from_batches(batches, schema)
    return Window(
        table=table.slice(max(0, table.num_rows - most_rows)).combine_chunks(),
        end_id=entries[0].id,
        rows_seen=entries[0].rows_seen,
    )


def latest_entry_id(client: redis.Redis, version_id: int) -> str:
    """Return the id at which a window read now would end; "" if the stream is empty."""
    page = cast(list[Any], client.xrevrange(stream_key(version_id), count=1))
    return entry_of(page[0]).id if page else ""


def rows_seen(client: redis.Redis, version_ids: Sequence[int]) -> dict[int, int]:
    """Return the number of observations ever captured for each version, in one round trip."""
    if not version_ids:
        return {}
    keys = [stream_key(version_id, "rows") for version_id in version_ids]
    counts = cast(list[bytes | None], client.mget(keys))
    return {version_id: int(count or 0) for version_id, count in zip(version_ids, counts, strict=True)}


def trim_to_rows(client: redis.Redis, version_id: int, rows: int, *, keep_from: str | None = None) -> int:
    """Delete the oldest entries, so that about `rows` rows remain and never fewer; return how many were deleted.

    The cut is found by bisection over time (entry ids begin with milliseconds), without reading all payloads.

    Parameters
    ----------
    keep_from
        An entry id: this entry and all later ones remain, however many they are.
    """
    key = stream_key(version_id)
    ends = [cast(list[Any], read(key, count=1)) for read in (client.xrange, client.xrevrange)]
    if not all(ends):
        return 0
    oldest, latest = (entry_of(page[0]) for page in ends)
    deletable_up_to = latest.rows_seen - rows
    if oldest.rows_seen > deletable_up_to:
        return 0
    low, high = oldest.milliseconds, latest.milliseconds  # the first entry at `low` is deleted, the one at `high` stays
    while high - low > 1:
        middle = (low + high) // 2
        page = cast(list[Any], client.xrange(key, min=str(middle), count=1))
        if page and entry_of(page[0]).rows_seen <= deletable_up_to:
            low = middle
        else:
            high = middle
    cut = str(low) if keep_from is None else min(str(low), keep_from, key=id_order)
    return client.xtrim(key, minid=cut, approximate=False)
