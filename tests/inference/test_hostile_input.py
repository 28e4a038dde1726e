"""Requests of hostile clients: every refusal is a problem that names its cause, and the server never breaks."""

import io
import json
import logging
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client
from prometheus_client import REGISTRY
from pytest_django.fixtures import Settings

from inference.rows import RowReader
from mlmon.exceptions import RowValueError
from mlmon.schema import Feature, FeatureKind, TaskType, TensorType
from mlmon.values import LONGEST_STRING
from models_registry.engine import Engine
from models_registry.exceptions import NonFinitePredictionError
from models_registry.schema import ModelSchema, ScoreKind
from rest.problems import LONGEST_DETAIL
from tests.factories import diabetes_onnx, iris_onnx, uploaded_version
from tests.models_registry import onnx_models as build
from tests.services.web_server import WebServer

FLOWER = [5.1, 3.5, 1.4, 0.2]
PREDICT = "/api/v1/models/classifier/predict"
NUL_SESSION = '"\\000' + "a" * 31 + '"'  # a quoted cookie may contain octal escapes (RFC 2109), and Django decodes them


def requests_counted(model: str, version: str, status: str) -> float:
    labels = {"model_name": model, "model_version": version, "status": status}
    return REGISTRY.get_sample_value("ml_prediction_requests_total", labels) or 0.0


def problem_of(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = json.loads(response.content)
    assert problem["status"] == status
    return problem


def post(client: Client, path: str, body: Any, **headers: str) -> Any:
    return client.post(path, data=body, content_type="application/json", headers=headers)


@pytest.mark.django_db
@pytest.mark.parametrize("huge", [[3e38] * 4, [3e38, -3e38, 3e38, -3e38]])
def test_values_that_overflow_a_classifier_are_a_client_error(client: Client, huge: list[float]) -> None:
    uploaded_version("classifier")
    before = requests_counted("classifier", "1.0.0", "rejected")
    problem = problem_of(post(client, "/predict", {"rows": [FLOWER, huge]}), 422)
    assert problem["errors"][0]["row"] == 1
    assert "no finite prediction" in problem["detail"]
    assert requests_counted("classifier", "1.0.0", "rejected") == before + 1
    assert requests_counted("classifier", "1.0.0", "error") == 0


@pytest.mark.django_db
def test_values_that_overflow_a_regression_are_a_client_error(client: Client) -> None:
    uploaded_version("progression", onnx=diabetes_onnx(), features=None)
    problem = problem_of(post(client, "/api/v1/models/progression/predict", {"features": [3e38] * 10}), 422)
    assert "row 0: the model has no finite prediction" in problem["detail"]


@pytest.mark.django_db
def test_a_megabyte_of_a_client_is_not_sent_back(client: Client) -> None:
    uploaded_version("classifier")
    for body in ({"k" * 10**6: 1}, {"features": {"k" * 10**6: 1}}):
        response = post(client, PREDICT, body)
        assert "kkk …" in problem_of(response, 422)["detail"]
        assert len(response.content) < 3 * LONGEST_DETAIL
    assert "the model has no such feature" in post(client, PREDICT, {"features": {"k" * 10**6: 1}}).json()["detail"]


def test_a_string_that_is_too_long_for_the_live_window_is_refused() -> None:
    carrier = Feature(
        name="carrier",
        kind=FeatureKind.CATEGORICAL,
        is_required=True,
        input_name="carrier",
        column=0,
        tensor_type=TensorType.STRING,
    )
    assert RowReader([carrier]).columns([["x" * LONGEST_STRING]])["carrier"].tolist() == ["x" * LONGEST_STRING]
    with pytest.raises(RowValueError, match="row 1, feature 'carrier': the string is longer than 1,000 characters"):
        RowReader([carrier]).columns([["UA"], ["x" * (LONGEST_STRING + 1)]])


@pytest.mark.django_db
def test_a_call_without_a_valid_token_is_counted(client: Client, settings: Settings) -> None:
    settings.MLMON_API_ACCESS = "token"
    uploaded_version("classifier")
    before = requests_counted("classifier", "unknown", "rejected")
    problem_of(post(client, PREDICT, {"features": FLOWER}), 401)
    problem_of(post(client, PREDICT, {"features": FLOWER}, authorization="Bearer \xff x"), 401)
    problem_of(post(client, PREDICT, {"features": FLOWER}, accept="text/html"), 406)
    problem_of(client.get(PREDICT, headers={"accept": "text/html"}), 406)
    assert requests_counted("classifier", "unknown", "rejected") == before + 3


@pytest.mark.django_db
@pytest.mark.parametrize("limit", ["9" * 30, str(2**63), str(2**63 - 1)])
def test_the_database_is_not_asked_for_an_unbounded_page(client: Client, limit: str) -> None:
    assert client.get(f"/api/v1/models?limit={limit}").status_code == 200


@pytest.mark.django_db
def test_too_many_parameters_are_a_client_error(client: Client) -> None:
    problem = problem_of(client.get("/drift?" + "&".join(f"a{number}=1" for number in range(2000))), 400)
    assert "more parameters" in problem["detail"]


@pytest.mark.parametrize("path", ["/api/schema", "/api/docs"])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "TRACE"])
def test_a_problem_is_json_whatever_the_view_renders(client: Client, path: str, method: str) -> None:
    problem_of(client.generic(method, path), 405)


def test_options_is_not_allowed_on_the_api_page(client: Client) -> None:
    problem_of(client.options("/api/docs"), 405)


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "OPTIONS"])
def test_read_only_urls_refuse_other_methods(path: str, method: str) -> None:
    response = Client(enforce_csrf_checks=True).generic(method, path)
    assert "Use GET or HEAD." in problem_of(response, 405)["detail"]
    assert response["Allow"] == "GET, HEAD"


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/drift", "/api/v1/models", "/admin/", "/admin/login/"])
def test_a_nul_in_the_session_cookie_does_not_reach_the_database(client: Client, path: str) -> None:
    uploaded_version("classifier")
    response = client.get(path, headers={"cookie": f"sessionid={NUL_SESSION}"})
    assert response.status_code == 400, response.content[:300]


def test_a_wrong_host_is_a_problem_and_one_line_in_the_log(client: Client) -> None:
    (console,) = (handler for handler in logging.getLogger().handlers if handler.name == "console")
    assert isinstance(console, logging.StreamHandler)
    log = io.StringIO()
    usual_stream = console.setStream(log)
    try:
        problem_of(client.get("/drift", headers={"host": "evil.example"}), 400)
    finally:
        console.setStream(usual_stream)
    assert "evil.example" in log.getvalue()
    assert "Traceback" not in log.getvalue()


def test_a_connection_must_use_http_1(web_server: WebServer) -> None:
    """A server that detects the protocol would wait forever for a silent connection."""
    with socket.create_connection(("127.0.0.1", web_server.port), timeout=10) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        answer = connection.recv(1024)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")


def test_infinite_scores_have_no_softmax() -> None:
    """Otherwise the confidence would be NaN, and the sum of its histogram would stay NaN."""
    tensors = {"inputs": [build.value("X", shape=(None, 2))], "outputs": [build.value("Y", shape=(None, 2))]}
    features = tuple(
        Feature(
            name, FeatureKind.NUMERIC, is_required=True, input_name="X", column=column, tensor_type=TensorType.FLOAT32
        )
        for column, name in enumerate(("first", "second"))
    )
    schema = ModelSchema(TaskType.CLASSIFICATION, features, ("a", "b"), "", "Y", ScoreKind.LOGITS)
    engine = Engine(build.identity_model(**tensors).SerializeToString(), schema, timeout_seconds=5)
    with pytest.raises(NonFinitePredictionError, match="Row 1"):
        engine.predict({"first": np.array([0.0, 1e300]), "second": np.array([0.0, 0.0])})
    logarithms = engine.predict({"first": np.array([-1e300]), "second": np.array([0.0])})
    assert logarithms.confidence is not None
    assert logarithms.confidence.tolist() == [1.0]


@pytest.mark.django_db
def test_readiness_names_the_broken_version_but_no_path(client: Client) -> None:
    artefact = Path(uploaded_version("broken", onnx=iris_onnx(7)).artefact.path)
    artefact.write_bytes(b"gone")
    problem_of(post(client, "/api/v1/models/broken/predict", {"features": FLOWER}), 503)
    problem = client.get("/readyz").json()["problems"]["models"]
    assert "broken 1.0.0 cannot be loaded" in problem
    assert str(artefact.parent) not in problem
