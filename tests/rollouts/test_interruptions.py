"""Whatever interrupts the controller, nothing counts twice, and no state is skipped or reached twice."""

import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import DatabaseError, connection

from accounts.models import ChangeRecord
from inference.services.prediction import predict_payload
from models_registry.models import ModelVersion
from performance.services.ground_truth import record_ground_truth
from rollouts.models import Rollout, RolloutIncident, RolloutInterval, State
from rollouts.plan import Guardrail, Measure, Step
from rollouts.services.controller import control_rollout
from rollouts.services.lifecycle import start_rollout
from tests.conftest import environment_of_tests
from tests.rollouts.rollout_cases import ROW, TESTER, flushed, planned, running, two_versions

BOTH = [Guardrail(Measure.ERRORS), Guardrail(Measure.WRONG_PREDICTIONS)]
STEPS = [Step(share, minimum_requests=3, minimum_seconds=0, minimum_labels=2) for share in (0.1, 0.5)]


class KilledError(Exception):
    """Stands for the end of a worker."""


@contextmanager
def failing_at(number: int, *, commands: bool) -> Iterator[list[int]]:
    """Let statement `number` of the database fail, or command `number` of Redis; yield the count so far."""
    seen = [0]

    def count() -> None:
        seen[0] += 1
        if seen[0] == number:
            raise KilledError

    def statement(execute: Callable[..., Any], *arguments: Any) -> Any:
        count()
        return execute(*arguments)

    execute_command: Any = redis.Redis.execute_command

    def command(client: Any, *arguments: Any, **options: Any) -> Any:
        count()
        return execute_command(client, *arguments, **options)

    if commands:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(redis.Redis, "execute_command", command)
            yield seen
    else:
        with connection.execute_wrapper(statement):
            yield seen


def send_requests(requests: int = 4) -> None:
    """Send requests that chance leads to the challenger, each with a wrong label."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(random, "random", lambda: 0.99)
        ids = [predict_payload(model_name="iris", payload=ROW).prediction_ids[0] for _ in range(requests)]
    from inference.serving import serving

    flushed()
    serving().capture_queue.flush()
    record_ground_truth(items=[{"prediction_id": one, "actual": "setosa"} for one in ids])


def run_until_undisturbed(rollout: Rollout, *, commands: bool) -> int:
    """Run the controller, failing at one place after the other, until a run reaches its end; return the failures."""
    failures = 0
    while True:
        with failing_at(failures + 1, commands=commands) as seen:
            try:
                control_rollout(rollout_id=rollout.pk)
            except KilledError:
                failures += 1
                continue
        assert seen[0] <= failures
        return failures


def totals(rollout: Rollout) -> dict[str, tuple[int, int]]:
    """Return the challenger's units and events by measure."""
    found: dict[str, tuple[int, int]] = {}
    for row in RolloutInterval.objects.filter(rollout=rollout):
        units, events = found.get(row.measure, (0, 0))
        found[row.measure] = (units + row.challenger_units, events + row.challenger_events)
    return found


def audit(rollout: Rollout) -> list[str]:
    """Return the state after each transition."""
    rows = ChangeRecord.objects.filter(row_type="rollouts.rollout", row_id=str(rollout.pk)).order_by("id")
    return [after for changes in rows.values_list("changes", flat=True) for _, _, after in changes]


def stages(versions: tuple[ModelVersion, ModelVersion]) -> list[tuple[str, int]]:
    for version in versions:
        version.refresh_from_db()
    return [(version.stage, version.traffic_weight) for version in versions]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("commands", [False, True])
def test_a_controller_that_fails_at_every_statement_in_turn_does_everything_once(
    commands: bool, redis_client: redis.Redis
) -> None:
    versions = two_versions()
    rollout = start_rollout(rollout=planned(*versions, guardrails=BOTH, steps=STEPS), user=TESTER)
    failures = run_until_undisturbed(rollout, commands=commands)
    assert stages(versions) == [("production", 900), ("production", 100)]
    for step in (1, 2):
        send_requests()
        failures += run_until_undisturbed(rollout, commands=commands)
        assert totals(rollout) == {"errors": (4 * step, 0), "wrong_predictions": (4 * step, 0)}
    assert failures >= (5 if commands else 60)
    rollout.refresh_from_db()
    assert rollout.state == State.SUCCEEDED
    assert audit(rollout) == [
        "running, step 1",
        "running, step 1",
        "running, step 2",
        "succeeded, step 2",
    ]
    assert stages(versions) == [("production", 500), ("production", 500)]


@pytest.mark.django_db(transaction=True)
def test_a_rollback_that_fails_at_every_statement_in_turn_is_made_once(redis_client: redis.Redis) -> None:
    versions = two_versions()
    rollout = running(
        *versions, guardrails=[Guardrail(Measure.LATENCY, 1e-9)], steps=[Step(0.1, minimum_requests=1000)]
    )
    send_requests(6)
    assert run_until_undisturbed(rollout, commands=False) > 20
    rollout.refresh_from_db()
    assert (rollout.state, stages(versions)) == (State.ROLLED_BACK, [("production", 100), ("staging", 0)])
    assert audit(rollout) == ["running, step 1", "running, step 1", "rolled_back, step 1"]
    assert RolloutIncident.objects.filter(rollout=rollout).count() == 1


@pytest.mark.django_db(transaction=True)
def test_controllers_at_the_same_time_do_everything_once(redis_client: redis.Redis) -> None:
    versions = two_versions()
    rollout = start_rollout(rollout=planned(*versions, guardrails=BOTH, steps=STEPS), user=TESTER)
    barrier = threading.Barrier(4)

    def control() -> None:
        try:
            for _ in range(3):
                barrier.wait(timeout=30)
                control_rollout(rollout_id=rollout.pk)
        finally:
            connection.close()

    for _ in range(3):
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(control) for _ in range(4)]:
                done.result()
        rollout.refresh_from_db()
        if rollout.state == State.RUNNING:
            send_requests()
    assert totals(rollout) == {"errors": (8, 0), "wrong_predictions": (8, 0)}
    assert audit(rollout) == ["running, step 1", "running, step 1", "running, step 2", "succeeded, step 2"]


@pytest.mark.django_db(transaction=True)
def test_an_unavailable_database_changes_nothing(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = two_versions()
    rollout = running(*versions, steps=[Step(0.1, minimum_requests=1, minimum_seconds=0)])
    send_requests(1)

    def refuse(execute: Callable[..., Any], *arguments: Any) -> Any:
        raise DatabaseError("no connection")

    with connection.execute_wrapper(refuse), pytest.raises(DatabaseError):
        control_rollout(rollout_id=rollout.pk)
    assert stages(versions) == [("production", 900), ("production", 100)]
    control_rollout(rollout_id=rollout.pk)
    rollout.refresh_from_db()
    assert rollout.state == State.SUCCEEDED


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(600)
def test_a_controller_that_is_killed_at_every_line_in_turn_does_everything_once(redis_client: redis.Redis) -> None:
    versions = two_versions()
    rollout = start_rollout(rollout=planned(*versions, guardrails=BOTH, steps=STEPS), user=TESTER)
    killed: list[str] = []
    for step in (0, 1, 2):
        if step:
            send_requests()
        program = [sys.executable, "-m", "tests.rollouts.killed_controller", str(rollout.pk)]
        ended = subprocess.run(
            program, cwd=settings.BASE_DIR, env=environment_of_tests(), capture_output=True, text=True, timeout=500
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        killed += json.loads(ended.stdout.splitlines()[-1])
        assert totals(rollout) == ({"errors": (4 * step, 0), "wrong_predictions": (4 * step, 0)} if step else {})
    assert {one.partition(":")[0] for one in killed} == {
        "controller.py",
        "counting.py",
        "labels.py",
        "traffic.py",
        "transitions.py",
    }
    assert len(killed) > 100
    rollout.refresh_from_db()
    assert rollout.state == State.SUCCEEDED
    assert audit(rollout) == ["running, step 1", "running, step 1", "running, step 2", "succeeded, step 2"]
    assert stages(versions) == [("production", 500), ("production", 500)]
