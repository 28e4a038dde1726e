"""One embedded run in a folder at a time."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


class AlreadyRunningError(Exception):
    """Another run holds the lock."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"mlmon is running here already ({holder}).")
        self.holder = holder


@contextlib.contextmanager
def run_lock(path: Path, *, holder: str) -> Iterator[None]:
    """Hold the lock file `path`, which names the `holder`, for the block; the kernel lets go of it with the process.

    Raises
    ------
    AlreadyRunningError
        Somebody holds it.
    """
    descriptor = _locked(path)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)
        yield
    finally:
        # Removed while it is held: who opened it before finds another file, or none, under its name and tries again.
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        os.close(descriptor)


def _locked(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace")
            os.close(descriptor)
            raise AlreadyRunningError(holder) from None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)
