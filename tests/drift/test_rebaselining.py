"""Making a check's window the reference: its rows, live or archived, are uploaded."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import redis
from django.contrib.auth.models import User
from pytest_django.fixtures import Settings

from accounts.models import ChangeRecord
from drift.exceptions import FeaturesNotStoredError, WindowAlreadyUsedError, WindowGoneError
from drift.models import DriftCheck
from drift.services.checks import run_drift_check
from drift.services.rebaselining import make_window_the_reference
from inference.models import CapturePolicy
from inference.services.archiving import archive_batch
from inference.services.capture_policies import save_capture_policy
from inference.stream import stream_key, trim_to_rows
from mlmon.profile import NumericProfile
from models_registry.models import ModelVersion, ReferenceDataset
from models_registry.selectors import active_reference, load_profile
from models_registry.services.references import profile_reference
from tests.factories import IRIS_FEATURES, uploaded_version
from tests.mlmon.observed import Rows, append, iris_rows, observations, observe, profiled_reference

pytestmark = pytest.mark.django_db

WINDOW = iris_rows(1000, seed=2) + 0.5


@pytest.fixture
def version(redis_client: redis.Redis, settings: Settings, tmp_path: Path) -> ModelVersion:
    settings.MEDIA_ROOT = tmp_path
    version = uploaded_version("classifier")
    profiled_reference(version, iris_rows(2000, seed=1))
    return version


@pytest.fixture
def check(version: ModelVersion) -> DriftCheck:
    """The check of a window of 1000 rows in ten entries, with rows before and after it."""
    observe(version, iris_rows(300, seed=3))
    for part in np.split(WINDOW, 10):
        observe(version, part)
    check = run_drift_check(version_id=version.pk)
    assert check is not None
    observe(version, iris_rows(400, seed=4))
    return check


@pytest.fixture
def anna() -> User:
    return User.objects.create_user("anna")


def _rows(reference: ReferenceDataset) -> Rows:
    table = pyarrow.parquet.read_table(reference.file.path)
    assert table.column_names == [*IRIS_FEATURES, "observed_at"]
    return np.column_stack([table.column(name).to_numpy() for name in IRIS_FEATURES])


def test_the_rows_of_the_window_become_the_reference(check: DriftCheck, anna: User) -> None:
    reference = make_window_the_reference(check=check, user=anna)
    assert np.array_equal(_rows(reference), WINDOW)
    assert (reference.version, reference.created_by, reference.is_active) == (check.version, anna, False)
    ready = profile_reference(reference_id=reference.pk)
    assert ready.error_message == ""
    assert active_reference(check.version_id) == ready
    assert load_profile(ready).n_rows == 1000


def test_the_rows_keep_their_times(check: DriftCheck, anna: User) -> None:
    ready = profile_reference(reference_id=make_window_the_reference(check=check, user=anna).pk)
    assert (ready.time_column, ready.timed_rows, ready.ignored_columns) == ("observed_at", 1000, [])
    assert (ready.first_time, ready.last_time) == (check.window_started_at, check.window_ended_at)


def test_a_feature_may_have_the_name_of_the_times(
    redis_client: redis.Redis, settings: Settings, tmp_path: Path, anna: User
) -> None:
    settings.MEDIA_ROOT = tmp_path
    names = ("observed_at", *IRIS_FEATURES[1:])
    version = uploaded_version("classifier", features=names)
    profiled_reference(version, iris_rows(2000, seed=1), names)
    observe(version, WINDOW)
    check = run_drift_check(version_id=version.pk)
    assert check is not None
    ready = profile_reference(reference_id=make_window_the_reference(check=check, user=anna).pk)
    assert (ready.error_message, ready.time_column) == ("", "observed_at_")
    column = load_profile(ready).features["observed_at"]
    assert isinstance(column, NumericProfile)
    np.testing.assert_array_equal(column.sorted_values, np.sort(WINDOW[:, 0]))


def test_it_is_logged_with_the_persons_name(check: DriftCheck, anna: User) -> None:
    reference = make_window_the_reference(check=check, user=anna)
    entries = ChangeRecord.objects.filter(row_id=str(reference.pk), user=anna)
    assert {entry.message for entry in entries} == {
        "Uploaded.",
        f"Made from the 1,000 rows of the window of drift check {check.pk}.",
    }


@pytest.mark.parametrize("live_rows", [0, 900])  # none of the window, or half of it: 900 minus the 400 after it
def test_rows_outside_the_live_window_are_read_from_the_archive(
    check: DriftCheck, anna: User, redis_client: redis.Redis, live_rows: int
) -> None:
    archive_batch(version_id=check.version_id, most_entries=100)
    trim_to_rows(redis_client, check.version_id, live_rows)
    assert np.array_equal(_rows(make_window_the_reference(check=check, user=anna)), WINDOW)


def test_deleted_rows_are_an_error(check: DriftCheck, anna: User, redis_client: redis.Redis) -> None:
    entries: Any = redis_client.xrange(stream_key(check.version_id))
    redis_client.xtrim(stream_key(check.version_id), minid=entries[2][0], approximate=False)  # 100 of the window too
    with pytest.raises(WindowGoneError, match="Only 900 of the 1,000 rows of this window are still stored"):
        make_window_the_reference(check=check, user=anna)
    redis_client.delete(stream_key(check.version_id))
    with pytest.raises(WindowGoneError, match="Only 0 of the 1,000 rows of this window are still stored"):
        make_window_the_reference(check=check, user=anna)
    assert ReferenceDataset.objects.count() == 1


def test_a_window_without_a_needed_feature_is_refused(version: ModelVersion, anna: User) -> None:
    policy = CapturePolicy(model=version.model, never_stored_features=["sepal_width"])
    save_capture_policy(policy=policy)
    append(version, observations(version, iris_rows(600, seed=2)).drop_columns(["feature.sepal_width"]))
    check = run_drift_check(version_id=version.pk)
    assert check is not None
    with pytest.raises(
        FeaturesNotStoredError, match="have no sepal_width, because the capture policy does not store them"
    ):
        make_window_the_reference(check=check, user=anna)


def test_the_rows_of_a_backfilled_check_are_read_from_the_archive(
    check: DriftCheck, anna: User, redis_client: redis.Redis
) -> None:
    archive_batch(version_id=check.version_id, most_entries=100)
    DriftCheck.objects.update(is_backfilled=True, window_end="rows 301 to 1300")  # not the id of a stream's entry
    check.refresh_from_db()
    assert np.array_equal(_rows(make_window_the_reference(check=check, user=anna)), WINDOW)


def test_a_window_becomes_the_reference_only_once(check: DriftCheck, anna: User) -> None:
    reference = make_window_the_reference(check=check, user=anna)
    with pytest.raises(WindowAlreadyUsedError, match="already is reference data"):
        make_window_the_reference(check=check, user=anna)
    profile_reference(reference_id=reference.pk)
    with pytest.raises(WindowAlreadyUsedError):
        make_window_the_reference(check=check, user=anna)
    # After another reference became active, the window may be used again.
    profiled_reference(check.version, iris_rows(2000, seed=9))
    make_window_the_reference(check=check, user=anna)
    assert ReferenceDataset.objects.filter(original_filename=reference.original_filename).count() == 2
