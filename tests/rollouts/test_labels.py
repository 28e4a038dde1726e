"""Late labels count once, with the shares at the time of their prediction."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import redis

from inference.capture import CaptureQueue
from inference.services.archiving import archive_observations
from inference.services.prediction import predict_payload
from inference.serving import serving
from models_registry.models import ModelVersion
from performance.services.ground_truth import record_ground_truth
from rollouts.models import Rollout, RolloutInterval, State
from rollouts.plan import Guardrail, Measure, Step
from rollouts.services import lifecycle
from tests.factories import diabetes_onnx, uploaded_version
from tests.rollouts.rollout_cases import ROW, TESTER, controlled, running, two_versions

pytestmark = pytest.mark.django_db

WRONG = [Guardrail(Measure.WRONG_PREDICTIONS)]
STEPS = [
    Step(0.1, minimum_requests=1, minimum_seconds=0, minimum_labels=2),
    Step(0.5, minimum_requests=1000, minimum_labels=2),
]
RIGHT, OTHER = "setosa", "virginica"  # ROW is a setosa


@pytest.fixture
def rollout(redis_client: redis.Redis) -> Rollout:
    return running(*two_versions(), guardrails=WRONG, steps=STEPS)


@pytest.fixture
def send(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Send a request, led by chance; return the ids of its predictions."""

    def send(place: float = 0.99, *, rows: int = 1, **options: Any) -> list[str]:
        monkeypatch.setattr(random, "random", lambda: place)
        payload = {"rows": [ROW["features"]] * rows, **options.pop("payload", {})}
        ids = predict_payload(model_name="iris", payload=payload, **options).prediction_ids
        serving().capture_queue.flush()
        return ids

    return send


def label(prediction_ids: list[str], actual: object) -> list[str]:
    items = [{"prediction_id": one, "actual": actual} for one in prediction_ids]
    return [one.outcome.value for one in record_ground_truth(items=items)]


def totals(rollout: Rollout, measure: str = "wrong_predictions") -> list[tuple[int, ...]]:
    """Return the challenger's weight, then units and events of champion and challenger, by weight."""
    found: dict[int, list[int]] = {}
    for row in RolloutInterval.objects.filter(rollout=rollout, measure=measure):
        counts = found.setdefault(row.challenger_weight, [0, 0, 0, 0])
        for place, number in enumerate(
            (row.champion_units, row.challenger_units, row.champion_events, row.challenger_events)
        ):
            counts[place] += number
    return [(weight, *counts) for weight, counts in sorted(found.items())]


def test_labels_count_for_the_version_that_predicted(rollout: Rollout, send: Callable[..., list[str]]) -> None:
    label(send(0.1), RIGHT)
    label(send(0.1), OTHER)
    label(send(0.99), OTHER)
    controlled(rollout)
    controlled(rollout)  # labels are read again, and recognised
    assert totals(rollout) == [(100, 2, 1, 1, 1)]
    assert rollout.waiting_for == "labels of the challenger: 1 of 2"


def test_a_late_label_counts_with_the_share_of_its_prediction(rollout: Rollout, send: Callable[..., list[str]]) -> None:
    late = send(0.99)
    label(send(0.99) + send(0.99), RIGHT)
    assert controlled(rollout).step_index == 1
    label(send(0.99), OTHER)
    label(late, OTHER)
    controlled(rollout)
    assert totals(rollout) == [(100, 0, 3, 0, 1), (500, 0, 1, 0, 1)]


def test_a_label_that_waits_for_its_prediction_counts_when_it_is_joined(
    rollout: Rollout, send: Callable[..., list[str]], redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "random", lambda: 0.99)
    with monkeypatch.context() as patched:
        patched.setattr(CaptureQueue, "wake", lambda _: None)  # the prediction is not captured yet
        ids = predict_payload(model_name="iris", payload=ROW).prediction_ids
        assert label(ids, OTHER) == ["unknown"]
        controlled(rollout)
        assert totals(rollout) == []
    serving().capture_queue.flush()
    archive_observations(seconds=10)
    controlled(rollout)
    assert totals(rollout) == [(100, 0, 1, 0, 1)]


def test_a_correction_does_not_count(rollout: Rollout, send: Callable[..., list[str]]) -> None:
    first, second = send(0.99), send(0.99)
    label(first, OTHER)
    controlled(rollout)
    assert label(first, RIGHT) == ["corrected"]
    label(second, RIGHT)
    assert label(second, OTHER) == ["corrected"]  # before the controller has read the first label
    controlled(rollout)
    assert totals(rollout) == [(100, 0, 2, 0, 1)]


def test_wrong_rows_of_one_request_are_one_event(rollout: Rollout, send: Callable[..., list[str]]) -> None:
    ids = send(0.99, rows=10)
    label(ids[:1], OTHER)
    controlled(rollout)
    label(ids[1:], OTHER)
    label(send(0.99, rows=2), OTHER)
    controlled(rollout)
    assert totals(rollout) == [(100, 0, 12, 0, 2)]


def test_wrong_predictions_of_one_routing_key_are_one_event(
    redis_client: redis.Redis, send: Callable[..., list[str]]
) -> None:
    # The ids of the versions decide which of them a key gets: the step lasts whichever it is.
    rollout = running(*two_versions(), guardrails=WRONG, steps=[Step(0.1, minimum_requests=1000, minimum_labels=1)])
    for _ in range(3):
        for key in ("anna", "ben"):
            label(send(payload={"routing_key": key}), OTHER)
        controlled(rollout)
    ((_, champion, challenger, champion_events, challenger_events),) = totals(rollout)
    assert (champion + challenger, champion_events + challenger_events) == (6, 2)


def test_a_prediction_of_a_named_version_does_not_count(rollout: Rollout, send: Callable[..., list[str]]) -> None:
    label(send(version="1.1.0") + send(version="1.0.0"), OTHER)
    controlled(rollout)
    assert totals(rollout) == []


def test_predictions_before_the_rollout_and_of_an_earlier_one_do_not_count(
    redis_client: redis.Redis, send: Callable[..., list[str]]
) -> None:
    versions = two_versions()
    before = send(0.1)
    first = running(*versions, guardrails=WRONG, steps=STEPS)
    of_first = send(0.99)
    lifecycle.cancel_rollout(rollout=first, reason="", user=TESTER)
    second = running(*versions, guardrails=WRONG, steps=STEPS)
    label(before + of_first, OTHER)
    label(send(0.99), OTHER)
    controlled(second)
    assert totals(second) == [(100, 0, 1, 0, 1)]


def test_wrong_predictions_roll_back(rollout: Rollout, send: Callable[..., list[str]]) -> None:
    for _ in range(4):
        label(send(0.99), OTHER)
    # As for errors: with w = .1, four events of the challenger alone are evidence of 464, and the limit is 100.
    assert controlled(rollout).state == State.ROLLED_BACK
    assert rollout.incident.measure == "wrong_predictions"


def test_a_large_error_of_a_regression_is_an_event(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"f{number}" for number in range(10)]

    def version(name: str, *, production: bool) -> ModelVersion:
        return uploaded_version("sugar", name, onnx=diabetes_onnx(), features=names, production=production)

    rollout = running(
        version("1.0.0", production=True),
        version("2.0.0", production=False),
        guardrails=[Guardrail(Measure.ABSOLUTE_ERROR, 5.0)],
        steps=STEPS,
    )
    monkeypatch.setattr(random, "random", lambda: 0.99)
    for error in (4.9, -4.9, 5.1, -5.1):
        outcome = predict_payload(model_name="sugar", payload={"features": [0.0] * 10})
        serving().capture_queue.flush()
        assert label(outcome.prediction_ids, float(outcome.predictions.labels[0]) + error) == ["accepted"]
    controlled(rollout)
    assert totals(rollout, "absolute_error") == [(100, 0, 4, 0, 2)]
