"""The limit of the live windows, with a real Redis and the real archive."""

import pytest
import redis
from pytest_django.fixtures import Settings

from drift.models import DriftPolicy
from drift.services.checks import trim_live_windows
from inference.services.archiving import archive_batch, archive_observations
from inference.stream import latest_entry_id, read_window, rows_seen, stream_key
from models_registry.models import ModelVersion
from tests.inference.observed import append, archived_values, registered_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def version(redis_client: redis.Redis, settings: Settings) -> ModelVersion:
    """A version with ten entries of 50 rows, of which 200 to 300 are its live window."""
    settings.MLMON_LIVE_WINDOW_ROWS = 200
    version = registered_version("windowed")
    DriftPolicy.objects.create(model=version.model, window_rows=300)
    for value in range(10):
        append(redis_client, version.pk, [float(value)] * 50)
        # Entries of one millisecond are trimmed together.
        while _redis_milliseconds(redis_client) <= int(latest_entry_id(redis_client, version.pk).split("-")[0]):
            pass
    return version


def _redis_milliseconds(client: redis.Redis) -> int:
    seconds, microseconds = client.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def test_archived_entries_are_trimmed_to_the_longest_window(version: ModelVersion, redis_client: redis.Redis) -> None:
    archive_observations(seconds=30)
    trim_live_windows()
    assert redis_client.xlen(stream_key(version.pk)) in (6, 7)
    assert rows_seen(redis_client, [version.pk]) == {version.pk: 500}
    assert trim_live_windows() in (0, 1)


def test_rows_that_are_not_archived_stay(version: ModelVersion, redis_client: redis.Redis) -> None:
    assert trim_live_windows() == 0
    archive_batch(version_id=version.pk, most_entries=2)
    trim_live_windows()
    assert redis_client.xlen(stream_key(version.pk)) in (8, 9)
    archive_observations(seconds=30)
    assert len(archived_values(version.pk)) == 500


def test_rows_of_a_killed_worker_stay(
    version: ModelVersion, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redis.Redis.xack", lambda *_: 0)
    archive_batch(version_id=version.pk, most_entries=4)
    assert trim_live_windows() == 0


def test_rows_beyond_the_limit_of_the_stream_are_dropped_and_counted(
    version: ModelVersion, redis_client: redis.Redis, settings: Settings
) -> None:
    settings.MLMON_STREAM_ROWS = 400
    trim_live_windows()
    assert 400 <= read_window(redis_client, version.pk, 1000).table.num_rows <= 450
    archive_observations(seconds=30)
    position = version.archive_positions.get()
    assert 50 <= position.rows_lost <= 100
    assert position.rows_lost + position.rows_archived == 500
