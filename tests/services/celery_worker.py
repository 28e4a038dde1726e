"""A real Celery worker beside the tests, on the test database."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlmon_site.celery import app
from mlmon_site.processes import bound_command
from tests.services.processes import stop_group, wait_until

PROJECT = Path(__file__).resolve().parent.parent.parent


@contextlib.contextmanager
def celery_worker(
    environment: Mapping[str, str], folder: Path, *, processes: int = 1
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker with so many pool processes under `environment`; its output goes to ``worker.log`` in `folder`."""
    name = f"tests-{os.getpid()}@localhost"
    command = [sys.executable, "-m", "celery", "-A", "mlmon_site.celery", "worker"]
    command += [
        "--concurrency",
        f"{processes}",
        "--loglevel",
        "INFO",
        "--hostname",
        name,
        "--without-gossip",
        "--without-mingle",
    ]
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            bound_command(command), cwd=PROJECT, env=dict(environment), stdout=log, stderr=log, start_new_session=True
        )

    def answers() -> bool:
        return bool(app.control.ping(destination=[name], timeout=0.5))

    try:
        wait_until(answers, seconds=60, what="The Celery worker", process=process)
        yield process
    finally:
        stop_group(process)
