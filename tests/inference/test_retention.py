"""What is too old, or more than a model may keep, leaves the archive: whole chunks, the oldest first."""

import logging
import uuid
from datetime import timedelta

import pytest
import redis
from celery.exceptions import SoftTimeLimitExceeded
from django.utils import timezone
from pytest_django.fixtures import Settings

from inference import tasks
from inference.exceptions import RetentionError
from inference.models import MOST_RETENTION_DAYS, CapturePolicy, ObservationChunk, RollupSpan, TrafficRollup
from inference.services.archiving import archive_observations
from inference.services.retention import enforce_retention
from models_registry.models import ModelVersion
from monitoring.models import JobRun
from performance.models import GroundTruth
from tests.inference.observed import append, archived_values, registered_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def version(redis_client: redis.Redis) -> ModelVersion:
    """A version with a chunk of each of five ages, in days."""
    version = registered_version("kept")
    for age in (100, 40, 20, 5, 0):
        observed_at = timezone.now() - timedelta(days=age)
        append(redis_client, version.pk, [float(age)] * 10, observed_at=observed_at)
        archive_observations(seconds=60)
    return version


def ages(version: ModelVersion) -> list[float | None]:
    return list(dict.fromkeys(archived_values(version.pk)))


def test_the_settings_bound_the_age(version: ModelVersion, settings: Settings) -> None:
    settings.MLMON_ARCHIVE_RETENTION_DAYS = 30
    assert enforce_retention(seconds=60) == 2
    assert ages(version) == [20, 5, 0]
    assert enforce_retention(seconds=60) == 0


def test_a_models_policy_comes_before_the_settings(version: ModelVersion, settings: Settings) -> None:
    settings.MLMON_ARCHIVE_RETENTION_DAYS = 30
    CapturePolicy.objects.create(model=version.model, retention_days=10)
    other = registered_version("other")
    assert enforce_retention(seconds=60) == 3
    assert ages(version) == [5, 0]
    assert ages(other) == []


def test_the_oldest_go_where_the_archive_is_too_large(version: ModelVersion, settings: Settings) -> None:
    sizes = list(ObservationChunk.objects.order_by("first_row").values_list("payload_bytes", flat=True))
    settings.MLMON_ARCHIVE_MAX_BYTES = sum(sizes[3:])
    enforce_retention(seconds=60)
    assert ages(version) == [5, 0]


def test_no_time_no_work(version: ModelVersion, settings: Settings) -> None:
    settings.MLMON_ARCHIVE_RETENTION_DAYS = 1
    assert enforce_retention(seconds=0) == 0
    assert len(ages(version)) == 5


def test_the_longest_retention_deletes_nothing(version: ModelVersion) -> None:
    CapturePolicy.objects.create(model=version.model, retention_days=MOST_RETENTION_DAYS)
    assert enforce_retention(seconds=60) == 0
    assert len(ages(version)) == 5


@pytest.fixture
def _old_rows_of_all_kinds(version: ModelVersion) -> None:
    """Ground truth and traffic that are too old, and a model before `version` whose policy no form would take."""
    broken = registered_version("a model before it").model
    CapturePolicy.objects.create(model=broken, retention_days=800_000)
    ago = timezone.now() - timedelta(days=500)
    GroundTruth.objects.create(
        prediction_id=uuid.uuid4(), actual="setosa", observed_at=ago, received_at=ago, changed_at=ago
    )
    TrafficRollup.objects.create(
        version=version,
        span_seconds=RollupSpan.HOUR,
        begins_at=ago,
        latency_counts=[],
        confidence_counts=[],
        class_counts=[],
    )


@pytest.mark.usefixtures("_old_rows_of_all_kinds")
def test_what_fails_for_one_model_keeps_nothing_else_and_shows_in_jobs(
    version: ModelVersion, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MLMON_ARCHIVE_RETENTION_DAYS = 30
    with caplog.at_level(logging.ERROR, "inference.services.retention"):
        tasks.enforce_retention.apply()
    assert ages(version) == [20, 5, 0]
    assert not GroundTruth.objects.exists()
    assert not TrafficRollup.objects.exists()
    job = JobRun.objects.get()
    assert (job.failures, job.last_success_at) == (1, None)
    reason = "RetentionError: observations of a model before it: OverflowError: date value out of range"
    assert job.last_error == reason
    logged = [record.message for record in caplog.records if record.name == "inference.services.retention"]
    assert logged == ["Retention failed for observations of a model before it."]


@pytest.mark.usefixtures("_old_rows_of_all_kinds")
def test_a_step_that_fails_leaves_the_others(settings: Settings) -> None:
    CapturePolicy.objects.all().delete()
    settings.MLMON_GROUND_TRUTH_RETENTION_DAYS = 10**9
    with pytest.raises(RetentionError, match=r"^ground truth: OverflowError: "):
        tasks.enforce_retention()
    assert GroundTruth.objects.exists()
    assert not TrafficRollup.objects.exists()


def test_a_run_that_took_too_long_ends(version: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object) -> list[int]:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr("inference.services.retention._expired", hang)
    with pytest.raises(SoftTimeLimitExceeded):
        tasks.enforce_retention()
