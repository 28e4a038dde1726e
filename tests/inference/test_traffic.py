"""Traffic on its way from web processes to the database, with a real Redis and PostgreSQL."""

from datetime import UTC, datetime

import pytest
import redis
from prometheus_client import CollectorRegistry, Histogram

from inference.metrics import PREDICTION_LATENCY
from inference.models import TrafficRollup
from inference.redis_client import redis_client as client_of_process
from inference.services.traffic import roll_up_traffic
from inference.traffic import LATENCY_EDGES, TrafficTally, changed_minutes
from models_registry.models import Model, ModelVersion

MINUTE = 1_800_000_000
LATENCIES = [0.0001, 0.0005, 0.0006, 0.01, 0.3, 5.0, 7.5]


class Clock:
    def __init__(self) -> None:
        self.seconds = float(MINUTE)

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def version(db: None) -> ModelVersion:
    return ModelVersion.objects.create(
        model=Model.objects.create(name="counted"), version="1.0.0", artefact_bytes=1, task_type="regression"
    )


def tally(clock: Clock) -> TrafficTally:
    return TrafficTally(client_of_process, clock=clock)


def test_the_edges_are_those_of_the_metric() -> None:
    assert tuple(PREDICTION_LATENCY._kwargs["buckets"]) == LATENCY_EDGES


def test_counts_of_processes_are_summed_as_prometheus_does(version: ModelVersion, redis_client: redis.Redis) -> None:
    oracle = Histogram("seconds", "Oracle.", buckets=LATENCY_EDGES, registry=(registry := CollectorRegistry()))
    clock = Clock()
    tallies = [tally(clock), tally(clock)]
    for place, latency in enumerate(LATENCIES):
        tallies[place % 2].count_outcome(version.pk, "success")
        tallies[place % 2].count_latency(version.pk, latency)
        oracle.observe(latency)
    tallies[0].count_outcome(version.pk, "error")
    tallies[1].count_outcome(version.pk, "rejected")
    for one in tallies:
        one.flush()
    assert roll_up_traffic(client=redis_client) == 1
    row = TrafficRollup.objects.get()
    edges = ["+Inf" if edge is None else str(edge) for edge in [*LATENCY_EDGES, None]]
    cumulative = [registry.get_sample_value("seconds_bucket", {"le": edge}) for edge in edges]
    assert [sum(row.latency_counts[: end + 1]) for end in range(len(edges))] == cumulative
    assert row.latency_seconds == pytest.approx(registry.get_sample_value("seconds_sum"))
    assert (row.success, row.error, row.rejected) == (len(LATENCIES), 1, 1)
    assert row.begins_at == datetime.fromtimestamp(MINUTE, UTC)


def test_what_is_flushed_and_rolled_up_twice_counts_once(version: ModelVersion, redis_client: redis.Redis) -> None:
    one = tally(Clock())
    one.count_outcome(version.pk, "success")
    for _ in range(2):
        one.flush()
        roll_up_traffic(client=redis_client)
    one.count_outcome(version.pk, "success")
    one.flush()
    roll_up_traffic(client=redis_client)
    assert TrafficRollup.objects.get().success == 2
    assert changed_minutes(redis_client) == {}


def test_each_minute_has_its_row_and_a_finished_one_is_not_sent_again(
    version: ModelVersion, redis_client: redis.Redis
) -> None:
    clock = Clock()
    one = tally(clock)
    one.count_outcome(version.pk, "success")
    clock.seconds += 60
    one.count_outcome(version.pk, "error")
    one.flush()
    roll_up_traffic(client=redis_client)
    assert list(TrafficRollup.objects.values_list("success", "error")) == [(1, 0), (0, 1)]
    one.flush()
    assert list(changed_minutes(redis_client)) == [MINUTE + 60]


def test_a_version_that_was_deleted_does_not_stop_the_others(version: ModelVersion, redis_client: redis.Redis) -> None:
    one = tally(Clock())
    one.count_outcome(version.pk + 1, "success")
    one.count_outcome(version.pk, "success")
    one.flush()
    assert roll_up_traffic(client=redis_client) == 1
    assert TrafficRollup.objects.get().version == version


def test_what_redis_did_not_take_is_sent_later(version: ModelVersion, redis_client: redis.Redis) -> None:
    away = redis.Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.2)
    clients = [away, redis_client]
    one = TrafficTally(lambda: clients.pop(0), clock=Clock())
    one.count_outcome(version.pk, "success")
    with pytest.raises(redis.RedisError):
        one.flush()
    one.flush()
    roll_up_traffic(client=redis_client)
    assert TrafficRollup.objects.get().success == 1
