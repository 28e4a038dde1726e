"""Traffic counts from the web processes to the database, with a real Redis and a real PostgreSQL."""

import json
import os
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
from inference.services.retention import enforce_retention
from inference.services.traffic import roll_up_traffic
from inference.serving import TRAFFIC_SECONDS, serving, stop_serving
from inference.stream import redis_client as client_of_process
from inference.tasks import roll_up_traffic as roll_up_traffic_task
from inference.traffic import CONFIDENCE_EDGES, LATENCY_EDGES, TrafficTally, changed_minutes, counts_of_minute
from models_registry.models import Model, ModelVersion, Stage
from models_registry.services.versions import set_stage
from tests.factories import diabetes_onnx, iris_onnx, uploaded_version
from tests.services.processes import await_condition

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
        model=Model.objects.create(name="counted"), version="1.0.0", task_type="regression"
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
        tallies[place % 2].count_predictions(version.pk, latency_seconds=[seconds])
        latency.observe(seconds)
    confidences = np.array([0.1, 0.55, 0.56, 0.99, 1.0, np.nan])
    tallies[0].count_predictions(version.pk, class_counts=np.array([4, 2]), confidence=confidences)
    tallies[1].count_predictions(version.pk, class_counts=np.array([0, 0, 1]))
    for value in confidences[:-1].tolist():
        confidence.observe(value)
    for one in tallies:
        one.flush(redis_client)
    assert roll_up_traffic() == 1
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
    one.count_predictions(version.pk, outputs=np.array([1.5, -0.5, 4.0]))
    one.flush(redis_client)
    roll_up_traffic()
    for row in minutes() + hours():
        assert (row.success, row.error, row.rejected) == (2, 1, 1)
        assert (row.predictions, row.output_sum) == (3, 5.0)
    assert minutes()[0].begins_at == datetime.fromtimestamp(HOUR, UTC)


def test_counts_that_are_flushed_and_rolled_up_twice_count_once(
    version: ModelVersion, redis_client: redis.Redis
) -> None:
    one = TrafficTally(clock=Clock())
    one.count_request(version.pk, "success")
    for _ in range(2):
        one.flush(redis_client)
        roll_up_traffic()
    one.count_request(version.pk, "success")
    one.flush(redis_client)
    roll_up_traffic()
    assert [row.success for row in minutes() + hours()] == [2, 2]
    assert changed_minutes(redis_client) == {}


def test_a_repeated_run_changes_no_figure(version: ModelVersion, redis_client: redis.Redis) -> None:
    one = TrafficTally(clock=Clock())
    one.count_request(version.pk, "success")
    one.flush(redis_client)
    unconfirmed = changed_minutes(redis_client)
    for _ in range(3):
        roll_up_traffic()
        redis_client.hset(traffic.CHANGED_KEY, mapping={str(minute): writes for minute, writes in unconfirmed.items()})
    assert [row.success for row in minutes() + hours()] == [1, 1]


def test_each_minute_has_a_row_and_each_hour_the_sum(version: ModelVersion, redis_client: redis.Redis) -> None:
    clock = Clock()
    one = TrafficTally(clock=clock)
    for minute in range(0, 70, 7):
        clock.seconds = HOUR + 60 * minute
        for _ in range(minute + 1):
            one.count_request(version.pk, "success")
        one.flush(redis_client)
        roll_up_traffic()
    assert [row.success for row in minutes()] == [1 + minute for minute in range(0, 70, 7)]
    assert [row.success for row in hours()] == [sum(range(1, 61, 7)), 64]
    one.flush(redis_client)  # a past minute that was written is not sent again
    assert list(changed_minutes(redis_client)) == [HOUR + 60 * 63]


def test_a_deleted_version_does_not_stop_the_others(version: ModelVersion, redis_client: redis.Redis) -> None:
    one = TrafficTally(clock=Clock())
    one.count_request(version.pk + 1, "success")
    one.count_request(version.pk, "success")
    one.flush(redis_client)
    assert roll_up_traffic() == 1
    assert [row.version for row in minutes()] == [version]


def test_counts_are_kept_while_redis_is_unavailable(version: ModelVersion, redis_client: redis.Redis) -> None:
    one = TrafficTally(clock=Clock())
    one.count_request(version.pk, "success")
    with pytest.raises(redis.RedisError):
        one.flush(redis.Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.2))
    one.flush(redis_client)
    roll_up_traffic()
    assert minutes()[0].success == 1


def test_a_second_run_at_the_same_time_does_nothing(version: ModelVersion, redis_client: redis.Redis) -> None:
    one = TrafficTally(clock=Clock())
    one.count_request(version.pk, "success")
    one.flush(redis_client)
    with redis_client.lock("mlmon:traffic:lock", timeout=5):
        assert roll_up_traffic() == 0
    assert roll_up_traffic() == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_a_forked_process_has_counts_of_its_own(redis_client: redis.Redis) -> None:
    serving().tally.count_request(1, "success")
    pid = os.fork()
    if pid == 0:
        serving().tally.count_request(1, "success")
        serving().tally.flush(client_of_process())
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    serving().tally.flush(redis_client)
    counts = [counts_of_minute(redis_client, minute)[1] for minute in changed_minutes(redis_client)]
    assert sum(one.success for one in counts) == 2


def test_many_classes_are_not_counted_by_class(version: ModelVersion, redis_client: redis.Redis) -> None:
    one = TrafficTally(clock=Clock())
    one.count_predictions(version.pk, class_counts=np.ones(traffic.MOST_CLASSES + 1, dtype=np.int64))
    one.flush(redis_client)
    roll_up_traffic()
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
    assert enforce_retention(seconds=10) == 2
    left = [(row.span_seconds, (now - row.begins_at).days) for row in TrafficRollup.objects.all()]
    assert sorted(left) == [(60, 1), (3600, 3), (3600, 399)]


@pytest.fixture
def own_tally() -> TrafficTally:
    """The tally of this process, which each test begins anew."""
    return serving().tally


def samples(**labels: str) -> dict[str, float]:
    """Return the counts of a model in `/metrics`: requests by status and predictions by class."""
    found: dict[str, float] = {}
    for family in REGISTRY.collect():
        for sample in family.samples:
            is_counted = sample.name in ("ml_prediction_requests_total", "ml_prediction_distribution_total")
            if is_counted and labels.items() <= sample.labels.items():
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
def test_the_outputs_of_a_regression_are_summed(
    client: Client, redis_client: redis.Redis, own_tally: TrafficTally
) -> None:
    uploaded_version("counted-sugar", onnx=diabetes_onnx(), features=None)
    rows = [[0.01] * 10, [0.05] * 10]
    response = client.post(
        "/api/v1/models/counted-sugar/predict", data=json.dumps({"rows": rows}), content_type="application/json"
    )
    predicted = [one["prediction"] for one in response.json()["predictions"]]
    own_tally.flush(redis_client)
    roll_up_traffic_task()
    assert minutes()[0].output_sum == pytest.approx(sum(predicted))


@pytest.mark.django_db(transaction=True)
def test_copies_for_a_shadow_count_as_predictions_but_not_as_requests(
    client: Client, redis_client: redis.Redis, own_tally: TrafficTally
) -> None:
    uploaded_version("counted-flowers")
    shadow = uploaded_version("counted-flowers", "1.1.0", onnx=iris_onnx(5), production=False)
    set_stage(version=shadow, stage=Stage.SHADOW)
    body = json.dumps({"features": [5.1, 3.5, 1.4, 0.2]})
    client.post("/api/v1/models/counted-flowers/predict", data=body, content_type="application/json")

    def is_counted() -> bool:
        own_tally.flush(redis_client)
        roll_up_traffic_task()
        return TrafficRollup.objects.filter(version=shadow).exists()

    await_condition(is_counted, "the shadow's prediction was not counted")
    row = TrafficRollup.objects.get(version=shadow, span_seconds=RollupSpan.MINUTE)
    assert (row.success, row.predictions, sum(row.latency_counts)) == (0, 1, 1)


@pytest.mark.django_db(transaction=True)
def test_a_web_process_writes_its_counts_regularly_and_when_it_ends(
    redis_client: redis.Redis, own_tally: TrafficTally
) -> None:
    version = uploaded_version("counted-flowers")
    serving().start()
    own_tally.count_request(version.pk, "success")
    await_condition(
        lambda: bool(changed_minutes(redis_client)), "the counts were not written", seconds=3 * TRAFFIC_SECONDS
    )
    roll_up_traffic_task()
    own_tally.count_request(version.pk, "success")
    stop_serving()
    roll_up_traffic_task()
    assert sum(row.success for row in minutes()) == 2


@pytest.mark.django_db(transaction=True)
def test_an_unexpected_error_does_not_end_the_writing_of_counts(
    monkeypatch: pytest.MonkeyPatch, own_tally: TrafficTally, caplog: pytest.LogCaptureFixture
) -> None:
    attempts: list[object] = []

    def fail(client: object) -> None:
        attempts.append(client)
        raise ValueError("a count that JSON cannot express")

    monkeypatch.setattr(own_tally, "flush", fail)
    monkeypatch.setattr("inference.serving.TRAFFIC_SECONDS", 0.01)
    serving().start()
    await_condition(lambda: len(attempts) >= 2, "the counts were not written again after an error")
    stop_serving()
    assert "A background task of the serving process failed; it is tried again." in caplog.messages
