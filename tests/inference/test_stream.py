"""The live window in a real Redis."""

import time
from typing import Any

import pyarrow as pa
import redis

from inference import stream
from inference.prediction_ids import new_prediction_ids

VERSION = 7


def observations(values: list[float], *, name: str = "x") -> pa.Table:
    rows = len(values)
    columns = [pa.field("prediction", pa.string()), pa.field(f"feature.{name}", pa.float64())]
    fields: list[Any] = [*stream.OBSERVATION_FIELDS, *columns]
    return pa.table(
        [
            pa.array(new_prediction_ids(rows), pa.binary(16)),
            pa.array([time.time_ns() // 1000] * rows, pa.timestamp("us", tz="UTC")),
            pa.array([0.5] * rows, pa.float64()),
            pa.array([1.0] * rows, pa.float64()),
            pa.array(["a"] * rows, pa.string()),
            pa.array(values, pa.float64()),
        ],
        schema=pa.schema(fields),
    )


def append(client: redis.Redis, values: list[float], *, name: str = "x", max_entries: int = 1000) -> None:
    stream.append(client, VERSION, observations(values, name=name), max_entries=max_entries)


def test_an_empty_window_says_so(redis_client: redis.Redis) -> None:
    window = stream.read_window(redis_client, VERSION, 100)
    assert (window.table.num_rows, window.end_id, window.rows_seen) == (0, "", 0)


def test_the_window_is_the_newest_rows_oldest_first(redis_client: redis.Redis) -> None:
    for start in range(0, 1000, 3):
        append(redis_client, [float(start), start + 1.0, start + 2.0])
    window = stream.read_window(redis_client, VERSION, 700)
    assert window.features.column("x").to_pylist() == [float(value) for value in range(302, 1002)]
    assert window.rows_seen == 1002
    assert stream.rows_seen(redis_client, [VERSION, 8]) == {VERSION: 1002, 8: 0}


def test_a_missing_value_stays_missing(redis_client: redis.Redis) -> None:
    append(redis_client, [1.0, None, 3.0])  # type: ignore[list-item]
    assert stream.read_window(redis_client, VERSION, 10).features.column("x").to_pylist() == [1.0, None, 3.0]


def test_rows_of_an_older_schema_are_left_out(redis_client: redis.Redis) -> None:
    append(redis_client, [1.0, 2.0], name="old")
    append(redis_client, [3.0])
    append(redis_client, [4.0])
    assert stream.read_window(redis_client, VERSION, 100).features.to_pydict() == {"x": [3.0, 4.0]}


def test_trimming_keeps_at_least_the_rows_asked_for(redis_client: redis.Redis) -> None:
    for value in range(300):
        append(redis_client, [float(value)] * 4)
        if value % 10 == 0:
            time.sleep(0.002)  # entries share milliseconds otherwise, and are then kept together
    stream.trim_to_rows(redis_client, VERSION, 200)
    kept = stream.read_window(redis_client, VERSION, 10_000)
    assert 200 <= kept.table.num_rows < 400
    assert kept.features.column("x").to_pylist()[-1] == 299.0
    assert kept.rows_seen == 1200
    assert stream.trim_to_rows(redis_client, VERSION, 10_000) == 0


def test_entries_are_bounded_also_without_trimming(redis_client: redis.Redis) -> None:
    for value in range(1000):
        append(redis_client, [float(value)], max_entries=100)
    assert 100 <= redis_client.xlen(stream.stream_key(VERSION)) < 400  # "about": Redis trims whole nodes
