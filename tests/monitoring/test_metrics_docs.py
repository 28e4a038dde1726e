"""docs/metrics.md tells the truth."""

import re
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from inference import metrics
from monitoring import gpu, state_metrics

DOCUMENT = Path(__file__).resolve().parent.parent.parent / "docs" / "metrics.md"


def documented() -> dict[str, tuple[str, tuple[str, ...]]]:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]+) \|", DOCUMENT.read_text(), re.MULTILINE)
    return {name: (kind, tuple(re.findall(r"\w+", names))) for name, kind, names in rows}


def declared() -> dict[str, tuple[str, tuple[str, ...]]]:
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            name = f"{metric._name}_total" if metric._type == "counter" else metric._name
            found[name] = (str(metric._type), tuple(metric._labelnames))
    for gauge in state_metrics.ALL:
        found[gauge.name] = ("gauge", gauge.labels)
    return found


def test_every_metric_is_documented_as_it_is_declared() -> None:
    gpu_names = set(re.findall(r'"(ml_gpu_\w+)"', Path(gpu.__file__).read_text()))
    table = documented()
    assert {name: row for name, row in table.items() if name not in gpu_names} == declared()
    assert gpu_names <= table.keys()


def test_units_and_suffixes_follow_the_conventions() -> None:
    for name, (kind, _) in documented().items():
        assert name.startswith("ml_")
        assert name.endswith("_total") == (kind == "counter")
