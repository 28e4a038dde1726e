"""Gauges of the machine's NVIDIA GPUs, read by NVML at each scrape; no GPU: no series but ``ml_gpu_up 0``."""

import logging
from collections.abc import Iterator
from types import ModuleType

import pynvml
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

logger = logging.getLogger(__name__)


class GpuCollector(Collector):
    """Utilisation (percent of the last sample period) and used memory (bytes) of each GPU, by its index."""

    def __init__(self, nvml: ModuleType = pynvml) -> None:
        self._nvml = nvml

    def collect(self) -> Iterator[Metric]:
        try:
            self._nvml.nvmlInit()  # NVML counts its users: cheap when it is initialised already
            try:
                families = list(self._families())
            finally:
                self._nvml.nvmlShutdown()
        except self._nvml.NVMLError as error:
            logger.debug("No GPU metrics: %s", error)
            families = [GaugeMetricFamily("ml_gpu_up", "1 where NVML answers on this machine.", value=0)]
        yield from families

    def describe(self) -> list[Metric]:
        return []

    def _families(self) -> Iterator[Metric]:
        utilization = GaugeMetricFamily(
            "ml_gpu_utilization_percent",
            "Share of time in which a kernel ran; absent without a GPU.",
            labels=["gpu_id"],
        )
        memory = GaugeMetricFamily(
            "ml_gpu_memory_used_bytes", "Used memory of the GPU; absent without one.", labels=["gpu_id"]
        )
        for index in range(self._nvml.nvmlDeviceGetCount()):
            handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
            utilization.add_metric([str(index)], self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
            memory.add_metric([str(index)], self._nvml.nvmlDeviceGetMemoryInfo(handle).used)
        yield utilization
        yield memory
        yield GaugeMetricFamily("ml_gpu_up", "1 where NVML answers on this machine.", value=1)
