"""The effect of a policy on checks."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import redis
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django.fixtures import Settings
from scipy.stats import wasserstein_distance

from drift.models import (
    LARGEST_COUNT,
    LARGEST_WINDOW,
    LONGEST_SPAN_SECONDS,
    DriftCheck,
    DriftPolicy,
    FeaturePolicy,
    PolicyMode,
)
from drift.selectors import criteria_of, due_versions
from drift.services.checks import run_drift_check
from drift.services.latest import latest_drift
from mlmon.criteria import Criteria, Thresholds
from mlmon.results import Method
from models_registry.models import Model, ModelVersion
from tests.factories import IRIS_FEATURES, uploaded_version
from tests.mlmon.observed import append, iris_rows, observations, observe, profiled_reference

pytestmark = pytest.mark.django_db


@pytest.fixture
def version(redis_client: redis.Redis, settings: Settings, tmp_path: Path) -> ModelVersion:
    settings.MEDIA_ROOT = tmp_path
    version = uploaded_version("classifier")
    profiled_reference(version, iris_rows(5000, seed=1))
    return version


def _check(version: ModelVersion) -> DriftCheck:
    check = run_drift_check(version_id=version.pk)
    assert check is not None
    assert check.status == "succeeded", check.error_message
    return check


def _due(version: ModelVersion) -> bool:
    return version in due_versions()


def _observe_ago(version: ModelVersion, rows: int, ago: timedelta) -> None:
    """Append rows that were observed `ago`."""
    table = observations(version, iris_rows(rows, seed=rows))
    index = table.schema.get_field_index("observed_at")
    field = table.schema.field(index)
    append(version, table.set_column(index, field, pa.array([timezone.now() - ago] * rows, field.type)))


def test_the_defaults_are_those_of_the_documentation() -> None:
    assert criteria_of(DriftPolicy(model=Model(name="new"))) == Criteria(
        Thresholds(feature=0.15, prediction=0.1),
        gives_verdict=True,
        false_alarm_budget=10_000,
        extra_window_rows=(500,),
        monitors_correlation=True,
    )


def test_the_criteria_have_every_setting_of_a_policy(version: ModelVersion) -> None:
    policy = DriftPolicy.objects.create(
        model=version.model,
        mode=PolicyMode.THRESHOLDS,
        false_alarm_budget=50,
        extra_window_rows=[500, 2000],
        feature_threshold=0.3,
        prediction_threshold=0.2,
        monitors_correlation=True,
        monitors_joint_distribution=True,
    )
    FeaturePolicy.objects.create(policy=policy, feature_name="petal_length", is_monitored=False)
    FeaturePolicy.objects.create(policy=policy, feature_name="petal_width", method=Method.WASSERSTEIN, threshold=2.5)
    assert criteria_of(policy) == Criteria(
        Thresholds(feature=0.3, prediction=0.2, by_feature={"petal_width": 2.5}),
        methods={"petal_width": Method.WASSERSTEIN},
        unmonitored=frozenset({"petal_length"}),
        gives_verdict=False,
        false_alarm_budget=50,
        extra_window_rows=(500, 2000),
        monitors_correlation=True,
        monitors_joint_distribution=True,
    )


def test_features_are_left_out_and_scored_by_their_method(version: ModelVersion) -> None:
    policy = DriftPolicy.objects.create(model=version.model)
    FeaturePolicy.objects.create(policy=policy, feature_name="petal_length", is_monitored=False)
    FeaturePolicy.objects.create(policy=policy, feature_name="petal_width", method=Method.WASSERSTEIN, threshold=0.5)
    current = iris_rows(1000, seed=2) + 0.5
    observe(version, current)
    rows = {row.feature_name: row for row in _check(version).features.all()}
    assert set(rows) == set(IRIS_FEATURES) - {"petal_length"}
    reference = iris_rows(5000, seed=1)[:, 3]
    expected = wasserstein_distance(reference, current[:, 3]) / reference.std()
    width = rows["petal_width"]
    assert (width.result.method, width.threshold, width.is_drifted) == ("wasserstein", 0.5, True)
    assert width.score == pytest.approx(expected, rel=1e-9)


def test_a_window_of_time_has_the_rows_of_that_time(version: ModelVersion) -> None:
    DriftPolicy.objects.create(model=version.model, window_seconds=3600)
    _observe_ago(version, 300, timedelta(hours=2))
    _observe_ago(version, 150, timedelta(minutes=30))
    _observe_ago(version, 50, timedelta(0))
    check = _check(version)
    assert (check.n_current, check.rows_seen) == (200, 500)
    assert check.window_started_at is not None
    assert timezone.now() - check.window_started_at < timedelta(minutes=31)


def test_a_window_of_time_has_at_most_the_rows_of_the_policy(version: ModelVersion) -> None:
    DriftPolicy.objects.create(model=version.model, window_seconds=3600, window_rows=120)
    _observe_ago(version, 300, timedelta(minutes=1))
    assert _check(version).n_current == 120


def test_the_largest_policy_is_checked_and_shown(version: ModelVersion) -> None:
    widest = DriftPolicy(
        model=version.model,
        false_alarm_budget=LARGEST_COUNT,
        window_rows=LARGEST_WINDOW,
        window_seconds=LONGEST_SPAN_SECONDS,
        extra_window_rows=[LARGEST_WINDOW],
        longest_pause_seconds=LONGEST_SPAN_SECONDS,
        interval_rows=LARGEST_COUNT,
    )
    widest.full_clean()
    widest.save()
    _observe_ago(version, 600, timedelta(hours=2))
    assert _due(version)
    live = latest_drift(version=ModelVersion.objects.get())
    assert live.window is not None
    assert (live.status, live.window.rows) == ("ok", 600)
    assert (_check(version).n_current, _due(version)) == (600, False)


def test_a_window_of_time_with_too_few_rows_is_not_checked(version: ModelVersion) -> None:
    DriftPolicy.objects.create(model=version.model, window_seconds=3600)
    _observe_ago(version, 300, timedelta(hours=2))
    _observe_ago(version, 99, timedelta(0))
    assert run_drift_check(version_id=version.pk) is None
    assert not DriftCheck.objects.exists()


def test_the_verdict_uses_further_windows_and_the_scores_the_first(version: ModelVersion) -> None:
    DriftPolicy.objects.create(model=version.model, window_rows=600, extra_window_rows=[500, 2000])
    current = iris_rows(2500, seed=3)
    observe(version, current)
    check = _check(version)
    result = check.comparison
    assert (check.n_current, result.verdict.window_rows) == (600, (600, 500, 2000))
    assert result.features[0].current_mean == pytest.approx(current[-600:, 0].mean())


def test_the_queries_of_a_check_do_not_grow_with_feature_policies(version: ModelVersion) -> None:
    policy = DriftPolicy.objects.create(model=version.model)
    for number in range(50):
        FeaturePolicy.objects.create(policy=policy, feature_name=f"other_{number}", threshold=0.2)
    observe(version, np.tile([0.1, 0.5, 0.3, 0.8], (1000, 1)))
    with CaptureQueriesContext(connection) as queries:
        check = _check(version)
    assert check.verdict_status == "alarm"
    written = [query["sql"] for query in queries if query["sql"].startswith("INSERT")]
    assert len(written) == 3  # the check, all its features at once, the incident
    assert len(queries) <= 12
