"""Metrics that are collected at each scrape from other sources: workers' files, processes, GPUs, the task queue."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pynvml
import redis
from django.conf import settings
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

from monitoring.metrics.slots import delete_gauges_of_dead_processes, processes_by_slot

logger = logging.getLogger(__name__)

QUEUE = "celery"  # Celery's default queue, the only one that mlmon uses
REDIS_TIMEOUT_SECONDS = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class WorkerCountsCollector:
    """prometheus_client's sums over the workers' files, without empty files.

    A worker creates its file before it gives it a size, and leaves an empty file if it is killed in between.
    prometheus_client fails at an empty file, and with it the whole scrape (client_python#1199).
    """

    directory: Path

    def collect(self) -> Iterator[Metric]:
        delete_gauges_of_dead_processes(self.directory)
        files = []
        for path in self.directory.glob("*.db"):
            with contextlib.suppress(FileNotFoundError):  # live gauges of a worker that was just replaced
                if path.stat().st_size > 0:
                    files.append(str(path))
        yield from MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True, eq=False)
class WebProcessCollector:
    """prometheus_client's ``process_…`` metrics of each process that holds a slot, with the label ``slot``."""

    directory: Path

    def collect(self) -> Iterator[Metric]:
        merged: dict[str, Metric] = {}
        for slot, pid in processes_by_slot(self.directory).items():
            # Empty outside Linux, and for a process that has just ended.
            process = ProcessCollector(pid=lambda pid=pid: pid, registry=CollectorRegistry())  # type: ignore[misc]
            for family in process.collect():
                target = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    target.add_sample(sample.name, {"slot": str(slot)}, sample.value)
        yield from merged.values()


@dataclass(frozen=True, slots=True, eq=False)
class GpuCollector:
    """Utilisation and used memory of each NVIDIA GPU, by its index; only ``ml_gpu_up 0`` without a GPU."""

    nvml: ModuleType = pynvml

    def collect(self) -> Iterator[Metric]:
        utilization = GaugeMetricFamily(
            "ml_gpu_utilization_percent",
            "Share of time in which a kernel ran; absent without a GPU.",
            labels=["gpu_id"],
        )
        memory = GaugeMetricFamily(
            "ml_gpu_memory_used_bytes", "Used memory of the GPU; absent without a GPU.", labels=["gpu_id"]
        )
        families = [utilization, memory]
        try:
            self.nvml.nvmlInit()  # NVML counts its users, so this is cheap after the first call
            try:
                for index in range(self.nvml.nvmlDeviceGetCount()):
                    handle = self.nvml.nvmlDeviceGetHandleByIndex(index)
                    utilization.add_metric([str(index)], self.nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
                    memory.add_metric([str(index)], self.nvml.nvmlDeviceGetMemoryInfo(handle).used)
            finally:
                self.nvml.nvmlShutdown()
        except self.nvml.NVMLError as error:
            logger.debug("No GPU metrics: %s", error)
            families = []
        yield from families
        yield GaugeMetricFamily("ml_gpu_up", "1 if NVML is available on this machine.", value=bool(families))


class TaskQueueCollector:
    """Number of tasks in the queue of the broker; absent while Redis is unavailable."""

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "ml_task_queue_length",
            "Number of tasks that wait for a worker; absent while Redis is unavailable.",
            labels=["queue_name"],
        )
        try:
            with redis.Redis.from_url(
                settings.REDIS_URL, socket_timeout=REDIS_TIMEOUT_SECONDS, socket_connect_timeout=REDIS_TIMEOUT_SECONDS
            ) as client:
                family.add_metric([QUEUE], float(client.llen(QUEUE)))
        except redis.RedisError as error:
            logger.debug("No queue length: %s", error)
        yield family
