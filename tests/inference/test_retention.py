"""What is too old, or more than a model may keep, leaves the archive: whole chunks, the oldest first."""

from datetime import timedelta

import pytest
import redis
from django.utils import timezone
from pytest_django.fixtures import Settings

from inference.models import CapturePolicy, ObservationChunk
from inference.services.archiving import archive_observations
from inference.services.retention import enforce_retention
from models_registry.models import ModelVersion
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
