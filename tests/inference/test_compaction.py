"""Small chunks are joined into larger ones, and every row keeps its position."""

from datetime import UTC, datetime, timedelta

import pytest
import redis

from inference import archive
from inference.models import ObservationChunk
from inference.services import compaction
from inference.services.archiving import archive_observations
from models_registry.models import ModelVersion
from tests.inference.observed import append, archived_ids, registered_version, streamed_ids

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MANY = 40  # one-row chunks: more than fit into one chunk of the next tier


@pytest.fixture
def version(redis_client: redis.Redis) -> ModelVersion:
    return registered_version("compacted")


def chunk(client: redis.Redis, version: ModelVersion, *values: float, at: datetime = NOON, name: str = "x") -> None:
    """Archive one chunk with these values."""
    append(client, version.pk, list(values), observed_at=at, name=name)
    archive_observations(seconds=60)


def rows_of_chunks(version: ModelVersion) -> list[tuple[int, int]]:
    chunks = ObservationChunk.objects.filter(version=version).order_by("first_row")
    return list(chunks.values_list("first_row", "last_row"))


def test_small_chunks_are_joined_with_the_same_rows(version: ModelVersion, redis_client: redis.Redis) -> None:
    for number in range(MANY):
        chunk(redis_client, version, float(number), float(number))
    assert len(rows_of_chunks(version)) == MANY
    assert compaction.compact_archive(seconds=60) > 0
    assert len(rows_of_chunks(version)) < MANY / 4
    assert archived_ids(version.pk) == streamed_ids(redis_client, version.pk)
    (joined, *_) = ObservationChunk.objects.filter(version=version).order_by("first_row")
    assert joined.rows == joined.last_row - joined.first_row + 1
    assert (joined.first_observed_at, joined.last_observed_at) == (NOON, NOON)


def test_a_second_run_finds_nothing_to_do(version: ModelVersion, redis_client: redis.Redis) -> None:
    for number in range(MANY):
        chunk(redis_client, version, float(number))
    compaction.compact_archive(seconds=60)
    before = rows_of_chunks(version)
    assert compaction.compact_archive(seconds=60) == 0
    assert rows_of_chunks(version) == before


def test_chunks_with_other_columns_are_not_joined(version: ModelVersion, redis_client: redis.Redis) -> None:
    for number in range(2 * MANY):
        chunk(redis_client, version, float(number), name="x" if number < MANY else "other")
    compaction.compact_archive(seconds=60)
    fingerprints = list(ObservationChunk.objects.order_by("first_row").values_list("schema_fingerprint", flat=True))
    assert len(set(fingerprints)) == 2
    assert archived_ids(version.pk) == streamed_ids(redis_client, version.pk)


def test_a_chunk_spans_at_most_a_day_so_that_old_rows_can_be_deleted(
    version: ModelVersion, redis_client: redis.Redis
) -> None:
    for day in range(MANY):
        chunk(redis_client, version, 1.0, at=NOON + timedelta(days=2 * day))
    compaction.compact_archive(seconds=60)
    assert len(rows_of_chunks(version)) == MANY


def test_without_time_nothing_is_joined(version: ModelVersion, redis_client: redis.Redis) -> None:
    for number in range(9):
        chunk(redis_client, version, float(number))
    assert compaction.compact_archive(seconds=0) == 0
    assert len(rows_of_chunks(version)) == 9


def test_chunks_that_another_worker_has_joined_stay(version: ModelVersion, redis_client: redis.Redis) -> None:
    for number in range(MANY):
        chunk(redis_client, version, float(number))
    groups = compaction.plan(list(ObservationChunk.objects.filter(version=version).order_by("first_row")))
    assert compaction.replace(groups[0])
    joined = rows_of_chunks(version)
    assert not compaction.replace(groups[0])
    assert rows_of_chunks(version) == joined


def test_readers_read_the_same_rows_before_and_after(version: ModelVersion, redis_client: redis.Redis) -> None:
    for number in range(MANY):
        chunk(redis_client, version, float(number), float(number) + 0.5)
    before = archive.read_observations(version.pk, since=NOON - timedelta(days=1))
    compaction.compact_archive(seconds=60)
    after = archive.read_observations(version.pk, since=NOON - timedelta(days=1))
    assert before.num_rows == 2 * MANY
    assert len(rows_of_chunks(version)) < MANY
    assert after.equals(before)
