"""Kill an archiving process with -9 at one line after the other; the tests run this program.

Every worker is a separate process, forked before Django has opened a connection. It kills itself before the first line
of the archive's code at which no earlier worker was killed, until one reaches the end.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

KILLED_IN = {"archive": ("archiving.py",), "compact": ("compaction.py",)}


def kill_before_new_line(files: Collection[str], killed_at: Collection[str], write_end: int) -> Callable[..., Any]:
    """Return a trace function that kills the process before the first line of `files` that is not in `killed_at`."""

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        name = Path(frame.f_code.co_filename).name
        if name not in files:
            return None
        if event == "line" and f"{name}:{frame.f_lineno}" not in killed_at:
            os.write(write_end, f"{name}:{frame.f_lineno}".encode())
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


def ended_child(work: Callable[[], object], trace: Callable[..., Any] | None = None) -> int:
    """Run `work` in a child, so that this process has no connection; return the status of `os.waitpid`."""
    pid = os.fork()
    if pid == 0:
        sys.settrace(trace)
        work()
        sys.settrace(None)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def kill_at_every_line(job: str, work: Callable[[], object], observe: Callable[[int], object]) -> list[str]:
    """Run `work` until it reaches its end, calling `observe` before each run; return where it was killed."""
    read_end, write_end = os.pipe()
    killed_at: list[str] = []
    number = 0
    while True:
        number += 1
        if ended_child(partial(observe, number)) != 0:
            raise RuntimeError("The observations could not be captured.")
        status = ended_child(work, kill_before_new_line(KILLED_IN[job], killed_at, write_end))
        if status == 0:
            return killed_at
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            raise RuntimeError(f"A worker ended with status {status}.")
        killed_at.append(os.read(read_end, 1000).decode())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("job", choices=tuple(KILLED_IN))
    parser.add_argument("version_id", type=int)
    options = parser.parse_args()

    import django
    import pyarrow as pa

    django.setup()
    pa.array([1.0])  # imports pandas, if it is installed, once instead of in each child
    from inference.services import compaction
    from inference.services.archiving import archive_observations
    from inference.stream import redis_client
    from tests.inference.observed import append

    def observe(number: int) -> None:
        client = redis_client()
        # As if the lock of the killed worker had expired.
        client.delete(f"mlmon:{{{options.version_id}}}:archive")
        append(client, options.version_id, [float(number), float(number)])
        append(client, options.version_id, [float(number)], name="other" if number % 7 == 0 else "x")
        if options.job == "compact":
            archive_observations(seconds=60)

    def archive() -> None:
        archive_observations(seconds=60)

    def compact() -> None:
        compaction.compact_archive(seconds=60)

    work = {"archive": archive, "compact": compact}[options.job]
    print(json.dumps(kill_at_every_line(options.job, work, observe)))  # noqa: T201 -- the test reads it


if __name__ == "__main__":
    main()
