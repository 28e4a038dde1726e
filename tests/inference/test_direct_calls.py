"""An ordinary predict request gets the same response on the event loop as through Django."""

import json
from typing import Any

import pytest
from django.core.signals import request_started
from django.test import Client
from pytest_django.fixtures import Settings

from accounts.services.tokens import create_token
from inference.api.direct import is_ordinary, predict_response, target_of
from inference.serving import serving
from models_registry.models import ModelVersion, Stage
from models_registry.services.versions import set_stage
from rest.plain_responses import PlainResponse
from tests.factories import uploaded_version
from tests.inference.direct_requests import BODIES, MODELS, uploaded_models

pytestmark = pytest.mark.django_db

ROW = {"features": [5.1, 3.5, 1.4, 0.2]}
HEADERS = {"host": "localhost", "content-type": "application/json", "accept": "*/*"}
OF_DJANGO = ("x-request-id", "x-process-time", "content-length")  # the server sets them on the event loop


@pytest.fixture
def classifier() -> ModelVersion:
    return uploaded_version("classifier")


def through_django(path: str, body: bytes, **headers: str) -> PlainResponse:
    response = Client().generic("POST", path, body, headers=HEADERS | headers, content_type=HEADERS["content-type"])
    kept = ((name.lower(), value) for name, value in response.items() if name.lower() not in OF_DJANGO)
    return PlainResponse(response.status_code, tuple(sorted(kept)), response.content)


def on_the_event_loop(path: str, body: bytes, **headers: str) -> PlainResponse | None:
    target = target_of(path)
    assert target is not None
    response = predict_response(target, body) if is_ordinary(HEADERS | headers, "") else None
    return response and PlainResponse(response.status, tuple(sorted(response.headers)), response.body)


def without_chance(body: bytes) -> Any:
    """Return a body without ids and durations."""
    decoded = json.loads(body)
    for row in [decoded, *decoded.get("predictions", [])]:
        for name in ("prediction_id", "latency_ms"):
            row.pop(name, None)
    return decoded


def assert_both_ways_agree(path: str, body: bytes, **headers: str) -> PlainResponse:
    direct, usual = on_the_event_loop(path, body, **headers), through_django(path, body, **headers)
    assert direct is not None
    assert (direct.status, direct.headers) == (usual.status, usual.headers)
    assert without_chance(direct.body) == without_chance(usual.body)
    # The keys come in one order, and numbers in one form.
    assert [part.split(b":")[0] for part in direct.body.split(b",")] == [
        part.split(b":")[0] for part in usual.body.split(b",")
    ]
    return direct


@pytest.mark.parametrize("model", MODELS)
def test_both_ways_give_the_same_response(model: str) -> None:
    names, rows = uploaded_models(model)
    for kind, make in BODIES.items():
        body = json.dumps(make(names, rows)).encode()
        response = assert_both_ways_agree(f"/api/v1/models/{model}/predict", body)
        assert response.status == (422 if "refused" in kind else 200), kind


@pytest.mark.parametrize("body", [b"null", b"[]", b'"x"', b"{}", b'{"rows": []}', b'{"features": [1, 2]}', b'{"x": 1}'])
def test_bodies_of_another_form_are_refused_in_the_same_words(classifier: ModelVersion, body: bytes) -> None:
    assert assert_both_ways_agree("/predict", body).status == 422


def test_versions_and_their_errors(classifier: ModelVersion) -> None:
    body = json.dumps(ROW).encode()
    assert assert_both_ways_agree("/api/v1/models/classifier/versions/1.0.0/predict", body).status == 200
    assert assert_both_ways_agree("/api/v1/models/classifier/versions/9/predict", body).status == 404
    assert assert_both_ways_agree("/api/v1/models/absent/predict", body).status == 404
    set_stage(version=classifier, stage=Stage.ARCHIVED)
    assert assert_both_ways_agree("/api/v1/models/classifier/versions/1.0.0/predict", body).status == 409
    unloaded = assert_both_ways_agree("/predict", body)
    assert unloaded.status == 503
    assert ("retry-after", "2") in unloaded.headers


def test_a_routing_key_stays_on_one_version(classifier: ModelVersion) -> None:
    for version in (classifier, uploaded_version("classifier", "2.0.0", production=False)):
        set_stage(version=version, stage=Stage.PRODUCTION, traffic_weight=50)
    chosen = set()
    for number in range(30):
        body = json.dumps(ROW | {"routing_key": f"customer {number}"}).encode()
        response = assert_both_ways_agree("/predict", body)
        chosen.add(json.loads(response.body)["model_version"])
    assert chosen == {"1.0.0", "2.0.0"}


def test_an_unexpected_failure_is_a_500(monkeypatch: pytest.MonkeyPatch) -> None:
    uploaded_version("failing")  # other tests expect that the classifier has never failed

    def fail(*_: object) -> None:
        raise KeyError("the engine's fault")

    monkeypatch.setattr("models_registry.engine.Engine.predict", fail)
    path = "/api/v1/models/failing/predict"
    direct = on_the_event_loop(path, json.dumps(ROW).encode())
    client = Client(raise_request_exception=False, headers=HEADERS)
    usual = client.post(path, ROW, content_type="application/json")
    assert direct is not None
    assert (direct.status, direct.body) == (usual.status_code, usual.content)
    assert direct.status == 500


def test_https_adds_its_header(classifier: ModelVersion, settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.SECURE_HSTS_SECONDS = 60
    body = json.dumps(ROW).encode()
    assert on_the_event_loop("/predict", body) is None  # is redirected
    from inference.api import direct

    direct._headers.cache_clear()
    try:
        response = assert_both_ways_agree("/predict", body, **{"x-forwarded-proto": "https"})
    finally:
        direct._headers.cache_clear()
    assert ("strict-transport-security", "max-age=60") in response.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/csv"},
        {"content-type": ""},
        {"accept": "text/csv"},
        {"cookie": "sessionid=x"},
        {"host": "elsewhere.example"},
        {"host": ""},
        {"authorization": "Bearer mlmon_unknown"},
        {"authorization": "Basic eDp5"},
    ],
    ids=str,
)
def test_unusual_requests_take_the_usual_way(classifier: ModelVersion, headers: dict[str, str]) -> None:
    assert on_the_event_loop("/predict", json.dumps(ROW).encode(), **headers) is None


def test_a_query_string_and_a_broken_body_take_the_usual_way(classifier: ModelVersion) -> None:
    assert not is_ordinary(HEADERS, "format=json")
    assert on_the_event_loop("/predict", b'{"features": [1, 2') is None


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/json, text/plain, */*"])
def test_ordinary_clients_accept_json_in_several_ways(classifier: ModelVersion, accept: str) -> None:
    assert_both_ways_agree("/predict", json.dumps(ROW).encode(), accept=accept)


def test_tokens_are_checked_in_the_same_way(classifier: ModelVersion, settings: Settings) -> None:
    settings.MLMON_API_ACCESS = "token"
    body = json.dumps(ROW).encode()
    statuses = {}
    for scope in ("predict", "read", "registry", "all"):
        _, token = create_token(name=scope, scope=scope)
        headers = {"authorization": f"Bearer {token}"}
        statuses[scope] = through_django("/predict", body, **headers).status
        assert (on_the_event_loop("/predict", body, **headers) is not None) == (statuses[scope] == 200)
    assert statuses == {"predict": 200, "read": 403, "registry": 403, "all": 200}
    assert on_the_event_loop("/predict", body) is None
    assert through_django("/predict", body).status == 401


def test_the_event_loop_runs_neither_sql_nor_django(
    classifier: ModelVersion, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = serving()
    state.snapshot()
    monkeypatch.setattr(state, "_is_started", True)  # as in a web process, where a thread refreshes the registry
    begun: list[object] = []
    request_started.connect(begun.append, weak=False, dispatch_uid="test")
    try:
        with django_assert_num_queries(0):
            response = on_the_event_loop("/predict", json.dumps(ROW).encode())
    finally:
        request_started.disconnect(dispatch_uid="test")
    assert response is not None
    assert response.status == 200
    assert begun == []
