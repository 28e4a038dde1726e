"""The text that Prometheus scrapes: the workers' counters and the state gauges."""

from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

from monitoring.collectors import StateCollector
from monitoring.gpu import GpuCollector
from monitoring.multiprocess import delete_gauges_of_dead_processes, multiprocess_directory


def render_metrics(accept: str, *, directory: Path | None = None) -> tuple[bytes, str]:
    """Return all metrics of all worker processes, and the content type that `accept` chose (text or OpenMetrics).

    Parameters
    ----------
    directory
        Where the workers' files are; without it those of the server that this process belongs to, or its own metrics.
    """
    encode, content_type = choose_encoder(accept)
    registry = CollectorRegistry()
    directory = directory or multiprocess_directory()
    if directory is not None:
        delete_gauges_of_dead_processes(directory)
        MultiProcessCollector(registry, path=str(directory))  # type: ignore[no-untyped-call]
    else:
        registry.register(REGISTRY)
    registry.register(GpuCollector())
    registry.register(StateCollector())
    return encode(registry), content_type
