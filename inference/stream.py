"""The live window: a Redis stream for each model version, whose entries are packed Arrow record batches.

An entry has three fields: ``b`` the rows (Arrow IPC stream), ``n`` their number, ``r`` how many rows the version had
captured, ever, up to and with this entry. So an entry says which rows it holds by their place among all, and a reader
sees what is missing between two entries. Entries are never changed; the oldest are trimmed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
import redis

FEATURE_PREFIX = "feature."
FIRST_PAGE_ENTRIES = 16
MOST_PAGE_ENTRIES = 256
# About what an answer of Redis holds: one of 80 MB takes twice as long as the same in parts that fit the caches.
PAGE_BYTES = 4 * 2**20
CLOCK_SKEW = timedelta(seconds=5)  # between the host that observed a row and that of Redis, which numbers the entries
OBSERVED_AT_TYPE = pa.timestamp("us", tz="UTC")

OBSERVATION_FIELDS = [
    pa.field("prediction_id", pa.binary(16), nullable=False),
    pa.field("observed_at", OBSERVED_AT_TYPE, nullable=False),
    pa.field("confidence", pa.float64()),
    pa.field("latency_ms", pa.float64()),
]


PRODUCER_SECONDS = 86_400  # how long Redis remembers an attempt; it is repeated within seconds of Redis being back
# A number of 0 stands for an append that is never repeated.
APPEND_SCRIPT = """
if ARGV[1] ~= '0' then
    if redis.call('GET', KEYS[3]) == ARGV[1] then return 0 end
    redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[5])
end
local seen = redis.call('INCRBY', KEYS[1], ARGV[3])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'b', ARGV[2], 'n', ARGV[3], 'r', seen)
return 1
"""


GIVEN_PRODUCER_SECONDS = 60  # an append of given ids is repeated by the client's own retries only
APPEND_NEW_SCRIPT = """
if redis.call('GET', KEYS[3]) == ARGV[1] then return {0, {}} end
local known = {}
for i = 7, #ARGV do
    if redis.call('ZSCORE', KEYS[4], ARGV[i]) then known[#known + 1] = ARGV[i] end
end
if #known > 0 then return {0, known} end
redis.call('SET', KEYS[3], ARGV[1], 'EX', ARGV[5])
local seen = redis.call('INCRBY', KEYS[1], ARGV[3])
if ARGV[3] ~= '0' then
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'b', ARGV[2], 'n', ARGV[3], 'r', seen)
end
for i = 7, #ARGV do redis.call('ZADD', KEYS[4], seen, ARGV[i]) end
redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -(ARGV[6] + 1))
return {seen, {}}
"""


@dataclass(frozen=True, slots=True)
class Window:
    """The newest observations of a model version, oldest first.

    Attributes
    ----------
    table
        Columns ``prediction_id`` (16 bytes, UUIDv7), ``observed_at`` (UTC, microseconds), ``confidence`` (0 to 1 or
        null), ``latency_ms``, ``prediction`` (class as string, or float64), of a classifier with more than two classes
        ``scores`` (`models_registry.class_scores`), and ``feature.<name>`` for each feature (float64 or string; null is
        missing). Without columns when the window is empty.
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
class Entry:
    """One entry of a stream.

    Attributes
    ----------
    id
        As Redis numbers it: Unix milliseconds, "-", a number within the millisecond.
    rows
        How many it holds.
    rows_seen
        Rows of the version up to its last one, ever.
    payload
        The rows, as an Arrow IPC stream.
    """

    id: str
    rows: int
    rows_seen: int
    payload: bytes

    @property
    def rows_before(self) -> int:
        """Rows of the version before its first one, ever."""
        return self.rows_seen - self.rows

    @property
    def milliseconds(self) -> int:
        """When Redis took the entry, in Unix milliseconds."""
        return id_order(self.id)[0]

    def table(self) -> pa.Table:
        """Return the rows; pyarrow.ArrowInvalid where the payload is damaged."""
        return pa.ipc.open_stream(self.payload).read_all()


@dataclass(frozen=True, slots=True)
class Attempt:
    """Names an append, so that one whose answer was lost can be repeated: Redis takes each at most once.

    Attributes
    ----------
    producer
        Who appends, one at a time for each version.
    number
        Another one for each append; a repeated one keeps its own, and comes before any other of that version.
    """

    producer: str
    number: int


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of an append of given ids.

    Attributes
    ----------
    rows_seen
        Rows of the version with this entry, ever; 0 where nothing was appended, or by an earlier attempt.
    known_ids
        Ids that were there before: then nothing was appended.
    """

    rows_seen: int
    known_ids: frozenset[bytes]


def id_order(entry_id: str) -> tuple[int, int]:
    """Return what entry ids are ordered by."""
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number or 0)


def stream_key(version_id: int) -> str:
    """Return the stream's key; the braces keep a version's keys on one node of a Redis cluster."""
    return f"mlmon:{{{version_id}}}:observations"


def _counter_key(version_id: int) -> str:
    return f"mlmon:{{{version_id}}}:rows"


def _given_ids_key(version_id: int) -> str:
    return f"mlmon:{{{version_id}}}:given-ids"


def _producer_key(version_id: int, producer: str) -> str:
    return f"mlmon:{{{version_id}}}:producer:{producer}"


def append(
    client: redis.Redis, version_id: int, observations: pa.Table, *, max_entries: int, attempt: Attempt | None = None
) -> None:
    """Append `observations` as one entry.

    An entry holds at least one row, so the last `max_entries` entries hold at least as many rows: that bound is kept
    here (approximately), the bound in rows by `trim_to_rows`.

    Counting and writing are one step in Redis, so entries are in the order of their rows, and none is counted that is
    not written. With `attempt` a repeated append changes nothing.
    """
    attempt = attempt or Attempt(producer="", number=0)
    keys = [_counter_key(version_id), stream_key(version_id), _producer_key(version_id, attempt.producer)]
    payload = _packed(observations)
    client.register_script(APPEND_SCRIPT)(
        keys=keys, args=[attempt.number, payload, observations.num_rows, max_entries, PRODUCER_SECONDS]
    )


def append_new(
    client: redis.Redis,
    version_id: int,
    observations: pa.Table | None,
    given_ids: Sequence[bytes],
    *,
    attempt: Attempt,
    max_entries: int,
    most_ids: int,
) -> Appended:
    """Append `observations` as one entry, unless one of the ids that clients gave was appended before.

    Looking, writing and noting the ids are one step in Redis: of two requests with the same id, at the same time or
    not, one is told that it is known. A repeated attempt changes nothing.

    Parameters
    ----------
    observations
        None where nothing of it is to be stored: then the ids are noted only.
    given_ids
        Of 16 bytes, each once.
    max_entries
        As for `append`.
    most_ids
        So many ids are remembered, the newest.
    """
    rows = 0 if observations is None else observations.num_rows
    payload = b"" if observations is None else _packed(observations)
    keys = [
        _counter_key(version_id),
        stream_key(version_id),
        _producer_key(version_id, attempt.producer),
        _given_ids_key(version_id),
    ]
    args: list[bytes | int] = [attempt.number, payload, rows, max_entries, GIVEN_PRODUCER_SECONDS, most_ids, *given_ids]
    answer: Any = client.register_script(APPEND_NEW_SCRIPT)(keys=keys, args=args)
    return Appended(rows_seen=int(answer[0]), known_ids=frozenset(answer[1]))


def read_window(client: redis.Redis, version_id: int, rows: int, end_id: str | None = None) -> Window:
    """Return the newest `rows` observations (fewer where there are fewer).

    The window ends where the rows' columns or types last changed: older rows of another schema are left out. Where a
    column only went, as a feature does that is not stored any more, it goes on with what the rows have in common.

    Parameters
    ----------
    end_id
        Id of the entry at which the window ends, for the same window again; without one the newest. Where that entry
        is gone from the stream the window is empty.
    """
    entries: list[Entry] = []
    collected = 0
    for entry in newest_first(client, version_id, end_id=end_id):
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
    entries: list[Entry] = []
    collected = 0
    for entry in newest_first(client, version_id, end_id=end_id):
        if entries and (collected >= most_rows or entry.milliseconds < oldest_id_ms):
            break
        entries.append(entry)
        collected += entry.rows
    window = _window(entries, most_rows)
    if not window.end_id:
        return window
    is_new_enough = pc.greater_equal(window.table.column("observed_at"), pa.scalar(since, OBSERVED_AT_TYPE))
    return replace(window, table=window.table.filter(is_new_enough))


def newest_first(
    client: redis.Redis, version_id: int, *, end_id: str | None = None, after: str | None = None
) -> Iterator[Entry]:
    """Yield entries from the newest back to the one after `after`, a page at a time.

    With `end_id` from that one; none where that one is gone.
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
        count = _entries_of_a_page(entries)


def _entries_of_a_page(known: Sequence[Entry]) -> int:
    """Return how many entries of the size of the `known` ones make a page."""
    mean_bytes = sum(len(entry.payload) for entry in known) / len(known)
    return max(1, min(MOST_PAGE_ENTRIES, int(PAGE_BYTES / mean_bytes)))


def newest_entry_id(client: redis.Redis, version_id: int) -> str:
    """Return the id at which a window read now would end; "" where there is none."""
    newest = _first_entry(client.xrevrange(stream_key(version_id), count=1))
    return newest.id if newest else ""


def rows_seen(client: redis.Redis, version_ids: Sequence[int]) -> dict[int, int]:
    """Return how many observations each version has captured, ever; one round trip for all."""
    if not version_ids:
        return {}
    counts = cast(list[bytes | None], client.mget([_counter_key(version_id) for version_id in version_ids]))
    return {version_id: int(count or 0) for version_id, count in zip(version_ids, counts, strict=True)}


def trim_to_rows(client: redis.Redis, version_id: int, rows: int, *, keep_from: str | None = None) -> int:
    """Drop the oldest entries so that about `rows` rows stay, never fewer; return how many entries went.

    The cut is found by bisection over time (entry ids begin with milliseconds), so payloads are not walked through.

    Parameters
    ----------
    keep_from
        An entry id: this entry and those after it stay, however many they are.
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
    cut = str(low) if keep_from is None else min(str(low), keep_from, key=id_order)
    return client.xtrim(key, minid=cut, approximate=False)


def delete_window(client: redis.Redis, version_id: int) -> None:
    """Forget the live window and the count of a version."""
    client.delete(stream_key(version_id), _counter_key(version_id), _given_ids_key(version_id))


def _packed(observations: pa.Table) -> bytes:
    """Return rows as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, observations.schema) as writer:
        writer.write_table(observations)
    return sink.getvalue().to_pybytes()


def _window(newest_first: Sequence[Entry], rows: int) -> Window:
    if not newest_first:
        return Window(table=pa.table({}), end_id="", rows_seen=0)
    table = _rows_of_newest_schema(newest_first)
    return Window(
        table=table.slice(max(0, table.num_rows - rows)).combine_chunks(),
        end_id=newest_first[0].id,
        rows_seen=newest_first[0].rows_seen,
    )


def _rows_of_newest_schema(newest_first: Sequence[Entry]) -> pa.Table:
    """Return the rows of the newest entries that have the columns of the newest one, oldest first.

    Payloads nearly always begin with the same bytes, which are the schema's. It is then read once, not in each of a
    thousand entries: that was a third of the time that a window takes.
    """
    newest = newest_first[0].payload
    schema_bytes = newest[: _schema_length(newest)]
    schema = pa.ipc.read_schema(pa.py_buffer(newest))
    newest_batches: list[list[pa.RecordBatch]] = []
    for entry in newest_first:
        if entry.payload.startswith(schema_bytes):
            newest_batches.append(_batches(entry, schema, len(schema_bytes)))
            continue
        table = entry.table()  # of another schema, or of another writer's bytes for the same one
        if not _has_columns(table, schema):
            break
        newest_batches.append(table.select(schema.names).replace_schema_metadata(schema.metadata).to_batches())
    return pa.Table.from_batches([batch for batches in reversed(newest_batches) for batch in batches], schema)


def _has_columns(table: pa.Table, schema: pa.Schema) -> bool:
    """Return whether all columns are there, with their types; more are there where one is not stored any more."""
    return all(
        table.column_names.count(field.name) == 1 and table.schema.field(field.name) == field for field in schema
    )


def _batches(entry: Entry, schema: pa.Schema, start: int) -> list[pa.RecordBatch]:
    """Return an entry's rows; those of its first record batch begin at byte `start`, and are all of them as a rule."""
    first = pa.ipc.read_record_batch(pa.py_buffer(entry.payload).slice(start), schema)
    return [first] if first.num_rows == entry.rows else entry.table().to_batches()


def _schema_length(payload: bytes) -> int:
    """Return how many bytes the schema takes at the beginning of an Arrow IPC stream."""
    source = pa.BufferReader(payload)
    pa.ipc.read_message(source)
    return source.tell()


def entry_of(item: tuple[bytes, dict[bytes, bytes]]) -> Entry:
    """Return an entry as the client answers it."""
    entry_id, fields = item
    return Entry(id=entry_id.decode(), rows=int(fields[b"n"]), rows_seen=int(fields[b"r"]), payload=fields[b"b"])


def _first_entry(page: Any) -> Entry | None:
    return entry_of(page[0]) if page else None
