"""The text that Prometheus scrapes: the workers' counters and the state gauges."""

from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder

from monitoring.gpu import GpuCollector
from monitoring.multiprocess import multiprocess_directory
from monitoring.processes import WebProcessCollector, python_collector
from monitoring.state_text import StateText
from monitoring.task_queue import TaskQueueCollector
from monitoring.worker_counts import WorkerCountsCollector

END_OF_OPENMETRICS = b"# EOF\n"

_state_text = StateText()


def render_metrics(accept: str, *, directory: Path | None = None) -> tuple[bytes, str]:
    """Return all metrics of all worker processes, and the content type that `accept` chose (text or OpenMetrics).

    Who asks for names with their underscores doubled (``escaping=dots``) is told that they are not: the names need no
    escaping.

    Parameters
    ----------
    directory
        Where the workers' files are; without it those of the server that this process belongs to, or its own metrics.
    """
    encode, content_type = choose_encoder(accept.replace("escaping=dots", "escaping=underscores"))
    text = encode(_registry(directory or multiprocess_directory()))
    is_openmetrics = text.endswith(END_OF_OPENMETRICS)
    state = _state_text.render(openmetrics=is_openmetrics)
    return text.removesuffix(END_OF_OPENMETRICS) + state + END_OF_OPENMETRICS * is_openmetrics, content_type


def _registry(directory: Path | None) -> CollectorRegistry:
    """Return what is not read from the database."""
    registry = CollectorRegistry()
    if directory is not None:
        registry.register(WorkerCountsCollector(directory))
        registry.register(WebProcessCollector(directory))
        registry.register(python_collector())
    else:
        registry.register(REGISTRY)
    registry.register(GpuCollector())
    registry.register(TaskQueueCollector())
    return registry
