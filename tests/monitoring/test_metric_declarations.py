"""docs/metrics.md declares every metric as the code does; rules and dashboards have their own tests."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import NamedTuple, cast

import pynvml
import pytest
import redis
from django.conf import settings
from django.test import Client
from prometheus_client import REGISTRY, CollectorRegistry, PlatformCollector
from prometheus_client.metrics_core import Metric

from monitoring.metrics.collectors import GpuCollector, TaskQueueCollector, WebProcessCollector
from monitoring.metrics.declarations import GROUPS
from monitoring.metrics.slots import SlotLock
from tests.factories import uploaded_version

pytestmark = pytest.mark.django_db

COLLECTORS = "monitoring.metrics.collectors"
DOCUMENT = settings.BASE_DIR / "docs" / "metrics.md"


class Declaration(NamedTuple):
    """A row of the table."""

    name: str
    kind: str
    labels: tuple[str, ...]
    owner: str
    meaning: str


def declarations() -> dict[str, Declaration]:
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \| ([^|]+) \| `([\w.]+)` \| ([^|]+) \|$", DOCUMENT.read_text(), re.MULTILINE
    )
    assert len(rows) == len({name for name, *_ in rows}), "a metric is declared twice"
    return {
        name: Declaration(name, kind, tuple(sorted(re.findall(r"\w+", labels))), owner, meaning)
        for name, kind, labels, owner, meaning in rows
    }


def _of_state() -> Iterator[Declaration]:
    for group in GROUPS:
        labels = tuple(sorted(group.labels))
        for metric in group.metrics:
            yield Declaration(metric.name, metric.kind, labels, "monitoring.metrics.declarations", metric.documentation)


def _of_families(owner: str, families: Iterable[Metric]) -> Iterator[Declaration]:
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        (labels,) = {tuple(sorted(sample.labels.keys() - {"le"})) for sample in family.samples}
        yield Declaration(name, family.type, labels, owner, family.documentation)


def _of_gpus() -> Iterator[Declaration]:
    one_gpu = SimpleNamespace(
        NVMLError=pynvml.NVMLError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=40),
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=1000),
    )
    yield from _of_families(COLLECTORS, GpuCollector(cast(ModuleType, one_gpu)).collect())


@pytest.fixture
def of_the_code(client: Client, tmp_path: Path, redis_client: redis.Redis) -> list[Declaration]:
    """Return the metrics of a process that has loaded a version and predicted, and of the other sources."""
    uploaded_version("classifier")
    response = client.post("/predict", {"features": [5.1, 3.5, 1.4, 0.2]}, content_type="application/json")
    assert response.status_code == 200
    SlotLock(tmp_path).slot()
    request_path = (family for family in REGISTRY.collect() if family.name.startswith("ml_"))
    return [
        *_of_families("inference.metrics", request_path),
        *_of_state(),
        *_of_gpus(),
        *_of_families(COLLECTORS, TaskQueueCollector().collect()),
        *_of_families(COLLECTORS, WebProcessCollector(tmp_path).collect()),
        *_of_families("monitoring.metrics.exposition", PlatformCollector(registry=CollectorRegistry()).collect()),
    ]


def test_the_declared_metrics_equal_those_of_the_code(of_the_code: list[Declaration]) -> None:
    assert {row.name: row for row in of_the_code} == declarations()


def test_each_name_has_one_owner(of_the_code: list[Declaration]) -> None:
    assert len({row.name for row in of_the_code}) == len(of_the_code)


def test_help_needs_no_escaping_in_either_format(of_the_code: list[Declaration]) -> None:
    assert not [row.name for row in of_the_code if set(row.meaning) & set('\\\n"')]


def test_units_and_suffixes_follow_the_conventions() -> None:
    for row in declarations().values():
        assert row.name.startswith(("ml_", "process_", "python_"))
        assert row.name.endswith("_total") == (row.kind == "counter")
