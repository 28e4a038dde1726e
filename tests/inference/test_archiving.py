"""Archive the stream, with a real Redis and a real PostgreSQL."""

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from django.db import DatabaseError, connection

from inference import selectors, stream
from inference.exceptions import ArchiveError
from inference.models import ArchivePosition, ObservationChunk
from inference.services import archiving
from inference.services.archiving import archive_batch, archive_observations
from models_registry.models import ModelVersion
from tests.inference.observed import (
    append,
    archived_ids,
    archived_values,
    observations,
    registered_version,
    streamed_ids,
)

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def version(redis_client: redis.Redis) -> ModelVersion:
    return registered_version("archived")


def position_of(version: ModelVersion) -> ArchivePosition:
    position = selectors.archive_position(version.pk)
    assert position is not None
    return position


def pending(client: redis.Redis, version: ModelVersion) -> int:
    summary: Any = client.xpending(stream.stream_key(version.pk), archiving.GROUP)
    return int(summary["pending"])


class StepError(Exception):
    """Stands for anything that ends a step."""


def archive_until(step: str, version: ModelVersion, *, most_entries: int) -> None:
    """Archive a batch, but fail at `step`, the dotted name of a function."""

    def fail(*_: Any, **__: Any) -> None:
        raise StepError

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(step, fail)
        with pytest.raises(StepError):
            archive_batch(version_id=version.pk, most_entries=most_entries)


def test_observations_are_archived_in_their_order(version: ModelVersion, redis_client: redis.Redis) -> None:
    for start in range(0, 3000, 3):
        append(redis_client, version.pk, [float(start), None, start + 2.0])
    assert archive_observations(seconds=30) == 1000
    assert archived_ids(version.pk) == streamed_ids(redis_client, version.pk)
    assert archived_values(version.pk)[:6] == [0.0, None, 2.0, 3.0, None, 5.0]
    position = position_of(version)
    assert (position.rows_seen, position.rows_archived, position.rows_lost) == (3000, 3000, 0)
    assert position.last_entry_id == stream.latest_entry_id(redis_client, version.pk)
    assert pending(redis_client, version) == 0


def test_a_chunk_describes_its_rows(version: ModelVersion, redis_client: redis.Redis) -> None:
    append(redis_client, version.pk, [1.0, 2.0], observed_at=NOW)
    append(redis_client, version.pk, [3.0], observed_at=NOW - timedelta(minutes=1))
    archive_observations(seconds=30)
    chunk = ObservationChunk.objects.get()
    ids = sorted(archived_ids(version.pk))
    entries: Any = redis_client.xrange(stream.stream_key(version.pk))
    assert (chunk.version_id, chunk.stream_number, chunk.first_row, chunk.last_row, chunk.rows) == (
        version.pk,
        1,
        1,
        3,
        3,
    )
    assert (chunk.first_prediction_id.bytes, chunk.last_prediction_id.bytes) == (ids[0], ids[-1])
    assert (chunk.first_observed_at, chunk.last_observed_at) == (NOW - timedelta(minutes=1), NOW)
    assert (chunk.first_entry_id, chunk.last_entry_id) == (entries[0][0].decode(), entries[1][0].decode())
    assert chunk.payload_bytes == len(chunk.payload)
    columns = str([(field.name, str(field.type)) for field in observations([1.0]).schema])
    assert chunk.schema_fingerprint == hashlib.sha256(columns.encode()).hexdigest()


def test_archived_entries_are_not_archived_again(version: ModelVersion, redis_client: redis.Redis) -> None:
    append(redis_client, version.pk, [1.0])
    assert archive_observations(seconds=30) == 1
    assert archive_observations(seconds=30) == 0
    append(redis_client, version.pk, [2.0])
    assert archive_observations(seconds=30) == 1
    assert archived_values(version.pk) == [1.0, 2.0]


def test_a_version_without_observations_costs_nothing(version: ModelVersion) -> None:
    assert archive_observations(seconds=30) == 0
    assert not ArchivePosition.objects.exists()


def test_entries_that_were_written_but_not_acknowledged_are_not_written_again(
    version: ModelVersion, redis_client: redis.Redis
) -> None:
    for value in range(10):
        append(redis_client, version.pk, [float(value)])
    archive_until("redis.Redis.xack", version, most_entries=7)
    assert (len(archived_values(version.pk)), pending(redis_client, version)) == (7, 7)
    append(redis_client, version.pk, [10.0])
    # The batches begin at other entries than the first time.
    while archive_batch(version_id=version.pk, most_entries=4):
        pass
    assert archived_values(version.pk) == [float(value) for value in range(11)]
    assert pending(redis_client, version) == 0


def test_entries_that_were_delivered_but_not_written_are_claimed(
    version: ModelVersion, redis_client: redis.Redis
) -> None:
    for value in range(10):
        append(redis_client, version.pk, [float(value)])
    archive_until("inference.services.archiving.write", version, most_entries=7)
    assert pending(redis_client, version) == 7
    archive_observations(seconds=30)
    assert archived_values(version.pk) == [float(value) for value in range(10)]
    assert pending(redis_client, version) == 0


def test_other_columns_begin_a_new_chunk(version: ModelVersion, redis_client: redis.Redis) -> None:
    for name in ("old", "old", "new", "old"):
        append(redis_client, version.pk, [1.0, 2.0], name=name)
    archive_observations(seconds=30)
    chunks = ObservationChunk.objects.order_by("first_row")
    assert [(chunk.first_row, chunk.last_row) for chunk in chunks] == [(1, 4), (5, 6), (7, 8)]
    prints = [chunk.schema_fingerprint for chunk in chunks]
    assert prints[0] == prints[2] != prints[1]


def test_rows_that_were_trimmed_before_they_were_archived_are_counted(
    version: ModelVersion, redis_client: redis.Redis
) -> None:
    for value in range(5):
        append(redis_client, version.pk, [float(value)] * 10)
    redis_client.xtrim(stream.stream_key(version.pk), maxlen=3, approximate=False)
    archive_observations(seconds=30)
    append(redis_client, version.pk, [5.0] * 10)
    append(redis_client, version.pk, [6.0] * 10)
    redis_client.xtrim(stream.stream_key(version.pk), maxlen=1, approximate=False)
    archive_observations(seconds=30)
    position = position_of(version)
    assert (position.rows_seen, position.rows_archived, position.rows_lost) == (70, 40, 30)
    assert sorted(set(archived_values(version.pk)), key=str) == [2.0, 3.0, 4.0, 6.0]
    chunks = ObservationChunk.objects.order_by("first_row")
    assert [(chunk.first_row, chunk.last_row) for chunk in chunks] == [(21, 50), (61, 70)]


def test_entries_that_were_delivered_and_then_trimmed_are_counted_as_lost(
    version: ModelVersion, redis_client: redis.Redis
) -> None:
    for value in range(6):
        append(redis_client, version.pk, [float(value)])
    archive_until("inference.services.archiving.write", version, most_entries=4)
    redis_client.xtrim(stream.stream_key(version.pk), maxlen=3, approximate=False)
    archive_observations(seconds=30)
    assert archived_values(version.pk) == [3.0, 4.0, 5.0]
    assert position_of(version).rows_lost == 3


def test_a_damaged_entry_is_counted_as_lost_and_does_not_stop_the_others(
    version: ModelVersion, redis_client: redis.Redis
) -> None:
    append(redis_client, version.pk, [1.0])
    seen = redis_client.incrby(f"mlmon:{{{version.pk}}}:rows", 2)
    redis_client.xadd(stream.stream_key(version.pk), {"b": b"no arrow", "n": 2, "r": seen})
    append(redis_client, version.pk, [4.0])
    archive_observations(seconds=30)
    assert archived_values(version.pk) == [1.0, 4.0]
    assert position_of(version).rows_lost == 2


class TestRedisLosesData:
    def test_an_empty_redis(self, version: ModelVersion, redis_client: redis.Redis) -> None:
        append(redis_client, version.pk, [1.0, 2.0, 3.0])
        archive_observations(seconds=30)
        redis_client.flushdb()
        append(redis_client, version.pk, [4.0])
        append(redis_client, version.pk, [5.0])
        archive_observations(seconds=30)
        append(redis_client, version.pk, [6.0])
        archive_observations(seconds=30)
        assert archived_values(version.pk) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        position = position_of(version)
        assert (position.stream_number, position.rows_seen, position.rows_lost) == (2, 3, 0)

    def test_an_empty_redis_whose_clock_is_behind(self, version: ModelVersion, redis_client: redis.Redis) -> None:
        key = stream.stream_key(version.pk)
        append(redis_client, version.pk, [1.0, 2.0])
        archive_observations(seconds=30)
        append(redis_client, version.pk, [3.0])
        page: Any = redis_client.xrevrange(key, count=1)
        redis_client.flushdb()
        redis_client.set(f"mlmon:{{{version.pk}}}:rows", 1)
        redis_client.xadd(key, {**page[0][1], b"r": 1}, id="5-0")
        archive_observations(seconds=30)
        assert archived_values(version.pk) == [1.0, 2.0, 3.0]
        assert position_of(version).last_entry_id == "5-0"

    def test_a_redis_that_returns_to_an_older_state(self, version: ModelVersion, redis_client: redis.Redis) -> None:
        """Redis was killed and restarted with its last snapshot: later entries are lost, and new ones are captured."""
        keys = [stream.stream_key(version.pk), f"mlmon:{{{version.pk}}}:rows"]
        for value in range(4):
            append(redis_client, version.pk, [float(value)])
        archive_batch(version_id=version.pk, most_entries=2)
        snapshot: list[Any] = [redis_client.dump(key) for key in keys]
        append(redis_client, version.pk, [100.0])
        archive_observations(seconds=30)
        for key, dumped in zip(keys, snapshot, strict=True):
            redis_client.restore(key, 0, dumped, replace=True)
        append(redis_client, version.pk, [200.0])
        append(redis_client, version.pk, [201.0])
        archive_observations(seconds=30)
        assert archived_values(version.pk) == [0.0, 1.0, 2.0, 3.0, 100.0, 200.0, 201.0]
        assert position_of(version).stream_number == 2
        assert pending(redis_client, version) == 0

    def test_without_its_group_no_row_is_archived_twice(self, version: ModelVersion, redis_client: redis.Redis) -> None:
        for value in range(50):
            append(redis_client, version.pk, [float(value)])
        archive_observations(seconds=30)
        redis_client.xgroup_destroy(stream.stream_key(version.pk), archiving.GROUP)
        append(redis_client, version.pk, [50.0])
        archive_observations(seconds=30)
        assert archived_values(version.pk) == [float(value) for value in range(51)]
        assert position_of(version).stream_number == 1


def test_one_version_that_cannot_be_archived_does_not_stop_the_others(
    version: ModelVersion, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = registered_version("other")
    for row in (version, other):
        append(redis_client, row.pk, [1.0])
    write = archiving.write

    def failing(version_id: int, entries: Any) -> bool:
        if version_id == version.pk:
            raise DatabaseError("the disk is full")
        return write(version_id, entries)

    with monkeypatch.context() as patched:
        patched.setattr(archiving, "write", failing)
        with pytest.raises(ArchiveError, match="the disk is full"):
            archive_observations(seconds=30)
    assert (archived_values(version.pk), archived_values(other.pk)) == ([], [1.0])
    archive_observations(seconds=30)
    assert archived_values(version.pk) == [1.0]


def test_large_entries_make_small_batches(
    version: ModelVersion, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiving, "BATCH_BYTES", 20_000)
    taken: list[int] = []
    write = archiving.write

    def measured(version_id: int, entries: Any) -> bool:
        taken.append(sum(len(entry.payload) for entry in entries))
        return write(version_id, entries)

    monkeypatch.setattr(archiving, "write", measured)
    for value in range(60):
        append(redis_client, version.pk, [float(value)] * 100)  # about 6 kB
    archive_observations(seconds=30)
    assert len(archived_values(version.pk)) == 6000
    assert max(taken[1:]) < 40_000


@pytest.mark.django_db(transaction=True)
class TestSeveralWorkers:
    """Threads with their own connections stand for workers."""

    WORKERS = 4

    def run(self, work: Callable[[int], None]) -> None:
        def closing(number: int) -> None:
            try:
                work(number)
            finally:
                connection.close()

        with ThreadPoolExecutor(self.WORKERS) as pool:
            list(pool.map(closing, range(self.WORKERS)))

    def check_exactly_once(self, version: ModelVersion, client: redis.Redis, rows: int) -> None:
        assert archived_ids(version.pk) == streamed_ids(client, version.pk)
        position = position_of(version)
        assert (position.rows_archived, position.rows_lost) == (rows, 0)
        assert pending(client, version) == 0

    def test_of_workers_without_a_lock_exactly_one_writes_each_entry(
        self, version: ModelVersion, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class NoLock:
            def acquire(self, *, blocking: bool) -> bool:
                return True

            def release(self) -> None:
                return

        monkeypatch.setattr(redis.Redis, "lock", lambda *_, **__: NoLock())
        refused = []
        write = archiving.write

        def counted(version_id: int, entries: Any) -> bool:
            done = write(version_id, entries)
            if not done:
                refused.append(1)
            return done

        monkeypatch.setattr(archiving, "write", counted)
        start = threading.Barrier(self.WORKERS)

        def work(number: int) -> None:
            for value in range(50):
                append(redis_client, version.pk, [float(value)] * (number + 1))
            start.wait()
            for _ in range(60):
                archive_batch(version_id=version.pk, most_entries=7)

        self.run(work)
        while archive_batch(version_id=version.pk, most_entries=50):
            pass
        assert refused, "no two workers archived at the same time"
        self.check_exactly_once(version, redis_client, 50 * (1 + 2 + 3 + 4))

    def test_with_the_lock(self, version: ModelVersion, redis_client: redis.Redis) -> None:
        def work(number: int) -> None:
            for value in range(100):
                append(redis_client, version.pk, [float(value)] * (number + 1))
                if value % 10 == 0:
                    archive_observations(seconds=5)

        self.run(work)
        archive_observations(seconds=5)
        self.check_exactly_once(version, redis_client, 100 * (1 + 2 + 3 + 4))
