"""The live window: a Redis stream for each model version, whose entries are packed Arrow record batches.

An entry has three fields: ``b`` the rows (Arrow IPC stream), ``n`` their number, ``r`` how many rows the version had
captured, ever, up to this entry. Entries are never changed; the oldest are trimmed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import redis

FEATURE_PREFIX = "feature."
PAGE_ENTRIES = 256
CLOCK_SKEW = timedelta(seconds=5)  # between the host that observed a row and that of Redis, which numbers the entries
OBSERVED_AT_TYPE = pa.timestamp("us", tz="UTC")

OBSERVATION_FIELDS = [
    pa.field("prediction_id", pa.binary(16), nullable=False),
    pa.field("observed_at", OBSERVED_AT_TYPE, nullable=False),
    pa.field("confidence", pa.float64()),
    pa.field("latency_ms", pa.float64()),
]


@dataclass(frozen=True, slots=True)
class Window:
    """The newest observations of a model version, oldest first.

    Attributes
    ----------
    table
        Columns ``prediction_id`` (16 bytes, UUIDv7), ``observed_at`` (UTC, microseconds), ``confidence`` (0 to 1 or
        null), ``latency_ms``, ``prediction`` (class as string, or float64), and ``feature.<name>`` for each feature
        (float64 or string; null is missing). Without columns when the window is empty.
    end_id
        Id of the last stream entry; "" when the window is empty.
    rows_seen
        Observations captured up to the window's end, ever.
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
class _Entry:
    id: bytes
    rows: int
    rows_seen: int
    payload: bytes

    @property
    def milliseconds(self) -> int:
        """When Redis took the entry, in Unix milliseconds."""
        return int(self.id.split(b"-")[0])


def stream_key(version_id: int) -> str:
    """Return the stream's key; the braces keep a version's keys on one node of a Redis cluster."""
    return f"mlmon:{{{version_id}}}:observations"


def _counter_key(version_id: int) -> str:
    return f"mlmon:{{{version_id}}}:rows"


def append(client: redis.Redis, version_id: int, observations: pa.Table, *, max_entries: int) -> None:
    """Append `observations` as one entry.

    An entry holds at least one row, so the last `max_entries` entries hold at least as many rows: that bound is kept
    here (approximately), the bound in rows by `trim_to_rows`.
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, observations.schema) as writer:
        writer.write_table(observations)
    rows_seen = client.incrby(_counter_key(version_id), observations.num_rows)
    entry: dict[Any, Any] = {"b": sink.getvalue().to_pybytes(), "n": observations.num_rows, "r": rows_seen}
    client.xadd(stream_key(version_id), entry, maxlen=max_entries, approximate=True)


def read_window(client: redis.Redis, version_id: int, rows: int, end_id: str | None = None) -> Window:
    """Return the newest `rows` observations (fewer where there are fewer).

    The window ends where the rows' columns or types last changed: older rows of another schema are left out.

    Parameters
    ----------
    end_id
        Id of the entry at which the window ends, for the same window again; without one the newest. Where that entry
        is gone from the stream the window is empty.
    """
    entries: list[_Entry] = []
    collected = 0
    for entry in _newest_first(client, version_id, end_id):
        entries.append(entry)
        collected += entry.rows
        if collected >= rows:
            break
    return _window(entries, rows)


def read_window_since(
    client: redis.Redis, version_id: int, since: datetime, *, most_rows: int, end_id: str | None = None
) -> Window:
    """Return the newest observations that were observed at `since` or later, at most `most_rows`.

    As `read_window` does, it ends where the schema changed, and with `end_id` at that entry. The window's last entry
    may have no row that is new enough: then the table has no rows, and `end_id` says where it was looked for.
    """
    oldest_id_ms = (since - CLOCK_SKEW).timestamp() * 1000  # an entry is written after its rows are observed
    entries: list[_Entry] = []
    collected = 0
    for entry in _newest_first(client, version_id, end_id):
        if entries and (collected >= most_rows or entry.milliseconds < oldest_id_ms):
            break
        entries.append(entry)
        collected += entry.rows
    window = _window(entries, most_rows)
    if not window.end_id:
        return window
    is_new_enough = pc.greater_equal(window.table.column("observed_at"), pa.scalar(since, OBSERVED_AT_TYPE))
    return replace(window, table=window.table.filter(is_new_enough))


def newest_entry_id(client: redis.Redis, version_id: int) -> str:
    """Return the id at which a window read now would end; "" where there is none."""
    newest = _first_entry(client.xrevrange(stream_key(version_id), count=1))
    return newest.id.decode() if newest else ""


def rows_seen(client: redis.Redis, version_ids: Sequence[int]) -> dict[int, int]:
    """Return how many observations each version has captured, ever; one round trip for all."""
    if not version_ids:
        return {}
    counts = cast(list[bytes | None], client.mget([_counter_key(version_id) for version_id in version_ids]))
    return {version_id: int(count or 0) for version_id, count in zip(version_ids, counts, strict=True)}


def trim_to_rows(client: redis.Redis, version_id: int, rows: int) -> int:
    """Drop the oldest entries so that about `rows` rows stay, never fewer; return how many entries went.

    The cut is found by bisection over time (entry ids begin with milliseconds), so payloads are not walked through.
    """
    key = stream_key(version_id)
    newest = _first_entry(client.xrevrange(key, count=1))
    oldest = _first_entry(client.xrange(key, count=1))
    if newest is None or oldest is None:
        return 0
    droppable_up_to = newest.rows_seen - rows
    if oldest.rows_seen > droppable_up_to:
        return 0
    low, high = oldest.milliseconds, newest.milliseconds  # the first entry at `low` goes, the one at `high` stays
    while high - low > 1:
        middle = (low + high) // 2
        entry = _first_entry(client.xrange(key, min=str(middle), count=1))
        if entry is not None and entry.rows_seen <= droppable_up_to:
            low = middle
        else:
            high = middle
    return client.xtrim(key, minid=str(low), approximate=False)


def delete_window(client: redis.Redis, version_id: int) -> None:
    """Forget the live window and the count of a version."""
    client.delete(stream_key(version_id), _counter_key(version_id))


def _window(newest_first: Sequence[_Entry], rows: int) -> Window:
    if not newest_first:
        return Window(table=pa.table({}), end_id="", rows_seen=0)
    tables: list[pa.Table] = []
    for entry in newest_first:
        table = pa.ipc.open_stream(entry.payload).read_all()
        if tables and not table.schema.equals(tables[0].schema):
            break
        tables.append(table)
    table = pa.concat_tables(reversed(tables))
    return Window(
        table=table.slice(max(0, table.num_rows - rows)).combine_chunks(),
        end_id=newest_first[0].id.decode(),
        rows_seen=newest_first[0].rows_seen,
    )


def _newest_first(client: redis.Redis, version_id: int, end_id: str | None = None) -> Iterator[_Entry]:
    """Yield the entries from the newest, or from the one of that id; none where that one is gone."""
    upper = end_id or "+"
    while page := client.xrevrange(stream_key(version_id), max=upper, count=PAGE_ENTRIES):
        entries = [_entry(item) for item in cast(list[Any], page)]
        if upper == end_id and entries[0].id.decode() != end_id:
            return
        yield from entries
        upper = f"({entries[-1].id.decode()}"


def _entry(item: tuple[bytes, dict[bytes, bytes]]) -> _Entry:
    entry_id, fields = item
    return _Entry(id=entry_id, rows=int(fields[b"n"]), rows_seen=int(fields[b"r"]), payload=fields[b"b"])


def _first_entry(page: Any) -> _Entry | None:
    return _entry(page[0]) if page else None
