"""A real Celery worker on the test database."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlmon_site.celery import app
from tests.services.processes import await_start, start_process, stop_group


@contextlib.contextmanager
def celery_worker(
    environment: Mapping[str, str], folder: Path, *, processes: int = 1
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker with a pool of `processes`. Its output goes to ``worker.log`` in `folder`."""
    name = f"tests-{os.getpid()}@localhost"
    command = [sys.executable, "-m", "celery", "-A", "mlmon_site.celery", "worker", "--hostname", name]
    command += ["--concurrency", str(processes), "--loglevel", "INFO", "--without-gossip", "--without-mingle"]
    process = start_process(command, folder / "worker.log", environment=environment)
    try:
        await_start(
            process,
            "The Celery worker",
            lambda: bool(app.control.ping(destination=[name], timeout=0.5)),
            seconds=60,
        )
        yield process
    finally:
        stop_group(process)
