"""Inspect models that tests build."""

from pathlib import Path

import onnx
import pytest

from mlmon.schema import TaskType
from models_registry.artefacts.inspection import ArtefactLimits, ArtefactReport, inspect_artefact
from models_registry.exceptions import ArtefactError
from models_registry.schema import Declaration

LIMITS = ArtefactLimits()
REGRESSION = Declaration(TaskType.REGRESSION)


def inspect(
    content: bytes | onnx.ModelProto,
    folder: Path,
    limits: ArtefactLimits = LIMITS,
    declared: Declaration = Declaration(),  # noqa: B008 -- immutable
) -> ArtefactReport:
    """Write the model to a file and inspect it; if it is normalised, that is ``normalised`` in the folder."""
    path = folder / "upload"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return inspect_artefact(path, limits=limits, normalised_path=folder / "normalised", declared=declared)


def refusal(
    content: bytes | onnx.ModelProto,
    folder: Path,
    limits: ArtefactLimits = LIMITS,
    declared: Declaration = Declaration(),  # noqa: B008 -- immutable
) -> str:
    """Return the error message that the inspection of the model raises."""
    with pytest.raises(ArtefactError) as caught:
        inspect(content, folder, limits, declared)
    return str(caught.value)
