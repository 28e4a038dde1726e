"""Starting and ending the servers of a test run."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable

STOP_SECONDS = 10


class ServiceError(Exception):
    """A service that the tests need did not start."""


def free_port() -> int:
    """Return a port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_condition(condition: Callable[[], bool], what: str, *, seconds: float = 20, pause: float = 0.05) -> None:
    """Return when `condition` holds; ServiceError where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ServiceError(f"After {seconds:.0f} s: {what}")
        time.sleep(pause)


def wait_until(ready: Callable[[], bool], *, seconds: float, what: str, process: subprocess.Popen[bytes]) -> None:
    """Return when `ready` does; fail where `process` ends before or time runs out."""
    deadline = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None:
            raise ServiceError(f"{what} ended with status {process.returncode} before it was ready.")
        if time.monotonic() > deadline:
            raise ServiceError(f"{what} was not ready after {seconds:.0f} s.")
        time.sleep(0.05)


def stop_group(process: subprocess.Popen[bytes], stop_signal: int = signal.SIGTERM) -> None:
    """End `process` by `stop_signal`, and what is left of its session by -9."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(stop_signal)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_SECONDS)
