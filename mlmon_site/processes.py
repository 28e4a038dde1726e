"""Processes that end with the one that started them, on Linux also when that one was killed with -9.

Run as a program it is a launcher: ``python processes.py --signal 15 --parent PID -- command …`` asks the kernel for
that signal at its parent's death and becomes the command. A `preexec_fn` would do the same, but may deadlock in a
process that has threads. Standard library only.
"""

import argparse
import atexit
import ctypes
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

PR_SET_PDEATHSIG = 1  # linux/prctl.h
ORPHAN_POLL_SECONDS = 1.0
WAKE_SECONDS = 1.0


def die_with_parent(death_signal: int = signal.SIGTERM, *, parent_pid: int | None = None) -> None:
    """Ask the kernel to send this process `death_signal` when the parent *thread* that started it ends.

    Kept over `exec`, not over `fork` nor over a change of user. Does nothing outside Linux.

    Parameters
    ----------
    death_signal
        The signal to be sent.
    parent_pid
        Who the parent should be: where it died before the request was made, the signal is sent at once. None takes
        the parent of this moment.
    """
    if sys.platform != "linux":
        return
    expected = os.getppid() if parent_pid is None else parent_pid
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    if os.getppid() != expected:
        os.kill(os.getpid(), death_signal)


def kill_when_orphaned(parent_pid: int, *, after_seconds: float) -> None:
    """Watch `parent_pid` from a thread; `after_seconds` after its end, kill this process if it is still there.

    For a process that asked to `die_with_parent` but may not end by it: a request that never ends keeps a worker for
    ever.
    """

    def watch() -> None:
        while os.getppid() == parent_pid:
            time.sleep(ORPHAN_POLL_SECONDS)
        time.sleep(after_seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="orphan-watch", daemon=True).start()


def wake_for_signals(*, every_seconds: float = WAKE_SECONDS) -> None:
    """Let handlers of signals run within `every_seconds`, also while the main thread waits for a lock.

    Call it in the main thread. Python notes a signal at once and runs its handler between two steps of the main thread.
    What comes after the last step before a wait is heard when that wait ends, and granian's workers wait until they are
    told to stop: about one TERM in a hundred was not heard by workers that had just begun, under load. So the main
    thread is woken, by a signal that means nothing: SIGURG, which is ignored wherever nobody asked for it.
    """
    signal.signal(signal.SIGURG, lambda *_: None)
    main_thread = threading.get_ident()

    def wake() -> None:
        while True:
            time.sleep(every_seconds)
            signal.pthread_kill(main_thread, signal.SIGURG)

    threading.Thread(target=wake, name="signal-wake", daemon=True).start()


def bound_command(command: Sequence[str], *, death_signal: int = signal.SIGTERM) -> list[str]:
    """Return `command` led by the launcher that binds it to the calling process."""
    launcher = [sys.executable, "-I", "-S", os.path.abspath(__file__)]
    return [*launcher, "--signal", str(int(death_signal)), "--parent", str(os.getpid()), "--", *command]


def at_process_end(action: Callable[[], None]) -> None:
    """Call `action` once when this process ends by itself or by TERM, while its daemon threads still run.

    A process that `multiprocessing` forked (granian's workers) leaves by `os._exit`: `atexit` is not heard there, its
    own finalizers are.
    """
    import multiprocessing.util  # here, for the launcher's sake: it triples the time of its start

    once = functools.lru_cache(maxsize=1)(action)
    atexit.register(once)
    multiprocessing.util.Finalize(None, once, exitpriority=0)


def _launch() -> None:
    parser = argparse.ArgumentParser(description="Run a command that ends with the process that started it.")
    parser.add_argument("--signal", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    die_with_parent(options.signal, parent_pid=options.parent)
    os.execvp(options.command[0], options.command)  # noqa: S606 -- becoming the command is the point


if __name__ == "__main__":
    _launch()
