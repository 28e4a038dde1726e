"""Start, restart and end the processes of the embedded run. Standard library only.

Each program gets its own session, so Ctrl-C reaches only the supervisor. The kernel signals it when the supervisor dies
(mlmon_site/processes.py), so not even kill -9 leaves an orphan.
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from mlmon_site.processes import bound_command

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
HEALTHY_AFTER_SECONDS = 30.0  # a program that ran this long is restarted after the first pause again
ROTATE_LOG_AT_BYTES = 5 * 2**20
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class AlreadyRunningError(Exception):
    """Another process holds the lock of the run."""


class StopRequested(BaseException):
    """Ctrl-C, TERM or the end of the terminal. Not an `Exception`, so that handlers of errors let it pass."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_status = 128 + signal_number


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run.

    Attributes
    ----------
    name
        Its name on the console.
    command
        Its command line.
    log
        The file that its output is appended to.
    stop_seconds
        How long it may take to end after TERM. Then its whole session is killed.
    death_signal
        The signal that it gets if the supervisor dies.
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
    restart_at: float | None = None


@contextlib.contextmanager
def run_lock(path: Path, *, holder: str) -> Iterator[int]:
    """Hold the lock file `path`, which then contains `holder`, and yield its descriptor.

    The kernel releases the lock when the process ends.

    Raises
    ------
    AlreadyRunningError
        Another process holds it.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.pread(descriptor, 200, 0).decode(errors="replace")
            os.close(descriptor)
            raise AlreadyRunningError(f"mlmon is already running here ({other}).") from None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                break
        os.close(descriptor)  # the holder before deleted this file between our `open` and our `flock`
    with held_lock(path, descriptor):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)
        yield descriptor


@contextlib.contextmanager
def held_lock(path: Path, descriptor: int) -> Iterator[None]:
    """Delete the lock file `path` at the end of the block, then release its lock, which `descriptor` holds."""
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # while the lock is held; see above
        os.close(descriptor)


@contextlib.contextmanager
def stop_signals_raise() -> Iterator[None]:
    """Turn the first stop signal within the block into `StopRequested`, and ignore later ones."""

    def request_stop(signal_number: int, _frame: FrameType | None) -> None:
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise StopRequested(signal_number)

    # nohup ignores the end of the terminal, and so does this.
    handled = [
        number for number in STOP_SIGNALS if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
    ]
    before = {number: signal.signal(number, request_stop) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Supervisor:
    """Starts programs, restarts those that die, and ends them in reverse order."""

    def __init__(self, *, folder: Path, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._say = say
        self._children: list[_Child] = []

    def start(self, program: Program) -> None:
        """Start `program` and supervise it from now on. A large log is renamed to ``NAME.1``, replacing that file."""
        with contextlib.suppress(FileNotFoundError):
            if program.log.stat().st_size > ROTATE_LOG_AT_BYTES:
                program.log.replace(program.log.with_name(program.log.name + ".1"))
        self._children.append(_Child(program, self._spawn(program), time.monotonic()))

    def tend(self) -> None:
        """Restart the programs that have died and whose pause is over. Return at once."""
        for child in self._children:
            if child.restart_at is None and child.process.poll() is not None:
                self._plan_restart(child)
            elif child.restart_at is not None and time.monotonic() >= child.restart_at:
                _kill_session(child.process.pid)  # processes that the dead one left behind
                child.process = self._spawn(child.program)
                child.started_at, child.restart_at = time.monotonic(), None
                self._say(f"{child.program.name} runs again.")

    def stop(self) -> None:
        """End every program, the last one started first."""
        while self._children:
            child = self._children.pop()
            if child.process.poll() is None:
                child.process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.process.wait(child.program.stop_seconds)
            _kill_session(child.process.pid)
            child.process.wait()

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
        now, status = time.monotonic(), child.process.returncode
        if now - child.started_at >= HEALTHY_AFTER_SECONDS:
            child.pause_seconds = FIRST_PAUSE_SECONDS
        child.restart_at = now + child.pause_seconds
        ending = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        self._say(f"{child.program.name} {ending}. Restarting in {child.pause_seconds:g} s. See {child.program.log}")
        child.pause_seconds = min(LONGEST_PAUSE_SECONDS, child.pause_seconds * 2)


def _kill_session(leader_pid: int) -> None:
    # The program's own children stay in the process group of its session.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader_pid, signal.SIGKILL)
