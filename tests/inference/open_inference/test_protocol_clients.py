"""Triton's and KServe's clients, as they are on PyPI, against the real web server with the demo's models.

The oracle is `/predict`: the same rows must get the same predictions.
"""

import json
import re
import urllib.request
import uuid
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.management import call_command

from accounts.services.tokens import create_token
from inference import stream
from models_registry.models import ModelVersion
from tests.inference.open_inference.clients import run_script
from tests.services.processes import await_condition
from tests.services.web_server import WebServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(400)]  # with the installation

PAGE = (Path(settings.BASE_DIR) / "docs" / "open_inference.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SCRIPTS = Path(__file__).with_name("scripts")
FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3], [5.9, 3.0, 4.2, 1.5]]
FLIGHTS = [
    ["UA", "EWR", "IAH", 6, 1400.0, 149.0, 14.0, 12.5, 0.0, 10.0],
    ["B6", "JFK", "BQN", 20, 1576.0, None, None, None, None, 0.25],
    ["DL", "LGA", "Zürich", 23, 762.0, 178.0, 22.0, 0.0, 1.5, 2.0],
]


@pytest.fixture
def demo_server(transactional_db: None, request: pytest.FixtureRequest) -> WebServer:
    """A server that has loaded the demo at its start."""
    call_command("load_demo", stdout=StringIO())
    server: WebServer = request.getfixturevalue("web_server")
    return server


def predict(server: WebServer, name: str, rows: list[list[Any]]) -> list[dict[str, Any]]:
    """Return the predictions of `/predict`."""
    request = urllib.request.Request(
        f"{server.url}/api/v1/models/{name}/predict",
        data=json.dumps({"rows": rows}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        predictions: list[dict[str, Any]] = json.load(response)["predictions"]
    return predictions


def given(server: WebServer, **more: Any) -> dict[str, Any]:
    return {"url": server.url, "flowers": FLOWERS, "flights": FLIGHTS, **more}


def run_clients(script: str, server: WebServer, **more: Any) -> Any:
    return json.loads(run_script((SCRIPTS / script).read_text(), given=given(server, **more)))


def test_the_clients_list_inspect_and_infer(demo_server: WebServer, redis_client: redis.Redis) -> None:
    expected = {"classifier": predict(demo_server, "classifier", FLOWERS)}
    expected["flight-delay"] = predict(demo_server, "flight-delay", FLIGHTS)
    assert len({one["prediction"] for one in expected["classifier"]}) == 3
    ids = [one["prediction_id"] for predictions in expected.values() for one in predictions]
    for script in ("triton.py", "kserve_rest.py"):
        found = run_clients(script, demo_server)
        check_descriptions(found)
        assert {case["case"] for case in found["inferred"]} >= {"binary", "json"}
        for case in found["inferred"]:
            check_predictions(case, expected[case["model"]])
            ids += case["prediction_ids"]
    assert len(set(ids)) == len(ids) == 6 + 3 * (8 + 4)
    assert captured_ids(redis_client, len(ids)) == set(ids)


def check_descriptions(found: dict[str, Any]) -> None:
    """Compare what a client lists and inspects with the demo's models."""
    assert (found["live"], found["ready"], found["models"]) == (True, True, ["classifier", "flight-delay"])
    assert found["ready_models"] == {"classifier": True, "flight-delay": True, "absent": False}
    classifier, flights = found["metadata"]["classifier"], found["metadata"]["flight-delay"]
    assert [(one["name"], one["datatype"], one["shape"]) for one in classifier["inputs"]] == [
        ("features", "FP32", [-1, 4])
    ]
    assert [(one["name"], one["datatype"]) for one in flights["inputs"]][:4] == [
        ("carrier", "BYTES"),
        ("origin", "BYTES"),
        ("dest", "BYTES"),
        ("scheduled_hour", "INT64"),
    ]
    assert found["metadata"]["classifier"]["outputs"][2]["parameters"]["classes"] == [
        "setosa",
        "versicolor",
        "virginica",
    ]


def check_predictions(case: dict[str, Any], expected: list[dict[str, Any]]) -> None:
    """Compare the predictions that a client got with those of `/predict`."""
    assert case["prediction"] == [one["prediction"] for one in expected], case
    assert case["confidence"] == pytest.approx([one["confidence"] for one in expected], rel=1e-6), case
    probabilities = case["probabilities"]
    assert [max(row) for row in probabilities] == pytest.approx(case["confidence"], rel=1e-12), case
    assert [sum(row) for row in probabilities] == pytest.approx([1.0] * len(probabilities), abs=1e-5)
    assert case["id"] == "request-7"


def captured_ids(redis_client: redis.Redis, rows: int) -> set[str]:
    """Return the ids in the live windows of both models, once there are `rows` of them."""
    found: set[str] = set()

    def are_captured() -> bool:
        for version in ModelVersion.objects.all():
            table = stream.read_window(redis_client, version.pk, 1000).table
            found.update(str(uuid.UUID(bytes=one)) for one in table.column("prediction_id").to_pylist())
        return len(found) >= rows

    await_condition(are_captured, "the predictions were not captured")
    return found


def test_errors_arrive_as_the_clients_exceptions(demo_server: WebServer) -> None:
    check_errors(run_clients("triton_errors.py", demo_server), "InferenceServerException")
    check_errors(run_clients("kserve_errors.py", demo_server), "HTTPStatusError")
    check_advice(run_clients("triton_unsupported.py", demo_server))


def check_errors(found: dict[str, Any], exception: str) -> None:
    for case, status, part in (
        ("unknown model", 404, "There is no model named 'absent'."),
        ("unknown input", 422, "the model has no such input or feature"),
        ("wrong shape", 422, 'Input "features": expected the shape [rows, 4], got [1, 3].'),
        ("missing feature", 422, "row 0, feature 'carrier': a value is required, but it is missing"),
        ("string for a number", 422, "row 0, feature 'distance': expected a number, got \"far\""),
    ):
        assert (found[case]["type"], found[case]["status"]) == (exception, status), found[case]
        assert part in found[case]["message"]


def check_advice(found: dict[str, Any]) -> None:
    for case, part in (
        ("load", "by its stage"),
        ("statistics", "Read /metrics"),
        ("shared memory", "in the body of an infer request"),
        ("class count", "class_count is not supported; request the scores of all classes."),
        ("unknown output", "Its outputs are prediction, confidence, probabilities."),
    ):
        assert part in found[case], (case, found[case])
    config = found["config"]
    assert (config["name"], config["input"][0]["data_type"], config["input"][0]["dims"]) == (
        "classifier",
        "TYPE_FP32",
        [-1, 4],
    )


def test_the_documented_snippets_run(demo_server: WebServer) -> None:
    printed = [run_script(one.replace("localhost:8000", demo_server.url.removeprefix("http://"))) for one in SNIPPETS]
    flowers, flights, kserve = printed
    assert "classifier 1.0.0 READY" in flowers
    assert "b'setosa' b'virginica'" in flowers
    assert re.search(r"b'(late|on_time)'", flights)
    assert "prediction ['setosa']" in kserve


def test_a_token_is_required_and_accepted(
    monkeypatch: pytest.MonkeyPatch, transactional_db: None, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("MLMON_API_ACCESS", "token")
    _, token = create_token(name="an application", scope="predict")
    server: WebServer = request.getfixturevalue("demo_server")
    found = run_clients("triton.py", server, headers={"Authorization": f"Bearer {token}"})
    assert found["inferred"][0]["prediction"] == ["setosa", "virginica", "versicolor"]
    found = run_clients("triton_errors.py", server)
    assert {case["status"] for case in found.values()} == {401}
