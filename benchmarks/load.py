"""Load on a server: its throughput, latency and errors, and the CPU time of its processes."""

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.http_clients import HOST, paced, request_bytes

CONNECTIONS = 16
TIMEOUT_SECONDS = 10
SETTLE_SECONDS = 0.4  # mlmon's flusher works every 100 ms, also after the last response
_SCRIPT = Path(__file__).resolve().parent / "wrk.lua"
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class LoadError(Exception):
    """The load could not be made."""


@dataclass(frozen=True, slots=True)
class Target:
    """The requests that a load repeats.

    Attributes
    ----------
    bodies
        One JSON document each, without a line break. They are sent in turn.
    """

    port: int
    path: str
    headers: Mapping[str, str]
    bodies: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Load:
    """What one load measured.

    Attributes
    ----------
    errors
        Responses with another status than 200, broken connections and timeouts.
    cpu_seconds
        User and system time of the server's processes.
    p50_ms, p99_ms
        None if no request succeeded.
    """

    requests: int
    errors: int
    seconds: float
    cpu_seconds: float
    p50_ms: float | None
    p99_ms: float | None

    @property
    def cpu_ms_per_request(self) -> float:
        """CPU time for each response."""
        return 1000 * self.cpu_seconds / self.requests

    @property
    def per_second(self) -> float:
        """Responses a second."""
        return self.requests / self.seconds


def check_wrk() -> None:
    """Raise LoadError if wrk is missing."""
    if shutil.which("wrk") is None:
        raise LoadError("wrk is missing. Install the package wrk (Debian: apt-get install wrk).")


def measured(target: Target, pid: int, *, seconds: float, folder: Path, per_second: float | None = None) -> Load:
    """Put a server under load.

    Parameters
    ----------
    pid
        The server's main process. The CPU time of all its descendants counts.
    folder
        For the file with the bodies.
    per_second
        The rate of the requests; None for as many as 16 connections make.
    """
    before = tree_cpu_seconds(pid)
    if per_second is None:
        result = _saturating(target, seconds=seconds, folder=folder)
        counts = (result["requests"], result["not_ok"] + result["broken"], result["seconds"])
        percentiles: tuple[float | None, float | None] = (result["p50_ms"], result["p99_ms"])
    else:
        requests = [request_bytes(target.path, target.headers, body) for body in target.bodies]
        started = time.perf_counter()
        outcomes = asyncio.run(
            paced(target.port, requests, per_second=per_second, seconds=seconds, connections=CONNECTIONS)
        )
        counts = (outcomes.requests, outcomes.failures, time.perf_counter() - started)
        percentiles = (outcomes.latency_ms(50), outcomes.latency_ms(99))
    time.sleep(SETTLE_SECONDS)
    cpu_seconds = tree_cpu_seconds(pid) - before
    if not counts[0]:
        raise LoadError(f"{target.path} on port {target.port} sent no response within {seconds:g} s.")
    return Load(int(counts[0]), int(counts[1]), counts[2], cpu_seconds, *percentiles)


def _saturating(target: Target, *, seconds: float, folder: Path) -> dict[str, float]:
    bodies = folder / "bodies"
    bodies.write_bytes(b"\n".join(target.bodies) + b"\n")
    command = ["wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{max(1, round(seconds))}s"]
    command += ["--timeout", f"{TIMEOUT_SECONDS}s", "--script", str(_SCRIPT)]
    for name, value in target.headers.items():
        command += ["--header", f"{name}: {value}"]
    command += [f"http://{HOST}:{target.port}{target.path}", "--", str(bodies)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
    if done.returncode != 0:
        raise LoadError(f"wrk ended with status {done.returncode}: {done.stderr.strip()}")
    figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def tree_cpu_seconds(pid: int) -> float:
    """Return the user and system time of a process and its descendants, with those that have ended and were waited for.

    See proc(5): fields 14 to 17 of ``/proc/PID/stat``.
    """
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            continue
        one = int(stat.parent.name)
        parents[one], ticks[one] = int(fields[1]), sum(map(int, fields[11:15]))
    if pid not in ticks:
        raise LoadError(f"Process {pid} has ended.")
    tree = {pid}
    while found := {one for one, parent in parents.items() if parent in tree} - tree:
        tree |= found
    return sum(ticks[one] for one in tree) / _TICKS_PER_SECOND


def wait_until_quiet(pids: Sequence[int], *, seconds: float, at_most: float) -> bool:
    """Wait until these processes and their descendants are idle for `seconds`; return whether that happened in time."""
    deadline = time.monotonic() + at_most
    quiet_since, last = time.monotonic(), sum(map(tree_cpu_seconds, pids))
    while time.monotonic() - quiet_since < seconds:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.25)
        now = sum(map(tree_cpu_seconds, pids))
        if now - last > 0.1:  # 40 % of a core: more than beat, health checks and flushers of idle servers
            quiet_since = time.monotonic()
        last = now
    return True
