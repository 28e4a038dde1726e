"""Start and stop processes of a test run, and wait for what they do."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from mlmon_site.processes import bound_command

PROJECT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 10

Found = TypeVar("Found")


class ServiceError(Exception):
    """A service did not start, or did not do in time what a test waits for."""


def free_port() -> int:
    """Return a port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_condition(
    condition: Callable[[], Found | None],
    what: str = "the condition does not hold",
    *,
    seconds: float = 20,
    pause: float = 0.05,
) -> Found:
    """Return the first true value of `condition`. If time runs out, raise ServiceError, which says `what` is wrong."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise ServiceError(f"After {seconds:.0f} s: {what}")
        time.sleep(pause)
    return found


def start_process(
    command: Sequence[str],
    log: Path,
    *,
    folder: Path = PROJECT,
    environment: Mapping[str, str] | None = None,
    death_signal: int = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a process that gets `death_signal` when the calling thread ends. Its output is appended to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            bound_command(command, death_signal=death_signal),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def await_start(process: subprocess.Popen[bytes], name: str, ready: Callable[[], bool], *, seconds: float) -> None:
    """Return when a server is ready. Raise ServiceError if its process ends before, or if time runs out."""

    def is_ready() -> bool:
        if process.poll() is not None:
            raise ServiceError(f"{name} ended with status {process.returncode} before it was ready.")
        return ready()

    await_condition(is_ready, f"{name} is not ready.", seconds=seconds)


def child_pids(pid: int) -> list[int]:
    """Return the processes that the main thread of `pid` has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    """Return whether any thread of a process runs: while one does, a killed process still holds its sockets."""
    states = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended meanwhile
            states.append(stat.read_text().rpartition(")")[2].split()[0])
    return any(state not in "ZX" for state in states)


def stop_group(process: subprocess.Popen[bytes], stop_signal: int = signal.SIGTERM) -> None:
    """Stop `process` with `stop_signal`, and kill what is left of its session."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(stop_signal)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_SECONDS)
