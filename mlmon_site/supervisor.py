"""Keeps the processes of the embedded run alive, and ends them all. Standard library only.

Each program gets a session of its own, so that Ctrl-C reaches only the supervisor, and the kernel's promise of a signal
at the supervisor's death (mlmon_site/processes.py), so that not even kill -9 leaves an orphan.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from mlmon_site.processes import bound_command

POLL_SECONDS = 0.1
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
# A program that lived this long was well: its next death is met with the first pause again.
WELL_AFTER_SECONDS = 30.0
ROTATE_LOG_AT_BYTES = 5 * 2**20
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """Ctrl-C, TERM or the terminal's end arrived; no error, so that it passes every `except Exception`."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_status = 128 + signal_number


@dataclass(frozen=True, slots=True)
class Program:
    """What to run and how to end it.

    Attributes
    ----------
    name
        How the console calls it.
    command
        Its command line.
    log
        The file that its output is appended to.
    stop_seconds
        How long it may take to end after TERM before its whole session is killed.
    death_signal
        What it gets when the supervisor was killed.
    """

    name: str
    command: Sequence[str]
    log: Path
    stop_seconds: float
    death_signal: signal.Signals = signal.SIGTERM


@dataclass(slots=True)
class _Child:
    program: Program
    process: subprocess.Popen[bytes]
    started_at: float
    pause_seconds: float = FIRST_PAUSE_SECONDS
    restart_at: float | None = field(default=None)


@contextlib.contextmanager
def stop_signals_raise() -> Iterator[None]:
    """Turn the first stop signal within the block into `StopRequested`; later ones are held back."""

    def request_stop(signal_number: int, _frame: FrameType | None) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise StopRequested(signal_number)

    # Under nohup the terminal's end is ignored, and stays so.
    heard = [number for number in STOP_SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, request_stop) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Supervisor:
    """Starts programs, starts again those that die, and ends them in the order opposite to their start."""

    def __init__(self, *, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._children: list[_Child] = []

    def start(self, program: Program) -> None:
        """Start `program` and watch it from now on."""
        rotate_log(program.log)
        self._children.append(_Child(program, self._spawn(program), time.monotonic()))

    def tend(self) -> None:
        """Start again what has died and whose pause is over; never waits."""
        for child in self._children:
            if child.restart_at is not None:
                if time.monotonic() >= child.restart_at:
                    self._restart(child)
            elif child.process.poll() is not None:
                self._plan_restart(child)

    def tend_for_ever(self) -> None:
        """Tend until `StopRequested` is raised."""
        while True:
            self.tend()
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End every program, the last one started first."""
        while self._children:
            _end(self._children.pop())

    def _spawn(self, program: Program) -> subprocess.Popen[bytes]:
        with program.log.open("ab") as log:
            return subprocess.Popen(
                bound_command(program.command, death_signal=program.death_signal),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _plan_restart(self, child: _Child) -> None:
        now = time.monotonic()
        if now - child.started_at >= WELL_AFTER_SECONDS:
            child.pause_seconds = FIRST_PAUSE_SECONDS
        child.restart_at = now + child.pause_seconds
        self._say(
            f"{child.program.name} {_ending(child.process.returncode)}; it is started again in "
            f"{child.pause_seconds:g} s. See {child.program.log}"
        )
        child.pause_seconds = min(LONGEST_PAUSE_SECONDS, child.pause_seconds * 2)

    def _restart(self, child: _Child) -> None:
        _kill_session(child.process.pid)  # what the dead one left
        child.process = self._spawn(child.program)
        child.started_at = time.monotonic()
        child.restart_at = None
        self._say(f"{child.program.name} runs again.")


def rotate_log(log: Path) -> None:
    """Put `log` aside as ``NAME.1`` when it has grown large, in place of the one put aside before."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > ROTATE_LOG_AT_BYTES:
            log.replace(log.with_name(log.name + ".1"))


def _end(child: _Child) -> None:
    if child.process.poll() is None:
        child.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(child.program.stop_seconds)
    _kill_session(child.process.pid)
    child.process.wait()


def _kill_session(leader_pid: int) -> None:
    # The programs' own children stay in the process group that the session began with.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader_pid, signal.SIGKILL)


def _ending(return_code: int) -> str:
    if return_code < 0:
        return f"was killed by {signal.Signals(-return_code).name}"
    return f"ended with status {return_code}"
