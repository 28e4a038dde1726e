"""The text that Prometheus scrapes."""

from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, PlatformCollector
from prometheus_client.exposition import choose_encoder

from monitoring.metrics.collectors import (
    GpuCollector,
    TaskQueueCollector,
    WebProcessCollector,
    WorkerCountsCollector,
)
from monitoring.metrics.slots import multiprocess_directory
from monitoring.metrics.state import StateText

END_OF_OPENMETRICS = b"# EOF\n"

_state_text = StateText()


def render_metrics(accept: str, *, directory: Path | None = None) -> tuple[bytes, str]:
    """Return the metrics of all worker processes, and the content type chosen by `accept` (text or OpenMetrics).

    A client that asks for doubled underscores (``escaping=dots``) is told that nothing is escaped, because no name
    needs it.

    Parameters
    ----------
    directory
        Folder of the workers' files; by default that of the server that this process belongs to, or else the metrics
        of this process.
    """
    encode, content_type = choose_encoder(accept.replace("escaping=dots", "escaping=underscores"))
    directory = directory or multiprocess_directory()
    registry = CollectorRegistry()
    if directory is not None:
        registry.register(WorkerCountsCollector(directory))
        registry.register(WebProcessCollector(directory))
        PlatformCollector(registry=registry)  # registers itself
    else:
        registry.register(REGISTRY)
    registry.register(GpuCollector())
    registry.register(TaskQueueCollector())
    text = encode(registry)
    is_openmetrics = text.endswith(END_OF_OPENMETRICS)
    state = _state_text.render(openmetrics=is_openmetrics)
    return text.removesuffix(END_OF_OPENMETRICS) + state + END_OF_OPENMETRICS * is_openmetrics, content_type
