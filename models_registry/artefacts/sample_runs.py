"""Sample rows, and what a model computes from them in one run or in several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from models_registry.artefacts.graph import known_strings, tree_thresholds
from models_registry.artefacts.report import ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE, InputTensor
from models_registry.exceptions import ArtefactError
from models_registry.onnx_session import load_session, results_by_row

Tensor = NDArray[Any]


class LoadError(ArtefactError):
    """ONNX Runtime cannot load the model."""


def load(artefact: Path | bytes) -> ort.InferenceSession:
    try:
        return load_session(artefact)
    except ArtefactError as error:
        raise LoadError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Runner:
    """A session that predicts in runs of a number of rows; without a remainder if the exporter has fixed it."""

    session: ort.InferenceSession
    rows_at_once: int

    def results(self, feed: dict[str, Tensor], rows: int) -> dict[str, list[Any]]:
        """Return the results of each run by output."""
        names = [output.name for output in self.session.get_outputs()]
        runs = [
            self.session.run(None, {name: tensor[start : start + self.rows_at_once] for name, tensor in feed.items()})
            for start in range(0, rows, self.rows_at_once)
        ]
        return {name: [run[position] for run in runs] for position, name in enumerate(names)}


def joined(results: list[Any], rows: int) -> Tensor | None:
    """Return the results of runs of equal size as rows x width, or None."""
    parts = [results_by_row(result, rows // len(results)) for result in results]
    if any(part is None for part in parts) or len({part.shape[1] for part in parts if part is not None}) > 1:
        return None
    return np.concatenate([part for part in parts if part is not None])


def is_equal(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None or one.shape != other.shape:
        return one is other
    if one.dtype.kind == "f":
        return bool(np.allclose(one, other, rtol=RELATIVE_TOLERANCE, atol=ABSOLUTE_TOLERANCE, equal_nan=True))
    return bool((one == other).all())


def sample(each: InputTensor, numbers: NDArray[Any]) -> Tensor:
    """Return an input tensor whose rows repeat one number each, or empty strings."""
    shape = (len(numbers), each["width"])
    values: Tensor
    if each["tensor_type"] == "string":
        values = np.full(shape, "", dtype=np.object_)
    else:
        values = np.broadcast_to(numbers[:, None], shape).astype(each["tensor_type"])
    return values.reshape(-1) if each["rank"] == 1 else values


@dataclass(frozen=True, slots=True)
class SampleHints:
    """Values that reach much of a model: thresholds of trees by column, if it has one input, and known strings."""

    thresholds: Mapping[int, Sequence[float]] = field(default_factory=dict)
    strings: Sequence[str] = ()


def sample_hints(graph: onnx.GraphProto, inputs: list[InputTensor]) -> SampleHints:
    """Return the values that occur in the operators of a graph."""
    return SampleHints(tree_thresholds(graph) if len(inputs) == 1 else {}, known_strings(graph))


def generic_rows(inputs: list[InputTensor], rows: int, hints: SampleHints = SampleHints()) -> dict[str, Tensor]:
    """Return rows of unlike values, so that no two scores or distances are equal by chance; always the same ones.

    Two thirds of the rows lie around the thresholds of trees, so that many leaves are reached; strings are known ones.
    """
    generator = np.random.default_rng(20)
    feed = {}
    for each in inputs:
        shape = (rows, each["width"])
        tensor: Tensor
        if each["tensor_type"] == "string":
            tensor = generator.choice(np.array(["", *(hints.strings or "abc")], dtype=np.object_), shape)
        elif each["tensor_type"] in ("float32", "float64"):
            numbers = generator.normal(1.0, 2.0, shape)
            for column, values in hints.thresholds.items():
                if column < each["width"]:
                    near = generator.choice(np.array(values), rows) * generator.normal(1.0, 0.3, rows)
                    numbers[rows // 3 :, column] = near[rows // 3 :]
            tensor = numbers.astype(each["tensor_type"])
        else:
            tensor = generator.integers(0, 2 if each["tensor_type"] == "bool" else 7, shape).astype(each["tensor_type"])
        feed[each["name"]] = tensor.reshape(-1) if each["rank"] == 1 else tensor
    return feed
