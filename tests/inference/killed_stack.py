"""Kill and stop parts of a production-like stack under full load; the tests run this program.

``python -m tests.inference.killed_stack --predictions 20000`` prints as JSON how many predictions were acknowledged to
a client, how many are in the archive and how often, and for the missing ones which process made them and how long
before it was killed.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.services.processes import PROJECT, await_condition, child_pids
from tests.services.production_stack import ProductionStack, production_stack
from tests.services.web_server import WebServer

WEB_PROCESSES = 2
THREADS = 8
MODEL = "classifier"
ARTEFACT = PROJECT / "demo" / "classifier-1.0.0.onnx"
FLUSH_SECONDS = 0.1  # the default of MLMON_CAPTURE_FLUSH_MS
# From the wake-up of the capture thread until Redis has the entry, on a fully loaded machine.
SCHEDULING_SECONDS = 0.9
PATIENCE_SECONDS = 60.0
LATEST_PREDICTIONS = 300
OUTAGE_SHARE = 0.07  # share of the predictions while Redis is unavailable, and while PostgreSQL is
UNKNOWN_PID = 0


@dataclass(frozen=True, slots=True)
class Received:
    """The log of the clients.

    Attributes
    ----------
    pids
        The web process of every acknowledged prediction by its id in hexadecimal; `UNKNOWN_PID` if the process ended
        before it was identified.
    failed
        Number of requests without a response, by error; some of them were predicted.
    """

    pids: dict[str, int]
    failed: Mapping[str, int]

    @classmethod
    def read(cls, path: Path) -> "Received":
        lines = [line.split() for line in path.read_text().splitlines()]
        return cls(
            pids={line[0]: int(line[1]) for line in lines if line[0] != "failed"},
            failed=Counter(line[1] for line in lines if line[0] == "failed"),
        )


@dataclass(frozen=True, slots=True)
class WebKill:
    """A killed web process; it died between two times in Unix milliseconds."""

    pid: int
    sent_ms: float
    dead_ms: float

    def may_have_lost(self, prediction_id: str, pid: int) -> bool:
        """Return whether this process made the prediction and may have died before it was flushed."""
        predicted_ms = predicted_at_ms(prediction_id)
        earliest_ms = self.sent_ms - (FLUSH_SECONDS + SCHEDULING_SECONDS) * 1000
        return pid in (self.pid, UNKNOWN_PID) and earliest_ms <= predicted_ms <= self.dead_ms


@dataclass(slots=True)
class Disruptions:
    """The kills and outages of a run."""

    web_kills: list[WebKill] = field(default_factory=list)
    worker_kills: int = 0
    worker_kills_with_the_lock: int = 0
    beat_restarts: int = 0
    predicted_without_redis: int = 0
    predicted_without_postgresql: int = 0


def predicted_at_ms(prediction_id: str) -> int:
    """Return the Unix milliseconds in a UUIDv7."""
    return int(prediction_id[:12], 16)


class Run:
    """One run: clients send requests, and after given shares of them something is killed or stopped."""

    def __init__(
        self, stack: ProductionStack, server: WebServer, *, version_id: int, token: str, predictions: int
    ) -> None:
        self._stack = stack
        self._server = server
        self._version_id = version_id
        self._predictions = predictions
        self._log_path = stack.folder / "clients.log"
        self._log_path.touch()
        self._token = token
        self.disruptions = Disruptions()

    def run(self) -> Received:
        """Run everything and return the log of the clients; on return, all captured observations are archived."""
        with self._sending():
            for share, action in self._plan():
                self._await_predictions(share * self._predictions)
                action()
            self._await_predictions(self._predictions)
        self._await_the_archive()
        return Received.read(self._log_path)

    def _plan(self) -> list[tuple[float, Callable[[], None]]]:
        return [
            (0.05, self._kill_the_worker),
            (0.15, self._kill_a_web_process),
            (0.30, self._kill_the_worker),
            (0.40, self._stop_redis),
            (0.55, self._kill_a_web_process),
            (0.65, self._stop_postgresql),
            (0.80, self._kill_the_worker),
            (0.90, self._kill_a_web_process),
        ]

    @contextmanager
    def _sending(self) -> Iterator[None]:
        command = [sys.executable, "-m", "tests.inference.predicting_clients", "--port", str(self._server.port)]
        command += ["--server-pid", str(self._server.process.pid), "--log", str(self._log_path)]
        command += ["--threads", str(THREADS)]
        clients = subprocess.Popen(command, cwd=PROJECT, env={**os.environ, "MLMON_TOKEN": self._token})
        try:
            yield
            clients.terminate()
            if clients.wait(PATIENCE_SECONDS) != 0:
                raise RuntimeError("The clients failed.")
        finally:
            clients.kill()
            clients.wait()

    def _predicted(self) -> int:
        written = self._log_path.read_bytes()  # read twenty times a second, so the lines are not parsed
        return written.count(b"\n") - written.count(b"failed")

    def _await_predictions(self, count: float) -> None:
        await_condition(lambda: self._predicted() >= count, seconds=PATIENCE_SECONDS, what="too few predictions.")

    def _kill_the_worker(self) -> None:
        """Kill the worker while it holds the lock of the archive, and start another one."""
        from inference.stream import redis_client

        lock = f"mlmon:{{{self._version_id}}}:archive"
        await_condition(
            lambda: bool(redis_client().exists(lock)),
            seconds=PATIENCE_SECONDS,
            what="no worker holds the lock.",
            pause=0.0005,
        )
        self._stack.kill_program("worker")
        # The worker may have released the lock before it died. Otherwise the lock is deleted instead of waited for.
        self.disruptions.worker_kills_with_the_lock += bool(redis_client().delete(lock))
        self.disruptions.worker_kills += 1
        self._stack.start_program("worker")

    def _kill_a_web_process(self) -> None:
        """Kill the web process that has run longest, after its earlier predictions are captured.

        Do not kill the one that restarted last: granian ends if a process dies twice within 5.5 s.
        """
        await_condition(self._all_predict, seconds=PATIENCE_SECONDS, what="a web process does not predict.")
        self._await_capture()
        pid = min(child_pids(self._server.process.pid), key=self._pids().index)
        sent_ms = time.time() * 1000
        os.kill(pid, signal.SIGKILL)
        await_condition(lambda: _is_dead(pid), seconds=5, what=f"process {pid} is alive.", pause=0.001)
        self.disruptions.web_kills.append(WebKill(pid, sent_ms, time.time() * 1000))

    def _all_predict(self) -> bool:
        """Return whether every web process has a share of the load, including restarted ones."""
        living = set(child_pids(self._server.process.pid))
        return len(living) == WEB_PROCESSES and living <= set(self._pids()[-LATEST_PREDICTIONS:])

    def _pids(self) -> list[int]:
        """Return the process of each prediction."""
        return list(Received.read(self._log_path).pids.values())

    def _await_capture(self) -> None:
        """Wait until all web processes have flushed: otherwise a kill may lose more than one flush interval."""
        before = {}
        for prediction_id, pid in Received.read(self._log_path).pids.items():
            before[pid] = prediction_id
        living = child_pids(self._server.process.pid)
        latest = {prediction_id for pid, prediction_id in before.items() if pid in living}
        await_condition(
            lambda: latest <= self._streamed(), seconds=PATIENCE_SECONDS, what="not all predictions are captured."
        )

    def _streamed(self) -> set[str]:
        from inference.stream import read_window, redis_client

        table = read_window(redis_client(), self._version_id, self._predictions * 2).table
        ids = table.column("prediction_id").to_pylist() if table.num_rows else []
        return {one.hex() for one in ids if one is not None}

    def _stop_redis(self) -> None:
        before = self._predicted()
        self._stack.stop_redis()
        self._await_predictions(before + OUTAGE_SHARE * self._predictions)
        self.disruptions.predicted_without_redis = self._predicted() - before
        self._stack.start_redis()

    def _stop_postgresql(self) -> None:
        before = self._predicted()
        self._stack.stop_postgresql()
        self._await_predictions(before + OUTAGE_SHARE * self._predictions)
        self.disruptions.predicted_without_postgresql = self._predicted() - before
        self._stack.start_postgresql()

    def _await_the_archive(self) -> None:
        """Wait until no web process has queued observations and the whole stream is archived."""
        self.disruptions.beat_restarts += self._restart_beat()
        await_condition(
            lambda: metric(self._server, self._token, "ml_capture_pending") == 0,
            seconds=PATIENCE_SECONDS,
            what="observations are queued in the web processes.",
        )
        await_condition(self._is_archived, seconds=PATIENCE_SECONDS, what="the stream is not archived.")

    def _restart_beat(self) -> bool:
        if not self._stack.has_ended("beat"):
            return False
        self._stack.start_program("beat")
        return True

    def _is_archived(self) -> bool:
        from django.db import connections

        from inference import selectors
        from inference.stream import redis_client

        waiting = selectors.unarchived_versions(redis_client())
        connections.close_all()
        return not waiting


def _is_dead(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def metric(server: WebServer, token: str, name: str) -> float:
    """Return the sum of a metric's samples over all web processes."""
    import urllib.request

    from prometheus_client.parser import text_string_to_metric_families

    request = urllib.request.Request(f"{server.url}/metrics", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        families = list(text_string_to_metric_families(response.read().decode()))
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)


def account(received: Received, archived: Sequence[str], kills: Iterable[WebKill]) -> dict[str, Any]:
    """Return the number of predictions by outcome, and the ids of unexplained ones."""
    times = Counter(archived)
    missing = {prediction_id: pid for prediction_id, pid in received.pids.items() if not times[prediction_id]}
    explained: set[str] = set()
    by_kill = []
    for kill in kills:
        lost = {one for one, pid in missing.items() if kill.may_have_lost(one, pid)} - explained
        explained |= lost
        by_kill.append(
            {
                "pid": kill.pid,
                "predicted": sum(pid == kill.pid for pid in received.pids.values()),
                "lost": len(lost),
                "oldest_lost_ms": max((kill.sent_ms - predicted_at_ms(one) for one in lost), default=0.0),
            }
        )
    return {
        "acknowledged": len(received.pids),
        "acknowledged_and_archived": sum(bool(times[one]) for one in received.pids),
        "archived": len(archived),
        "archived_twice": sorted(one for one, count in times.items() if count > 1),
        "archived_unacknowledged": sum(one not in received.pids for one in times),
        "missing": len(missing),
        "missing_unexplained": sorted(set(missing) - explained),
        "web_kills": by_kill,
        "predicted_by_unknown": sum(pid == UNKNOWN_PID for pid in received.pids.values()),
        "failed": dict(received.failed),
    }


def figures_of_run(predictions: int) -> dict[str, Any]:
    """Start a stack, run and return the figures."""
    started = time.monotonic()
    with production_stack() as stack:
        from django.db import connections

        from accounts.services.tokens import create_token
        from inference.models import ArchivePosition
        from tests.factories import uploaded_version
        from tests.inference.observed import archived_ids

        for name in ("worker", "beat"):
            stack.start_program(name)
        version_id = uploaded_version(MODEL, onnx=ARTEFACT.read_bytes()).pk
        _, token = create_token(name="clients", scope="all")
        connections.close_all()  # PostgreSQL will be stopped
        with stack.web(processes=WEB_PROCESSES) as server:
            run = Run(stack, server, version_id=version_id, token=token, predictions=predictions)
            began = time.monotonic()
            received = run.run()
            seconds = time.monotonic() - began
            dropped = metric(server, token, "ml_capture_dropped_total")
        figures = account(received, [one.hex() for one in archived_ids(version_id)], run.disruptions.web_kills)
        lost = sum(ArchivePosition.objects.filter(version=version_id).values_list("rows_lost", flat=True))
        streams = ArchivePosition.objects.filter(version=version_id).count()
    disruptions = {name: value for name, value in asdict(run.disruptions).items() if name != "web_kills"}
    return {
        **figures,
        **disruptions,
        "dropped": dropped,
        "rows_lost": lost,
        "streams": streams,
        "seconds": round(seconds, 1),
        "all_seconds": round(time.monotonic() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--predictions", type=int, default=20_000)
    figures = figures_of_run(parser.parse_args().predictions)
    print(json.dumps(figures))  # noqa: T201 -- the test reads it


if __name__ == "__main__":
    main()
