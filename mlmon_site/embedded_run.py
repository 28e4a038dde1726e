"""Supervise the embedded run until it is stopped. Standard library only.

``manage.py run`` prepares the database, then becomes this program. A process that has loaded Django, NumPy and ONNX
Runtime would keep 200 MB for as long as it supervises.
"""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from mlmon.closed_pipe import ignore_closed_pipes
from mlmon_site import valkey
from mlmon_site.supervisor import STOP_SIGNALS, Program, StopRequested, Supervisor, held_lock, stop_signals_raise

HOST = "127.0.0.1"  # the API of this run is open, so only this machine may reach it
VALKEY_START_SECONDS = 60.0  # it loads its data first
WEB_START_SECONDS = 60.0
POLL_SECONDS = 0.1
START_POLL_SECONDS = 0.02


class StartError(Exception):
    """A program does not respond. The message says which one, and where its log is."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run, and what is said about it.

    Attributes
    ----------
    folder
        The programs' working directory.
    lock_path, lock_descriptor
        The lock of the run, which this process holds.
    valkey, valkey_socket
        The embedded server and its socket. It must respond before the programs are started; None if Redis is external.
    programs
        They are started in this order and stopped in reverse order.
    port
        The port of the web server.
    banner
        Said when the web server responds; ``{seconds}`` is replaced by the time since `started_at`.
    started_at
        Monotonic time, which is the same in all processes.
    """

    folder: Path
    lock_path: Path
    lock_descriptor: int
    valkey: Program | None
    valkey_socket: Path
    programs: Sequence[Program]
    port: int
    banner: str
    started_at: float


def become_supervisor(plan: Plan) -> NoReturn:
    """Replace the program of this process by the supervisor. Its pid, its terminal and its lock stay."""
    # A stop signal that comes while no handler is installed waits for the handler of the next program.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    # Not on the command line, which everyone can read: the banner may contain a new password.
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as pipe:
        json.dump(asdict(plan), pipe, default=str)  # a few kilobytes, which fit into the pipe
    for descriptor in (reading, plan.lock_descriptor):
        os.set_inheritable(descriptor, True)
    sys.stdout.flush()
    os.chdir(plan.folder)  # where Python finds this module
    command = [sys.executable, "-S", "-m", __name__, str(reading)]
    os.execv(command[0], command)  # noqa: S606 -- replacing this process is the purpose


def supervise(plan: Plan) -> NoReturn:
    """Start the programs and restart those that end, until `StopRequested` is raised. Then stop all of them.

    Raises
    ------
    StartError
        Valkey or the web server does not respond.
    """
    supervisor = Supervisor(folder=plan.folder, say=_say)
    try:
        if plan.valkey is not None:
            supervisor.start(plan.valkey)
            is_ready = partial(valkey.answers, plan.valkey_socket)
            _wait(supervisor, is_ready, "Valkey", log=plan.valkey.log, seconds=VALKEY_START_SECONDS)
        _say("Starting web server, worker and beat …")
        for program in plan.programs:
            supervisor.start(program)
        is_ready = partial(_web_responds, plan.port)
        _wait(supervisor, is_ready, "The web server", log=plan.programs[0].log, seconds=WEB_START_SECONDS)
        _say(plan.banner.replace("{seconds}", f"{time.monotonic() - plan.started_at:.1f}"))
        while True:
            supervisor.tend()
            time.sleep(POLL_SECONDS)
    except StopRequested:
        _say("\nStopping worker and beat, web server and Valkey …")
        raise
    finally:
        supervisor.stop()


def _wait(supervisor: Supervisor, is_ready: Callable[[], bool], name: str, *, log: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_ready():
        supervisor.tend()
        if time.monotonic() > deadline:
            raise StartError(f"{name} does not respond. See {log}")
        time.sleep(START_POLL_SECONDS)


def _web_responds(port: int) -> bool:
    # http.client would load `ssl` and `email`, a third of the memory of this process.
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return connection.recv(64).split()[1:2] == [b"200"]
    except OSError:
        return False


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _read_plan(descriptor: int) -> Plan:
    with os.fdopen(descriptor) as pipe:
        values = json.load(pipe)
    for name in ("folder", "lock_path", "valkey_socket"):
        values[name] = Path(values[name])
    values["valkey"] = None if values["valkey"] is None else _program(values["valkey"])
    values["programs"] = [_program(one) for one in values["programs"]]
    return Plan(**values)


def _program(values: dict[str, Any]) -> Program:
    log, death_signal = Path(values["log"]), signal.Signals(values["death_signal"])
    return Program(**{**values, "log": log, "death_signal": death_signal})


def main() -> None:
    """Read the plan from the descriptor in the first argument, and supervise."""
    ignore_closed_pipes()
    plan = _read_plan(int(sys.argv[1]))
    try:
        with stop_signals_raise(), held_lock(plan.lock_path, plan.lock_descriptor):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            supervise(plan)
    except StartError as error:
        sys.exit(str(error))
    except StopRequested as stop:
        _say("Stopped.")
        sys.exit(stop.exit_status)


if __name__ == "__main__":
    main()
