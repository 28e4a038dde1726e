"""The calls of rollouts, as a pipeline makes them."""

import random
from typing import Any

import pytest
import redis
from django.contrib.auth.models import Group, User
from django.test import Client
from pytest_django.fixtures import Settings

from accounts.models import ChangeRecord
from accounts.services.tokens import create_token
from models_registry.models import ModelVersion
from rollouts.models import Rollout, State
from tests.rollouts.rollout_cases import ROW, controlled, two_versions

pytestmark = pytest.mark.django_db

PATH = "/api/v1/models/iris/rollouts"
STEPS = [{"share": 0.1, "minimum_requests": 1, "minimum_seconds": 0}, {"share": 0.5}]


@pytest.fixture
def versions(redis_client: redis.Redis) -> tuple[ModelVersion, ModelVersion]:
    return two_versions()


@pytest.fixture
def pipeline(client: Client) -> Client:
    token = create_token(name="release", scope="rollouts")[1]
    client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {token}"
    return client


def post(client: Client, path: str, body: Any = None) -> Any:
    return client.post(path, {} if body is None else body, content_type="application/json")


def test_a_pipeline_rolls_a_version_out(pipeline: Client, versions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = post(pipeline, PATH, {"challenger": "1.1.0", "steps": STEPS})
    assert planned.status_code == 201
    body = planned.json()
    assert (body["state"], body["champion"], body["challenger"]) == ("draft", "1.0.0", "1.1.0")
    started = post(pipeline, f"{body['url']}/start")
    assert (started.status_code, started.json()["state"]) == (200, "running")
    rollout = controlled(Rollout.objects.get())
    monkeypatch.setattr(random, "random", lambda: 0.99)
    predicted = post(pipeline, "/api/v1/models/iris/predict", ROW)  # open to everyone here
    assert predicted.json()["model_version"] == "1.1.0"
    controlled(rollout)
    controlled(rollout)
    shown = pipeline.get(body["url"]).json()
    assert (shown["step"], shown["is_live"]) == (1, True)
    assert shown["waiting_for"].startswith("requests of the challenger: 0 of 500; time: ")
    (guardrail,) = shown["guardrails"]
    assert (guardrail["measure"], guardrail["challenger_units"], guardrail["log10_limit"]) == ("errors", 1, 2.0)
    for action, sent, state in (
        ("pause", {"reason": "lunch"}, "paused"),
        ("resume", {}, "running"),
        ("rollback", {"reason": "postponed"}, "rolled_back"),
    ):
        response = post(pipeline, f"{body['url']}/{action}", sent)
        assert (response.status_code, response.json()["state"]) == (200, state)
        assert response.json()["reason"] == sent.get("reason", "")
    assert ChangeRecord.objects.filter(row_type="rollouts.rollout").first().actor == "API token release"  # type: ignore[union-attr]
    listed = pipeline.get(PATH).json()
    assert (listed["count"], listed["results"][0]["state"]) == (1, "rolled_back")


def test_a_rollout_is_promoted_or_cancelled(pipeline: Client, versions: Any) -> None:
    first = post(pipeline, PATH, {"challenger": "1.1.0"}).json()
    assert post(pipeline, f"{first['url']}/cancel").json()["state"] == "cancelled"
    second = post(pipeline, PATH, {"challenger": "1.1.0"}).json()
    post(pipeline, f"{second['url']}/start")
    assert post(pipeline, f"{second['url']}/promote").json()["state"] == "succeeded"
    versions[1].refresh_from_db()
    assert (versions[1].stage, versions[1].traffic_weight) == ("production", 100)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "challenger"),
        ({"challenger": "1.1.0", "steps": [{"share": 2}]}, 422, "steps[0].share"),
        ({"challenger": "1.1.0", "guardrails": [{"measure": "absolute_error"}]}, 422, "guardrails[0].measure"),
        ({"challenger": "1.0.0"}, 422, "challenger"),
        ({"challenger": "1.1.0", "mood": "good"}, 422, "mood"),
        ([], 422, "body"),
        ({"challenger": "9.9.9"}, 404, None),
        ({"challenger": "\0"}, 404, None),
    ],
)
def test_a_plan_that_is_refused_names_its_field(
    body: Any, status: int, field: str | None, pipeline: Client, versions: Any
) -> None:
    response = post(pipeline, PATH, body)
    assert response.status_code == status
    problem = response.json()
    assert [one["field"] for one in problem.get("errors", [])] == ([] if field is None else [field])
    assert not Rollout.objects.exists()


def test_what_is_not_possible_is_a_conflict(pipeline: Client, versions: Any) -> None:
    first, second = (post(pipeline, PATH, {"challenger": "1.1.0"}).json() for _ in range(2))
    assert post(pipeline, f"{first['url']}/pause").status_code == 409
    assert post(pipeline, f"{first['url']}/start").status_code == 200
    response = post(pipeline, f"{second['url']}/start")
    assert (response.status_code, response.json()["detail"]) == (
        409,
        "Another rollout of iris is active. End it first.",
    )
    archive = {"stage": "archived"}
    token = create_token(name="ci", scope="registry")[1]
    refused = pipeline.post(
        "/api/v1/models/iris/versions/1.1.0/stage",
        archive,
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert refused.status_code == 409
    assert f"belongs to rollout {first['id']}" in refused.json()["detail"]


@pytest.mark.parametrize("path", [f"{PATH}/0", f"{PATH}/99999999999999999999", "/api/v1/models/nobody/rollouts"])
def test_what_does_not_exist_is_not_found(path: str, pipeline: Client, versions: Any) -> None:
    assert pipeline.get(path).status_code == 404


def test_a_body_with_other_fields_is_refused(pipeline: Client, versions: Any) -> None:
    url = post(pipeline, PATH, {"challenger": "1.1.0"}).json()["url"]
    for action, body in (
        ("start", {"now": True}),
        ("cancel", {"reason": "x" * 1001}),
        ("cancel", {"x": 2}),
    ):
        response = post(pipeline, f"{url}/{action}", body)
        assert response.status_code in (400, 422), response.content
    assert Rollout.objects.get().state == State.DRAFT


def test_who_may_read_and_who_may_act(client: Client, versions: Any, settings: Settings) -> None:
    settings.MLMON_API_ACCESS = "token"
    for scope, may_read, may_act in (
        ("predict", False, False),
        ("read", True, False),
        ("registry", False, False),
        ("rollouts", True, True),
        ("all", True, True),
    ):
        headers = {"Authorization": f"Bearer {create_token(name=scope, scope=scope)[1]}"}
        assert (client.get(PATH, headers=headers).status_code == 200) == may_read, scope
        body = {"challenger": "1.1.0"}
        sent = client.post(PATH, body, content_type="application/json", headers=headers)
        assert (sent.status_code == 201) == may_act, scope
    assert client.get(PATH).status_code == 401
    viewer = User.objects.create_user("viewer", is_staff=True)
    viewer.groups.add(Group.objects.get(name="viewer"))
    client.force_login(viewer)
    assert client.get(PATH).status_code == 200
    assert client.post(PATH, {"challenger": "1.1.0"}, content_type="application/json").status_code == 403


def test_without_tokens_reading_is_open_and_acting_is_not(client: Client, versions: Any) -> None:
    assert client.get(PATH).status_code == 200
    assert client.post(PATH, {"challenger": "1.1.0"}, content_type="application/json").status_code in (401, 403)


def test_a_list_needs_few_queries(pipeline: Client, versions: Any, django_assert_max_num_queries: Any) -> None:
    for _ in range(10):
        post(pipeline, PATH, {"challenger": "1.1.0"})
    pipeline.get(PATH)
    with django_assert_max_num_queries(8):
        assert len(pipeline.get(PATH).json()["results"]) == 10
