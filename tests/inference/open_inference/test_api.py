"""The calls of the protocol through Django: predictions, capture, routing, metrics, tokens, descriptions and errors.

The oracle of predictions is `/predict`, whose own oracle is scikit-learn.
"""

import gzip
import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from django.test import Client
from prometheus_client import REGISTRY
from pytest_django.fixtures import Settings

from accounts.services.tokens import create_token
from inference import stream
from inference.serving import serving
from models_registry.models import Stage
from models_registry.services.versions import set_stage
from tests.factories import diabetes_onnx, iris_onnx, uploaded_version, version_served_elsewhere

pytestmark = pytest.mark.django_db

FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
INFER = "/v2/models/classifier/infer"


def tensor(rows: list[list[float]], name: str = "X") -> dict[str, Any]:
    return {"name": name, "datatype": "FP64", "shape": [len(rows), len(rows[0])], "data": rows}


def post(client: Client, path: str, body: Any, content_type: str = "application/json", **headers: str) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.generic("POST", path, data, content_type=content_type, headers=headers)


def infer(client: Client, rows: list[list[float]], path: str = INFER, **members: Any) -> Any:
    return post(client, path, {"inputs": [tensor(rows)], **members})


def outputs(response: Any) -> dict[str, Any]:
    assert response.status_code == 200, response.content
    return {one["name"]: one["data"] for one in response.json()["outputs"]}


def error(response: Any, status: int) -> str:
    """Return the message of an error after checking its form."""
    assert (response.status_code, response["Content-Type"]) == (status, "application/json"), response.content
    (message,) = response.json().values()
    assert list(response.json()) == ["error"]
    return str(message)


def counted(model: str, version: str, status: str) -> float:
    labels = {"model_name": model, "model_version": version, "status": status}
    return REGISTRY.get_sample_value("ml_prediction_requests_total", labels) or 0.0


def rejected(model: str, feature: str, reason: str) -> float:
    labels = {"model_name": model, "feature_name": feature, "reason": reason}
    return REGISTRY.get_sample_value("ml_rejected_values_total", labels) or 0.0


# --- predictions ----------------------------------------------------------------------------------------------------


def test_the_predictions_are_those_of_predict(client: Client) -> None:
    uploaded_version("classifier")
    rows = client.post("/predict", {"rows": FLOWERS}, content_type="application/json").json()["predictions"]
    response = infer(client, FLOWERS, id="42")
    found = outputs(response)
    assert found["prediction"] == [one["prediction"] for one in rows] == ["setosa", "virginica"]
    assert found["confidence"] == [one["confidence"] for one in rows]
    assert np.array(found["probabilities"]).reshape(2, 3).max(axis=1).tolist() == found["confidence"]
    body = response.json()
    assert (body["model_name"], body["model_version"], body["id"]) == ("classifier", "1.0.0", "42")
    assert [one["shape"] for one in body["outputs"]] == [[2], [2], [2, 3]]
    assert "id" not in infer(client, FLOWERS).json()


def test_a_regression_has_a_number(client: Client) -> None:
    uploaded_version("progression", onnx=diabetes_onnx(), features=None)
    row = [0.01 * index for index in range(10)]
    body = {"features": row}
    one = client.post("/api/v1/models/progression/predict", body, content_type="application/json").json()
    assert outputs(infer(client, [row], "/v2/models/progression/infer")) == {"prediction": [one["prediction"]]}


def test_binary_tensors_in_and_out(client: Client) -> None:
    uploaded_version("classifier")
    values = np.array(FLOWERS, dtype=np.float32).tobytes()
    described = {"name": "X", "datatype": "FP32", "shape": [2, 4], "parameters": {"binary_data_size": len(values)}}
    header = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
    whole = header + values
    length = {"Inference-Header-Content-Length": str(len(header))}
    for body, more in ((whole, {}), (gzip.compress(whole), {"Content-Encoding": "gzip"})):
        response = post(client, INFER, body, "application/octet-stream", **length, **more)
        assert (response.status_code, response["Content-Type"]) == (200, "application/octet-stream")
        end = int(response["Inference-Header-Content-Length"])
        label, confidence, probabilities = json.loads(response.content[:end])["outputs"]
        sizes = [one["parameters"]["binary_data_size"] for one in (label, confidence, probabilities)]
        assert sizes == [4 + len("setosa") + 4 + len("virginica"), 16, 48]
        assert response.content[end : end + sizes[0]] == b"\6\0\0\0setosa\x09\0\0\0virginica"
        numbers = np.frombuffer(response.content[end + sizes[0] :], "<f8")
        assert numbers[2:].reshape(2, 3).max(axis=1).tolist() == numbers[:2].tolist()


def test_a_request_without_a_content_type_is_json(client: Client) -> None:
    uploaded_version("classifier")
    response = post(client, INFER, {"inputs": [tensor(FLOWERS)]}, content_type="", Accept="text/html")
    assert outputs(response)["prediction"] == ["setosa", "virginica"]


def test_predictions_are_captured_under_the_returned_ids(client: Client, redis_client: redis.Redis) -> None:
    version = uploaded_version("classifier")
    ids = infer(client, FLOWERS).json()["parameters"]["prediction_ids"].split(",")
    serving().capture_queue.flush()
    window = stream.read_window(redis_client, version.pk, 100)
    assert [str(uuid.UUID(bytes=one)) for one in window.table.column("prediction_id").to_pylist()] == ids
    assert window.features.column("petal_length").to_pylist() == [1.4, 5.2]
    assert window.table.column("prediction").to_pylist() == ["setosa", "virginica"]


def test_a_routing_key_keeps_the_version(client: Client) -> None:
    uploaded_version("classifier")
    second = uploaded_version("classifier", "1.1.0", onnx=iris_onnx(5), production=False)
    set_stage(version=second, stage=Stage.PRODUCTION, traffic_weight=100)
    chosen = {}
    for key in (f"customer-{number}" for number in range(20)):
        body = {"features": FLOWERS[0], "routing_key": key}
        by_predict = client.post("/predict", body, content_type="application/json").json()["model_version"]
        chosen[key] = infer(client, FLOWERS, parameters={"routing_key": key}).json()["model_version"]
        assert chosen[key] == by_predict
    assert set(chosen.values()) == {"1.0.0", "1.1.0"}
    named = infer(client, FLOWERS, "/v2/models/classifier/versions/1.1.0/infer")
    assert named.json()["model_version"] == "1.1.0"
    message = error(infer(client, FLOWERS, parameters={"routing_key": ""}), 422)
    assert message == '"routing_key" must be a string of 1 to 256 characters.'


# --- counting -------------------------------------------------------------------------------------------------------


def test_each_request_is_counted_once(client: Client, settings: Settings) -> None:
    uploaded_version("counted")
    path = "/v2/models/counted/infer"
    assert infer(client, FLOWERS, path).status_code == 200
    assert counted("counted", "1.0.0", "success") == 1
    error(infer(client, [[1, 2, 3]], path), 422)
    error(post(client, path, {"inputs": [tensor(FLOWERS, "Y")]}), 422)
    error(infer(client, FLOWERS, path, outputs=[{"name": "label"}]), 422)
    error(infer(client, FLOWERS, path, id=7), 422)
    assert counted("counted", "1.0.0", "rejected") == 4
    assert rejected("counted", "request", "wrong_body") == 3
    assert rejected("counted", "unknown", "unknown_feature") == 1
    assert counted("counted", "1.0.0", "success") == 1  # no prediction for outputs that do not exist
    error(post(client, path, b"{"), 400)
    error(post(client, path, b"{}", **{"Content-Encoding": "br"}), 415)
    error(post(client, path, b"{}", content_type="text/csv"), 415)
    settings.MLMON_API_ACCESS = "token"
    error(infer(client, FLOWERS, path), 401)
    assert counted("counted", "unknown", "rejected") == 4
    assert rejected("counted", "request", "unreadable") == 3
    assert rejected("counted", "request", "not_permitted") == 1
    assert counted("counted", "1.0.0", "error") == 0


# --- descriptions ---------------------------------------------------------------------------------------------------


def test_the_server_and_its_models_are_described(client: Client) -> None:
    uploaded_version("classifier")
    uploaded_version("classifier", "1.1.0", onnx=iris_onnx(5), production=False)
    version_served_elsewhere("elsewhere")
    assert client.get("/v2").json()["name"] == "mlmon"
    assert "binary_tensor_data" in client.get("/v2").json()["extensions"]
    assert client.get("/v2/models").json() == {"models": ["classifier"]}
    ready = {"state": "READY", "reason": ""}
    index = [{"name": "classifier", "version": version, **ready} for version in ("1.0.0", "1.1.0")]
    assert post(client, "/v2/repository/index", b"").json() == index
    assert post(client, "/v2/repository/index", {"ready": True}).json() == index
    described = client.get("/v2/models/classifier").json()
    features = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    assert described["versions"] == ["1.0.0", "1.1.0"]
    assert described["inputs"] == [
        {"name": "X", "datatype": "FP32", "shape": [-1, 4], "parameters": {"features": features, "optional": []}}
    ]
    assert client.get("/v2/models/classifier/versions/1.1.0").json() == described
    assert client.get("/v2/models/classifier/ready").json() == {"name": "classifier", "ready": True}
    assert client.get("/v2/models/classifier/versions/1.1.0/ready").status_code == 200
    assert client.get("/v2/models/classifier/config").json()["output"][2]["dims"] == [-1, 3]


def test_the_metadata_are_enough_to_infer(client: Client) -> None:
    uploaded_version("classifier")
    (described,) = client.get("/v2/models/classifier").json()["inputs"]
    tensors = [
        {"name": name, "datatype": described["datatype"], "shape": [2], "data": [row[index] for row in FLOWERS]}
        for index, name in enumerate(described["parameters"]["features"])
    ]
    found = outputs(post(client, INFER, {"inputs": tensors}))
    assert found == outputs(infer(client, FLOWERS))
    assert list(found) == [one["name"] for one in client.get("/v2/models/classifier").json()["outputs"]]


def test_a_version_that_cannot_be_loaded_is_not_ready(client: Client) -> None:
    broken = uploaded_version("broken", onnx=iris_onnx(9))
    Path(broken.artefact.path).write_bytes(b"gone")
    assert error(client.get("/v2/models/broken/ready"), 503) == "broken 1.0.0 cannot be loaded now."
    (entry,) = post(client, "/v2/repository/index", b"").json()
    assert entry["state"] == "UNAVAILABLE"
    assert entry["reason"] == "broken 1.0.0 cannot be loaded; see the server's log"
    assert post(client, "/v2/repository/index", {"ready": True}).json() == []
    ready = client.get("/v2/health/ready")
    assert (ready.status_code, ready.json()["ready"]) == (503, False)
    assert "broken 1.0.0 cannot be loaded" in ready.json()["error"]
    assert client.get("/v2/health/live").json() == {"live": True}


# --- errors ---------------------------------------------------------------------------------------------------------


def test_errors_have_the_statuses_of_predict(client: Client) -> None:
    version = uploaded_version("classifier")
    version_served_elsewhere("elsewhere")
    assert error(infer(client, FLOWERS, "/v2/models/absent/infer"), 404) == "There is no model named 'absent'."
    assert "no version '9'" in error(infer(client, FLOWERS, "/v2/models/classifier/versions/9/infer"), 404)
    assert "is served elsewhere" in error(infer(client, FLOWERS, "/v2/models/elsewhere/infer"), 409)
    for path in ("", "/ready", "/config"):
        assert "is served elsewhere" in error(client.get(f"/v2/models/elsewhere{path}"), 409)
        assert "is served elsewhere" in error(client.get(f"/v2/models/elsewhere/versions/1.0.0{path}"), 409)
        error(client.get(f"/v2/models/absent{path}"), 404)
        error(client.post(f"/v2/models/classifier{path}"), 405)
    assert "row 0, feature 'petal_width'" in error(infer(client, [[1, 2, 3, 1e39]]), 422)
    assert "value is required" in error(infer(client, [[1, 2, 3, None]]), 422)  # type: ignore[list-item]
    set_stage(version=version, stage=Stage.STAGING)
    response = infer(client, FLOWERS)
    assert error(response, 503) == "Model 'classifier' has no version in production."
    assert response["Retry-After"]
    set_stage(version=version, stage=Stage.ARCHIVED)
    assert "archived" in error(infer(client, FLOWERS, "/v2/models/classifier/versions/1.0.0/infer"), 409)


def test_the_limits_of_rows_and_bytes(client: Client, settings: Settings) -> None:
    uploaded_version("classifier")
    settings.MLMON_MAX_ROWS_PER_REQUEST = 2
    assert "send 1 to 2." in error(infer(client, FLOWERS * 2), 422)
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    assert error(post(client, INFER, b" " * 1001), 413) == "The body is larger than this server accepts."
    bomb = post(client, INFER, gzip.compress(b" " * 10**5), **{"Content-Encoding": "gzip"})
    assert error(bomb, 413) == "The body is larger than 1,000 bytes after decompression. Send fewer rows."


@pytest.mark.parametrize(
    ("method", "path", "advice"),
    [
        ("POST", "/v2/repository/models/classifier/load", "loaded and unloaded by its stage"),
        ("GET", "/v2/models/classifier/stats", "Read /metrics"),
        ("GET", "/v2/systemsharedmemory/status", "Send tensors in the body of an infer request."),
        ("GET", "/v2/trace/setting", "Read the server's log."),
        ("DELETE", "/v2/nowhere", "/api/docs lists the calls."),
        ("GET", "/v2/models/classifier/versions/1.0.0/nowhere", "/api/docs lists the calls."),
        ("GET", "/v2/", "There is no page at this URL."),
    ],
)
def test_unknown_paths_are_errors_of_the_protocol(client: Client, method: str, path: str, advice: str) -> None:
    assert advice in error(Client(enforce_csrf_checks=True).generic(method, path), 404)


def test_errors_outside_the_views_are_errors_of_the_protocol(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    malformed = {"cookie": 'sessionid="a\\000b"'}
    assert error(client.get("/v2", headers=malformed), 400) == "The request is malformed."
    assert error(client.get("/v2/models", headers={"host": "evil.example"}), 400) == "The request is malformed."

    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("inference.api.open_inference.described_versions", fail)
    client.raise_request_exception = False
    assert error(client.get("/v2/models"), 500) == "The server failed to handle the request. Its log has the details."
    assert "secret detail" in caplog.text


# --- tokens ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "infers", "describes"),
    [("predict", 200, 200), ("read", 403, 200), ("registry", 403, 403), ("all", 200, 200), ("", 401, 401)],
)
def test_a_scope_allows_its_calls(client: Client, settings: Settings, scope: str, infers: int, describes: int) -> None:
    settings.MLMON_API_ACCESS = "token"
    uploaded_version("classifier")
    headers = {"Authorization": f"Bearer {create_token(name='t', scope=scope)[1]}"} if scope else {}
    response = post(client, INFER, {"inputs": [tensor(FLOWERS)]}, **headers)
    assert response.status_code == infers
    if infers != 200:
        error(response, infers)
    for path in ("/v2", "/v2/models", "/v2/models/classifier", "/v2/models/classifier/ready"):
        assert client.get(path, headers=headers).status_code == describes, path
    response = post(client, "/v2/repository/index", b"", **headers)
    assert response.status_code == describes
    if not scope:
        assert response["WWW-Authenticate"] == "Bearer"
    assert client.get("/v2/health/ready").status_code == client.get("/v2/health/live").status_code == 200
