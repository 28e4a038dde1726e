"""The real server with two processes: counts, capture, kills and stops."""

import contextlib
import json
import os
import signal
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from inference import stream
from models_registry.models import ModelVersion
from models_registry.services.versions import promote
from tests.factories import iris_onnx, uploaded_version
from tests.services.processes import await_condition
from tests.services.web_server import WebServer

pytestmark = pytest.mark.django_db(transaction=True)

FLOWER = [5.1, 3.5, 1.4, 0.2]


@pytest.fixture
def classifier(transactional_db: None) -> ModelVersion:
    return uploaded_version("classifier")


def predict(server: WebServer, body: object | None = None) -> Any:
    request = urllib.request.Request(
        f"{server.url}/predict",
        data=json.dumps(body or {"features": FLOWER}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def counted(server: WebServer, name: str, **labels: str) -> float:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as response:
        text = response.read().decode()
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def successes(server: WebServer) -> float:
    return counted(server, "ml_prediction_requests_total", model_name="classifier", status="success")


def worker_pids(server: WebServer) -> list[int]:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return [int(pid) for pid in children]


def predict_with_retries(server: WebServer) -> None:
    """Send a request until it succeeds, as some clients do: a killed process resets its connections."""

    def has_predicted() -> bool:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            predict(server)
            return True
        return False

    await_condition(has_predicted, "no process predicts")


def counter_files(server: WebServer) -> int:
    """Return how many processes count predictions: each has its own file, and the main process has one without any."""
    files = (server.folder / "metrics").glob("counter_*.db")
    return sum(b"ml_prediction_requests" in path.read_bytes() for path in files)


def test_counts_and_capture_are_exact_over_two_processes(
    classifier: ModelVersion, web_server: WebServer, redis_client: redis.Redis
) -> None:
    predictions: list[dict[str, Any]] = []
    with ThreadPoolExecutor(8) as pool:
        # On a busy machine, one process may handle hundreds of requests before the other handles one.
        while not predictions or (len(predictions) < 3000 and counter_files(web_server) < 2):
            predictions += pool.map(lambda _: predict(web_server), range(300))
    rows = len(predictions)
    assert counter_files(web_server) == 2
    assert successes(web_server) == rows
    await_condition(  # with the next flush of each process
        lambda: counted(web_server, "ml_batch_size_count", model_name="classifier") == rows, "rows were not counted"
    )
    await_condition(
        lambda: stream.rows_seen(redis_client, [classifier.pk])[classifier.pk] == rows, "rows were not captured"
    )
    captured = stream.read_window(redis_client, classifier.pk, rows).table.column("prediction_id").to_pylist()
    assert sorted(one.hex() for one in captured if one) == sorted(
        one["prediction_id"].replace("-", "") for one in predictions
    )


def test_a_killed_process_is_restarted_and_no_count_is_lost(classifier: ModelVersion, web_server: WebServer) -> None:
    for _ in range(50):
        predict(web_server)
    before = successes(web_server)
    killed = worker_pids(web_server)[0]
    os.kill(killed, signal.SIGKILL)
    for _ in range(50):
        predict_with_retries(web_server)
    await_condition(
        lambda: len(worker_pids(web_server)) == 2 and killed not in worker_pids(web_server), "no process was started"
    )
    for _ in range(50):
        predict_with_retries(web_server)
    assert before == 50
    assert successes(web_server) == 150
    assert counter_files(web_server) <= 3


def test_term_flushes_the_queue(classifier: ModelVersion, web_server: WebServer, redis_client: redis.Redis) -> None:
    for _ in range(40):
        predict(web_server)
    web_server.process.send_signal(signal.SIGTERM)
    web_server.process.wait(timeout=15)
    assert stream.rows_seen(redis_client, [classifier.pk]) == {classifier.pk: 40}


def test_a_promoted_version_takes_over_without_a_failed_request(
    classifier: ModelVersion, web_server: WebServer
) -> None:
    predict(web_server)
    promote(version=uploaded_version("classifier", "1.1.0", onnx=iris_onnx(4), production=False))
    seen = set()

    def both_processes_use_the_new_version() -> bool:
        versions = {predict(web_server)["model_version"] for _ in range(20)}
        seen.update(versions)
        return versions == {"1.1.0"}

    await_condition(both_processes_use_the_new_version, "the new version did not take over")
    assert seen <= {"1.0.0", "1.1.0"}
    assert counted(web_server, "ml_prediction_requests_total", status="error") == 0


def test_an_observation_that_two_processes_receive_at_once_is_stored_once(
    classifier: ModelVersion, web_server: WebServer, redis_client: redis.Redis
) -> None:
    ids = [str(uuid.uuid4()) for _ in range(20)]
    rows = [{"features": FLOWER, "prediction": "setosa", "prediction_id": one} for one in ids]

    def send(turn: int) -> list[str]:
        chosen = rows[turn % 5 :] if turn % 2 else rows[::-1][turn % 5 :]
        request = urllib.request.Request(
            f"{web_server.url}/api/v1/models/classifier/observations",
            data=json.dumps(chosen).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            results = json.load(response)["results"]
        return [one["prediction_id"] for one in results if one["status"] == "accepted"]

    with ThreadPoolExecutor(8) as pool:
        accepted = [one for each in pool.map(send, range(24)) for one in each]
    stored = stream.read_window(redis_client, classifier.pk, 1000).table.column("prediction_id").to_pylist()
    assert sorted(accepted) == sorted(ids)
    assert sorted(one.hex() for one in stored if one) == sorted(one.replace("-", "") for one in ids)
    assert counted(web_server, "ml_prediction_distribution_total", model_name="classifier") == 20
