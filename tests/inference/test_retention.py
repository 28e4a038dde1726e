"""Observations that are too old, or exceed their model's size limit, are deleted in whole chunks, oldest first."""

import logging
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from celery.exceptions import SoftTimeLimitExceeded
from django.db import IntegrityError, connection
from django.utils import timezone
from pytest_django.fixtures import Settings

from inference import tasks
from inference.models import MOST_RETENTION_DAYS, CapturePolicy, ObservationChunk, RollupSpan, TrafficRollup
from inference.services.archiving import archive_observations
from inference.services.retention import enforce_retention
from models_registry.models import ModelVersion
from monitoring.models import JobRun
from tests.inference.observed import append, archived_values, registered_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def version(redis_client: redis.Redis) -> ModelVersion:
    """A version with five chunks of different ages, in days."""
    version = registered_version("kept")
    for age in (100, 40, 20, 5, 0):
        observed_at = timezone.now() - timedelta(days=age)
        append(redis_client, version.pk, [float(age)] * 10, observed_at=observed_at)
        archive_observations(seconds=60)
    return version


def ages(version: ModelVersion) -> list[float | None]:
    return list(dict.fromkeys(archived_values(version.pk)))


def test_the_settings_limit_the_age(version: ModelVersion, settings: Settings) -> None:
    settings.MLMON_ARCHIVE_RETENTION_DAYS = 30
    assert enforce_retention(seconds=60) == 2
    assert ages(version) == [20, 5, 0]
    assert enforce_retention(seconds=60) == 0


def test_the_policy_of_a_model_overrides_the_settings(version: ModelVersion, settings: Settings) -> None:
    settings.MLMON_ARCHIVE_RETENTION_DAYS = 30
    CapturePolicy.objects.create(model=version.model, retention_days=10)
    other = registered_version("other")
    assert enforce_retention(seconds=60) == 3
    assert ages(version) == [5, 0]
    assert ages(other) == []


def test_the_oldest_are_deleted_if_the_archive_is_too_large(version: ModelVersion, settings: Settings) -> None:
    sizes = list(ObservationChunk.objects.order_by("first_row").values_list("payload_bytes", flat=True))
    settings.MLMON_ARCHIVE_MAX_BYTES = sum(sizes[3:])
    enforce_retention(seconds=60)
    assert ages(version) == [5, 0]


def test_without_time_nothing_is_deleted(version: ModelVersion, settings: Settings) -> None:
    settings.MLMON_ARCHIVE_RETENTION_DAYS = 1
    assert enforce_retention(seconds=0) == 0
    assert len(ages(version)) == 5


def test_the_longest_retention_deletes_nothing(version: ModelVersion) -> None:
    CapturePolicy.objects.create(model=version.model, retention_days=MOST_RETENTION_DAYS)
    assert enforce_retention(seconds=60) == 0
    assert len(ages(version)) == 5


def test_a_retention_of_more_than_100_years_is_refused(version: ModelVersion) -> None:
    with pytest.raises(IntegrityError, match="capture_retention_is_1_day_to_100_years"):
        CapturePolicy.objects.create(model=version.model, retention_days=MOST_RETENTION_DAYS + 1)


@pytest.fixture
def _undeletable_chunks(version: ModelVersion) -> Iterator[None]:
    """A trigger because of which the database refuses to delete the chunks of `version`."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'the disk is full'; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER refuse BEFORE DELETE ON inference_observationchunk FOR EACH ROW "
            f"WHEN (OLD.version_id = {version.pk:d}) EXECUTE FUNCTION refuse()"
        )
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION refuse CASCADE")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_undeletable_chunks")
def test_a_failure_for_one_model_does_not_stop_the_others_and_is_shown_in_jobs(
    version: ModelVersion, redis_client: redis.Redis, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MLMON_ARCHIVE_RETENTION_DAYS = 30
    other = registered_version("other")
    ago = timezone.now() - timedelta(days=500)
    append(redis_client, other.pk, [1.0], observed_at=ago)
    archive_observations(seconds=60)
    TrafficRollup.objects.create(
        version=version,
        span_seconds=RollupSpan.HOUR,
        begins_at=ago,
        latency_counts=[],
        confidence_counts=[],
        class_counts=[],
    )
    with caplog.at_level(logging.ERROR, "inference.services.retention"):
        tasks.enforce_retention.apply()
    assert ages(version) == [100, 40, 20, 5, 0]
    assert ages(other) == []
    assert not TrafficRollup.objects.exists()
    job = JobRun.objects.get()
    assert (job.failures, job.last_success_at) == (1, None)
    assert job.last_error.startswith("RetentionError: observations of kept: ProgrammingError: the disk is full")
    logged = [record.message for record in caplog.records if record.name == "inference.services.retention"]
    assert logged == ["Retention failed for the observations of kept."]


def test_a_run_that_takes_too_long_ends(version: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> list[int]:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr("inference.selectors.oldest_chunks_above", hang)
    with pytest.raises(SoftTimeLimitExceeded):
        tasks.enforce_retention()
