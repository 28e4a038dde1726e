"""Rollouts on real web processes and a real worker, which are killed with -9."""

import contextlib
import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
import redis

from accounts.models import ChangeRecord
from rollouts.models import Rollout, RolloutInterval, State
from rollouts.plan import Step
from rollouts.services.lifecycle import start_rollout
from rollouts.tasks import control_rollouts
from tests.factories import uploaded_version
from tests.rollouts.callers import Callers, Row
from tests.rollouts.rollout_cases import TESTER, planned
from tests.services.processes import ServiceError, await_condition
from tests.services.web_server import WebServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

FLOWER = [5.1, 3.5, 1.4, 0.2]
CALLING_THREADS = 3
KILLS = 20
SETTLED_SECONDS = 8  # granian gives up if a process ends soon after its start
CHANCE = random.Random()  # noqa: S311 -- different rows and moments in each run


def children(process: subprocess.Popen[bytes]) -> list[int]:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


def kill_one(process: subprocess.Popen[bytes]) -> None:
    if pids := children(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(CHANCE.choice(pids), signal.SIGKILL)


def ended(rollout: Rollout, *, seconds: float) -> Rollout:
    """Start the controller every half second until a rollout has ended."""

    def has_ended() -> bool:
        control_rollouts.apply_async(expires=5)
        rollout.refresh_from_db()
        return rollout.state not in (State.RUNNING, State.PAUSED)

    try:
        await_condition(has_ended, "the rollout has not ended", seconds=seconds, pause=0.5)
    except ServiceError as error:
        error.add_note(f"{rollout.state}, step {rollout.step_index + 1}: {rollout.reason} {rollout.waiting_for}")
        raise
    return rollout


def audit(rollout: Rollout) -> list[str]:
    rows = ChangeRecord.objects.filter(row_type="rollouts.rollout", row_id=str(rollout.pk)).order_by("id")
    return [after for changes in rows.values_list("changes", flat=True) for _, _, after in changes]


def test_killed_processes_skip_and_double_nothing(
    web_server: WebServer, celery_worker_process: subprocess.Popen[bytes], redis_client: redis.Redis
) -> None:
    champion, challenger = uploaded_version("iris"), uploaded_version("iris", "1.1.0", production=False)
    shares = (0.1, 0.2, 0.3, 0.4, 0.5)
    steps = [Step(share, minimum_requests=20, minimum_seconds=6) for share in shares]
    draft = planned(champion, challenger, steps=steps, promotes_automatically=True)
    rollout = start_rollout(rollout=draft, user=TESTER)
    callers, stopping = Callers(web_server, lambda: Row(FLOWER), threads=CALLING_THREADS), threading.Event()
    kills = 0

    def kill() -> None:
        nonlocal kills
        web_from = time.monotonic() + SETTLED_SECONDS
        while kills < KILLS and not stopping.wait(CHANCE.uniform(0.3, 2.5)):
            is_web = time.monotonic() > web_from
            kill_one(web_server.process if is_web else celery_worker_process)
            web_from = time.monotonic() + SETTLED_SECONDS if is_web else web_from
            kills += 1

    killer = threading.Thread(target=kill)
    with callers.calling():
        killer.start()
        try:
            ended(rollout, seconds=150)
        finally:
            stopping.set()
            killer.join()
        finished = time.monotonic()
        time.sleep(6)
    assert kills == KILLS
    assert rollout.state == State.SUCCEEDED
    steps_reached = [f"running, step {place}" for place in range(1, 6)]
    assert audit(rollout) == ["running, step 1", *steps_reached, "succeeded, step 5"]
    counted = sum(row.champion_units + row.challenger_units for row in RolloutInterval.objects.filter(rollout=rollout))
    predicted = sum(answer in ("1.0.0", "1.1.0") for _, answer in callers.responses)
    # Never more than the clients received, but for requests whose responses were lost with the connection.
    assert 0 < counted <= predicted + kills * CALLING_THREADS
    later = [answer for sent, answer in callers.responses if sent > finished + 4]
    assert len(later) > 5
    assert set(later) == {"1.1.0"}
