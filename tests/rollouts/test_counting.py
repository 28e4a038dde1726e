"""Requests of a rollout are counted with the shares that routed them, each event once, through a real Redis."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis

from inference.exceptions import PayloadError
from inference.rollout_counts import RolloutTally, stream_key, unit_of_key
from inference.services.prediction import predict_payload
from inference.serving import Serving, serving
from inference.stream import ROUTING, read_window
from mlmon.exceptions import RowValueError
from models_registry.engine import Engine
from models_registry.exceptions import NonFinitePredictionError, PredictionFailedError
from models_registry.models import ModelVersion, Stage
from models_registry.services.versions import set_stage
from rollouts.models import CountedUnit, Rollout, RolloutInterval
from rollouts.plan import SMALLEST_ALPHA, Guardrail, Measure, Step
from rollouts.services import counting
from tests.rollouts.rollout_cases import ROW, controlled, flushed, planned, running, two_versions

pytestmark = pytest.mark.django_db

CHAMPION, CHALLENGER = 0.1, 0.99  # random numbers that lead to the champion and to a challenger with a tenth


@pytest.fixture
def versions(redis_client: redis.Redis) -> tuple[ModelVersion, ModelVersion]:
    return two_versions()


@pytest.fixture
def send(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Send a request that chance leads to the champion or to the challenger."""

    def send(place: float, **options: Any) -> Any:
        monkeypatch.setattr(random, "random", lambda: place)
        return predict_payload(model_name="iris", payload=options.pop("payload", ROW), **options)

    return send


def totals(rollout: Rollout, measure: str = "errors") -> dict[tuple[int, int], tuple[int, int, int, int]]:
    """Return units and events of champion and challenger by both weights."""
    found: dict[tuple[int, int], list[int]] = {}
    for row in RolloutInterval.objects.filter(rollout=rollout, measure=measure):
        counts = found.setdefault((row.champion_weight, row.challenger_weight), [0, 0, 0, 0])
        for place, name in enumerate(("champion_units", "challenger_units", "champion_events", "challenger_events")):
            counts[place] += getattr(row, name)
    return {weights: (a, b, c, d) for weights, (a, b, c, d) in found.items()}


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let every prediction fail."""

    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(Engine, "predict", fail)


def test_requests_count_for_the_version_that_the_shares_chose(versions: Any, send: Callable[..., Any]) -> None:
    rollout = running(*versions, steps=[Step(0.1, minimum_requests=100)])
    for place in (CHAMPION, CHAMPION, CHAMPION, CHALLENGER):
        send(place)
    controlled(rollout)
    assert totals(rollout) == {(900, 100): (3, 1, 0, 0)}


def test_a_request_that_names_its_version_says_nothing(versions: Any, send: Callable[..., Any]) -> None:
    rollout = running(*versions)
    assert send(CHAMPION, version="1.1.0").version.version == "1.1.0"
    controlled(rollout)
    assert totals(rollout) == {}


def test_a_refused_request_says_nothing(versions: Any, send: Callable[..., Any]) -> None:
    rollout = running(*versions)
    with pytest.raises(RowValueError):
        send(CHALLENGER, payload={"features": ["x", 1, 2, 3]})
    with pytest.raises(PayloadError):
        send(CHALLENGER, payload={})
    controlled(rollout)
    assert totals(rollout) == {}


def test_a_request_without_a_rollout_is_not_counted(
    versions: Any, send: Callable[..., Any], redis_client: redis.Redis
) -> None:
    rollout = planned(*versions)
    send(CHAMPION)
    flushed()
    assert not redis_client.exists(stream_key(rollout.pk))


@pytest.mark.parametrize("error", [PredictionFailedError("broken"), NonFinitePredictionError(0, "not finite")])
def test_a_failed_request_is_one_event_however_many_rows_it_has(
    error: Exception, versions: Any, send: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout = running(*versions)
    send(CHALLENGER)
    failing(monkeypatch, error)
    with pytest.raises((PredictionFailedError, RowValueError)):
        send(CHALLENGER, payload={"rows": [ROW["features"]] * 20})
    controlled(rollout)
    assert totals(rollout) == {(900, 100): (0, 2, 0, 1)}


def test_a_slow_request_is_an_event_of_the_latency_guardrail(
    versions: Any, send: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    guardrails = [Guardrail(Measure.ERRORS), Guardrail(Measure.LATENCY, 1e-9)]
    rollout = running(*versions, guardrails=guardrails, steps=[Step(0.1, minimum_requests=100)])
    send(CHAMPION)
    send(CHALLENGER)
    controlled(rollout)
    # Every prediction takes longer than a nanosecond.
    assert totals(rollout, "latency") == {(900, 100): (1, 1, 1, 1)}
    assert totals(rollout) == {(900, 100): (1, 1, 0, 0)}


def test_only_the_first_event_of_a_routing_key_counts(
    versions: Any, send: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The ids of the versions decide how many keys the challenger gets: it must not be rolled back if they are many.
    rollout = running(*versions, steps=[Step(0.1, minimum_requests=1000)], alpha=SMALLEST_ALPHA)
    failing(monkeypatch, PredictionFailedError("broken"))
    keys = [f"user-{number}" for number in range(40)]
    for _ in range(3):  # in one run of the controller, and in later ones
        for key in keys * 2:
            with pytest.raises(PredictionFailedError):
                send(CHAMPION, payload={**ROW, "routing_key": key})
        controlled(rollout)
    ((_, (champion, challenger, champion_events, challenger_events)),) = totals(rollout).items()
    assert champion + challenger == 240
    assert champion_events + challenger_events == 40
    assert challenger == 6 * challenger_events
    stored = CountedUnit.objects.filter(rollout=rollout, what="errors").values_list("digest", flat=True)
    assert set(stored) == {unit_of_key(key) for key in keys}


def test_keys_beyond_the_bound_do_not_count(
    versions: Any, send: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "MOST_KEYS", 10)
    rollout = running(*versions, steps=[Step(0.1, minimum_requests=1000)], alpha=SMALLEST_ALPHA)
    failing(monkeypatch, PredictionFailedError("broken"))
    for first in (0, 10, 20):
        for number in range(first, first + 10):
            with pytest.raises(PredictionFailedError):
                send(CHAMPION, payload={**ROW, "routing_key": f"user-{number}"})
        controlled(rollout)
    ((*_, champion_events, challenger_events),) = totals(rollout).values()
    assert champion_events + challenger_events == 10
    assert CountedUnit.objects.filter(rollout=rollout).count() == 10


def test_a_request_counts_with_the_shares_of_its_snapshot(
    versions: Any, send: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    champion, challenger = versions
    rollout = running(champion, challenger, steps=[Step(0.1, minimum_requests=100)])
    send(CHALLENGER)
    set_stage(version=champion, stage=Stage.PRODUCTION, traffic_weight=300)
    with monkeypatch.context() as patched:
        patched.setattr(Serving, "refresh", lambda _: None)  # this process has not noticed yet
        send(CHALLENGER)
    send(CHALLENGER)
    controlled(rollout)
    assert totals(rollout) == {(900, 100): (0, 2, 0, 0), (300, 100): (0, 1, 0, 0)}


def test_a_third_version_says_nothing(versions: Any, send: Callable[..., Any]) -> None:
    from tests.factories import uploaded_version

    rollout = running(*versions)
    third = uploaded_version("iris", "1.2.0", production=False)
    set_stage(version=third, stage=Stage.PRODUCTION, traffic_weight=1000)
    assert send(0.9).version.version == "1.2.0"
    assert send(0.01).version.version == "1.0.0"
    controlled(rollout)
    assert totals(rollout) == {(900, 100): (1, 0, 0, 0)}


def test_an_append_whose_reply_was_lost_counts_once(
    versions: Any, send: Callable[..., Any], redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout = running(*versions)
    send(CHALLENGER)
    run = redis.commands.core.Script.__call__

    def lose_reply(script: Any, *arguments: Any, **options: Any) -> Any:
        run(script, *arguments, **options)
        raise redis.ConnectionError("the reply was lost")

    with monkeypatch.context() as patched:
        patched.setattr(redis.commands.core.Script, "__call__", lose_reply)
        with pytest.raises(redis.ConnectionError):
            flushed()
    send(CHALLENGER)
    flushed()
    assert redis_client.xlen(stream_key(rollout.pk)) == 2
    controlled(rollout)
    assert totals(rollout) == {(900, 100): (0, 2, 0, 0)}


def test_counts_wait_for_redis(versions: Any, send: Callable[..., Any], redis_client: redis.Redis) -> None:
    rollout = running(*versions, steps=[Step(0.1, minimum_requests=1000)])
    unavailable = redis.Redis(port=1)
    for _ in range(3):
        send(CHALLENGER)
        with pytest.raises(redis.RedisError):
            serving().rollouts.flush(unavailable)
    controlled(rollout)
    assert totals(rollout) == {(900, 100): (0, 3, 0, 0)}


def test_counts_of_several_processes_add_up(versions: Any, send: Callable[..., Any], redis_client: redis.Redis) -> None:
    rollout = running(*versions, steps=[Step(0.1, minimum_requests=1000)])
    tallies = [RolloutTally(), RolloutTally()]
    served = serving().snapshot().models["iris"].rollout
    assert served is not None
    for tally in tallies:
        for key in ("anna", None):
            request = served.routed(rollout.challenger_id, key)
            assert request is not None
            tally.count(request, is_error=True, latency_seconds=0.0)
        tally.flush(redis_client)
    controlled(rollout)
    # The two errors without a key are two events, those of one key in two processes are one.
    assert totals(rollout) == {(900, 100): (0, 4, 0, 3)}


def test_events_are_stored_in_the_interval_of_their_time(
    versions: Any, send: Callable[..., Any], redis_client: redis.Redis
) -> None:
    rollout = running(*versions, steps=[Step(0.1, minimum_requests=1000)])
    served = serving().snapshot().models["iris"].rollout
    assert served is not None
    assert rollout.started_at is not None
    for minute in (0, 0, 1):
        at = (rollout.started_at + timedelta(minutes=minute, seconds=5)).timestamp()
        tally = RolloutTally(clock=lambda at=at: at)  # type: ignore[misc]
        request = served.routed(rollout.champion_id, None)
        assert request is not None
        tally.count(request, is_error=False, latency_seconds=0.0)
        tally.flush(redis_client)
    controlled(rollout)
    rows = RolloutInterval.objects.filter(rollout=rollout).order_by("started_at")
    assert [(row.started_at, row.champion_units) for row in rows] == [
        (rollout.started_at, 2),
        (rollout.started_at + timedelta(minutes=1), 1),
    ]


def test_a_rollout_does_not_shorten_the_window_of_drift_checks(
    versions: Any, send: Callable[..., Any], redis_client: redis.Redis
) -> None:
    champion, challenger = versions
    send(CHAMPION)
    serving().capture_queue.flush()
    running(champion, challenger)
    send(CHAMPION)
    send(CHAMPION, version="1.0.0")
    serving().capture_queue.flush()
    window = read_window(redis_client, champion.pk, 100)
    assert window.table.num_rows == 3
    assert ROUTING not in window.table.column_names
