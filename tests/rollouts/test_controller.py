"""The controller: advance, wait, pause, roll back; with a real PostgreSQL and Redis."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.conf import settings

from accounts.models import ChangeRecord
from accounts.selectors import current_generation
from inference.exceptions import NoVersionLoadedError
from inference.services.prediction import predict_payload
from inference.serving import serving
from models_registry.engine import Engine
from models_registry.exceptions import ConflictError, PredictionFailedError
from models_registry.models import ModelVersion, Stage
from models_registry.services.versions import set_stage
from rollouts.exceptions import PlanError, RolloutStateError
from rollouts.models import Rollout, RolloutIncident, State
from rollouts.plan import Guardrail, Kind, Measure, Step
from rollouts.services import controller, lifecycle
from rollouts.services.controller import control_rollout, control_rollouts
from rollouts.services.lifecycle import start_rollout
from tests.factories import diabetes_onnx, uploaded_version, version_served_elsewhere
from tests.rollouts.rollout_cases import ROW, TESTER, aged, controlled, flushed, planned, running, two_versions

pytestmark = pytest.mark.django_db


@pytest.fixture
def versions(redis_client: redis.Redis) -> tuple[ModelVersion, ModelVersion]:
    return two_versions()


@pytest.fixture
def send(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Send a request that chance leads to the champion (a small number) or to the challenger (one near 1)."""

    def send(place: float) -> None:
        monkeypatch.setattr(random, "random", lambda: place)
        predict_payload(model_name="iris", payload=ROW)

    return send


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The ids of the versions whose predictions fail."""
    ids: set[int] = set()
    predict = Engine.predict

    def fail_or_predict(engine: Engine, columns: Any) -> Any:
        loaded = serving().snapshot().models["iris"].versions.values()
        if any(one.id in ids and one._engine is engine for one in loaded):
            raise PredictionFailedError("broken")
        return predict(engine, columns)

    monkeypatch.setattr(Engine, "predict", fail_or_predict)
    return ids


def traffic(*versions: ModelVersion) -> list[tuple[str, int]]:
    for version in versions:
        version.refresh_from_db()
    return [(version.stage, version.traffic_weight) for version in versions]


def messages(rollout: Rollout) -> list[str]:
    rows = ChangeRecord.objects.filter(row_type="rollouts.rollout", row_id=str(rollout.pk)).order_by("id")
    return list(rows.values_list("message", flat=True))


def test_a_challenger_passes_its_steps(versions: Any, send: Callable[[float], None]) -> None:
    rollout = start_rollout(rollout=planned(*versions), user=TESTER)
    assert traffic(*versions) == [("production", 100), ("staging", 0)]
    controlled(rollout)
    assert traffic(*versions) == [("production", 900), ("production", 100)]
    assert (rollout.step_index, rollout.is_live) == (0, True)
    send(0.99)
    controlled(rollout)
    assert traffic(*versions) == [("production", 500), ("production", 500)]
    assert rollout.step_index == 1
    send(0.99)
    controlled(rollout)
    assert (rollout.state, rollout.waiting_for) == (State.SUCCEEDED, "")
    assert traffic(*versions) == [("production", 500), ("production", 500)]  # a person promotes
    assert messages(rollout) == [
        "Planned: iris 1.1.0 against iris 1.0.0.",
        "Started.",
        "The challenger gets 10.0% of the traffic.",
        "The share grows to 50.0%.",
        "All steps are over and no guardrail has found the challenger worse. It keeps its share until a person "
        "promotes it.",
    ]
    lifecycle.promote_rollout(rollout=rollout, user=TESTER)
    assert traffic(*versions) == [("staging", 0), ("production", 100)]
    with pytest.raises(RolloutStateError, match="promoted already"):
        lifecycle.promote_rollout(rollout=rollout, user=TESTER)


def test_a_plan_may_promote_automatically(versions: Any, send: Callable[[float], None]) -> None:
    step = Step(0.5, minimum_requests=1, minimum_seconds=0)
    rollout = running(*versions, steps=[step], promotes_automatically=True)
    send(0.9)
    assert controlled(rollout).state == State.SUCCEEDED
    assert traffic(*versions) == [("staging", 0), ("production", 100)]
    assert rollout.reason.endswith("It was promoted.")


def test_serving_follows_a_transition_at_once(versions: Any) -> None:
    before = current_generation()
    rollout = running(*versions)
    assert current_generation() > before
    served = serving().snapshot().models["iris"].rollout
    assert served is not None
    assert (served.champion_weight, served.challenger_weight) == (900, 100)
    lifecycle.roll_back_rollout(rollout=rollout, reason="", user=TESTER)
    assert serving().snapshot().models["iris"].rollout is None
    assert [one.version for one in serving().snapshot().models["iris"].production] == ["1.0.0"]


def test_a_step_waits_and_says_for_what(versions: Any, send: Callable[[float], None]) -> None:
    rollout = running(*versions, steps=[Step(0.1, minimum_requests=2, minimum_seconds=600)])
    send(0.99)
    assert controlled(rollout).waiting_for == "requests of the challenger: 1 of 2; time: 600 of 600 seconds"
    send(0.99)
    aged(rollout, timedelta(seconds=500))
    assert controlled(rollout).waiting_for == "time: 100 of 600 seconds"
    aged(rollout, timedelta(seconds=101))
    assert controlled(rollout).state == State.SUCCEEDED


def test_a_worse_challenger_is_rolled_back_with_its_evidence(
    versions: Any, send: Callable[[float], None], failures: set[int]
) -> None:
    champion, challenger = versions
    rollout = running(champion, challenger, steps=[Step(0.1, minimum_requests=1000)])
    for _ in range(20):
        send(0.1)
    failures.add(challenger.pk)
    sent = 0
    while controlled(rollout).state == State.RUNNING:
        with pytest.raises(PredictionFailedError):
            send(0.99)
        sent += 1
    # All k events are the challenger's with w = .1: E = mean over theta of (theta / (1 + .1 (theta - 1)))^k. Summed by
    # hand, it is 78 for k = 3 and 464 for k = 4, and the limit is 100.
    assert sent == 4
    assert (rollout.state, rollout.is_live) == (State.ROLLED_BACK, False)
    assert traffic(champion, challenger) == [("production", 100), ("staging", 0)]
    incident = RolloutIncident.objects.get(rollout=rollout)
    assert (incident.measure, incident.champion_events, incident.challenger_events) == ("errors", 0, 4)
    assert (incident.champion_units, incident.challenger_units) == (20, 4)
    assert incident.log10_evidence > incident.log10_limit == 2.0
    assert rollout.reason == incident.text
    assert messages(rollout)[-1] == incident.text
    failures.clear()
    send(0.99)
    assert serving().snapshot().models["iris"].rollout is None


def test_equal_failures_are_no_evidence(versions: Any, send: Callable[[float], None], failures: set[int]) -> None:
    champion, challenger = versions
    rollout = running(champion, challenger, steps=[Step(0.1, minimum_requests=1000)])
    failures |= {champion.pk, challenger.pk}
    for number in range(200):
        with pytest.raises(PredictionFailedError):
            send(0.99 if number % 10 == 0 else 0.1)
    assert controlled(rollout).state == State.RUNNING
    assert dict(rollout.evidence)[Measure.ERRORS] < 0


def test_a_paused_rollout_keeps_its_share_and_its_guardrails(
    versions: Any, send: Callable[[float], None], failures: set[int]
) -> None:
    rollout = running(*versions)
    lifecycle.pause_rollout(rollout=rollout, reason="lunch", user=TESTER)
    send(0.99)
    assert controlled(rollout).state == State.PAUSED
    assert (rollout.step_index, rollout.reason) == (0, "lunch")
    assert traffic(*versions) == [("production", 900), ("production", 100)]
    failures.add(versions[1].pk)
    for _ in range(5):
        with pytest.raises(PredictionFailedError):
            send(0.99)
    assert controlled(rollout).state == State.ROLLED_BACK


@pytest.mark.parametrize("what", ["weight", "stage", "third"])
def test_traffic_that_was_changed_by_hand_pauses_the_rollout(
    what: str, versions: Any, send: Callable[[float], None]
) -> None:
    champion, challenger = versions
    rollout = running(champion, challenger)
    if what == "weight":
        set_stage(version=challenger, stage=Stage.PRODUCTION, traffic_weight=400)
    elif what == "stage":
        set_stage(version=challenger, stage=Stage.STAGING)
    else:
        third = uploaded_version("iris", "1.2.0", production=False)
        set_stage(version=third, stage=Stage.PRODUCTION, traffic_weight=1)
    before = traffic(champion, challenger)
    send(0.0)
    assert controlled(rollout).state == State.PAUSED
    named = {"weight": "1.1.0 is in production with weight 400", "stage": "1.1.0 is in staging", "third": "1.2.0"}
    assert rollout.reason.startswith("The traffic was changed by hand:")
    assert named[what] in rollout.reason
    assert traffic(champion, challenger) == before
    lifecycle.resume_rollout(rollout=rollout, user=TESTER)
    assert traffic(champion, challenger) == [("production", 900), ("production", 100)]
    assert controlled(rollout).state == (State.PAUSED if what == "third" else State.RUNNING)


def test_a_challenger_without_its_file_gets_no_traffic(versions: Any) -> None:
    path = versions[1].served_path()
    rollout = start_rollout(rollout=planned(*versions), user=TESTER)
    moved = path.with_suffix(".moved")
    path.rename(moved)
    assert "missing" in controlled(rollout).waiting_for
    assert not rollout.is_live
    path.write_bytes(b"this is no model")
    assert "cannot be loaded" in controlled(rollout).waiting_for
    assert traffic(*versions) == [("production", 100), ("staging", 0)]
    moved.replace(path)
    assert controlled(rollout).is_live
    assert rollout.waiting_for == ""


def test_a_challenger_that_loads_nowhere_counts_as_failing(versions: Any, send: Callable[[float], None]) -> None:
    rollout = running(*versions)
    loaded = serving().snapshot().models["iris"].versions["1.1.0"]
    loaded._engine, loaded._artefact_path = None, settings.VAR_DIR / "nothing"
    for _ in range(5):
        with pytest.raises(NoVersionLoadedError):
            send(0.99)
    assert controlled(rollout).state == State.ROLLED_BACK


def test_while_redis_is_unavailable_stored_counts_are_judged_and_nothing_advances(
    versions: Any, send: Callable[[float], None], failures: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout = running(*versions)
    send(0.99)
    flushed()
    with monkeypatch.context() as patched:
        patched.setattr(controller, "redis_client", lambda: redis.Redis(port=1))
        control_rollouts()
    rollout.refresh_from_db()
    assert (rollout.step_index, rollout.waiting_for) == (0, controller.NO_COUNTS)
    assert controlled(rollout).step_index == 1


@pytest.mark.parametrize("state", [State.RUNNING, State.PAUSED])
def test_a_version_of_an_active_rollout_is_not_archived(state: State, versions: Any) -> None:
    champion, challenger = versions
    rollout = running(champion, challenger)
    if state == State.PAUSED:
        lifecycle.pause_rollout(rollout=rollout, reason="", user=TESTER)
    for version in versions:
        with pytest.raises(ConflictError, match=f"belongs to rollout {rollout.pk}, which is {state.value}"):
            set_stage(version=version, stage=Stage.ARCHIVED)
    lifecycle.cancel_rollout(rollout=rollout, reason="", user=TESTER)
    set_stage(version=challenger, stage=Stage.ARCHIVED)
    assert traffic(*versions) == [("production", 100), ("archived", 0)]


def test_a_version_that_is_archived_meanwhile_does_not_start(versions: Any) -> None:
    draft = planned(*versions)
    set_stage(version=versions[1], stage=Stage.ARCHIVED)
    with pytest.raises(PlanError, match="archived"):
        start_rollout(rollout=draft, user=TESTER)


def test_versions_that_cannot_be_compared_are_refused(versions: Any, redis_client: redis.Redis) -> None:
    champion, _ = versions
    names = [f"f{number}" for number in range(10)]
    uploaded_version("iris", "2.0.0", onnx=diabetes_onnx(), features=names, production=False)
    version_served_elsewhere("iris", "3.0.0", production=False)
    uploaded_version("iris", "4.0.0", features=("a", "b", "c", "d"), production=False)
    for version, reason in (
        ("1.0.0", "is the champion"),
        ("2.0.0", "another task"),
        ("3.0.0", "served elsewhere"),
        ("4.0.0", "other features"),
    ):
        row = ModelVersion.objects.get(model=champion.model, version=version)
        with pytest.raises(PlanError, match=reason) as caught:
            planned(champion, row)
        assert caught.value.field == "challenger"


def test_one_rollout_at_a_time(versions: Any) -> None:
    first, second = planned(*versions), planned(*versions)
    start_rollout(rollout=first, user=TESTER)
    with pytest.raises(RolloutStateError, match="Another rollout of iris is active"):
        start_rollout(rollout=second, user=TESTER)
    lifecycle.cancel_rollout(rollout=first, reason="", user=TESTER)
    start_rollout(rollout=second, user=TESTER)


def test_only_possible_transitions_are_made(versions: Any) -> None:
    draft = planned(*versions)
    attempts: list[Callable[[], Rollout]] = [
        lambda: lifecycle.pause_rollout(rollout=draft, reason="", user=TESTER),
        lambda: lifecycle.resume_rollout(rollout=draft, user=TESTER),
        lambda: lifecycle.roll_back_rollout(rollout=draft, reason="", user=TESTER),
        lambda: lifecycle.promote_rollout(rollout=draft, user=TESTER),
    ]
    for attempt in attempts:
        with pytest.raises(RolloutStateError, match=f"Rollout {draft.pk} is draft"):
            attempt()
    lifecycle.cancel_rollout(rollout=draft, reason="not needed", user=TESTER)
    with pytest.raises(RolloutStateError, match="is cancelled"):
        start_rollout(rollout=draft, user=TESTER)
    draft.refresh_from_db()
    assert (draft.state, draft.reason) == (State.CANCELLED, "not needed")
    assert traffic(*versions) == [("production", 100), ("staging", 0)]


def test_people_roll_back_and_promote_before_the_end(versions: Any) -> None:
    rollout = running(*versions)
    lifecycle.roll_back_rollout(rollout=rollout, reason="it feels wrong", user=TESTER)
    assert traffic(*versions) == [("production", 100), ("staging", 0)]
    assert not RolloutIncident.objects.exists()
    second = running(*versions)
    lifecycle.promote_rollout(rollout=second, user=TESTER)
    second.refresh_from_db()
    assert second.state == State.SUCCEEDED
    assert traffic(*versions) == [("staging", 0), ("production", 100)]
    control_rollout(rollout_id=second.pk)  # a run that began before changes nothing
    assert traffic(*versions) == [("staging", 0), ("production", 100)]


def test_an_incident_closes_when_a_person_acknowledges_it_or_the_next_rollout_starts(
    versions: Any, send: Callable[[float], None], failures: set[int]
) -> None:
    def rolled_back() -> RolloutIncident:
        rollout = running(*versions)
        failures.add(versions[1].pk)
        for _ in range(5):
            with pytest.raises(PredictionFailedError):
                send(0.99)
        controlled(rollout)
        failures.clear()
        return RolloutIncident.objects.get(rollout=rollout)

    first = rolled_back()
    assert first.closed_at is None
    lifecycle.acknowledge_rollback(rollout=first.rollout, user=TESTER)
    first.refresh_from_db()
    assert first.closed_at is not None
    second = rolled_back()
    assert second.closed_at is None
    start_rollout(rollout=planned(*versions), user=TESTER)
    second.refresh_from_db()
    assert second.closed_at is not None


def test_one_failing_rollout_does_not_stop_the_others(versions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from rollouts.exceptions import ControllerError

    champion, challenger = two_versions("other")
    first = start_rollout(rollout=planned(*versions), user=TESTER)
    second = start_rollout(rollout=planned(champion, challenger), user=TESTER)
    control = controller.control_rollout

    def fail_first(*, rollout_id: int) -> None:
        if rollout_id == first.pk:
            raise redis.ConnectionError("no network")
        control(rollout_id=rollout_id)

    monkeypatch.setattr(controller, "control_rollout", fail_first)
    with pytest.raises(ControllerError, match=f"rollout {first.pk}: ConnectionError: no network"):
        control_rollouts()
    second.refresh_from_db()
    assert second.is_live


def test_the_kind_of_a_guardrail_does_not_fit_every_task(versions: Any) -> None:
    with pytest.raises(PlanError, match="absolute"):
        planned(*versions, kind=Kind.CANARY, guardrails=[Guardrail(Measure.ABSOLUTE_ERROR, 1.0)])
