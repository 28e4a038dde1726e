"""CPU time, memory and files of each web process of this machine, by its slot, and the Python they run on."""

from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from monitoring.multiprocess import processes_by_slot


class WebProcessCollector(Collector):
    """prometheus_client's ``process_…`` of every process that holds a slot, with the label ``slot``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        merged: dict[str, Metric] = {}
        for slot, pid in processes_by_slot(self._directory).items():
            for family in _families_of(pid):
                target = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    target.add_sample(sample.name, {"slot": str(slot)}, sample.value)
        yield from merged.values()

    def describe(self) -> list[Metric]:
        return []


def python_collector() -> Collector:
    """Return the collector of ``python_info``."""
    return PlatformCollector(registry=CollectorRegistry())


def _families_of(pid: int) -> list[Metric]:
    """Return what /proc says of a process: nothing of one that has just ended, nor outside Linux."""
    return list(ProcessCollector(pid=lambda: pid, registry=CollectorRegistry()).collect())
