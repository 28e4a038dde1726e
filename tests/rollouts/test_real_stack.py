"""Rollouts on real web processes and a real worker, which are killed with -9."""

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import redis
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from accounts.models import ChangeRecord
from rollouts.models import Rollout, RolloutIncident, RolloutInterval, State
from rollouts.plan import Step
from rollouts.services.lifecycle import start_rollout
from rollouts.tasks import control_rollouts
from tests.factories import iris_onnx, uploaded_version
from tests.rollouts.rollout_cases import TESTER, planned
from tests.services.processes import ServiceError, await_condition
from tests.services.web_server import WebServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

FLOWER = [5.1, 3.5, 1.4, 0.2]
LARGE = [2000.0, 3.5, 1.4, 0.2]
THREADS = 3
KILLS = 20
SETTLED_SECONDS = 8  # granian gives up if a process ends soon after its start
CHANCE = random.Random()  # noqa: S311 -- different rows and moments in each run


def breaking_iris() -> bytes:
    """Return the classifier of iris flowers, which fails for rows whose first feature is above 1000."""
    model = onnx.load_from_string(iris_onnx())
    graph = model.graph
    name = graph.input[0].name
    for node in graph.node:
        node.input[:] = ["checked" if one == name else one for one in node.input]
    values: dict[str, NDArray[Any]] = {
        "first": np.array([0], np.int64),
        "most": np.array([1000], np.float32),
        "zero": np.zeros(1, np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(array, key) for key, array in values.items())
    checks = [
        helper.make_node("Gather", [name, "first"], ["length"], axis=1),
        helper.make_node("Greater", ["length", "most"], ["is_large"]),
        helper.make_node("Cast", ["is_large"], ["place"], to=onnx.TensorProto.INT64),
        helper.make_node("Gather", ["zero", "place"], ["nothing"], axis=0),  # there is only the place 0
        helper.make_node("Add", [name, "nothing"], ["checked"]),
    ]
    nodes = [*checks, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    content: bytes = model.SerializeToString()
    return content


class Callers:
    """Threads that predict without pause, and which version responded when; `row` returns the next row."""

    def __init__(self, server: WebServer, row: Callable[[], list[float]]) -> None:
        self._url = f"{server.url}/api/v1/models/iris/predict"
        self._row = row
        self._stopping = threading.Event()
        self.responses: list[tuple[float, str]] = []  # when the request was sent, and the version or the status

    def _send(self) -> None:
        while not self._stopping.is_set():
            sent, body = time.monotonic(), json.dumps({"features": self._row()}).encode()
            request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=10) as response:
                    self.responses.append((sent, json.load(response)["model_version"]))
            except urllib.error.HTTPError as error:
                self.responses.append((sent, str(error.code)))
                error.close()
            except (OSError, ValueError):
                time.sleep(0.02)  # its process was killed

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._send) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join()


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


def test_a_challenger_that_fails_for_a_twentieth_of_the_rows_is_rolled_back(
    web_server: WebServer, celery_worker_process: subprocess.Popen[bytes], redis_client: redis.Redis
) -> None:
    champion = uploaded_version("iris")
    challenger = uploaded_version("iris", "1.1.0", onnx=breaking_iris(), production=False)
    step = Step(0.5, minimum_requests=100_000)
    rollout = start_rollout(rollout=planned(champion, challenger, steps=[step]), user=TESTER)
    callers = Callers(web_server, lambda: LARGE if CHANCE.random() < 0.05 else FLOWER)
    with callers.calling():
        ended(rollout, seconds=120)
        rolled_back = time.monotonic()
        time.sleep(4)  # requests of the champion alone
    assert rollout.state == State.ROLLED_BACK
    incident = RolloutIncident.objects.get(rollout=rollout)
    # With w = .5 and no event of the champion, nine events are evidence of 101, and the limit is 100.
    assert incident.champion_events == 0
    assert incident.challenger_events >= 9
    assert {answer for sent, answer in callers.responses if sent < rolled_back} >= {"1.0.0", "1.1.0", "500"}
    # A process reads the registry every second.
    later = [answer for sent, answer in callers.responses if sent > rolled_back + 2.5]
    assert len(later) > 10
    assert set(later) == {"1.0.0"}


def test_killed_processes_skip_and_double_nothing(
    web_server: WebServer, celery_worker_process: subprocess.Popen[bytes], redis_client: redis.Redis
) -> None:
    champion, challenger = uploaded_version("iris"), uploaded_version("iris", "1.1.0", production=False)
    shares = (0.1, 0.2, 0.3, 0.4, 0.5)
    steps = [Step(share, minimum_requests=20, minimum_seconds=6) for share in shares]
    draft = planned(champion, challenger, steps=steps, promotes_automatically=True)
    rollout = start_rollout(rollout=draft, user=TESTER)
    callers, stopping = Callers(web_server, lambda: FLOWER), threading.Event()
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
    assert 0 < counted <= predicted + kills * THREADS
    later = [answer for sent, answer in callers.responses if sent > finished + 4]
    assert len(later) > 5
    assert set(later) == {"1.1.0"}
