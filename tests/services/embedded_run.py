"""The embedded run as a newcomer starts it: ``manage.py run`` with a folder of its own and nothing else set."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from mlmon_site.processes import bound_command
from tests.services.processes import free_port, wait_until

PROJECT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 90


@dataclass(frozen=True, slots=True)
class Process:
    """A process of a run, as /proc tells it."""

    pid: int
    parent_pid: int
    command: str


@dataclass(slots=True)
class EmbeddedRun:
    """A run that was started.

    Attributes
    ----------
    folder
        Its ``MLMON_VAR_DIR``; also how its processes are told from others, for it is in their environment.
    process
        The supervisor.
    """

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    console: Path

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def password(self) -> str:
        """That of the account ``admin``."""
        return (self.folder / "admin_password").read_text().strip()

    @property
    def said(self) -> str:
        """What it has written to the console."""
        return self.console.read_text()

    def wait_for_banner(self) -> None:
        wait_until(lambda: "mlmon is running" in self.said, seconds=START_SECONDS, what="mlmon", process=self.process)

    def ended_by(self, signal_number: int) -> int:
        """Send the supervisor a signal and return its exit status; fails after 10 s."""
        self.process.send_signal(signal_number)
        return self.process.wait(10)

    def processes(self) -> list[Process]:
        """Return every living process that was started by this run or by one of its children."""
        marker = f"MLMON_VAR_DIR={self.folder}".encode()
        socket = f"{self.folder}/valkey.sock"  # Valkey writes its title over its environment
        return [one for one in _machines_processes() if socket in one.command or marker in _environment(one.pid)]

    def program(self, word: str) -> Process:
        """Return the supervisor's child whose command line has `word`."""
        (found,) = (
            process
            for process in self.processes()
            if process.parent_pid == self.process.pid and word in re.split(r"[\s:]", process.command)
        )
        return found

    def web_processes(self) -> list[Process]:
        """Return the processes that answer requests."""
        main = self.program("mlmon_site.server")
        return [process for process in self.processes() if process.parent_pid == main.pid]

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            return response.status, response.read()

    def predict(self) -> int:
        """Send the README's row and return the answer's status."""
        return self.request("POST", "/predict", {"features": [0.1, 0.5, 0.3, 0.8]})[0]

    def samples(self, name: str) -> list[tuple[Mapping[str, str], float]]:
        """Return the labels and values of a metric's samples."""
        status, text = self.request("GET", "/metrics")
        assert status == 200, text
        families = text_string_to_metric_families(text.decode())
        return [(one.labels, one.value) for family in families for one in family.samples if one.name == name]


def start_embedded_run(
    folder: Path, *, port: int | None = None, variables: Mapping[str, str] | None = None
) -> EmbeddedRun:
    """Start it; the environment has nothing of mlmon but the folder and `variables`."""
    chosen = port or free_port()
    console = folder.parent / f"{folder.name}-console-{time.monotonic_ns()}.txt"
    command = bound_command([sys.executable, "manage.py", "run", "--port", str(chosen)])
    with console.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=PROJECT,
            env={"PATH": os.environ["PATH"], "MLMON_VAR_DIR": str(folder), **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return EmbeddedRun(folder=folder, port=chosen, process=process, console=console)


@contextlib.contextmanager
def embedded_run(
    folder: Path, *, port: int | None = None, variables: Mapping[str, str] | None = None
) -> Iterator[EmbeddedRun]:
    """Start it, wait for the banner, and end it with the block."""
    run = start_embedded_run(folder, port=port, variables=variables)
    try:
        run.wait_for_banner()
        yield run
    except Exception:
        sys.stderr.write(run.said)
        for log in sorted((folder / "log").glob("*.log")):
            sys.stderr.write(f"--- {log.name}\n{log.read_text()[-3000:]}")
        raise
    finally:
        if run.process.poll() is None:
            run.process.terminate()
        run.process.wait(20)


def eventually(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Return whether `condition` comes true within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def _machines_processes() -> Iterator[Process]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            status = (folder / "status").read_text()
            parent = re.search(r"^PPid:\s*(\d+)", status, flags=re.MULTILINE)
            is_dead = re.search(r"^State:\s*[ZX]", status, flags=re.MULTILINE)
            if parent and not is_dead:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                yield Process(int(folder.name), int(parent[1]), command)


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # ended, or another user's
        return []


def kill(process: Process) -> None:
    """kill -9."""
    os.kill(process.pid, signal.SIGKILL)
