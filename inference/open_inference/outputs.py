"""The outputs of a version as tensors, and the body of a response with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from inference.open_inference.datatypes import BYTES, DTYPES, FP64, packed_strings
from inference.open_inference.messages import HEADER_LENGTH, RequestedOutput
from mlmon.schema import TaskType
from models_registry.engine import Predictions
from models_registry.schema import ModelSchema, ScoreKind

PREDICTION, CONFIDENCE, SCORE = "prediction", "confidence", "score"  # as in the response of /predict
JSON, BINARY = "application/json", "application/octet-stream"


@dataclass(frozen=True, slots=True)
class OutputTensor:
    """An output of a version.

    Attributes
    ----------
    classes
        The classes: of a prediction those that it can be, of scores those of the columns; empty for other numbers.
    has_columns
        Whether the shape is rows x classes, not only rows.
    """

    name: str
    datatype: str
    classes: tuple[str, ...] = ()
    has_columns: bool = False


@dataclass(frozen=True, slots=True)
class EncodedResponse:
    """The parts of a body, to be sent one after the other, and its headers."""

    parts: tuple[bytes, ...]
    headers: Mapping[str, str]


def outputs_of(schema: ModelSchema) -> dict[str, OutputTensor]:
    """Return the outputs of a version by name.

    ``prediction``, ``confidence`` and ``score`` are those of ``/predict``. The scores of all classes are named after
    what they are: ``probabilities``, ``logits`` or ``margins``.
    """
    classes = schema.classes
    outputs = [OutputTensor(PREDICTION, BYTES if classes else FP64, classes)]
    if schema.task_type is TaskType.ANOMALY and schema.score_output:
        outputs.append(OutputTensor(SCORE, FP64))
    elif schema.task_type is TaskType.CLASSIFICATION and schema.score_kind and schema.score_output:
        outputs.append(OutputTensor(SCORE if schema.score_kind is ScoreKind.MARGINS else CONFIDENCE, FP64))
        outputs.append(OutputTensor(schema.score_kind.value, FP64, classes, has_columns=True))
    return {output.name: output for output in outputs}


def encoded_response(
    about: Mapping[str, Any], schema: ModelSchema, predictions: Predictions, requested: Sequence[RequestedOutput]
) -> EncodedResponse:
    """Return the response with the requested outputs.

    Parameters
    ----------
    about
        The other members of the JSON: model, version, id, parameters.
    """
    tensors = outputs_of(schema)
    described, parts = [], []
    for output in requested:
        tensor, values = tensors[output.name], _values(output.name, predictions)
        one: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(values.shape)}
        if output.is_binary:
            parts.append(_packed(tensor, values, predictions))
            one["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            one["data"] = values.ravel().tolist()
        described.append(one)
    header = orjson.dumps({**about, "outputs": described})
    if not parts:
        return EncodedResponse((header,), {"Content-Type": JSON})
    return EncodedResponse((header, *parts), {"Content-Type": BINARY, HEADER_LENGTH: str(len(header))})


def _values(name: str, predictions: Predictions) -> NDArray[Any]:
    """Return the values of an output: of shape rows, or rows x classes."""
    plain = {PREDICTION: predictions.labels, CONFIDENCE: predictions.confidence, SCORE: predictions.score}
    values = plain.get(name, predictions.scores)
    assert values is not None, name  # noqa: S101 -- `outputs_of` lists only what the engine returns
    return values


def _packed(tensor: OutputTensor, values: NDArray[Any], predictions: Predictions) -> bytes:
    if tensor.datatype == BYTES and predictions.class_index is not None:
        return packed_strings(tensor.classes, predictions.class_index)
    return np.ascontiguousarray(values, dtype=DTYPES[tensor.datatype]).tobytes()
