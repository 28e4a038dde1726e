"""A model that KServe serves, with the real web server and worker, from its logged events to drift and performance.

The events are made with the `cloudevents` package. The expected figures are computed here, with NumPy.
"""

import json
import signal
import urllib.error
import urllib.request
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import redis
from django.db.models import Sum
from prometheus_client.parser import text_string_to_metric_families

from inference import stream
from inference.models import ObservationChunk
from mlmon_site.celery import app
from models_registry.models import ModelVersion
from tests.factories import IRIS_FEATURES, version_served_elsewhere
from tests.inference.kserve import EVENTS_PATH, Message, made_events, pair
from tests.mlmon.observed import Rows, iris_rows, profiled_reference
from tests.services.processes import await_condition
from tests.services.web_server import WebServer

pytestmark = pytest.mark.django_db(transaction=True)

CLASSES = ("setosa", "versicolor", "virginica")


def classified(rows: Rows) -> list[str]:
    """Return the species by the length of the petals: the model that KServe serves."""
    return [CLASSES[index] for index in np.digitize(rows[:, 2], [2.5, 4.9])]


def logged(rows: Rows, ids: Sequence[str]) -> list[Message]:
    """Return the events of one request for each row, half in protocol v1 and half in v2, in either mode."""
    specifications: list[dict[str, Any]] = []
    for number, (row, label, event_id) in enumerate(zip(rows.tolist(), classified(rows), ids, strict=True)):
        if number % 2:
            request: Any = {"instances": [row]}
            response: Any = {"predictions": [label]}
        else:
            tensor = {"name": "input-0", "shape": [1, 4], "datatype": "FP64", "data": row}
            output = {"name": "predict", "shape": [1, 1], "datatype": "BYTES", "data": [label]}
            request, response = {"inputs": [tensor]}, {"model_name": "iris", "outputs": [output]}
        halves = pair(request, response, event_id=event_id, mode="structured" if number % 3 == 0 else "binary")
        specifications += halves[::-1] if number % 5 == 0 else halves
    return made_events(specifications)


class Logger:
    """KServe's agents: several workers that send events and ignore what comes back, except in this test."""

    def __init__(self, server: WebServer) -> None:
        self.server = server

    def send(self, messages: Sequence[Message]) -> None:
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(self._status, messages)) == {202}

    def _status(self, message: Message) -> int:
        request = urllib.request.Request(f"{self.server.url}{EVENTS_PATH}", data=message.body, headers=message.headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            return int(response.status)

    def get(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(f"{self.server.url}{path}", timeout=10) as response:
                return json.load(response)
        except urllib.error.HTTPError:
            return None

    def post(self, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            f"{self.server.url}{path}", data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)

    def metrics(self) -> str:
        with urllib.request.urlopen(f"{self.server.url}/metrics", timeout=10) as response:
            return str(response.read().decode())

    def counted(self, name: str, **labels: str) -> float:
        text = self.metrics()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@pytest.fixture
def version(transactional_db: None) -> ModelVersion:
    """The model with its reference, registered before the server starts, so that every process has loaded it."""
    registered = version_served_elsewhere("iris")
    profiled_reference(registered, iris_rows(2000))
    return registered


def test_from_events_to_drift_performance_and_metrics(
    version: ModelVersion, web_server: WebServer, celery_worker_process: object, redis_client: redis.Redis
) -> None:
    logger = Logger(web_server)

    # Traffic with longer petals than the reference, and some events twice.
    rows = iris_rows(600, seed=1) + np.array([0, 0, 1.0, 0])
    ids = [str(uuid.uuid4()) if number % 2 else f"order-{number}" for number in range(len(rows))]
    messages = logged(rows, ids)
    logger.send([*messages, *messages[:50]])
    await_condition(
        lambda: stream.rows_seen(redis_client, [version.pk])[version.pk] == len(rows), "rows were not captured"
    )
    await_condition(
        lambda: logger.counted("ml_kserve_events_total", model_name="iris", outcome="duplicate") == 50,
        "the repeated events were not counted",
    )

    # Metrics as for a model that is served here.
    model = {"model_name": "iris", "model_version": "1.0.0"}
    assert logger.counted("ml_kserve_events_received_total") == 2 * len(rows) + 50
    assert logger.counted("ml_kserve_events_total", model_name="iris", outcome="paired") == 2 * len(rows)
    assert logger.counted("ml_prediction_requests_total", **model, status="success") == len(rows)
    assert logger.counted("ml_prediction_latency_seconds_count", **model) == len(rows)
    assert logger.counted("ml_prediction_latency_seconds_sum", **model) == pytest.approx(0.04 * len(rows))
    for name in CLASSES:
        labels = {"model_name": "iris", "predicted_class": name}
        assert logger.counted("ml_prediction_distribution_total", **labels) == classified(rows).count(name)

    # Drift of the petals, and of nothing else.
    app.send_task("drift.tasks.check_due_versions")
    await_condition(lambda: (logger.get("/api/v1/models/iris/drift") or {}).get("verdict"), "there is no check")
    drift = logger.get("/api/v1/models/iris/drift")
    assert drift["verdict"]["status"] == "alarm"
    drifted = {name: one["is_drifted"] for name, one in drift["feature_drift"].items()}
    assert drifted == {name: name == "petal_length" for name in IRIS_FEATURES}
    mean = drift["feature_drift"]["petal_length"]["current_mean"]
    assert mean == pytest.approx(rows[:, 2].mean())
    labels = {"model_name": "iris", "feature_name": "petal_length"}
    await_condition(lambda: logger.counted("ml_feature_drift_confirmed", **labels) == 1, "the check was not stored")

    # Performance with feedback by the ids of the events.
    app.send_task("inference.tasks.archive_observations")
    archived = ObservationChunk.objects.filter(version=version)
    await_condition(lambda: archived.aggregate(Sum("rows"))["rows__sum"] == len(rows), "rows were not archived")
    actual = classified(iris_rows(600, seed=1))  # the species did not change with the measurements
    feedback = [{"event_id": event_id, "actual": label} for event_id, label in zip(ids, actual, strict=True)]
    assert logger.post("/api/v1/feedback", feedback)["counts"]["accepted"] == len(rows)
    app.send_task("performance.tasks.measure_performance")
    await_condition(lambda: _accuracy(logger) is not None, "there is no report")
    expected = np.mean([one == other for one, other in zip(classified(rows), actual, strict=True)])
    assert _accuracy(logger) == pytest.approx(expected)
    assert logger.counted("ml_model_accuracy", **model) == pytest.approx(expected)


def test_term_processes_the_events_that_were_received(
    version: ModelVersion, web_server: WebServer, redis_client: redis.Redis
) -> None:
    rows = iris_rows(40, seed=2)
    Logger(web_server).send(logged(rows, [f"order-{number}" for number in range(len(rows))]))
    web_server.process.send_signal(signal.SIGTERM)
    web_server.process.wait(timeout=20)
    assert stream.rows_seen(redis_client, [version.pk]) == {version.pk: len(rows)}


def _accuracy(logger: Logger) -> float | None:
    latest = logger.get("/api/v1/models/iris/performance")["latest"]
    return float(latest["realised"]["accuracy"]) if latest and latest["realised"] else None
