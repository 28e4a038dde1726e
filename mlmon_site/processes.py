"""Processes that end with their parent; on Linux even if the parent is killed with -9.

As a program this module is a launcher: ``python processes.py --signal 15 --parent PID -- command …`` asks the kernel
to send that signal when the parent dies, then becomes the command. A `preexec_fn` would do the same, but it can
deadlock in a process that has threads. Standard library only.
"""

import argparse
import atexit
import contextlib
import ctypes
import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15  # linux/prctl.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT_BYTES = 2**25
ORPHAN_POLL_SECONDS = 1.0
WAKE_SECONDS = 1.0


def die_with_parent(death_signal: int = signal.SIGTERM, *, parent_pid: int | None = None) -> None:
    """Ask the kernel to send this process `death_signal` when the *thread* that started it ends.

    The request survives `exec`, but not `fork` or a change of user. Does nothing on other systems than Linux.

    Parameters
    ----------
    death_signal
        The signal to be sent.
    parent_pid
        The expected parent. If it has already died, the signal is sent at once. None means the current parent.
    """
    if sys.platform != "linux":
        return
    expected = os.getppid() if parent_pid is None else parent_pid
    _prctl(PR_SET_PDEATHSIG, int(death_signal))
    if os.getppid() != expected:
        os.kill(os.getpid(), death_signal)


def name_process(name: str) -> None:
    """Name this process in the output of ``top`` and ``ps -o comm``: at most 15 bytes. Call it in the main thread.

    A forked process has the command line of its parent. Does nothing on other systems than Linux.
    """
    if sys.platform == "linux":
        _prctl(PR_SET_NAME, name.encode())


def _prctl(option: int, value: int | bytes) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next request, instead of returning it to the system (glibc only).

    A web process allocates and frees the same few hundred kilobytes for each batch. Each page that it gets from the
    system again costs a page fault: about 150 for a batch of 1,000 rows.
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES // 2)


def end_when_orphaned(parent_pid: int, *, within_seconds: float) -> None:
    """Send this process TERM when `parent_pid` ends, and kill it if it still runs `within_seconds` later.

    Call it in the main thread, which handles SIGUSR2 for it. The kernel's alarm kills: a thread could not if another
    one held the interpreter lock for ever, as granian's main thread can when it stops (its issue 875).
    """

    def end(*_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, within_seconds)
        os.kill(os.getpid(), signal.SIGTERM)

    def wait() -> None:
        while os.getppid() == parent_pid:
            time.sleep(ORPHAN_POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGUSR2)

    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process
    signal.signal(signal.SIGUSR2, end)
    if sys.platform == "linux":
        die_with_parent(signal.SIGUSR2, parent_pid=parent_pid)
    else:
        threading.Thread(target=wait, name="orphan-watch", daemon=True).start()


def wake_for_signals(*, every_seconds: float = WAKE_SECONDS) -> None:
    """Let signal handlers run within `every_seconds`, even while the main thread waits for a lock.

    Call it in the main thread. Python runs a handler between two bytecode instructions of the main thread. A signal
    that arrives after the last instruction before a wait is handled only after the wait, and granian's workers wait
    until they are told to stop: under load, freshly started workers missed about one TERM in a hundred. SIGURG, which
    is ignored by default, wakes the main thread.
    """
    signal.signal(signal.SIGURG, lambda *_: None)
    main_thread = threading.get_ident()

    def wake() -> None:
        while True:
            time.sleep(every_seconds)
            signal.pthread_kill(main_thread, signal.SIGURG)

    threading.Thread(target=wake, name="signal-wake", daemon=True).start()


def bound_command(command: Sequence[str], *, death_signal: int = signal.SIGTERM) -> list[str]:
    """Return `command` behind the launcher that binds it to the calling process."""
    launcher = [sys.executable, "-I", "-S", os.path.abspath(__file__)]
    return [*launcher, "--signal", str(int(death_signal)), "--parent", str(os.getpid()), "--", *command]


def at_process_end(action: Callable[[], None]) -> None:
    """Call `action` once when this process exits or gets TERM, while its daemon threads still run.

    A process that `multiprocessing` forked, such as a granian worker, ends with `os._exit`: that skips `atexit`, but
    not the finalizers of `multiprocessing`.
    """
    import multiprocessing.util  # imported here because it would triple the launcher's start-up time

    once = functools.lru_cache(maxsize=1)(action)
    atexit.register(once)
    multiprocessing.util.Finalize(None, once, exitpriority=0)


def main() -> None:
    """Bind this process to its parent and become the command."""
    parser = argparse.ArgumentParser(description="Run a command that ends with the process that started it.")
    parser.add_argument("--signal", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    die_with_parent(options.signal, parent_pid=options.parent)
    os.execvp(options.command[0], options.command)  # noqa: S606 -- replacing this process is the purpose


if __name__ == "__main__":
    main()
