"""A version that another server serves: it cannot predict here, and its observations are its own."""

from pathlib import Path
from typing import Any

import pytest
import redis
from django.test import Client
from prometheus_client import REGISTRY
from pytest_django.fixtures import Settings

from inference import stream
from inference.exceptions import ServedElsewhereError
from inference.rejections import RequestErrorCode
from inference.services.prediction import predict_payload
from inference.serving import serving
from models_registry.models import ModelVersion, Stage
from models_registry.services.external_versions import register_external_version
from models_registry.services.versions import set_stage
from monitoring.metrics.exposition import StateText
from tests.factories import uploaded_version, version_served_elsewhere
from tests.services.processes import await_condition

pytestmark = pytest.mark.django_db

PREDICT = "/api/v1/models/iris/predict"
OBSERVE = "/api/v1/models/iris/observations"
SETOSA = [5.1, 3.5, 1.4, 0.2]
SEEN = {"features": SETOSA, "prediction": "setosa"}
ADVICE = (
    "is served elsewhere and cannot predict here. Send requests to its own server, and its predictions to "
    "/api/v1/models/iris/observations."
)


@pytest.fixture
def elsewhere(redis_client: redis.Redis, settings: Settings, tmp_path: Path) -> ModelVersion:
    settings.MEDIA_ROOT = tmp_path
    settings.MLMON_API_ACCESS = "open"
    return version_served_elsewhere("iris", "2.0.0")


def post(client: Client, path: str, body: Any) -> Any:
    return client.post(path, body, content_type="application/json")


def counted(**labels: str) -> float:
    return REGISTRY.get_sample_value("ml_prediction_requests_total", {"model_name": "iris", **labels}) or 0.0


def window(client: redis.Redis, version: ModelVersion) -> Any:
    return stream.read_window(client, version.pk, 1000).table


@pytest.mark.parametrize(
    ("path", "subject"),
    [(PREDICT, "Model iris"), ("/api/v1/models/iris/versions/2.0.0/predict", "Version 2.0.0 of iris")],
)
def test_a_request_to_predict_is_a_conflict_that_says_what_to_do(
    client: Client, elsewhere: ModelVersion, path: str, subject: str
) -> None:
    before = counted(model_version="unknown", status="rejected"), counted(model_version="unknown", status="error")
    refused = post(client, path, {"features": SETOSA})
    assert (refused.status_code, refused["Content-Type"]) == (409, "application/problem+json")
    assert refused.json()["detail"] == f"{subject} {ADVICE}"
    assert "Retry-After" not in refused
    after = counted(model_version="unknown", status="rejected"), counted(model_version="unknown", status="error")
    assert (after[0] - before[0], after[1] - before[1]) == (1, 0)
    reason = {"model_name": "iris", "feature_name": "request", "reason": RequestErrorCode.SERVED_ELSEWHERE.value}
    assert (REGISTRY.get_sample_value("ml_rejected_values_total", reason) or 0) >= 1


@pytest.mark.parametrize("stage", [Stage.STAGING, Stage.SHADOW])
def test_a_named_version_cannot_predict_in_any_stage(client: Client, elsewhere: ModelVersion, stage: Stage) -> None:
    set_stage(version=elsewhere, stage=stage)
    assert post(client, "/api/v1/models/iris/versions/2.0.0/predict", {"features": SETOSA}).status_code == 409
    assert post(client, PREDICT, {"features": SETOSA}).status_code == 503  # as for any model without production


def test_all_traffic_goes_to_the_versions_that_are_served_here(client: Client, elsewhere: ModelVersion) -> None:
    for name, weight in (("1.0.0", 1), ("1.1.0", 3)):
        here = uploaded_version("iris", name, production=False)
        set_stage(version=here, stage=Stage.PRODUCTION, traffic_weight=weight)
    versions = [
        predict_payload(model_name="iris", payload={"rows": [SETOSA], "routing_key": f"{n}"}).version
        for n in range(300)
    ]
    names = [version.version for version in versions]
    assert set(names) == {"1.0.0", "1.1.0"}
    assert names.count("1.1.0") / 300 == pytest.approx(0.75, abs=0.1)
    assert serving().snapshot().models["iris"].production[0].version == "2.0.0"  # the primary version: weight 100


def test_one_version_served_here_gets_all_traffic(elsewhere: ModelVersion) -> None:
    here = uploaded_version("iris", "1.0.0", production=False)
    set_stage(version=here, stage=Stage.PRODUCTION, traffic_weight=1)
    assert {predict_payload(model_name="iris", payload={"features": SETOSA}).version.version for _ in range(20)} == {
        "1.0.0"
    }


def test_it_gets_no_copies_of_requests(redis_client: redis.Redis, elsewhere: ModelVersion) -> None:
    set_stage(version=elsewhere, stage=Stage.SHADOW)
    here, copy = uploaded_version("iris", "1.0.0"), uploaded_version("iris", "1.1.0", production=False)
    set_stage(version=copy, stage=Stage.SHADOW)
    predict_payload(model_name="iris", payload={"features": SETOSA})
    state = serving()

    def is_copied() -> bool:
        state.capture_queue.flush()
        return bool(window(redis_client, copy).num_rows)

    await_condition(is_copied, "the shadow version got no copy")
    assert window(redis_client, here).num_rows == 1
    assert window(redis_client, elsewhere).num_rows == 0


def test_it_does_not_make_the_server_unready(client: Client, elsewhere: ModelVersion) -> None:
    assert client.get("/readyz").json() == {"status": "ok", "problems": {}}
    post(client, PREDICT, {"features": SETOSA})
    assert client.get("/readyz").json() == {"status": "ok", "problems": {}}


def test_its_session_cannot_be_opened(elsewhere: ModelVersion) -> None:
    loaded = serving().snapshot().version("iris", "2.0.0")
    with pytest.raises(ServedElsewhereError):
        loaded.engine()
    assert (loaded.load_error, loaded.memory_bytes) == ("", 0)
    assert REGISTRY.get_sample_value("ml_model_memory_bytes", {"model_name": "iris"}) == 0


def test_the_metrics_have_the_version(elsewhere: ModelVersion) -> None:
    text = StateText().render().decode()
    assert 'ml_model_info{framework="",model_name="iris",model_version="2.0.0",stage="production"} 1.0' in text


# --- observations -----------------------------------------------------------------------------------------------------


def test_its_observations_have_probabilities(
    client: Client, redis_client: redis.Redis, elsewhere: ModelVersion
) -> None:
    rows = [
        {**SEEN, "probabilities": {"setosa": 0.9, "virginica": 0.1}},
        {**SEEN, "confidence": 0.7},
        {
            "features": {"sepal_length": 5, "sepal_width": 3, "petal_length": 1, "petal_width": 0.5},
            "prediction": "setosa",
        },
    ]
    response = post(client, OBSERVE, rows)
    assert response.json()["counts"] == {"accepted": 3, "duplicate": 0, "invalid": 0}
    assert response.json()["model_version"] == "2.0.0"
    found = window(redis_client, elsewhere).to_pydict()
    assert found["confidence"][:2] == [0.9, 0.7]
    assert found["scores"][0] == pytest.approx([0.9, 0.0, 0.1])
    assert found["scores"][1:] == [None, None]
    assert found["feature.petal_width"] == [0.2, 0.2, 0.5]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"features": SETOSA, "prediction": "rose"}, "is not one of the model's classes"),
        ({"features": [5.1, 3.5, 1.4, "wide"], "prediction": "setosa"}, "petal_width: expected a number"),
        ({"features": [5.1, 3.5, 1.4, None], "prediction": "setosa"}, "petal_width: a value is required"),
        ({"features": {"sepal_length": 5, "colour": 1}, "prediction": "setosa"}, "no such feature"),
    ],
)
def test_its_observations_are_checked_by_its_schema(
    client: Client, elsewhere: ModelVersion, item: Any, reason: str
) -> None:
    (result,) = post(client, OBSERVE, [item]).json()["results"]
    assert (result["status"], reason in result["reason"]) == ("invalid", True)


def test_types_accept_what_they_say(client: Client, redis_client: redis.Redis, settings: Settings) -> None:
    settings.MLMON_API_ACCESS = "open"
    features = [
        {"name": "n", "type": "number", "required": False},
        {"name": "i", "type": "integer", "required": False},
        {"name": "b", "type": "boolean", "required": False},
        {"name": "c", "type": "category", "required": False},
        {"name": "k", "type": "integer", "kind": "categorical"},
    ]
    version = register_external_version(
        model="typed", version="1.0.0", document={"task": "regression", "features": features}
    )
    path = "/api/v1/models/typed/observations"
    rows: list[Any] = [
        [1.5, 2, True, "north", 7],
        [None, None, None, None, 7.0],
        [1, 3.0, 0, 8, 9],
        [1, 2.5, True, "a", 7],
        [1, 2, 2, "a", 7],
        [1, 2, True, True, 7],
        [1, 2, True, "a", None],
    ]
    body = {"version": "1.0.0", "rows": [{"features": row, "prediction": 1.5} for row in rows]}
    statuses = [one["status"] for one in post(client, path, body).json()["results"]]
    assert statuses == ["accepted"] * 3 + ["invalid"] * 4
    found = window(redis_client, version).to_pydict()
    assert found["feature.n"] == [1.5, None, 1.0]
    assert found["feature.i"] == [2.0, None, 3.0]
    assert found["feature.b"] == ["1", None, "0"]
    assert found["feature.c"] == ["north", None, "8"]
    assert found["feature.k"] == ["7", "7", "9"]


def test_observations_name_their_version_if_it_is_not_clear(
    client: Client, redis_client: redis.Redis, elsewhere: ModelVersion
) -> None:
    assert post(client, OBSERVE, SEEN).json()["model_version"] == "2.0.0"
    here = uploaded_version("iris", "1.0.0", production=False)
    set_stage(version=here, stage=Stage.PRODUCTION, traffic_weight=1000)
    refused = post(client, OBSERVE, SEEN)
    assert refused.status_code == 422
    assert refused.json()["detail"] == (
        'Several versions of iris are in production (1.0.0, 2.0.0). Send the "version" too.'
    )
    assert post(client, OBSERVE, {"version": "2.0.0", **SEEN}).json()["model_version"] == "2.0.0"
    set_stage(version=elsewhere, stage=Stage.STAGING)
    assert post(client, OBSERVE, SEEN).json()["model_version"] == "1.0.0"
    assert window(redis_client, elsewhere).num_rows == 2


def test_the_predictions_of_a_shadow_do_not_count_as_the_clients(client: Client, elsewhere: ModelVersion) -> None:
    def setosas() -> float:
        labels = {"model_name": "iris", "predicted_class": "setosa"}
        return REGISTRY.get_sample_value("ml_prediction_distribution_total", labels) or 0.0

    before = setosas()
    post(client, OBSERVE, SEEN)
    assert setosas() - before == 1
    set_stage(version=elsewhere, stage=Stage.SHADOW)
    post(client, OBSERVE, {"version": "2.0.0", **SEEN})
    assert setosas() - before == 1


def test_an_archived_version_takes_no_observations(client: Client, elsewhere: ModelVersion) -> None:
    set_stage(version=elsewhere, stage=Stage.ARCHIVED)
    assert post(client, OBSERVE, {"version": "2.0.0", **SEEN}).status_code == 409


def test_the_overview_and_the_page_of_the_model_show_it(
    client: Client, admin_client: Client, elsewhere: ModelVersion
) -> None:
    post(client, OBSERVE, [SEEN] * 5)
    serving().tally.flush(stream.redis_client())
    for path in ("/admin/", "/models/iris", "/models/iris?range=1h"):
        page = admin_client.get(path)
        assert page.status_code == 200
        assert "iris" in page.content.decode()
