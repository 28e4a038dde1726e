"""``POST /api/v1/feedback`` through Django, for predictions of a real model."""

import json
import uuid
from typing import Any

import pytest
import redis
from django.db import OperationalError
from django.test import Client
from pytest_django.fixtures import Settings

from accounts.models import TokenScope
from accounts.services.tokens import create_token
from inference.serving import serving
from performance.models import GroundTruth
from tests.factories import diabetes_onnx, uploaded_version
from tests.performance.test_ground_truth_items import BAD_ITEMS

pytestmark = pytest.mark.django_db

FLOWER = [5.1, 3.5, 1.4, 0.2]
FEEDBACK = "/api/v1/feedback"


def post(client: Client, path: str, body: Any, **headers: str) -> Any:
    return client.post(path, data=body, content_type="application/json", headers=headers)


@pytest.fixture
def ids(client: Client, redis_client: redis.Redis) -> list[str]:
    """Ids of three predictions of the classifier, in the stream."""
    uploaded_version("classifier")
    predictions = post(client, "/api/v1/models/classifier/predict", {"rows": [FLOWER] * 3}).json()["predictions"]
    serving().capture_queue.flush()
    return [one["prediction_id"] for one in predictions]


def problem_of(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = json.loads(response.content)
    return problem


def test_one_item_has_one_result(client: Client, ids: list[str]) -> None:
    item = {"prediction_id": ids[0], "actual": "versicolor", "observed_at": "2026-03-01T12:00:00Z"}
    assert post(client, FEEDBACK, item).json() == {"prediction_id": ids[0], "status": "accepted"}
    assert post(client, FEEDBACK, item).json()["status"] == "duplicate"
    assert post(client, FEEDBACK, item | {"actual": "setosa"}).json()["status"] == "corrected"
    row = GroundTruth.objects.get()
    assert (row.prediction, row.actual, str(row.observed_at)) == ("setosa", "setosa", "2026-03-01 12:00:00+00:00")


def test_each_item_of_a_list_has_a_result(client: Client, ids: list[str]) -> None:
    unknown = str(uuid.uuid4())
    sent = [(ids[0], "setosa"), (unknown, "setosa"), (ids[0], "setosa"), (ids[0], "virginica"), (ids[1], "rose")]
    body = post(client, FEEDBACK, [{"prediction_id": one, "actual": actual} for one, actual in sent]).json()
    assert [one["status"] for one in body["results"]] == ["accepted", "unknown", "duplicate", "corrected", "invalid"]
    assert [one["prediction_id"] for one in body["results"]] == [one for one, _ in sent]
    assert body["counts"] == {"accepted": 1, "duplicate": 1, "corrected": 1, "unknown": 1, "invalid": 1}
    assert body["results"][4]["reason"] == '"rose" is not one of the model\'s classes: setosa, versicolor, virginica'


@pytest.mark.parametrize(("bad", "field", "reason"), BAD_ITEMS)
def test_an_invalid_item_is_refused_and_the_others_are_stored(
    client: Client, ids: list[str], bad: Any, field: str, reason: str
) -> None:
    good = [{"prediction_id": one, "actual": "setosa"} for one in ids[:2]]
    body = post(client, FEEDBACK, [good[0], bad, good[1]]).json()
    assert [one["status"] for one in body["results"]] == ["accepted", "invalid", "accepted"]
    refused = body["results"][1]
    assert (refused["field"] or "") == field
    assert reason in refused["reason"]
    assert GroundTruth.objects.count() == 2


@pytest.mark.parametrize(("bad", "field", "reason"), [one for one in BAD_ITEMS if isinstance(one[0], dict)])
def test_a_single_invalid_item_is_a_problem(client: Client, bad: Any, field: str, reason: str) -> None:
    problem = problem_of(post(client, FEEDBACK, bad), 422)
    assert (problem["errors"][0]["field"] or "") == field
    assert reason in problem["detail"]
    assert not GroundTruth.objects.exists()


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ("{", 400, "not valid JSON"),
        ("NaN", 400, "not valid JSON"),
        ("null", 422, "must be an object"),
        ('"text"', 422, "must be an object"),
        ("7", 422, "must be an object"),
        ("[]", 422, "The list has 0 items; send 1 to 10,000 in one request."),
        ("[" + ",".join(["{}"] * 10_001) + "]", 422, "10001 items"),
        ("[[[[]]]]", 200, ""),
    ],
)
def test_a_bad_body_is_a_problem(client: Client, body: str, status: int, reason: str) -> None:
    response = post(client, FEEDBACK, body)
    if status == 200:
        assert [one["status"] for one in response.json()["results"]] == ["invalid"]
    else:
        assert reason in problem_of(response, status)["detail"]


def test_other_methods_and_forms_are_refused(client: Client) -> None:
    assert problem_of(client.get(FEEDBACK), 405)
    assert problem_of(client.post(FEEDBACK, {"prediction_id": "x"}), 415)


def test_feedback_needs_the_scope_predict(client: Client, ids: list[str], settings: Settings) -> None:
    settings.MLMON_API_ACCESS = "token"
    item = {"prediction_id": ids[0], "actual": "setosa"}
    _, reader = create_token(name="reader", scope=TokenScope.READ)
    _, application = create_token(name="application", scope=TokenScope.PREDICT)
    serving().refresh()
    assert problem_of(post(client, FEEDBACK, item), 401)
    assert problem_of(post(client, FEEDBACK, item, authorization=f"Bearer {reader}"), 403)
    assert post(client, FEEDBACK, item, authorization=f"Bearer {application}").status_code == 200


def test_nothing_is_stored_if_the_database_fails_half_way(
    client: Client, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr("performance.services.ground_truth.GroundTruthCorrection.objects.bulk_create", fail)
    problem = problem_of(post(client, FEEDBACK, [{"prediction_id": one, "actual": "setosa"} for one in ids]), 503)
    assert problem["detail"] == "The database is unavailable. Try again later."
    assert not GroundTruth.objects.exists()


def test_a_regression_accepts_numbers(client: Client, redis_client: redis.Redis) -> None:
    features = [f"x{index}" for index in range(10)]
    uploaded_version("progression", onnx=diabetes_onnx(), features=features)
    prediction = post(client, "/api/v1/models/progression/predict", {"features": [0.01] * 10}).json()
    serving().capture_queue.flush()
    item = {"prediction_id": prediction["prediction_id"], "actual": 151.5}
    assert post(client, FEEDBACK, item).json()["status"] == "accepted"
    row = GroundTruth.objects.get()
    assert row.prediction is not None
    assert float(row.prediction) == prediction["prediction"]
    assert (row.actual, row.confidence, row.scores) == ("151.5", None, None)
    assert "finite number" in problem_of(post(client, FEEDBACK, item | {"actual": "much"}), 422)["detail"]
