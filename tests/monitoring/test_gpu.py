"""GPU gauges, with the NVML of this machine and with a fake of two GPUs."""

from types import SimpleNamespace
from typing import Any, cast

import pynvml
from prometheus_client import CollectorRegistry

from monitoring.metrics.collectors import GpuCollector


def registry(nvml: Any) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(GpuCollector(nvml))
    return made


def two_gpus() -> Any:
    return SimpleNamespace(
        NVMLError=pynvml.NVMLError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUtilizationRates=lambda index: SimpleNamespace(gpu=40 + index),
        nvmlDeviceGetMemoryInfo=lambda index: SimpleNamespace(used=1000 + index),
    )


def test_each_gpu_has_its_series() -> None:
    gauges = registry(two_gpus())
    assert gauges.get_sample_value("ml_gpu_utilization_percent", {"gpu_id": "1"}) == 41
    assert gauges.get_sample_value("ml_gpu_memory_used_bytes", {"gpu_id": "0"}) == 1000
    assert gauges.get_sample_value("ml_gpu_up") == 1


def test_without_a_driver_there_are_no_gpu_series() -> None:
    nvml = two_gpus()

    def fails() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    nvml.nvmlInit = fails
    names = {metric.name for metric in registry(nvml).collect()}
    assert names == {"ml_gpu_up"}
    assert registry(nvml).get_sample_value("ml_gpu_up") == 0


def test_the_gauges_agree_with_the_installed_nvml() -> None:
    try:
        pynvml.nvmlInit()
        expected = pynvml.nvmlDeviceGetCount()
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        expected = 0
    families = {metric.name: metric for metric in registry(cast(Any, pynvml)).collect()}
    series = families["ml_gpu_memory_used_bytes"].samples if expected else []
    assert len(series) == expected
    assert families["ml_gpu_up"].samples[0].value == (1 if expected else 0)
