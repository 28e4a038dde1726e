"""A production-like stack under full load whose parts are killed and stopped; run as a program beside the tests.

``python -m tests.inference.killed_stack --predictions 20000`` prints as JSON what became of every prediction, by its
id: which were acknowledged to a client, which are in the archive, how often, and for each that is missing who had
answered it and how long before that process was killed.
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
FLUSH_SECONDS = 0.1  # MLMON_CAPTURE_FLUSH_MS, as it is shipped
# From the flusher's waking until Redis has the entry, on a machine whose cores are all taken.
SCHEDULING_SECONDS = 0.9
PATIENCE_SECONDS = 60.0
LATEST_ANSWERS = 300
OUTAGE_SHARE = 0.07  # of the predictions are answered while Redis is away, and as many while PostgreSQL is
UNKNOWN_PID = 0


@dataclass(frozen=True, slots=True)
class Answers:
    """What the clients noted.

    Attributes
    ----------
    pids
        By prediction id, in hexadecimal, of every acknowledged prediction: the web process that answered it, or
        `UNKNOWN_PID` where that one was gone before it could be told.
    failed
        Requests without an answer, by error; some were predicted all the same.
    """

    pids: dict[str, int]
    failed: Mapping[str, int]

    @classmethod
    def read(cls, path: Path) -> "Answers":
        lines = [line.split() for line in path.read_text().splitlines()]
        return cls(
            pids={line[0]: int(line[1]) for line in lines if line[0] != "failed"},
            failed=Counter(line[1] for line in lines if line[0] == "failed"),
        )


@dataclass(frozen=True, slots=True)
class WebKill:
    """A web process that was killed: when at the earliest and at the latest, in Unix milliseconds."""

    pid: int
    sent_ms: float
    dead_ms: float

    def may_have_lost(self, prediction_id: str, pid: int) -> bool:
        """Return whether it was answered by this process, and shortly enough before that it may not be flushed."""
        answered_ms = answered_at_ms(prediction_id)
        earliest_ms = self.sent_ms - (FLUSH_SECONDS + SCHEDULING_SECONDS) * 1000
        return pid in (self.pid, UNKNOWN_PID) and earliest_ms <= answered_ms <= self.dead_ms


@dataclass(slots=True)
class Happenings:
    """What was done to the stack, in counts and times."""

    web_kills: list[WebKill] = field(default_factory=list)
    worker_kills: int = 0
    worker_kills_with_the_lock: int = 0
    beat_restarts: int = 0
    answered_without_redis: int = 0
    answered_without_postgresql: int = 0


def answered_at_ms(prediction_id: str) -> int:
    """Return the Unix milliseconds in a UUIDv7."""
    return int(prediction_id[:12], 16)


class Ordeal:
    """One run: clients send, and at shares of their way something is killed or stopped."""

    def __init__(
        self, stack: ProductionStack, server: WebServer, *, version_id: int, token: str, predictions: int
    ) -> None:
        self._stack = stack
        self._server = server
        self._version_id = version_id
        self._predictions = predictions
        self._answers_path = stack.folder / "answers.txt"
        self._answers_path.touch()
        self._token = token
        self.happened = Happenings()

    def run(self) -> Answers:
        """Do it all, and return what the clients noted; when this returns, everything that can be is archived."""
        with self._sending():
            for share, action in self._plan():
                self._await_answers(share * self._predictions)
                action()
            self._await_answers(self._predictions)
        self._await_the_archive()
        return Answers.read(self._answers_path)

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
        command += ["--server-pid", str(self._server.process.pid), "--answers", str(self._answers_path)]
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

    def _answers(self) -> int:
        written = self._answers_path.read_bytes()  # asked for twenty times a second, so not taken apart
        return written.count(b"\n") - written.count(b"failed")

    def _await_answers(self, count: float) -> None:
        await_condition(lambda: self._answers() >= count, seconds=PATIENCE_SECONDS, what="too few answers.")

    def _kill_the_worker(self) -> None:
        """Kill it while it has the lock of the archive, and start another one."""
        from inference.stream import redis_client

        lock = f"mlmon:{{{self._version_id}}}:archive"
        await_condition(
            lambda: bool(redis_client().exists(lock)), seconds=PATIENCE_SECONDS, what="no archiving.", pause=0.0005
        )
        self._stack.kill_program("worker")
        # It fell with the worker's last breath, or it stays until its time is over; that time is not waited for here.
        self.happened.worker_kills_with_the_lock += bool(redis_client().delete(lock))
        self.happened.worker_kills += 1
        self._stack.start_program("worker")

    def _kill_a_web_process(self) -> None:
        """Kill the one that has answered longest, once what was answered before is captured.

        Not the one that came back last: granian takes two deaths of a process within 5.5 s for a crash loop, and ends.
        """
        await_condition(self._all_answer, seconds=PATIENCE_SECONDS, what="a web process does not answer.")
        self._await_capture()
        pid = min(child_pids(self._server.process.pid), key=self._pids().index)
        sent_ms = time.time() * 1000
        os.kill(pid, signal.SIGKILL)
        await_condition(lambda: _is_dead(pid), seconds=5, what=f"{pid} lives.", pause=0.001)
        self.happened.web_kills.append(WebKill(pid, sent_ms, time.time() * 1000))

    def _all_answer(self) -> bool:
        """Return whether every web process has its share of the load; one that has been killed comes back for it."""
        living = set(child_pids(self._server.process.pid))
        return len(living) == WEB_PROCESSES and living <= set(self._pids()[-LATEST_ANSWERS:])

    def _pids(self) -> list[int]:
        """Return who gave each answer."""
        return list(Answers.read(self._answers_path).pids.values())

    def _await_capture(self) -> None:
        """Wait until the flushers are at work: a process that could not flush for a while may lose all of that."""
        before = {}
        for prediction_id, pid in Answers.read(self._answers_path).pids.items():
            before[pid] = prediction_id
        living = child_pids(self._server.process.pid)
        latest = {prediction_id for pid, prediction_id in before.items() if pid in living}
        await_condition(lambda: latest <= self._streamed(), seconds=PATIENCE_SECONDS, what="not all captured.")

    def _streamed(self) -> set[str]:
        from inference.stream import read_window, redis_client

        table = read_window(redis_client(), self._version_id, self._predictions * 2).table
        ids = table.column("prediction_id").to_pylist() if table.num_rows else []
        return {one.hex() for one in ids if one is not None}

    def _stop_redis(self) -> None:
        before = self._answers()
        self._stack.stop_redis()
        self._await_answers(before + OUTAGE_SHARE * self._predictions)
        self.happened.answered_without_redis = self._answers() - before
        self._stack.start_redis()

    def _stop_postgresql(self) -> None:
        before = self._answers()
        self._stack.stop_postgresql()
        self._await_answers(before + OUTAGE_SHARE * self._predictions)
        self.happened.answered_without_postgresql = self._answers() - before
        self._stack.start_postgresql()

    def _await_the_archive(self) -> None:
        """Wait until no web process has anything queued and the archive has come to the stream's last row."""
        self.happened.beat_restarts += self._start_beat_again()
        await_condition(
            lambda: metric(self._server, self._token, "ml_capture_pending") == 0,
            seconds=PATIENCE_SECONDS,
            what="observations wait in the web processes.",
        )
        await_condition(self._is_archived, seconds=PATIENCE_SECONDS, what="observations wait in the stream.")

    def _start_beat_again(self) -> bool:
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
    """Return the sum of a metric's samples, from every web process, living or dead as the metric has it."""
    import urllib.request

    from prometheus_client.parser import text_string_to_metric_families

    request = urllib.request.Request(f"{server.url}/metrics", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        families = list(text_string_to_metric_families(response.read().decode()))
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)


def account(answers: Answers, archived: Sequence[str], kills: Iterable[WebKill]) -> dict[str, Any]:
    """Return what became of every prediction, in counts; ids where something is not explained."""
    times = Counter(archived)
    missing = {prediction_id: pid for prediction_id, pid in answers.pids.items() if not times[prediction_id]}
    explained: set[str] = set()
    by_kill = []
    for kill in kills:
        lost = {one for one, pid in missing.items() if kill.may_have_lost(one, pid)} - explained
        explained |= lost
        by_kill.append(
            {
                "pid": kill.pid,
                "answered": sum(pid == kill.pid for pid in answers.pids.values()),
                "lost": len(lost),
                "oldest_lost_ms": max((kill.sent_ms - answered_at_ms(one) for one in lost), default=0.0),
            }
        )
    return {
        "acknowledged": len(answers.pids),
        "acknowledged_and_archived": sum(bool(times[one]) for one in answers.pids),
        "archived": len(archived),
        "archived_twice": sorted(one for one, count in times.items() if count > 1),
        "archived_unacknowledged": sum(one not in answers.pids for one in times),
        "missing": len(missing),
        "missing_unexplained": sorted(set(missing) - explained),
        "web_kills": by_kill,
        "answered_by_unknown": sum(pid == UNKNOWN_PID for pid in answers.pids.values()),
        "failed": dict(answers.failed),
    }


def ordeal(predictions: int) -> dict[str, Any]:
    """Run one and return its figures."""
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
        connections.close_all()  # PostgreSQL will end them
        with stack.web(processes=WEB_PROCESSES) as server:
            run = Ordeal(stack, server, version_id=version_id, token=token, predictions=predictions)
            began = time.monotonic()
            answers = run.run()
            seconds = time.monotonic() - began
            dropped = metric(server, token, "ml_capture_dropped_total")
        figures = account(answers, [one.hex() for one in archived_ids(version_id)], run.happened.web_kills)
        lost = sum(ArchivePosition.objects.filter(version=version_id).values_list("rows_lost", flat=True))
        streams = ArchivePosition.objects.filter(version=version_id).count()
    happened = {name: value for name, value in asdict(run.happened).items() if name != "web_kills"}
    return {
        **figures,
        **happened,
        "dropped": dropped,
        "rows_lost": lost,
        "streams": streams,
        "seconds": round(seconds, 1),
        "all_seconds": round(time.monotonic() - started, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--predictions", type=int, default=20_000)
    figures = ordeal(parser.parse_args().predictions)
    print(json.dumps(figures))  # noqa: T201 -- what the test reads


if __name__ == "__main__":
    main()
