"""The predict calls through Django, with real models."""

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from prometheus_client import REGISTRY
from pytest_django.fixtures import Settings

from inference import stream
from inference.serving import serving, stop_serving
from models_registry.models import Stage
from models_registry.services.versions import set_stage
from tests.factories import diabetes_onnx, iris_onnx, uploaded_version
from tests.services.processes import await_condition

pytestmark = pytest.mark.django_db

FLOWER = [5.1, 3.5, 1.4, 0.2]


def post(client: Client, path: str, body: Any, **headers: str) -> Any:
    return client.post(path, data=body, content_type="application/json", headers=headers)


def requests_counted(model: str, version: str, status: str) -> float:
    labels = {"model_name": model, "model_version": version, "status": status}
    return REGISTRY.get_sample_value("ml_prediction_requests_total", labels) or 0.0


def test_the_default_model_returns_its_onnx_prediction(client: Client, redis_client: redis.Redis) -> None:
    uploaded_version("classifier")
    response = post(client, "/predict", {"features": FLOWER})
    assert response.status_code == 200
    body = response.json()
    assert body["prediction"] == "setosa"
    assert (body["model_name"], body["model_version"]) == ("classifier", "1.0.0")
    assert uuid.UUID(body["prediction_id"]).version == 7
    assert body["latency_ms"] > 0
    assert float(response["X-Process-Time"]) > 0
    assert response["X-Request-ID"]


def test_predictions_equal_scikit_learns(client: Client) -> None:
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    uploaded_version("classifier")
    data = load_iris()
    oracle = LogisticRegression(max_iter=1000, C=1.0).fit(data.data, data.target_names[data.target])
    rows = data.data.astype(np.float32).tolist()
    predictions = post(client, "/api/v1/models/classifier/predict", {"rows": rows}).json()["predictions"]
    assert [one["prediction"] for one in predictions] == oracle.predict(data.data).tolist()
    np.testing.assert_allclose(
        [one["confidence"] for one in predictions], oracle.predict_proba(data.data).max(axis=1), rtol=1e-4
    )


def test_named_rows_equal_positional_rows(client: Client) -> None:
    uploaded_version("classifier")
    named = dict(zip(("petal_width", "petal_length", "sepal_width", "sepal_length"), reversed(FLOWER), strict=True))
    by_name = post(client, "/api/v1/models/classifier/predict", {"features": named}).json()
    by_place = post(client, "/api/v1/models/classifier/versions/1.0.0/predict", {"features": FLOWER}).json()
    assert by_name["confidence"] == by_place["confidence"]


def test_a_regression_predicts_a_number(client: Client) -> None:
    from sklearn.datasets import load_diabetes
    from sklearn.linear_model import LinearRegression

    uploaded_version("progression", onnx=diabetes_onnx(), features=None)
    data = load_diabetes()
    oracle = LinearRegression().fit(data.data, data.target).predict(data.data[:1])[0]
    body = post(client, "/api/v1/models/progression/predict", {"features": data.data[0].tolist()}).json()
    assert body["prediction"] == pytest.approx(oracle, rel=1e-5)
    assert body["confidence"] is None


def test_a_prediction_is_captured(client: Client, redis_client: redis.Redis) -> None:
    version = uploaded_version("classifier")
    body = post(client, "/predict", {"features": FLOWER}).json()
    serving().capture_queue.flush()
    window = stream.read_window(redis_client, version.pk, 100)
    assert window.features.to_pylist() == [
        {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
    ]
    (row,) = window.table.to_pylist()
    assert uuid.UUID(bytes=row["prediction_id"]) == uuid.UUID(body["prediction_id"])
    assert (row["prediction"], row["confidence"]) == ("setosa", body["confidence"])


def test_the_request_is_measured(client: Client) -> None:
    uploaded_version("measured")
    for status in ("success", "error", "rejected"):  # born at 0
        labels = {"model_name": "measured", "model_version": "1.0.0", "status": status}
        post(client, "/api/v1/models/classifier/predict", {})
        assert REGISTRY.get_sample_value("ml_prediction_requests_total", labels) == 0
    post(client, "/api/v1/models/measured/predict", {"rows": [FLOWER] * 3})
    assert requests_counted("measured", "1.0.0", "success") == 1
    assert REGISTRY.get_sample_value("ml_batch_size_bucket", {"model_name": "measured", "le": "5.0"}) == 1
    assert REGISTRY.get_sample_value("ml_batch_size_bucket", {"model_name": "measured", "le": "1.0"}) == 0
    setosa = {"model_name": "measured", "predicted_class": "setosa"}
    assert REGISTRY.get_sample_value("ml_prediction_distribution_total", setosa) == 3
    assert REGISTRY.get_sample_value("ml_model_confidence_count", setosa) == 3
    latency = {"model_name": "measured", "model_version": "1.0.0"}
    assert REGISTRY.get_sample_value("ml_prediction_latency_seconds_count", latency) == 1


@pytest.mark.parametrize(
    ("body", "status", "part"),
    [
        ("{", 400, "not valid JSON"),
        (b"\xff\xfe", 400, "not valid JSON"),
        ("", 400, "The body is empty; send a JSON object."),
        ('{"features": [NaN, 1, 1, 1]}', 400, "NaN is not JSON; for a missing value send null."),
        ('{"features": [1, -Infinity, 1, 1]}', 400, "Infinity is not JSON; for a missing value send null."),
        ("[" * 100_000, 400, "not valid JSON"),
        ([1, 2, 3, 4], 422, 'The body must be a JSON object: {"features": [...]} or {"rows": [[...], ...]}.'),
        (
            {"features": [1, 2, 3]},
            422,
            "row 0: expected 4 values (sepal_length, sepal_width, petal_length, petal_width), got 3",
        ),
        ({"rows": [FLOWER, [1, 2, "x", 4]]}, 422, "row 1, feature 'petal_length': expected a number, got \"x\""),
        (
            {"features": {"sepal_length": 1}},
            422,
            "row 0, feature 'sepal_width': a value is required, but it is missing",
        ),
        ({"features": [1e39, 1, 1, 1]}, 422, "row 0, feature 'sepal_length': 1e+39 is beyond the range of float32"),
    ],
)
def test_bad_input_is_a_problem_that_names_the_value(client: Client, body: Any, status: int, part: str) -> None:
    uploaded_version("classifier")
    response = post(client, "/predict", body)
    assert response.status_code == status
    assert response["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["detail"] == part if status == 422 else part in problem["detail"]
    assert problem["status"] == status
    assert requests_counted("classifier", "1.0.0", "error") == 0


def test_a_refused_value_is_listed_for_programs(client: Client) -> None:
    uploaded_version("classifier")
    problem = post(client, "/predict", {"rows": [FLOWER, [None, 1, 1, 1]]}).json()
    assert problem["errors"] == [
        {"row": 1, "feature": "sepal_length", "reason": "a value is required, but it is missing"}
    ]


def test_an_unknown_model_is_404_and_counted_as_unknown(client: Client) -> None:
    uploaded_version("classifier")
    before = requests_counted("unknown", "unknown", "rejected")
    assert post(client, "/api/v1/models/nothing/predict", {"features": FLOWER}).status_code == 404
    assert post(client, "/api/v1/models/classifier/versions/9.9.9/predict", {"features": FLOWER}).status_code == 404
    assert requests_counted("unknown", "unknown", "rejected") == before + 1
    assert client.get("/api/v1/nowhere").json()["status"] == 404


def test_too_large_a_body_is_413(client: Client, settings: Settings) -> None:
    uploaded_version("classifier")
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    response = post(client, "/predict", {"rows": [FLOWER] * 50})
    assert response.status_code == 413
    assert response["Content-Type"] == "application/problem+json"


def test_other_media_types_and_methods_are_refused(client: Client) -> None:
    uploaded_version("classifier")
    assert client.post("/predict", {"features": "1"}).status_code == 415
    assert client.get("/predict").status_code == 405


def test_an_archived_version_is_409_and_without_production_503(client: Client) -> None:
    version = uploaded_version("classifier")
    set_stage(version=version, stage=Stage.ARCHIVED)
    assert post(client, "/api/v1/models/classifier/versions/1.0.0/predict", {"features": FLOWER}).status_code == 409
    response = post(client, "/predict", {"features": FLOWER})
    assert response.status_code == 503
    assert response.json()["detail"] == "Model 'classifier' has no version in production."


def test_a_staging_version_predicts_only_if_the_url_names_it(client: Client) -> None:
    uploaded_version("classifier")
    uploaded_version("classifier", "1.1.0", onnx=iris_onnx(5), production=False)
    named = post(client, "/api/v1/models/classifier/versions/1.1.0/predict", {"features": FLOWER}).json()
    assert named["model_version"] == "1.1.0"
    assert post(client, "/predict", {"features": FLOWER}).json()["model_version"] == "1.0.0"


def test_a_shadow_version_predicts_on_a_copy(client: Client, redis_client: redis.Redis) -> None:
    uploaded_version("classifier")
    shadow = uploaded_version("classifier", "1.1.0", onnx=iris_onnx(5), production=False)
    set_stage(version=shadow, stage=Stage.SHADOW)
    assert post(client, "/predict", {"features": FLOWER}).json()["model_version"] == "1.0.0"

    def has_arrived() -> bool:
        serving().capture_queue.flush()
        return stream.rows_seen(redis_client, [shadow.pk])[shadow.pk] > 0

    await_condition(has_arrived, "the shadow's observation did not arrive")
    assert stream.read_window(redis_client, shadow.pk, 10).table.num_rows == 1


def test_a_broken_artefact_is_503_and_other_models_predict(client: Client) -> None:
    uploaded_version("classifier")
    broken = uploaded_version("broken", onnx=iris_onnx(9))
    Path(broken.artefact.path).write_bytes(b"gone")
    assert post(client, "/api/v1/models/broken/predict", {"features": FLOWER}).status_code == 503
    assert post(client, "/predict", {"features": FLOWER}).status_code == 200
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert "broken 1.0.0 cannot be loaded" in ready.json()["problems"]["models"]


@pytest.mark.django_db(transaction=True)
def test_a_prediction_needs_no_sql_once_loaded(client: Client) -> None:
    uploaded_version("classifier")
    serving().start()  # as in a web process, where a thread refreshes the registry
    post(client, "/predict", {"features": FLOWER})
    with CaptureQueriesContext(connection) as queries:
        assert post(client, "/predict", {"features": FLOWER}).status_code == 200
    assert len(queries) == 0


def test_a_well_formed_request_id_of_the_client_is_returned(client: Client) -> None:
    assert client.get("/healthz", headers={"X-Request-ID": "abc-1"})["X-Request-ID"] == "abc-1"
    assert client.get("/healthz", headers={"X-Request-ID": "a b\t"})["X-Request-ID"] != "a b\t"


@pytest.mark.parametrize("access", ["open", "token"])
def test_a_server_that_has_not_loaded_its_models_yet_says_so(
    client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch, access: str
) -> None:
    """It started while the database was unavailable, so it knows neither models nor tokens."""
    settings.MLMON_API_ACCESS = access

    def unavailable() -> int:
        raise OperationalError("the database is unavailable")

    monkeypatch.setattr("inference.serving.current_generation", unavailable)
    serving().start()
    names = ("classifier", "unknown")
    before = [requests_counted(name, "unknown", "error") for name in names]
    headers = {"authorization": "Bearer mlmon_x"} if access == "token" else {}
    response = post(client, "/api/v1/models/classifier/predict", {"features": FLOWER}, **headers)
    assert response.status_code == 503
    detail = "This server has just started and has not loaded its models yet. Try again in a few seconds."
    assert response.json()["detail"] == detail
    assert response["Retry-After"]
    stop_serving()
    classifier, unknown = (requests_counted(name, "unknown", "error") for name in names)
    assert (classifier, unknown) == (before[0], before[1] + (1 if access == "open" else 0))
