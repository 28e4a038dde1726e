"""Read observations from the stream and the archive."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from django.db import connection

from inference import selectors, stream
from inference.archive import RowPlace, iterate_archive, read_observations
from inference.models import ObservationChunk
from inference.services.archiving import archive_batch, archive_observations, first_unarchived
from models_registry.models import ModelVersion
from tests.inference.observed import append, registered_version

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def version(redis_client: redis.Redis) -> ModelVersion:
    return registered_version("archived")


@pytest.fixture
def minutes(version: ModelVersion, redis_client: redis.Redis) -> ModelVersion:
    """A version with values 0 to 99, one per minute: 60 in three chunks, the last ten of them also in the stream."""
    for value in range(100):
        append(redis_client, version.pk, [float(value)], observed_at=NOW + value * MINUTE)
    for _ in range(3):
        archive_batch(version_id=version.pk, most_entries=20)
    entries: Any = redis_client.xrange(stream.stream_key(version.pk))
    redis_client.xtrim(stream.stream_key(version.pk), minid=entries[50][0], approximate=False)
    return version


def values(version: ModelVersion, name: str = "x", **options: Any) -> list[float | None]:
    return read_observations(version.pk, **options).column(f"feature.{name}").to_pylist()


def numbers(start: int, stop: int) -> list[float]:
    return [float(value) for value in range(start, stop)]


@pytest.mark.parametrize("rows", [1, 39, 40, 41, 45, 60, 61, 99, 100, 1000])
def test_the_latest_rows_are_read_from_stream_and_archive(minutes: ModelVersion, rows: int) -> None:
    assert values(minutes, rows=rows) == numbers(max(0, 100 - rows), 100)


@pytest.mark.parametrize(("first", "end"), [(0, 100), (10, 30), (19, 20), (55, 65), (70, 80), (90, 200)])
def test_a_span_of_time_is_read_from_stream_and_archive(minutes: ModelVersion, first: int, end: int) -> None:
    found = values(minutes, since=NOW + first * MINUTE, until=NOW + end * MINUTE)
    assert found == numbers(first, min(end, 100))


@pytest.mark.parametrize("until", [5, 25, 60, 75, 99])
def test_the_latest_rows_before_a_time(minutes: ModelVersion, until: int) -> None:
    assert values(minutes, rows=7, until=NOW + until * MINUTE) == numbers(max(0, until - 7), until)


def test_only_the_requested_columns_are_read(minutes: ModelVersion) -> None:
    table = read_observations(minutes.pk, since=NOW + 58 * MINUTE, columns=["feature.x", "prediction", "feature.gone"])
    assert table.column_names == ["feature.x", "prediction"]
    assert table.column("feature.x").to_pylist() == numbers(58, 100)


def test_without_a_bound_nothing_is_read(version: ModelVersion) -> None:
    with pytest.raises(ValueError, match="Give rows or since"):
        read_observations(version.pk)


def test_a_table_without_rows_has_no_columns(version: ModelVersion, redis_client: redis.Redis) -> None:
    assert read_observations(version.pk, rows=10).shape == (0, 0)
    append(redis_client, version.pk, [1.0], observed_at=NOW)
    assert read_observations(version.pk, since=NOW + MINUTE).shape == (0, 0)


def test_only_the_stream_is_read_if_nothing_is_archived(version: ModelVersion, redis_client: redis.Redis) -> None:
    for value in range(5):
        append(redis_client, version.pk, [float(value)])
    assert values(version, rows=3) == [2.0, 3.0, 4.0]


def test_the_archive_is_read_if_the_stream_is_deleted(minutes: ModelVersion, redis_client: redis.Redis) -> None:
    redis_client.flushdb()
    assert values(minutes, rows=50) == numbers(10, 60)
    append(redis_client, minutes.pk, [100.0])
    assert values(minutes, rows=3) == [58.0, 59.0, 100.0]
    archive_observations(seconds=30)
    assert values(minutes, rows=3) == [58.0, 59.0, 100.0]


def test_rows_with_an_older_schema_are_left_out(version: ModelVersion, redis_client: redis.Redis) -> None:
    for name, value in (("old", 1.0), ("x", 2.0), ("x", 3.0)):
        append(redis_client, version.pk, [value], name=name)
    archive_observations(seconds=30)
    append(redis_client, version.pk, [4.0])
    assert values(version, rows=100) == [2.0, 3.0, 4.0]
    # The predictions have not changed.
    assert read_observations(version.pk, rows=100, columns=["prediction"]).num_rows == 4


@pytest.mark.parametrize("read", ["inference.selectors.archive_position", "inference.stream.latest_first"])
def test_rows_that_are_archived_and_trimmed_during_a_read_are_read_once(
    minutes: ModelVersion, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    """A worker archives between the reads of the archive position, the stream and the chunks."""
    latest_first = stream.latest_first
    reads: dict[str, Callable[..., Any]] = {
        "inference.selectors.archive_position": selectors.archive_position,
        "inference.stream.latest_first": lambda *arguments, **options: iter(list(latest_first(*arguments, **options))),
    }

    def overtaken(*arguments: Any, **options: Any) -> Any:
        found = reads[read](*arguments, **options)
        monkeypatch.undo()
        archive_observations(seconds=30)
        redis_client.xtrim(stream.stream_key(minutes.pk), maxlen=5, approximate=False)
        return found

    monkeypatch.setattr(read, overtaken)
    assert values(minutes, since=NOW) == numbers(0, 100)


class TestIterating:
    def places(self, version: ModelVersion, **options: Any) -> list[tuple[int, int, int]]:
        return [
            (part.first.stream_number, part.first.row, part.first.row + part.table.num_rows - 1)
            for part in iterate_archive(version.pk, **options)
        ]

    def test_the_archive_is_yielded_in_chunks(self, minutes: ModelVersion) -> None:
        assert self.places(minutes) == [(1, 1, 20), (1, 21, 40), (1, 41, 60)]
        assert [part.table.column("feature.x")[0].as_py() for part in iterate_archive(minutes.pk)] == [0.0, 20.0, 40.0]

    def test_it_starts_at_a_given_row(self, minutes: ModelVersion) -> None:
        parts = list(iterate_archive(minutes.pk, start=RowPlace(1, 35), columns=["feature.x"]))
        assert [(part.first.row, part.table.num_rows) for part in parts] == [(35, 6), (41, 20)]
        assert parts[0].table.column(0).to_pylist() == numbers(34, 40)

    def test_chunks_outside_the_time_are_left_out(self, minutes: ModelVersion) -> None:
        assert self.places(minutes, since=NOW + 25 * MINUTE, until=NOW + 40 * MINUTE) == [(1, 21, 40)]

    def test_streams_are_yielded_in_order(self, minutes: ModelVersion, redis_client: redis.Redis) -> None:
        redis_client.flushdb()
        append(redis_client, minutes.pk, [100.0, 101.0])
        archive_observations(seconds=30)
        assert self.places(minutes)[-2:] == [(1, 41, 60), (2, 1, 2)]
        assert self.places(minutes, start=RowPlace(2, 2)) == [(2, 2, 2)]

    def test_chunks_that_are_deleted_meanwhile_are_skipped(self, minutes: ModelVersion) -> None:
        parts = iterate_archive(minutes.pk)
        first = next(parts)
        assert (first.first.row, first.table.num_rows) == (1, 20)
        ObservationChunk.objects.filter(first_row=21).delete()
        assert [part.first.row for part in parts] == [41]


@pytest.mark.django_db(transaction=True)
def test_a_reader_reads_each_row_once_while_a_worker_archives(version: ModelVersion, redis_client: redis.Redis) -> None:
    stop = threading.Event()

    def work() -> None:
        try:
            while not stop.is_set():
                archive_batch(version_id=version.pk, most_entries=3)
                keep_from = first_unarchived(redis_client, version.pk)
                stream.trim_to_rows(redis_client, version.pk, 10, keep_from=keep_from)
        finally:
            connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for value in range(80):
            append(redis_client, version.pk, [float(value)])
            assert values(version, rows=1000) == numbers(0, value + 1)
    finally:
        stop.set()
        worker.join()
    assert ObservationChunk.objects.count() > 10
    assert redis_client.xlen(stream.stream_key(version.pk)) < 80
