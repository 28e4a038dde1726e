"""Inspect models that tests build."""

from pathlib import Path

import onnx
import pytest

from models_registry.artefacts.inspection import ArtefactLimits, ArtefactReport, inspect_artefact
from models_registry.exceptions import ArtefactError

LIMITS = ArtefactLimits()


def inspect(content: bytes | onnx.ModelProto, folder: Path, limits: ArtefactLimits = LIMITS) -> ArtefactReport:
    """Write the model to a file and inspect it."""
    path = folder / "upload"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return inspect_artefact(path, limits=limits)


def refusal(content: bytes | onnx.ModelProto, folder: Path, limits: ArtefactLimits = LIMITS) -> str:
    """Return the error message that the inspection of the model raises."""
    with pytest.raises(ArtefactError) as caught:
        inspect(content, folder, limits)
    return str(caught.value)
