"""A model of the zoo before it is written, and how it is written."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests.models_registry.zoo import FILES, read_model
from tests.models_registry.zoo.comparison import compare


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A trained model with the framework's predictions; the fields are those of `ZooModel`.

    ``export`` writes the ONNX file, and its external data beside it, to the path that it is given.
    """

    export: Callable[[Path], object]
    framework: str
    exporter: str
    options: str
    features: tuple[str, ...]
    rows: Any
    task: str
    predictions: Any
    classes: Any = None
    probabilities: Any = None
    scores: Any = None
    score_kind: str | None = None
    score_samples: Any = None
    fixes: str | None = None


# A recipe trains a model when it is called.
Recipes = dict[str, Callable[[], Entry]]


def package(name: str) -> str:
    """Return the package's name and installed version."""
    return f"{name} {version(name)}"


def write(name: str, entry: Entry) -> str:
    """Export the entry, describe it in a JSON file, and return how ONNX Runtime compares."""
    path = FILES / f"{name}.onnx"
    for old in FILES.glob(f"{name}.onnx*"):
        old.unlink()
    entry.export(path)
    described = {key: getattr(entry, key) for key in Entry.__dataclass_fields__ if key != "export"}
    described |= {
        "producer_name": onnx.load(path, load_external_data=False).producer_name,
        "outputs": {},
        "onnxruntime": "",
    }
    json_path = path.with_suffix(".json")
    _write_json(json_path, described)
    described["onnxruntime"], described["outputs"] = compare(read_model(name))
    _write_json(json_path, described)
    return str(described["onnxruntime"])


def _write_json(path: Path, described: dict[str, Any]) -> None:
    """Write one key a line, so that diffs are readable and files stay small."""
    lines = [f"{json.dumps(key)}: {json.dumps(_plain(value), ensure_ascii=False)}" for key, value in described.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    """Return the value as JSON types: NaN is null, and a float32 has its shortest spelling."""
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.float32):
        return None if np.isnan(value) else float(str(value))
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and np.isnan(value) else value
