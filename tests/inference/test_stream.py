"""The live window in a real Redis."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pyarrow as pa
import pytest
import redis

from inference import stream
from inference.observations import Attempt, append_observations
from tests.inference.observed import await_next_millisecond, observations

VERSION = 7
SCRATCH = 8  # a version whose entries are copied
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def append(client: redis.Redis, values: list[float], *, name: str = "x", max_entries: int = 1000) -> None:
    append_observations(client, VERSION, observations(values, name=name), max_entries=max_entries)


def test_an_empty_window(redis_client: redis.Redis) -> None:
    window = stream.read_window(redis_client, VERSION, 100)
    assert (window.table.num_rows, window.end_id, window.rows_seen) == (0, "", 0)


def test_the_window_has_the_latest_rows_oldest_first(redis_client: redis.Redis) -> None:
    for start in range(0, 1000, 3):
        append(redis_client, [float(start), start + 1.0, start + 2.0])
    window = stream.read_window(redis_client, VERSION, 700)
    assert window.features.column("x").to_pylist() == [float(value) for value in range(302, 1002)]
    assert window.rows_seen == 1002
    assert stream.rows_seen(redis_client, [VERSION, 99]) == {VERSION: 1002, 99: 0}


@pytest.mark.parametrize(("page_bytes", "replies"), [(1, 1 + 24), (10**9, 1 + 1)])
def test_a_window_is_read_in_replies_of_bounded_size(
    redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, page_bytes: int, replies: int
) -> None:
    """The first reply has sixteen entries, later ones as many as their size allows, but at least one."""
    monkeypatch.setattr(stream, "PAGE_BYTES", page_bytes)
    for value in range(40):
        append(redis_client, [float(value)])
    redis_client.config_resetstat()
    window = stream.read_window(redis_client, VERSION, 40)
    statistics = redis_client.info("commandstats")
    assert statistics["cmdstat_xrevrange"]["calls"] == replies
    assert window.features.column("x").to_pylist() == [float(value) for value in range(40)]


def test_a_missing_value_stays_missing(redis_client: redis.Redis) -> None:
    append(redis_client, [1.0, None, 3.0])  # type: ignore[list-item]
    assert stream.read_window(redis_client, VERSION, 10).features.column("x").to_pylist() == [1.0, None, 3.0]


def test_rows_with_an_older_schema_are_left_out(redis_client: redis.Redis) -> None:
    append(redis_client, [1.0, 2.0], name="old")
    append(redis_client, [3.0])
    append(redis_client, [4.0])
    assert stream.read_window(redis_client, VERSION, 100).features.to_pydict() == {"x": [3.0, 4.0]}


def test_a_window_can_be_read_again(redis_client: redis.Redis) -> None:
    for start in range(0, 900, 3):
        append(redis_client, [float(start), start + 1.0, start + 2.0])
        if start == 597:
            end_id = stream.latest_entry_id(redis_client, VERSION)
    window = stream.read_window(redis_client, VERSION, 500, end_id)
    assert window.features.column("x").to_pylist() == [float(value) for value in range(100, 600)]
    assert (window.end_id, window.rows_seen) == (end_id, 600)


def test_a_window_whose_end_was_trimmed_is_empty(redis_client: redis.Redis) -> None:
    append(redis_client, [1.0])
    gone = stream.latest_entry_id(redis_client, VERSION)
    append(redis_client, [2.0])
    redis_client.xdel(stream.stream_key(VERSION), gone)
    append(redis_client, [3.0])
    window = stream.read_window(redis_client, VERSION, 100, gone)
    assert (window.table.num_rows, window.end_id, window.rows_seen) == (0, "", 0)


def append_at(client: redis.Redis, value: float, *, observed_at: datetime, stored_at: datetime) -> None:
    """Append one row as Redis would have stored it at a given time."""
    append_observations(client, SCRATCH, observations([value], observed_at=observed_at), max_entries=1000)
    ((_, fields),) = cast(list[Any], client.xrevrange(stream.stream_key(SCRATCH), count=1))
    client.xadd(stream.stream_key(VERSION), fields, id=f"{int(stored_at.timestamp() * 1000)}-0")


def test_a_window_of_time_starts_with_the_first_recent_row(redis_client: redis.Redis) -> None:
    for minute in range(60):
        observed_at = NOW + timedelta(minutes=minute)
        append_at(redis_client, float(minute), observed_at=observed_at, stored_at=observed_at + timedelta(seconds=1))
    window = stream.read_window_since(redis_client, VERSION, NOW + timedelta(minutes=50), most_rows=1000)
    assert window.features.column("x").to_pylist() == [float(value) for value in range(50, 60)]
    assert window.rows_seen == 60
    latest = stream.read_window_since(redis_client, VERSION, NOW + timedelta(minutes=50), most_rows=4)
    assert latest.features.column("x").to_pylist() == [56.0, 57.0, 58.0, 59.0]


def test_a_window_of_time_can_be_read_again(redis_client: redis.Redis) -> None:
    for minute in range(60):
        observed_at = NOW + timedelta(minutes=minute)
        append_at(redis_client, float(minute), observed_at=observed_at, stored_at=observed_at)
    end_id = f"{int((NOW + timedelta(minutes=40)).timestamp() * 1000)}-0"
    window = stream.read_window_since(redis_client, VERSION, NOW + timedelta(minutes=30), most_rows=1000, end_id=end_id)
    assert window.features.column("x").to_pylist() == [float(value) for value in range(30, 41)]
    assert (window.end_id, window.rows_seen) == (end_id, 41)


def test_a_window_of_time_uses_the_times_of_the_observations(redis_client: redis.Redis) -> None:
    second = timedelta(seconds=1)
    # Redis's clock is 3 s behind, and the second row was queued while Redis was unavailable.
    append_at(redis_client, 1.0, observed_at=NOW + second, stored_at=NOW - 2 * second)
    append_at(redis_client, 2.0, observed_at=NOW - 60 * second, stored_at=NOW + second)
    append_at(redis_client, 3.0, observed_at=NOW + 5 * second, stored_at=NOW + 2 * second)
    window = stream.read_window_since(redis_client, VERSION, NOW, most_rows=1000)
    assert window.features.column("x").to_pylist() == [1.0, 3.0]


def test_a_window_of_time_without_rows_has_an_end(redis_client: redis.Redis) -> None:
    assert stream.read_window_since(redis_client, VERSION, NOW, most_rows=10).end_id == ""
    append_at(redis_client, 1.0, observed_at=NOW, stored_at=NOW)
    window = stream.read_window_since(redis_client, VERSION, NOW + timedelta(hours=1), most_rows=10)
    assert window.table.num_rows == 0
    assert window.end_id == stream.latest_entry_id(redis_client, VERSION)


def test_trimming_keeps_at_least_the_given_rows(redis_client: redis.Redis) -> None:
    for value in range(300):
        append(redis_client, [float(value)] * 4)
        if value % 10 == 0:
            await_next_millisecond(redis_client)  # trimming keeps entries of one millisecond together
    stream.trim_to_rows(redis_client, VERSION, 200)
    kept = stream.read_window(redis_client, VERSION, 10_000)
    assert 200 <= kept.table.num_rows < 400
    assert kept.features.column("x").to_pylist()[-1] == 299.0
    assert kept.rows_seen == 1200
    assert stream.trim_to_rows(redis_client, VERSION, 10_000) == 0


def test_trimming_keeps_all_entries_from_a_given_one(redis_client: redis.Redis) -> None:
    for value in range(60):
        append(redis_client, [float(value)])
        if value == 20:
            keep_from = stream.latest_entry_id(redis_client, VERSION)
        await_next_millisecond(redis_client)
    stream.trim_to_rows(redis_client, VERSION, 10, keep_from=keep_from)
    kept = stream.read_window(redis_client, VERSION, 100).features.column("x").to_pylist()
    assert kept == [float(value) for value in range(20, 60)]


def test_a_repeated_append_changes_nothing(redis_client: redis.Redis) -> None:
    rows = observations([1.0, 2.0])
    for number in (1, 1, 2, 2, 1):
        attempt = Attempt(producer="here", number=number)
        append_observations(redis_client, VERSION, rows, max_entries=1000, attempt=attempt)
    append_observations(redis_client, VERSION, rows, max_entries=1000, attempt=Attempt(producer="there", number=1))
    # The third 1 follows a 2, which no producer does: it counts as another append.
    assert stream.read_window(redis_client, VERSION, 100).rows_seen == 8


def test_entries_of_many_writers_are_in_the_order_of_their_rows(redis_client: redis.Redis) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda value: append(redis_client, [float(value)] * (1 + value % 3)), range(400)))
    entries = [stream.entry_of(item) for item in cast(Any, redis_client.xrange(stream.stream_key(VERSION)))]
    assert len(entries) == 400
    assert [entry.rows_before for entry in entries] == [0, *[entry.rows_seen for entry in entries[:-1]]]


def test_entries_are_bounded_even_without_trimming(redis_client: redis.Redis) -> None:
    for value in range(1000):
        append(redis_client, [float(value)], max_entries=100)
    assert 100 <= redis_client.xlen(stream.stream_key(VERSION)) < 400  # approximately: Redis trims whole nodes


def test_entries_with_the_same_schema_in_other_bytes_are_one_window(redis_client: redis.Redis) -> None:
    append(redis_client, [1.0, 2.0])
    several_batches = pa.concat_tables([observations([3.0]), observations([4.0, 5.0])])
    append_observations(redis_client, VERSION, several_batches, max_entries=1000)
    with_metadata = observations([6.0]).replace_schema_metadata({"written_by": "another release"})
    append_observations(redis_client, VERSION, with_metadata, max_entries=1000)
    append(redis_client, [7.0])
    window = stream.read_window(redis_client, VERSION, 6)
    assert window.features.to_pydict() == {"x": [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]}
    assert all(column.num_chunks == 1 for column in window.table.columns)
