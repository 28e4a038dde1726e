"""The drift calls through Django: the body of the contract, the history, and responses without a comparison."""

import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from django.test import Client
from pytest_django.fixtures import Settings
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from accounts.services.tokens import create_token
from drift.api.serializers import (
    DriftHistorySerializer,
    DriftReportSerializer,
    FeatureDriftSerializer,
    PredictionDriftSerializer,
    WindowSerializer,
)
from drift.models import DriftCheck, DriftPolicy
from drift.services.checks import run_drift_check
from inference.stream import stream_key
from models_registry.models import ModelVersion, Stage
from models_registry.services.versions import register_model, set_stage
from tests.factories import IRIS_FEATURES, uploaded_version
from tests.inference.observed import delete_window
from tests.mlmon.observed import append, iris_rows, observations, observe, profiled_reference

pytestmark = pytest.mark.django_db

ROW = [0.1, 0.5, 0.3, 0.8]
PATH = "/api/v1/models/classifier/drift"


@pytest.fixture
def version(redis_client: redis.Redis, settings: Settings, tmp_path: Path) -> ModelVersion:
    settings.MEDIA_ROOT = tmp_path
    settings.MLMON_API_ACCESS = "open"
    return uploaded_version("classifier")


@pytest.fixture
def checked(version: ModelVersion) -> ModelVersion:
    profiled_reference(version, iris_rows(2000, seed=1))
    return version


def _get(client: Client, path: str = PATH, expected_status: int = 200, **query: Any) -> dict[str, Any]:
    response = client.get(path, query)
    assert response.status_code == expected_status, response.content
    body: dict[str, Any] = response.json()
    return body


def test_scores_are_available_right_after_a_hundred_predictions(client: Client, checked: ModelVersion) -> None:
    for _ in range(100):
        observe(checked, np.array([ROW]))
    body = _get(client, "/drift")
    assert (body["model_name"], body["model_version"]) == ("classifier", "1.0.0")
    assert (body["status"], body["source"], body["detail"]) == ("ok", "live", "")
    assert body["window"]["rows"] == 100
    assert body["window"]["reference_rows"] == 2000
    assert datetime.fromisoformat(body["checked_at"]).tzinfo is not None
    assert set(body["feature_drift"]) == set(IRIS_FEATURES)
    reference = iris_rows(2000, seed=1)
    for index, name in enumerate(IRIS_FEATURES):
        feature = body["feature_drift"][name]
        assert feature["score"] == pytest.approx(
            ks_2samp(reference[:, index], [ROW[index]] * 100, method="asymp").statistic, abs=1e-12
        )
        assert feature["reference_mean"] == pytest.approx(reference[:, index].mean())
        assert feature["current_mean"] == pytest.approx(ROW[index])
        assert feature["is_drifted"]
    drift = body["prediction_drift"]
    names = list(drift["reference_dist"])
    divergence = jensenshannon([drift["reference_dist"][n] for n in names], [drift["current_dist"][n] for n in names])
    assert drift["js_divergence"] == pytest.approx(float(divergence) ** 2, abs=1e-12)
    assert drift["is_drifted"]
    assert body["is_drifted"]
    strengths = [body["feature_drift"][name]["score"] for name in body["drifted_features"]]
    assert len(strengths) == 4
    assert strengths == sorted(strengths, reverse=True)
    assert not DriftCheck.objects.exists()


def test_the_response_waits_for_rows_that_another_process_is_flushing(client: Client, checked: ModelVersion) -> None:
    late = observations(checked, iris_rows(40))
    observe(checked, iris_rows(60))
    flusher = threading.Timer(0.1, append, [checked, late])
    flusher.start()
    body = _get(client)
    flusher.join()
    assert (body["status"], body["window"]["rows"]) == ("ok", 100)


def test_the_response_does_not_wait_after_old_rows(
    client: Client, checked: ModelVersion, settings: Settings, redis_client: redis.Redis
) -> None:
    settings.MLMON_CAPTURE_FLUSH_MS = 60_000  # waiting would take the test past its time limit
    observe(checked, iris_rows(60))
    entries: Any = redis_client.xrange(stream_key(checked.pk))
    redis_client.delete(stream_key(checked.pk))
    long_ago_ms = int(time.time() * 1000) - 10_000
    redis_client.xadd(stream_key(checked.pk), entries[0][1], id=f"{long_ago_ms}-0")
    assert _get(client)["status"] == "insufficient_data"


def test_a_live_comparison_is_made_once_per_window(client: Client, checked: ModelVersion) -> None:
    observe(checked, iris_rows(150))
    first = _get(client)
    assert _get(client) == first
    observe(checked, iris_rows(1))
    assert _get(client)["window"]["rows"] == 151


def test_a_changed_threshold_shows_at_once(client: Client, checked: ModelVersion) -> None:
    observe(checked, iris_rows(150))
    assert not _get(client)["is_drifted"]
    DriftPolicy.objects.create(model=checked.model, feature_threshold=0.0)
    assert _get(client)["is_drifted"]


def test_a_stored_check_is_served_until_the_next_is_due(client: Client, checked: ModelVersion) -> None:
    observe(checked, iris_rows(200))
    live = _get(client)
    check = run_drift_check(version_id=checked.pk)
    assert check is not None
    stored = _get(client)
    assert (stored["source"], stored["check_id"]) == ("stored", check.pk)
    for member in ("feature_drift", "prediction_drift", "is_drifted", "drifted_features", "window"):
        assert stored[member] == live[member]
    observe(checked, iris_rows(99))
    assert _get(client)["check_id"] == check.pk
    observe(checked, iris_rows(1))
    assert _get(client)["source"] == "live"


def test_the_bodies_have_the_described_shapes(client: Client, checked: ModelVersion) -> None:
    observe(checked, iris_rows(200))
    body = _get(client)
    assert set(body) == set(DriftReportSerializer().fields)
    assert set(body["window"]) == set(WindowSerializer().fields)
    assert set(body["feature_drift"]["sepal_width"]) == set(FeatureDriftSerializer().fields)
    assert set(body["prediction_drift"]) == set(PredictionDriftSerializer().fields)
    assert set(_get(client, history=1)) == set(DriftHistorySerializer().fields)


def test_without_reference_the_response_says_what_to_do(client: Client, version: ModelVersion) -> None:
    observe(version, iris_rows(200))
    body = _get(client)
    assert (body["status"], body["feature_drift"], body["prediction_drift"]) == ("no_reference", {}, None)
    assert "Upload" in body["detail"]


def test_without_observations_the_response_says_what_to_do(client: Client, checked: ModelVersion) -> None:
    body = _get(client)
    assert (body["status"], body["feature_drift"], body["is_drifted"]) == ("no_observations", {}, False)
    assert "predictions" in body["detail"]


def test_too_few_observations(client: Client, checked: ModelVersion) -> None:
    observe(checked, iris_rows(99))
    body = _get(client)
    assert (body["status"], body["feature_drift"]) == ("insufficient_data", {})
    assert body["detail"].startswith("99 of the 100 rows")
    assert body["window"]["rows"] == 99


def test_a_disabled_policy(client: Client, checked: ModelVersion) -> None:
    DriftPolicy.objects.create(model=checked.model, is_enabled=False)
    observe(checked, iris_rows(200))
    assert _get(client)["status"] == "disabled"


def test_a_model_without_production_version(client: Client, checked: ModelVersion) -> None:
    register_model(name="empty")
    body = _get(client, "/api/v1/models/empty/drift")
    assert (body["status"], body["model_version"]) == ("no_production_version", None)
    assert _get(client, "/api/v1/models/empty/drift", history=5)["checks"] == []


def test_a_failed_check_is_reported_beside_the_previous_one(client: Client, checked: ModelVersion) -> None:
    observe(checked, iris_rows(200))
    succeeded = run_drift_check(version_id=checked.pk)
    assert succeeded is not None
    failed = DriftCheck.objects.create(
        version=checked,
        reference=succeeded.reference,
        status="failed",
        error_message="ValueError: no",
        window_end="9-9",
        rows_seen=succeeded.rows_seen,
    )
    body = _get(client)
    assert (body["status"], body["check_id"]) == ("ok", succeeded.pk)
    assert body["last_failure"]["check_id"] == failed.pk
    assert body["last_failure"]["reason"] == "ValueError: no"
    succeeded.delete()
    alone = _get(client)
    assert (alone["status"], alone["detail"], alone["feature_drift"]) == ("failed", "ValueError: no", {})


def test_a_failed_comparison_is_not_a_server_error(
    client: Client, checked: ModelVersion, caplog: pytest.LogCaptureFixture
) -> None:
    from drift.services.checks import PREPARED_REFERENCES

    Path(checked.references.get().profile_file.path).unlink()
    PREPARED_REFERENCES.clear()
    observe(checked, iris_rows(200))
    body = _get(client)
    assert (body["status"], body["feature_drift"]) == ("failed", {})
    assert "/" not in body["detail"]


def test_the_stored_check_is_served_if_redis_lost_the_window(
    client: Client, checked: ModelVersion, redis_client: redis.Redis
) -> None:
    observe(checked, iris_rows(200))
    check = run_drift_check(version_id=checked.pk)
    assert check is not None
    delete_window(redis_client, checked.pk)
    assert _get(client)["check_id"] == check.pk


def test_the_stored_check_is_served_if_redis_is_unavailable(
    client: Client, checked: ModelVersion, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    observe(checked, iris_rows(200))
    check = run_drift_check(version_id=checked.pk)
    assert check is not None
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert _get(client)["check_id"] == check.pk
    assert "Redis is unavailable" in caplog.text


def test_without_redis_and_without_a_stored_check_the_service_is_unavailable(
    client: Client, checked: ModelVersion, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert "Redis" in _get(client, expected_status=503)["detail"]


def test_a_version_can_be_requested(client: Client, checked: ModelVersion) -> None:
    second = uploaded_version("classifier", "2.0.0", production=False)
    set_stage(version=second, stage=Stage.SHADOW)
    profiled_reference(second, iris_rows(500))
    observe(checked, iris_rows(120))
    observe(second, iris_rows(130))
    assert _get(client)["model_version"] == "1.0.0"
    body = _get(client, version="2.0.0")
    assert (body["model_version"], body["window"]["rows"]) == ("2.0.0", 130)


def test_the_default_version_has_the_most_traffic_then_the_latest_upload(client: Client, checked: ModelVersion) -> None:
    second = uploaded_version("classifier", "2.0.0", production=False)
    ModelVersion.objects.filter(pk=second.pk).update(stage=Stage.PRODUCTION, traffic_weight=1)
    ModelVersion.objects.filter(pk=checked.pk).update(traffic_weight=2)
    assert _get(client)["model_version"] == "1.0.0"
    ModelVersion.objects.filter(pk=checked.pk).update(traffic_weight=1)
    assert _get(client)["model_version"] == "2.0.0"


def test_history_pages_back(client: Client, checked: ModelVersion) -> None:
    ids = []
    for seed in range(5):
        observe(checked, iris_rows(100, seed=seed))
        check = run_drift_check(version_id=checked.pk)
        assert check is not None
        ids.append(check.pk)
    ids.reverse()
    first = _get(client, history=2)
    assert [one["check_id"] for one in first["checks"]] == ids[:2]
    assert first["checks"][0]["feature_drift"]["sepal_width"]["score"] is not None
    second = _get(client, history=2, before=first["next_before"])
    assert [one["check_id"] for one in second["checks"]] == ids[2:4]
    last = _get(client, history=2, before=second["next_before"])
    assert [one["check_id"] for one in last["checks"]] == ids[4:]
    assert last["next_before"] is None


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"history": "many"}, "'history': A valid integer is required."),
        ({"history": "0"}, "'history': Ensure this value is greater than or equal to 1."),
        ({"history": "101"}, "'history': Ensure this value is less than or equal to 100."),
        ({"history": "1", "before": "-1"}, "'before': Ensure this value is greater than or equal to 1."),
        ({"history": "1", "before": "9" * 30}, "'before': Ensure this value is less than or equal to"),
        ({"before": "3"}, "'before': Requires history=N."),
        ({"version": "1\x00"}, "'version': Null characters are not allowed."),
    ],
)
def test_bad_parameters_are_problems(client: Client, version: ModelVersion, query: dict[str, str], detail: str) -> None:
    response = client.get(PATH, query)
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    assert f"Query parameter {detail}" in response.json()["detail"]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/api/v1/models/nothing/drift", {}),
        ("/api/v1/models/a%00b/drift", {}),
        (PATH, {"version": "9.9.9"}),
    ],
)
def test_unknown_models_and_versions_are_404(
    client: Client, version: ModelVersion, path: str, query: dict[str, str]
) -> None:
    response = client.get(path, query)
    assert response.status_code == 404
    assert response["Content-Type"] == "application/problem+json"


def test_reading_needs_a_token_of_the_right_scope(client: Client, version: ModelVersion, settings: Settings) -> None:
    settings.MLMON_API_ACCESS = "token"
    _, predicting = create_token(name="app", scope="predict")
    _, reading = create_token(name="dashboard", scope="read")
    assert client.get(PATH).status_code == 401
    assert client.get(PATH, headers={"Authorization": f"Bearer {predicting}"}).status_code == 403
    assert client.get(PATH, headers={"Authorization": f"Bearer {reading}"}).status_code == 200
