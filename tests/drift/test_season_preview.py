"""The seasonal comparison: previewed on a model's own windows, switched on and off, and used by checks."""

from html import unescape
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import redis
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import reverse
from numpy.typing import NDArray
from pytest_django.fixtures import Settings

from accounts.models import ChangeRecord
from drift.models import DriftPolicy
from drift.services.checks import run_drift_check
from drift.services.season_preview import season_preview
from mlmon.profiling import profile_of
from mlmon.schema import TaskType
from models_registry.models import ModelVersion
from models_registry.services.versions import promote
from tests.factories import IRIS_FEATURES, uploaded_version
from tests.mlmon.observed import Rows, append, iris_rows, observations, profiled_reference

pytestmark = pytest.mark.django_db

HOUR = 3_600_000_000  # microseconds
ROWS_PER_DAY = 960
START = int(np.datetime64("2026-03-02", "us").astype(np.int64))  # a Monday


def daily(first: int, rows: int) -> tuple[Rows, NDArray[np.int64]]:
    """Return flowers whose sepals are longer by day, up to two centimetres, and the times of the rows."""
    places = np.arange(first, first + rows)
    times = START + places * (24 * HOUR // ROWS_PER_DAY)
    flowers = np.tile([6.0, 3.0, 4.0, 1.3], (rows, 1)) + np.random.default_rng(first).normal(0, 0.3, (rows, 4))
    flowers[:, 0] += np.sin(2 * np.pi * places / ROWS_PER_DAY)
    return flowers, times


def observe_at(version: ModelVersion, rows: Rows, times: NDArray[np.int64]) -> None:
    table = observations(version, rows)
    place = table.schema.get_field_index("observed_at")
    field = table.schema.field(place)
    append(version, table.set_column(place, field, pa.array(times, pa.int64()).cast(field.type)))


@pytest.fixture
def version(redis_client: redis.Redis, settings: Settings, tmp_path: Path) -> ModelVersion:
    """A version in production whose reference has twenty days, with times, and a policy with windows of 600 rows."""
    settings.MEDIA_ROOT = tmp_path
    version = uploaded_version("classifier")
    promote(version=version)
    rows, times = daily(0, 20 * ROWS_PER_DAY)
    reference = profiled_reference(version, rows)
    columns = {name: pa.array(rows[:, place]) for place, name in enumerate(IRIS_FEATURES)}
    predictions = observations(version, rows).column("prediction").combine_chunks()
    classes = version.schema().classes
    profile = profile_of(pa.table(columns), predictions, classes, TaskType.CLASSIFICATION, times=times, zone="UTC")
    reference.profile_file.save("profiles/seasonal.arrow", ContentFile(profile.to_bytes()))
    DriftPolicy.objects.create(model=version.model, window_rows=600)
    return version


def test_the_preview_shows_what_phases_explain_and_the_verdicts_of_both(version: ModelVersion) -> None:
    rows, times = daily(20 * ROWS_PER_DAY, 1000)
    observe_at(version, rows, times)
    preview = season_preview(version.model.drift_policy)
    assert (preview.obstacle, preview.zone) == ("", "UTC")
    sepals = preview.features[0]
    assert (sepals.name, sepals.season) == ("sepal_length", "hour of day")
    assert sepals.after.phi < 2 < 50 < sepals.before.phi
    assert sepals.smallest_before is not None
    assert sepals.smallest_after is not None
    assert sepals.smallest_after < sepals.smallest_before / 3
    assert [each.after for each in preview.windows[-5:]] == ["quiet"] * 5


def test_it_is_switched_on_and_checks_find_what_they_could_not(version: ModelVersion, admin_client: Client) -> None:
    rows, times = daily(20 * ROWS_PER_DAY, 1000)
    rows[:, 0] += 0.4
    observe_at(version, rows, times)
    before = run_drift_check(version_id=version.pk)
    assert before is not None
    assert before.verdict_status == "quiet"
    address = reverse("admin:drift_driftpolicy_seasonal", args=[version.model.drift_policy.pk])
    page = unescape(admin_client.get(address).content.decode())
    assert "hour of day" in page
    assert "alarm: sepal_length" in page
    assert "Switch it on" in page
    assert admin_client.post(address).status_code == 302
    policy = DriftPolicy.objects.get()
    assert policy.is_seasonal
    assert ChangeRecord.objects.latest("pk").changes == [["Seasonal", False, True]]
    observe_at(version, *_shifted(20 * ROWS_PER_DAY + 1000, 100))
    after = run_drift_check(version_id=version.pk)
    assert after is not None
    assert after.verdict_status == "alarm"
    (found,) = [one for one in after.comparison.listed_hypotheses if one.name == "sepal_length" and not one.other_name]
    assert found.season == "hour_of_day"
    admin_client.post(address)
    assert not DriftPolicy.objects.get().is_seasonal


def _shifted(first: int, rows: int) -> tuple[Rows, NDArray[np.int64]]:
    values, times = daily(first, rows)
    values[:, 0] += 0.4
    return values, times


def test_a_reference_without_times_says_what_to_do(
    redis_client: redis.Redis, settings: Settings, tmp_path: Path, admin_client: Client
) -> None:
    settings.MEDIA_ROOT = tmp_path
    version = uploaded_version("classifier")
    policy = DriftPolicy.objects.create(model=version.model)
    assert "No version in production has reference data" in season_preview(policy).obstacle
    promote(version=version)
    profiled_reference(version, iris_rows(1000))
    assert "The reference has no times." in season_preview(policy).obstacle
    page = admin_client.get(reverse("admin:drift_driftpolicy_seasonal", args=[policy.pk])).content.decode()
    assert "Upload reference data with a column of times" in page
