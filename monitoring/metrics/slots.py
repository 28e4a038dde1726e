"""prometheus_client's multiprocess mode with slots instead of pids, so that recycled workers leave no files behind.

Each process takes the lowest free slot by locking a file; the lock is released when the process ends. The next process
in that slot continues its counts.
"""

import fcntl
import glob
import os
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import values
from prometheus_client.multiprocess import mark_process_dead

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client reads it


class SlotLock:
    """The slot of this process; a forked child takes another one when it first asks for it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._pid = 0
        self._slot = 0
        self._file_descriptor: int | None = None

    def slot(self) -> int:
        """Return the number of this process's slot."""
        if self._pid == os.getpid():
            return self._slot
        if self._file_descriptor is not None:
            os.close(self._file_descriptor)  # the parent keeps its lock: it has the same file open
        slot = 0
        while (file_descriptor := _try_lock(self._directory / f"slot-{slot}.lock")) is None:
            slot += 1
        mark_process_dead(slot, glob.escape(str(self._directory)))  # type: ignore[no-untyped-call]
        os.ftruncate(file_descriptor, 0)
        os.pwrite(file_descriptor, str(os.getpid()).encode(), 0)
        self._pid, self._slot, self._file_descriptor = os.getpid(), slot, file_descriptor
        return slot


def enable_multiprocess_metrics(directory: Path) -> None:
    """Store the metrics of this process in `directory`; call this before any metric is declared."""
    directory.mkdir(parents=True, exist_ok=True)
    os.environ[DIRECTORY_VARIABLE] = str(directory)
    values.ValueClass = values.MultiProcessValue(SlotLock(directory).slot)  # type: ignore[no-untyped-call]


def delete_gauges_of_dead_processes(directory: Path) -> None:
    """Delete the live gauges of slots that no process holds."""
    for slot, path in _slots(directory):
        file_descriptor = _try_lock(path)
        if file_descriptor is not None:
            mark_process_dead(slot, glob.escape(str(directory)))  # type: ignore[no-untyped-call]
            os.close(file_descriptor)


def processes_by_slot(directory: Path) -> dict[int, int]:
    """Return the pid of the process in each slot that is held."""
    found = {}
    for slot, path in sorted(_slots(directory)):
        file_descriptor = _try_lock(path)
        if file_descriptor is not None:
            os.close(file_descriptor)  # no process holds the slot
        elif (pid := path.read_text()).isdigit():
            found[slot] = int(pid)
    return found


def reset_metrics(directory: Path) -> None:
    """Reset all counters to 0, at the start of a whole server, never of one worker."""
    for path in directory.glob("*.db"):
        path.unlink(missing_ok=True)


def _slots(directory: Path) -> Iterator[tuple[int, Path]]:
    for path in directory.glob("slot-*.lock"):
        yield int(path.stem.removeprefix("slot-")), path


def _try_lock(path: Path) -> int | None:
    """Return an open file with the lock on `path`, or None if another process has the lock."""
    file_descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file_descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file_descriptor)
        return None
    return file_descriptor
