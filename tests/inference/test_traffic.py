"""Traffic on its way from web processes to the database, with a real Redis and PostgreSQL."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
import redis
from django.test import Client
from django.utils import timezone
from prometheus_client import REGISTRY, CollectorRegistry, Histogram

from inference import traffic
from inference.models import RollupSpan, TrafficRollup
from inference.services.retention import delete_old_traffic
from inference.services.traffic import roll_up_traffic
from inference.serving import TRAFFIC_SECONDS, Serving
from inference.tasks import roll_up_traffic as roll_up_traffic_task
from inference.traffic import CONFIDENCE_EDGES, LATENCY_EDGES, TrafficTally, changed_minutes, process_tally
from models_registry.models import Model, ModelVersion, Stage
from models_registry.services.versions import set_stage
from tests.factories import diabetes_onnx, iris_onnx, uploaded_version

HOUR = 1_800_000_000
LATENCIES = [0.0001, 0.0005, 0.0006, 0.01, 0.3, 5.0, 7.5]


class Clock:
    def __init__(self) -> None:
        self.seconds = float(HOUR)

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def version(db: None) -> ModelVersion:
    return ModelVersion.objects.create(
        model=Model.objects.create(name="counted"), version="1.0.0", artefact_bytes=1, task_type="regression"
    )


def cumulative(counts: list[int]) -> list[int]:
    return list(accumulate(counts))


def buckets(registry: CollectorRegistry, name: str, edges: tuple[float, ...]) -> list[float | None]:
    texts = [str(edge) for edge in edges] + ["+Inf"]
    return [registry.get_sample_value(f"{name}_bucket", {"le": edge}) for edge in texts]


def minutes() -> list[TrafficRollup]:
    return list(TrafficRollup.objects.filter(span_seconds=RollupSpan.MINUTE))


def hours() -> list[TrafficRollup]:
    return list(TrafficRollup.objects.filter(span_seconds=RollupSpan.HOUR))


def test_histograms_of_processes_are_summed_as_prometheus_does(
    version: ModelVersion, redis_client: redis.Redis
) -> None:
    registry = CollectorRegistry()
    latency = Histogram("latency", "Oracle.", buckets=LATENCY_EDGES, registry=registry)
    confidence = Histogram("confidence", "Oracle.", buckets=CONFIDENCE_EDGES, registry=registry)
    clock = Clock()
    tallies = [TrafficTally(clock=clock), TrafficTally(clock=clock)]
    for place, seconds in enumerate(LATENCIES):
        tallies[place % 2].count_latency(version.pk, seconds)
        latency.observe(seconds)
    confidences = np.array([0.1, 0.55, 0.56, 0.99, 1.0, np.nan])
    tallies[0].count_classes(version.pk, np.array([4, 2]), confidences)
    tallies[1].count_classes(version.pk, np.array([0, 0, 1]))
    for value in confidences[:-1].tolist():
        confidence.observe(value)
    for one in tallies:
        one.flush(redis_client)
    assert roll_up_traffic(client=redis_client) == 1
    row, hour = minutes() + hours()
    assert cumulative(row.latency_counts) == buckets(registry, "latency", LATENCY_EDGES)
    assert row.latency_seconds == pytest.approx(registry.get_sample_value("latency_sum"))
    assert cumulative(row.confidence_counts) == buckets(registry, "confidence", CONFIDENCE_EDGES)
    assert (row.class_counts, row.predictions) == ([4, 2, 1], 7)
    assert hour.latency_counts == row.latency_counts


def test_outcomes_and_outputs_are_summed(version: ModelVersion, redis_client: redis.Redis) -> None:
    one = TrafficTally(clock=Clock())
    for status in ("success", "success", "error", "rejected"):
        one.count_request(version.pk, status)
    one.count_outputs(version.pk, np.array([1.5, -0.5, 4.0]))
    one.flush(redis_client)
    roll_up_traffic(client=redis_client)
    for row in minutes() + hours():
        assert (row.success, row.error, row.rejected) == (2, 1, 1)
        assert (row.predictions, row.output_sum) == (3, 5.0)
    assert minutes()[0].begins_at == datetime.fromtimestamp(HOUR, UTC)


def test_what_is_flushed_and_rolled_up_twice_counts_once(version: ModelVersion, redis_client: redis.Redis) -> None:
    one = TrafficTally(clock=Clock())
    one.count_request(version.pk, "success")
    for _ in range(2):
        one.flush(redis_client)
        roll_up_traffic(client=redis_client)
    one.count_request(version.pk, "success")
    one.flush(redis_client)
    roll_up_traffic(client=redis_client)
    assert [row.success for row in minutes() + hours()] == [2, 2]
    assert changed_minutes(redis_client) == {}


def test_a_run_that_dies_before_it_settles_changes_no_figure(version: ModelVersion, redis_client: redis.Redis) -> None:
    one = TrafficTally(clock=Clock())
    one.count_request(version.pk, "success")
    one.flush(redis_client)
    unsettled = changed_minutes(redis_client)
    for _ in range(3):
        roll_up_traffic(client=redis_client)
        redis_client.hset(traffic.CHANGED_KEY, mapping={str(minute): writes for minute, writes in unsettled.items()})
    assert [row.success for row in minutes() + hours()] == [1, 1]


def test_each_minute_has_its_row_and_the_hour_their_sum(version: ModelVersion, redis_client: redis.Redis) -> None:
    clock = Clock()
    one = TrafficTally(clock=clock)
    for minute in range(0, 70, 7):
        clock.seconds = HOUR + 60 * minute
        for _ in range(minute + 1):
            one.count_request(version.pk, "success")
        one.flush(redis_client)
        roll_up_traffic(client=redis_client)
    assert [row.success for row in minutes()] == [1 + minute for minute in range(0, 70, 7)]
    assert [row.success for row in hours()] == [sum(range(1, 61, 7)), 64]
    one.flush(redis_client)  # a finished minute that is written is not sent again
    assert list(changed_minutes(redis_client)) == [HOUR + 60 * 63]


def test_a_version_that_was_deleted_does_not_stop_the_others(version: ModelVersion, redis_client: redis.Redis) -> None:
    one = TrafficTally(clock=Clock())
    one.count_request(version.pk + 1, "success")
    one.count_request(version.pk, "success")
    one.flush(redis_client)
    assert roll_up_traffic(client=redis_client) == 1
    assert [row.version for row in minutes()] == [version]


def test_what_redis_did_not_take_is_sent_later(version: ModelVersion, redis_client: redis.Redis) -> None:
    one = TrafficTally(clock=Clock())
    one.count_request(version.pk, "success")
    with pytest.raises(redis.RedisError):
        one.flush(redis.Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.2))
    one.flush(redis_client)
    roll_up_traffic(client=redis_client)
    assert minutes()[0].success == 1


def test_a_run_beside_another_one_leaves_the_work_to_it(version: ModelVersion, redis_client: redis.Redis) -> None:
    one = TrafficTally(clock=Clock())
    one.count_request(version.pk, "success")
    one.flush(redis_client)
    with redis_client.lock("mlmon:traffic:lock", timeout=5):
        assert roll_up_traffic(client=redis_client) == 0
    assert roll_up_traffic(client=redis_client) == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_a_forked_process_counts_under_a_name_of_its_own() -> None:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, process_tally()._process.encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(read, 100).decode() != process_tally()._process


def test_many_classes_are_not_counted_one_by_one(version: ModelVersion, redis_client: redis.Redis) -> None:
    one = TrafficTally(clock=Clock())
    one.count_classes(version.pk, np.ones(traffic.MOST_CLASSES + 1, dtype=np.int64))
    one.flush(redis_client)
    roll_up_traffic(client=redis_client)
    assert [(row.predictions, row.class_counts) for row in minutes()] == [(traffic.MOST_CLASSES + 1, [])]


def test_old_rows_are_deleted_minutes_before_hours(version: ModelVersion) -> None:
    now = timezone.now()
    for span, days in [(60, 1), (60, 3), (3600, 3), (3600, 399), (3600, 401)]:
        TrafficRollup.objects.create(
            version=version,
            span_seconds=span,
            begins_at=now - timedelta(days=days),
            latency_counts=[],
            confidence_counts=[],
            class_counts=[],
        )
    assert delete_old_traffic(seconds=5) == 2
    left = [(row.span_seconds, (now - row.begins_at).days) for row in TrafficRollup.objects.all()]
    assert sorted(left) == [(60, 1), (3600, 3), (3600, 399)]


@pytest.fixture
def own_tally(monkeypatch: pytest.MonkeyPatch) -> TrafficTally:
    """The tally of the process, without what other tests counted."""
    monkeypatch.setattr(traffic._of_process, "tally", TrafficTally())
    return process_tally()


def samples(**labels: str) -> dict[str, float]:
    """Return what `/metrics` counts of requests and predictions of a model, by status and class."""
    found: dict[str, float] = {}
    for family in REGISTRY.collect():
        for sample in family.samples:
            is_ours = sample.name in ("ml_prediction_requests_total", "ml_prediction_distribution_total")
            if is_ours and labels.items() <= sample.labels.items():
                key = sample.labels.get("status") or sample.labels["predicted_class"]
                found[key] = found.get(key, 0) + sample.value
    return found


@pytest.mark.django_db
def test_requests_are_counted_as_in_metrics(client: Client, redis_client: redis.Redis, own_tally: TrafficTally) -> None:
    version = uploaded_version("counted-flowers")
    path = "/api/v1/models/counted-flowers/predict"
    before = samples(model_name="counted-flowers")
    bodies: list[dict[str, Any]] = [{"rows": [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]}, {"features": ["x"]}]
    for body in bodies * 3:
        client.post(path, data=json.dumps(body), content_type="application/json")
    own_tally.flush(redis_client)
    roll_up_traffic_task()
    after = samples(model_name="counted-flowers")
    grown = {key: after[key] - before.get(key, 0) for key in after}
    row = hours()[0]
    assert row.version == version
    assert grown["success"] == row.success == 3
    assert grown["rejected"] == row.rejected == 3
    assert [grown.get(name, 0) for name in version.classes] == row.class_counts + [0] * (3 - len(row.class_counts))
    assert (row.predictions, sum(row.confidence_counts), sum(row.latency_counts)) == (6, 6, 3)


@pytest.mark.django_db
def test_observations_from_elsewhere_are_predictions_and_no_requests(
    client: Client, redis_client: redis.Redis, own_tally: TrafficTally
) -> None:
    uploaded_version("counted-flowers")
    items = [
        {"features": [5.1, 3.5, 1.4, 0.2], "prediction": "virginica", "confidence": 0.97, "latency_ms": 30},
        {"features": [5.1, 3.5, 1.4, 0.2], "prediction": "setosa"},
    ]
    for item in items:
        response = client.post(
            "/api/v1/models/counted-flowers/observations", data=json.dumps(item), content_type="application/json"
        )
        assert response.status_code == 200, response.content
    own_tally.flush(redis_client)
    roll_up_traffic_task()
    row = minutes()[0]
    assert (row.success, row.predictions, row.class_counts) == (0, 2, [1, 0, 1])
    assert row.latency_counts[LATENCY_EDGES.index(0.05)] == sum(row.latency_counts) == 1
    assert row.confidence_counts[CONFIDENCE_EDGES.index(0.99)] == sum(row.confidence_counts) == 1


@pytest.mark.django_db
def test_a_regressions_outputs_are_summed(client: Client, redis_client: redis.Redis, own_tally: TrafficTally) -> None:
    uploaded_version("counted-sugar", onnx=diabetes_onnx(), features=None)
    rows = [[0.01] * 10, [0.05] * 10]
    response = client.post(
        "/api/v1/models/counted-sugar/predict", data=json.dumps({"rows": rows}), content_type="application/json"
    )
    answered = [one["prediction"] for one in response.json()["predictions"]]
    own_tally.flush(redis_client)
    roll_up_traffic_task()
    assert minutes()[0].output_sum == pytest.approx(sum(answered))


@pytest.mark.django_db(transaction=True)
def test_copies_for_a_shadow_are_predictions_and_no_requests(
    client: Client, redis_client: redis.Redis, own_tally: TrafficTally
) -> None:
    uploaded_version("counted-flowers")
    shadow = uploaded_version("counted-flowers", "1.1.0", onnx=iris_onnx(5), production=False)
    set_stage(version=shadow, stage=Stage.SHADOW)
    body = json.dumps({"features": [5.1, 3.5, 1.4, 0.2]})
    client.post("/api/v1/models/counted-flowers/predict", data=body, content_type="application/json")
    deadline = time.monotonic() + 10
    while not TrafficRollup.objects.filter(version=shadow).exists():
        assert time.monotonic() < deadline, "the shadow's answer was not counted"
        own_tally.flush(redis_client)
        roll_up_traffic_task()
    row = TrafficRollup.objects.get(version=shadow, span_seconds=RollupSpan.MINUTE)
    assert (row.success, row.predictions, sum(row.latency_counts)) == (0, 1, 1)


@pytest.mark.django_db(transaction=True)
def test_a_web_process_writes_its_counts_by_itself_and_at_its_end(
    client: Client, redis_client: redis.Redis, own_tally: TrafficTally
) -> None:
    version = uploaded_version("counted-flowers")
    own = Serving()
    own.start_watching()
    own_tally.count_request(version.pk, "success")
    deadline = time.monotonic() + 3 * TRAFFIC_SECONDS
    while not changed_minutes(redis_client):
        assert time.monotonic() < deadline, "the counts were not written"
        time.sleep(0.05)
    roll_up_traffic_task()
    own_tally.count_request(version.pk, "success")
    own.stop()
    roll_up_traffic_task()
    assert sum(row.success for row in minutes()) == 2
