"""A program that becomes the supervisor of the embedded run."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlmon_site.supervisor import AlreadyRunningError, run_lock
from tests.services.processes import PROJECT, await_condition, free_port

pytestmark = pytest.mark.timeout(60)

WEB = (
    "from http.server import BaseHTTPRequestHandler, HTTPServer\n"
    "class Handler(BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        self.send_response(200 if self.path == '/healthz' else 404); self.end_headers()\n"
    "HTTPServer(('127.0.0.1', {port}), Handler).serve_forever()\n"
)
# The statement in the middle runs with the lock held, before the supervisor takes over.
PREPARATION = """
import os, signal, sys, time
from pathlib import Path
from mlmon_site.embedded_run import Plan, become_supervisor
from mlmon_site.supervisor import Program, run_lock, stop_signals_raise

folder = Path({folder!r})
with stop_signals_raise(), run_lock(folder / "run.lock", holder="a test") as descriptor:
    plan = Plan(
        folder=Path.cwd(),
        lock_path=folder / "run.lock",
        lock_descriptor=descriptor,
        valkey=None,
        valkey_socket=folder / "valkey.sock",
        programs=[Program("web", [sys.executable, "-c", {web!r}], folder / "web.log", stop_seconds=1.0)],
        port={port},
        banner="Ready after {{seconds}} s, {{}}, secret word.",
        started_at=time.monotonic(),
    )
    {statement}
    become_supervisor(plan)
"""


def _start(folder: Path, *, statement: str = "pass") -> subprocess.Popen[bytes]:
    port = free_port()
    code = PREPARATION.format(folder=str(folder), web=WEB.format(port=port), port=port, statement=statement)
    with (folder / "console").open("wb") as console:
        return subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, stdout=console, stderr=console)


def test_the_process_its_lock_and_its_messages_stay(tmp_path: Path) -> None:
    with _start(tmp_path) as process:
        console = tmp_path / "console"
        await_condition(lambda: "Ready after" in console.read_text(), seconds=20)
        assert "{}, secret word." in console.read_text()  # only the seconds are replaced
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert b"mlmon_site.embedded_run" in command
        assert b"secret word" not in command
        assert (tmp_path / "run.lock").read_text() == "a test"
        with pytest.raises(AlreadyRunningError, match="a test"), run_lock(tmp_path / "run.lock", holder="another"):
            pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM
    assert not (tmp_path / "run.lock").exists()
    assert console.read_text().endswith("Stopped.\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_signal_between_the_two_programs_is_not_lost(number: signal.Signals, tmp_path: Path) -> None:
    statement = f"signal.pthread_sigmask(signal.SIG_BLOCK, [{int(number)}]); os.kill(os.getpid(), {int(number)})"
    with _start(tmp_path, statement=statement) as process:
        assert process.wait(20) == 128 + number
    assert not (tmp_path / "run.lock").exists()
    assert "Ready" not in (tmp_path / "console").read_text()
