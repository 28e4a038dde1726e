"""The zoo: small ONNX files as exporters write them, with the predictions of the framework that trained them.

`README.md` says how the files are built. Reading them takes no framework.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

FILES = Path(__file__).parent / "files"


@dataclass(frozen=True, kw_only=True)
class ZooModel:
    """An exported model, and what its framework predicts for a few held-out rows.

    Parameters
    ----------
    path, data_files
        The ONNX file, and the files that hold its external data.
    framework, exporter, options
        Names with versions, and the options that the exporter was called with.
    features
        A name for each column, in the order of the model's inputs and their columns.
    rows
        Held-out rows in the order of `features`: numbers, strings, and None for missing values.
    task
        "classification", "regression", "anomaly", "clustering" or "transformer".
    classes
        The framework's labels in its own order, or None.
    predictions
        The framework's prediction for each row; a list of numbers for several targets.
    probabilities
        For each row, a probability for each class; None if the framework has none.
    scores, score_kind
        For each row, a number or a list of numbers, or None; and what they are: "margins" (`decision_function`),
        "logits", "log-probabilities" or "distances".
    score_samples
        What `score_samples` returns for each row, of anomaly detectors.
    outputs
        Which field each output of the file holds in ONNX Runtime: "predictions", "probabilities", "scores",
        "score_samples" or "classes"; None if it equals none of them. Empty if the file does not run.
    onnxruntime
        Whether plain ONNX Runtime predicts the same: "equal", "wrong: …" or "fails: …".
    fixes
        The name of the model that this one replaces after the user has followed the obvious advice, or None.
    """

    name: str
    path: Path
    data_files: tuple[Path, ...]
    framework: str
    exporter: str
    options: str
    features: tuple[str, ...]
    rows: list[list[Any]]
    task: str
    classes: list[Any] | None
    predictions: list[Any]
    probabilities: list[list[float]] | None
    scores: list[Any] | None
    score_kind: str | None
    score_samples: list[float] | None
    producer_name: str
    outputs: dict[str, str | None]
    onnxruntime: str
    fixes: str | None


_IN_JSON = [each.name for each in fields(ZooModel) if each.name not in ("name", "path", "data_files")]


def zoo() -> list[ZooModel]:
    """Return all models, in the order of their names."""
    return list(_models())


def read_model(name: str) -> ZooModel:
    """Return the model with this name."""
    path = FILES / f"{name}.onnx"
    described = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    described["features"] = tuple(described["features"])
    return ZooModel(
        name=name,
        path=path,
        data_files=tuple(sorted(FILES.glob(f"{name}.onnx.*"))),
        **{key: described[key] for key in _IN_JSON},
    )


def _models() -> Iterator[ZooModel]:
    for path in sorted(FILES.glob("*.onnx")):
        yield read_model(path.stem)
