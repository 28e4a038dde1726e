"""Rows and predictions in the bodies of a model server: protocol v1 (`instances`, `predictions`) and v2 (tensors).

A body of protocol v2 may end with binary tensors. The length of its JSON part is a header that the logger does not
send with a response, so the JSON part ends where its object ends.
"""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from inference.exceptions import EventError
from inference.kserve.events import EventOutcome
from inference.observation_items import SUM_TOLERANCE
from mlmon.exceptions import LabelError
from mlmon.labels import label_string
from mlmon.schema import Feature, TaskType
from models_registry.schema import ModelSchema

DTYPES: Mapping[str, Any] = {
    "BOOL": "?",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
FLOATS = frozenset({"FP16", "FP32", "FP64"})
STRINGS = "BYTES"
LONGEST_SHAPE = 8
OBSERVATION_FIELDS = frozenset({"prediction", "confidence", "probabilities"})


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of protocol v2: its values in row-major order, a missing number as None."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    values: Sequence[Any]

    @property
    def rows(self) -> int:
        return self.shape[0] if self.shape else 1

    @property
    def width(self) -> int:
        """Number of values in each row."""
        return math.prod(self.shape[1:])

    def split(self) -> list[list[Any]]:
        """Return the values of each row."""
        width = self.width
        return [list(self.values[start : start + width]) for start in range(0, self.rows * width, width or 1)]


def rows_of_request(body: bytes, features: Sequence[Feature], *, most_rows: int) -> list[Any]:
    """Return the rows of a request, as `inference.rows.columns_of_rows` expects them; it checks their values.

    Protocol v1 has a list for each row or an object by feature name. Protocol v2 has one tensor with a column for each
    feature, in their order, or one tensor for each feature, by its name.

    Raises
    ------
    EventError
        The body is no such request, or has too many rows.
    """
    document, tail = _document(body)
    names = [feature.name for feature in features]
    rows: Any = document.get("instances")
    if rows is None:
        rows = _rows_of_tensors(_tensors(document, "inputs", tail), names)
    elif not isinstance(rows, list):
        raise _undecodable('"instances" must be a list.')
    elif len(names) == 1:
        rows = [row if isinstance(row, list | dict) else [row] for row in rows]
    if not 0 < len(rows) <= most_rows:
        raise _undecodable(f"The request has {len(rows):,} rows; 1 to {most_rows:,} are accepted.")
    return list(rows)


def predictions_of_response(body: bytes, schema: ModelSchema, *, rows: int) -> list[dict[str, Any]]:
    """Return each row's prediction with the fields of an observation; `parse_observation` checks their values.

    A prediction is a class or a number, or a classifier's probabilities in the order of its classes. A number that is
    not one of two classes is the probability of the second.

    Raises
    ------
    EventError
        The body is no such response, or has another number of predictions than `rows`.
    """
    document, tail = _document(body)
    predictions = document.get("predictions")
    if predictions is None:
        found = _predictions_of_tensors(_tensors(document, "outputs", tail), schema, rows)
    elif not isinstance(predictions, list):
        raise _undecodable('"predictions" must be a list.')
    else:
        found = [_prediction(one, schema) for one in predictions]
    if len(found) != rows:
        raise _undecodable(f"The response has {len(found):,} predictions for {rows:,} rows.")
    return found


def _document(body: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the JSON object of a body, and the binary tensors behind it."""
    try:
        document, tail = orjson.loads(body), b""
    except orjson.JSONDecodeError as error:
        if body[:1] != b"{":
            raise _undecodable(f"The body is not JSON: {error}.") from None
        try:
            # Latin-1 has one character for each byte, so the end is also the place in the body.
            _, end = json.JSONDecoder(strict=False).raw_decode(body.decode("latin-1"))
            document, tail = orjson.loads(body[:end]), body[end:]
        except (ValueError, RecursionError):
            raise _undecodable(f"The body is not JSON: {error}.") from None
    if not isinstance(document, dict):
        raise _undecodable("The body must be a JSON object.")
    return document, tail


def _tensors(document: Mapping[str, Any], name: str, tail: bytes) -> list[Tensor]:
    listed = document.get(name)
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise _undecodable(f'The body has neither "{name}" of protocol v2 nor the list of protocol v1.')
    tensors, place = [], 0
    for one in listed:
        parameters = one.get("parameters")
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if size is not None and (type(size) is not int or not 0 <= size <= len(tail) - place):
            raise _undecodable("binary_data_size must be a number of bytes that the body has.")
        tensors.append(_tensor(one, None if size is None else tail[place : place + size]))
        place += size or 0
    if place != len(tail):
        raise _undecodable(f"{len(tail) - place:,} bytes of the body belong to no tensor.")
    return tensors


def _tensor(described: Mapping[str, Any], binary: bytes | None) -> Tensor:
    name, datatype = described.get("name"), described.get("datatype")
    shape: Any = described.get("shape")
    if not isinstance(name, str) or not isinstance(datatype, str) or datatype not in (*DTYPES, STRINGS):
        raise _undecodable("Each tensor must have a name and one of the data types of protocol v2 except BF16.")
    is_shape = isinstance(shape, list) and len(shape) <= LONGEST_SHAPE
    if not is_shape or not all(type(size) is int and size >= 0 for size in shape):
        raise _undecodable("Each tensor must have a shape, a list of sizes.")
    values = _flat(described.get("data"), len(shape)) if binary is None else _values_of_bytes(binary, datatype)
    if len(values) != math.prod(shape):
        raise _undecodable(f"A tensor of the shape {shape} has {len(values):,} values.")
    return Tensor(name, tuple(shape), datatype, values)


def _flat(data: Any, dimensions: int) -> list[Any]:
    """Return the values of JSON data, which may be nested by its dimensions."""
    for _ in range(dimensions - 1):
        if isinstance(data, list) and data and all(isinstance(one, list) for one in data):
            data = [value for part in data for value in part]
    if not isinstance(data, list) or any(isinstance(one, list | dict) for one in data):
        raise _undecodable("The data of a tensor must be a list of values, nested at most by its shape.")
    return data


def _values_of_bytes(binary: bytes, datatype: str) -> list[Any]:
    try:
        if datatype != STRINGS:
            values = np.frombuffer(binary, DTYPES[datatype]).tolist()
            return [None if value != value else value for value in values] if datatype in FLOATS else values
        strings, place = [], 0
        while place < len(binary):
            (size,) = struct.unpack_from("<I", binary, place)
            place += 4 + size
            strings.append(binary[place - size : place].decode())
        if place != len(binary):
            raise ValueError("it ends within a string")
    except (ValueError, struct.error) as error:
        raise _undecodable(f"A binary tensor cannot be decoded: {error}.") from None
    return strings


def _rows_of_tensors(tensors: Sequence[Tensor], names: Sequence[str]) -> list[Any]:
    by_name = {tensor.name: tensor for tensor in tensors}
    if by_name.keys() <= set(names) and len(by_name) == len(tensors) and all(one.width == 1 for one in tensors):
        if len({tensor.rows for tensor in tensors}) > 1:
            raise _undecodable("The tensors of the features have different numbers of rows.")
        columns = zip(*(tensor.values for tensor in tensors), strict=True)
        return [dict(zip(by_name, values, strict=True)) for values in columns]
    if len(tensors) == 1:
        (tensor,) = tensors
        if tensor.width == len(names):
            return tensor.split()
        if len(tensor.shape) == 1 and tensor.rows == len(names):
            return [list(tensor.values)]
    shapes = ", ".join(f"{one.name[:60]!r} {list(one.shape)}" for one in tensors[:5])
    reason = f"neither one with {len(names)} columns nor one for each feature ({', '.join(names[:20])})"
    raise _undecodable(f"The tensors are {shapes or 'missing'}: {reason}.")


def _predictions_of_tensors(tensors: Sequence[Tensor], schema: ModelSchema, rows: int) -> list[dict[str, Any]]:
    """Return the predictions in the tensor with one value for each row, or in that of the probabilities."""
    classes = len(schema.classes)
    of_rows = [tensor for tensor in tensors if len(tensor.values) == rows and tensor.rows in (1, rows)]
    scores = [tensor for tensor in tensors if classes > 1 and tensor.rows == rows and tensor.width == classes]
    labels = [tensor for tensor in of_rows if tensor.datatype not in FLOATS] if classes else of_rows
    if labels:  # a classifier may return other scores beside the class
        scores = [tensor for tensor in scores if _are_probabilities(tensor)]
    if not labels and not scores:
        labels = of_rows  # the probability of the second of two classes
    if len(labels) > 1 or len(scores) > 1 or not (labels or scores):
        shapes = ", ".join(f"{one.name[:60]!r} {list(one.shape)}" for one in tensors[:5])
        raise _undecodable(f"The outputs are {shapes or 'missing'}: it is not clear which one is the prediction.")
    found: list[dict[str, Any]] = [{} for _ in range(rows)]
    if scores:
        found = [_prediction(values, schema) for values in scores[0].split()]
    if labels:
        found = [{**one, **_prediction(label, schema)} for one, label in zip(found, labels[0].values, strict=True)]
    return found


def _prediction(value: Any, schema: ModelSchema) -> dict[str, Any]:
    """Return the fields of an observation for a prediction of a response."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        if "prediction" in value:
            return {name: value[name] for name in OBSERVATION_FIELDS & value.keys()}
        value = [value.get(name, 0.0) for name in schema.classes]
    if schema.task_type is TaskType.CLASSIFICATION:
        if type(value) is float and len(schema.classes) == 2 and not _is_class(value, schema) and 0 <= value <= 1:
            value = [1 - value, value]
        if isinstance(value, list):
            if len(value) != len(schema.classes) or not all(type(one) in (int, float) for one in value):
                raise _undecodable(
                    f"A list of probabilities must have a number for each of {len(schema.classes)} classes."
                )
            return {"prediction": schema.classes[int(np.argmax(value))], "probabilities": value}
    return {"prediction": value}


def _are_probabilities(tensor: Tensor) -> bool:
    if tensor.datatype not in FLOATS or not all(type(value) in (int, float) for value in tensor.values):
        return False
    values = np.array(tensor.values, dtype=np.float64).reshape(tensor.rows, tensor.width)
    return bool((values >= 0).all() and (np.abs(values.sum(axis=1) - 1) <= SUM_TOLERANCE).all())


def _is_class(value: float, schema: ModelSchema) -> bool:
    try:
        return label_string(value) in schema.classes
    except LabelError:
        return False


def _undecodable(reason: str) -> EventError:
    return EventError(EventOutcome.UNDECODABLE, reason)
