"""Checks on real services: the window from Redis, the profile from its file, the rows in the database."""

import threading
from pathlib import Path

import numpy as np
import pytest
import redis
from celery.exceptions import SoftTimeLimitExceeded
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings
from scipy.stats import ks_2samp
from sklearn.datasets import load_diabetes

from drift.models import DriftCheck, DriftPolicy, FeatureDrift, FeaturePolicy
from drift.selectors import criteria_of, due_versions, policy_for
from drift.services.checks import (
    PREPARED_REFERENCES,
    compare_window,
    prepared_reference,
    run_drift_check,
    store_check,
)
from inference.stream import read_window
from models_registry.models import ModelVersion, Stage
from models_registry.services.versions import set_stage
from tests.factories import IRIS_FEATURES, diabetes_onnx, uploaded_version
from tests.inference.observed import delete_window
from tests.mlmon.observed import iris_rows, observe, profiled_reference

pytestmark = pytest.mark.django_db

DRIFTED_ROW = [0.1, 0.5, 0.3, 0.8]


@pytest.fixture
def version(redis_client: redis.Redis, settings: Settings, tmp_path: Path) -> ModelVersion:
    settings.MEDIA_ROOT = tmp_path
    return uploaded_version("classifier")


@pytest.fixture
def checked(version: ModelVersion) -> ModelVersion:
    """A version with a reference of 2000 rows."""
    profiled_reference(version, iris_rows(2000, seed=1))
    return version


def test_a_check_writes_scores_of_every_feature(checked: ModelVersion) -> None:
    reference, current = iris_rows(2000, seed=1), np.tile(DRIFTED_ROW, (100, 1))
    observe(checked, current)
    check = run_drift_check(version_id=checked.pk)
    assert check is not None
    assert (check.status, check.n_reference, check.n_current, check.rows_seen) == ("succeeded", 2000, 100, 100)
    assert (check.n_features, check.n_drifted_features) == (4, 4)
    assert check.window_started_at is not None
    assert check.duration_seconds > 0
    rows = {row.feature_name: row for row in check.features.all()}
    for index, name in enumerate(IRIS_FEATURES):
        expected = ks_2samp(reference[:, index], current[:, index], method="asymp")
        assert rows[name].score == pytest.approx(expected.statistic, abs=1e-12)
        result = rows[name].result
        assert result.p_value == pytest.approx(expected.pvalue, rel=1e-9, abs=1e-300)
        assert result.reference_mean == pytest.approx(reference[:, index].mean())
        assert result.current_mean == pytest.approx(DRIFTED_ROW[index])
        assert rows[name].is_drifted
    assert check.prediction_is_drifted
    assert sum(check.result.prediction.current_dist.values()) == pytest.approx(1)


def test_rows_like_the_reference_have_not_drifted(checked: ModelVersion) -> None:
    observe(checked, iris_rows(1000, seed=2))
    check = run_drift_check(version_id=checked.pk)
    assert check is not None
    assert check.n_drifted_features == 0
    assert not check.prediction_is_drifted


def test_the_stored_rows_are_the_comparison(checked: ModelVersion, redis_client: redis.Redis) -> None:
    observe(checked, iris_rows(300, seed=3))
    check = run_drift_check(version_id=checked.pk)
    assert check is not None
    window = read_window(redis_client, checked.pk, 1000)
    stored = DriftCheck.objects.get(pk=check.pk).comparison
    computed = compare_window(window, check.reference, policy_for(checked.model))
    assert computed.features[0].measures
    assert stored == computed
    assert list(stored.prediction.reference_dist) == ["setosa", "versicolor", "virginica"]  # the schema's order


def test_a_regression_is_compared_by_deciles(version: ModelVersion) -> None:
    names = tuple(f"x{index}" for index in range(10))
    regression = uploaded_version("progression", onnx=diabetes_onnx(), features=names)
    rows = load_diabetes().data
    profiled_reference(regression, np.tile(rows, (3, 1)), names)
    observe(regression, rows[rows[:, 2] > 0.03])  # the heaviest patients
    check = run_drift_check(version_id=regression.pk)
    assert check is not None
    assert check.result.prediction.status == "ok"
    assert check.prediction_is_drifted
    assert check.features.order_by("-score").values_list("feature_name", flat=True)[0] == "x2"
    prediction = DriftCheck.objects.get(pk=check.pk).comparison.prediction
    assert len(prediction.reference_dist) == 10
    assert next(iter(prediction.reference_dist)).startswith("<= ")
    assert list(prediction.reference_dist.values()) == pytest.approx([0.1] * 10, abs=0.01)


def test_a_window_is_never_checked_twice(checked: ModelVersion) -> None:
    observe(checked, iris_rows(200))
    assert run_drift_check(version_id=checked.pk) is not None
    assert run_drift_check(version_id=checked.pk) is None
    observe(checked, iris_rows(1))
    assert run_drift_check(version_id=checked.pk) is not None
    assert DriftCheck.objects.count() == 2


def test_nothing_to_compare_leaves_no_row(version: ModelVersion, redis_client: redis.Redis) -> None:
    observe(version, iris_rows(200))
    assert run_drift_check(version_id=version.pk) is None  # no reference
    profiled_reference(version, iris_rows(200))
    delete_window(redis_client, version.pk)
    observe(version, iris_rows(99))
    assert run_drift_check(version_id=version.pk) is None  # fewer rows than the minimum
    assert run_drift_check(version_id=0) is None
    assert not DriftCheck.objects.exists()


def test_one_worker_at_a_time(checked: ModelVersion, redis_client: redis.Redis) -> None:
    observe(checked, iris_rows(200))
    lock = redis_client.lock(f"mlmon:{{{checked.pk}}}:drift-check", timeout=30)
    with lock:
        assert run_drift_check(version_id=checked.pk) is None
    assert run_drift_check(version_id=checked.pk) is not None


def test_the_policy_decides_window_and_thresholds(checked: ModelVersion) -> None:
    policy = DriftPolicy.objects.create(
        model=checked.model, window_rows=150, minimum_rows=50, feature_threshold=0.3, prediction_threshold=0.2
    )
    FeaturePolicy.objects.create(policy=policy, feature_name="sepal_width", threshold=0.05)
    observe(checked, iris_rows(400))
    check = run_drift_check(version_id=checked.pk)
    assert check is not None
    assert check.n_current == 150
    assert check.prediction_threshold == 0.2
    thresholds = dict(check.features.values_list("feature_name", "threshold"))
    assert thresholds == {**dict.fromkeys(IRIS_FEATURES, 0.3), "sepal_width": 0.05}


def test_a_model_without_policy_has_the_defaults(checked: ModelVersion) -> None:
    policy = policy_for(checked.model)
    assert policy.pk is None
    assert (policy.window_rows, policy.minimum_rows, policy.rows_between_checks) == (1000, 100, 100)
    thresholds = criteria_of(policy).thresholds
    assert (thresholds.feature, thresholds.prediction) == (0.15, 0.1)
    assert not DriftPolicy.objects.exists()


def test_a_failed_check_has_the_reason_without_a_path(checked: ModelVersion, caplog: pytest.LogCaptureFixture) -> None:
    reference = checked.references.get()
    Path(reference.profile_file.path).unlink()
    _forget_profiles()
    observe(checked, iris_rows(200))
    check = run_drift_check(version_id=checked.pk)
    assert check is not None
    assert check.status == "failed"
    assert check.error_message == "FileNotFoundError: No such file or directory"
    assert not FeatureDrift.objects.exists()
    assert "Traceback" in caplog.text
    assert run_drift_check(version_id=checked.pk) is None  # the window has a row
    assert not due_versions()


@pytest.mark.parametrize(
    "fails_in",
    ["mlmon.windows.NumericWindow.__init__", "mlmon.windows.NumericWindow.distribution", "mlmon.comparison.judge"],
)
def test_a_time_limit_inside_the_comparison_fails_the_check(
    checked: ModelVersion, monkeypatch: pytest.MonkeyPatch, fails_in: str
) -> None:
    def reach_the_limit(*arguments: object, **options: object) -> None:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(fails_in, reach_the_limit)
    observe(checked, iris_rows(200))
    check = run_drift_check(version_id=checked.pk)
    assert check is not None
    assert (check.status, check.n_features) == ("failed", 0)
    assert check.error_message.startswith("The check took longer than")


def _forget_profiles() -> None:
    PREPARED_REFERENCES.clear()


def test_a_window_that_another_worker_has_stored_is_not_stored_again(
    checked: ModelVersion, redis_client: redis.Redis
) -> None:
    observe(checked, iris_rows(200))
    window = read_window(redis_client, checked.pk, 1000)
    reference, policy = checked.references.get(), policy_for(checked.model)
    theirs = store_check(checked, reference, window, policy)
    assert theirs is not None
    assert store_check(checked, reference, window, policy) is None
    assert DriftCheck.objects.get() == theirs
    assert theirs.features.count() == 4


@pytest.mark.django_db(transaction=True)
def test_two_workers_whose_lock_expired_write_one_row(checked: ModelVersion, redis_client: redis.Redis) -> None:
    observe(checked, iris_rows(500))
    prepared_reference(checked.references.get())
    results: list[DriftCheck | None] = []
    errors: list[BaseException] = []
    barrier = threading.Barrier(2)

    def work() -> None:
        try:
            barrier.wait(10)
            redis_client.delete(f"mlmon:{{{checked.pk}}}:drift-check")
            results.append(run_drift_check(version_id=checked.pk))
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not errors
    assert DriftCheck.objects.count() == 1
    assert [result for result in results if result is not None] == [DriftCheck.objects.get()]


def test_a_check_is_due_by_rows_stage_policy_and_reference(checked: ModelVersion) -> None:
    assert due_versions() == []
    observe(checked, iris_rows(100))
    assert due_versions() == [checked]
    run_drift_check(version_id=checked.pk)
    assert due_versions() == []
    observe(checked, iris_rows(99))
    assert due_versions() == []
    observe(checked, iris_rows(1))
    assert due_versions() == [checked]
    policy = DriftPolicy.objects.create(model=checked.model, is_enabled=False)
    assert due_versions() == []
    DriftPolicy.objects.filter(pk=policy.pk).update(is_enabled=True)
    assert due_versions() == [checked]
    ModelVersion.objects.filter(pk=checked.pk).update(stage=Stage.SHADOW, traffic_weight=0)
    assert due_versions() == [checked]
    set_stage(version=ModelVersion.objects.get(pk=checked.pk), stage=Stage.ARCHIVED)
    assert due_versions() == []


def test_a_version_without_reference_is_not_due(version: ModelVersion) -> None:
    observe(version, iris_rows(500))
    assert due_versions() == []


def test_a_check_is_due_again_after_redis_lost_its_data(checked: ModelVersion, redis_client: redis.Redis) -> None:
    observe(checked, iris_rows(500))
    run_drift_check(version_id=checked.pk)
    redis_client.flushdb()
    observe(checked, iris_rows(99))
    assert due_versions() == []
    observe(checked, iris_rows(1))
    assert due_versions() == [checked]
    assert run_drift_check(version_id=checked.pk) is not None
    assert due_versions() == []


def test_a_new_reference_is_checked_with_the_next_row(checked: ModelVersion) -> None:
    observe(checked, iris_rows(200))
    run_drift_check(version_id=checked.pk)
    second = profiled_reference(checked, iris_rows(500, seed=9))
    assert due_versions() == []
    observe(checked, iris_rows(1))
    assert due_versions() == [checked]
    check = run_drift_check(version_id=checked.pk)
    assert check is not None
    assert check.reference == second


def test_due_versions_make_one_query(checked: ModelVersion) -> None:
    other = uploaded_version("other")
    profiled_reference(other, iris_rows(200))
    for version in (checked, other):
        observe(version, iris_rows(100))
    with CaptureQueriesContext(connection) as queries:
        assert due_versions() == [checked, other]
    assert len(queries) == 1
