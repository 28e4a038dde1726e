"""The embedded run as a new user starts it: ``manage.py run``, with its own folder and nothing else set."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.services.processes import await_start, free_port, start_process

START_SECONDS = 90


@dataclass(frozen=True, slots=True)
class Process:
    """A process of a run, according to /proc."""

    pid: int
    parent_pid: int
    name: str
    command: str


@dataclass(slots=True)
class EmbeddedRun:
    """A started run.

    Attributes
    ----------
    folder
        Its ``MLMON_VAR_DIR``. It identifies the processes of the run, because it is in their environment.
    process
        The supervisor.
    """

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    console: Path

    @property
    def url(self) -> str:
        """The address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def password(self) -> str:
        """The password of the account ``admin``."""
        return (self.folder / "admin_password").read_text().strip()

    @property
    def said(self) -> str:
        """The output on the console."""
        return self.console.read_text()

    def wait_for_banner(self) -> None:
        await_start(self.process, "mlmon", lambda: "mlmon is running" in self.said, seconds=START_SECONDS)

    def ended_by(self, signal_number: int) -> int:
        """Send the supervisor a signal and return its exit status. Fail after 10 s."""
        self.process.send_signal(signal_number)
        return self.process.wait(10)

    def processes(self) -> list[Process]:
        """Return every living process of this run."""
        marker = f"MLMON_VAR_DIR={self.folder}".encode()
        socket = f"{self.folder}/valkey.sock"  # Valkey overwrites its environment with its title
        return [one for one in _machines_processes() if socket in one.command or marker in _environment(one.pid)]

    def program(self, word: str) -> Process:
        """Return the supervisor's child whose command line has `word`, or beat, which is a child of the worker."""
        if word == "beat":
            (beat,) = (process for process in self.processes() if process.name == word)
            return beat
        (found,) = (
            process
            for process in self.processes()
            if process.parent_pid == self.process.pid and word in re.split(r"[\s:]", process.command)
        )
        return found

    def web_processes(self) -> list[Process]:
        """Return the processes that handle requests."""
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
        """Send the row of the README and return the status of the response."""
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
    """Start a run. The environment has no settings of mlmon except the folder and `variables`."""
    chosen = port or free_port()
    console = folder.parent / f"{folder.name}-console-{time.monotonic_ns()}.txt"
    process = start_process(
        [sys.executable, "manage.py", "run", "--port", str(chosen)],
        console,
        environment={"PATH": os.environ["PATH"], "MLMON_VAR_DIR": str(folder), **(variables or {})},
    )
    return EmbeddedRun(folder=folder, port=chosen, process=process, console=console)


@contextlib.contextmanager
def embedded_run(
    folder: Path, *, port: int | None = None, variables: Mapping[str, str] | None = None
) -> Iterator[EmbeddedRun]:
    """Start a run, wait for its banner, and stop it at the end."""
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


def _machines_processes() -> Iterator[Process]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            status = (folder / "status").read_text()
            fields = dict(re.findall(r"^(\w+):\t(.+)$", status, flags=re.MULTILINE))
            if fields["State"][0] not in "ZX":
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                yield Process(int(folder.name), int(fields["PPid"]), fields["Name"], command)


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # the process has ended, or belongs to another user
        return []


def kill(process: Process) -> None:
    """Kill a process (SIGKILL)."""
    os.kill(process.pid, signal.SIGKILL)
