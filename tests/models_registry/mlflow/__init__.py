"""MLflow model folders as MLflow wrote them, with the framework's own predictions. `README.md` says how they are built.

Reading them takes neither MLflow nor a framework.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDERS = Path(__file__).parent / "folders"


@dataclass(frozen=True, kw_only=True)
class LoggedModel:
    """A model that was logged in its framework's flavour, and as ONNX with the line of the refusal.

    Attributes
    ----------
    folder, refused
        The folder of the ONNX model, and the ``MLmodel`` of the framework's flavour.
    framework
        The flavour and the version of MLflow.
    features
        The columns of the training data; empty if it was an array.
    rows, predictions, probabilities
        Rows in the order of the features, and what the framework predicts.
    line
        The line that was executed.
    """

    name: str
    folder: Path
    refused: Path
    framework: str
    features: list[str]
    rows: list[list[Any]]
    predictions: list[Any]
    probabilities: list[list[float]] | None
    line: str


def logged_model(name: str) -> LoggedModel:
    """Return the model with this name."""
    folder = FOLDERS / name
    described = json.loads((folder / "described.json").read_text(encoding="utf-8"))
    return LoggedModel(name=name, folder=folder / "onnx", refused=folder / "refused" / "MLmodel", **described)


def logged_models() -> list[LoggedModel]:
    """Return all models, in the order of their names."""
    return [logged_model(path.name) for path in sorted(FOLDERS.iterdir())]
