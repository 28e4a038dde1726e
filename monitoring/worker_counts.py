"""What the web workers have counted, added up from their files."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from monitoring.multiprocess import delete_gauges_of_dead_processes


class WorkerCountsCollector(Collector):
    """prometheus_client's sums over a directory, without the files that hold nothing yet.

    A worker makes its file first and gives it a size afterwards; one that is killed in between leaves it empty.
    prometheus_client fails at such a file, and the whole scrape with it (client_python#1199).
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        delete_gauges_of_dead_processes(self._directory)
        files = [str(path) for path in self._directory.glob("*.db") if _holds_something(path)]
        yield from MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]

    def describe(self) -> list[Metric]:
        return []


def _holds_something(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):  # the live gauges of a worker that has just been replaced
        return path.stat().st_size > 0
    return False
