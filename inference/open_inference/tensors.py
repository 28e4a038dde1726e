"""The input tensors of an infer request, and the columns of features in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from inference.exceptions import PayloadError
from inference.open_inference.datatypes import (
    BYTES,
    DATATYPE_OF,
    DATATYPES,
    DTYPES,
    check_json,
    largest,
    unpacked_numbers,
    unpacked_strings,
)
from inference.open_inference.members import object_of, objects_of
from inference.rows import RowReader
from mlmon.exceptions import RowErrorCode, RowValueError
from mlmon.feature_columns import FeatureColumns
from mlmon.schema import Feature
from mlmon.values import column_of_arrow, column_of_json, shown

_PLAIN_NUMBERS = frozenset({int, float})


def columns_of_inputs(
    features: Sequence[Feature], header: Mapping[str, Any], binary: memoryview, *, most_rows: int
) -> FeatureColumns:
    """Return the tensors of a request as one array for each feature.

    Each tensor is an input of the ONNX model, or one feature. A feature that may be missing can be left out.

    Parameters
    ----------
    header
        The decoded JSON.
    binary
        The bytes behind it: the binary data of the inputs, in their order.

    Raises
    ------
    PayloadError, RowValueError
        The tensors do not fit the features or their own data, or a value is refused.
    """
    columns: dict[str, NDArray[Any]] = {}
    tensor: InputTensor | None = None
    for given in objects_of(header.get("inputs"), "inputs"):
        members = _features_of(features, given.get("name"))
        rows = None if tensor is None else tensor.rows
        tensor = InputTensor.of(given, width=len(members), binary=binary, most_rows=most_rows)
        if rows is not None and rows != tensor.rows:
            raise PayloadError(f"{tensor.place} has {tensor.rows} rows, but the inputs before it have {rows}.")
        if twice := [feature.name for feature in members if feature.name in columns]:
            raise PayloadError(f"{tensor.place}: the feature {shown(twice[0], 60)} is in two inputs.")
        columns |= tensor.columns(members)
        binary = binary[len(tensor.binary) :]
    if tensor is None:
        raise PayloadError('"inputs" is empty; send at least one tensor.')
    if binary:
        raise PayloadError(f"{len(binary)} bytes follow the binary data of the last input.")
    for feature in features:
        if feature.name not in columns:
            columns[feature.name] = column_of_json(feature, [None] * tensor.rows)
    return columns


def features_by_input(features: Sequence[Feature]) -> dict[str, list[Feature]]:
    """Return the features of each input of the ONNX model, in the order of its columns."""
    inputs: dict[str, list[Feature]] = {}
    for feature in sorted(features, key=lambda feature: feature.column):
        inputs.setdefault(feature.input_name, []).append(feature)
    return {name: inputs[name] for name in dict.fromkeys(feature.input_name for feature in features)}


def _features_of(features: Sequence[Feature], name: object) -> list[Feature]:
    """Return the features in the columns of an input of the ONNX model, or the feature of that name."""
    if not isinstance(name, str):
        raise PayloadError(f'An input\'s "name" must be a string, got {shown(name, 60)}.')
    inputs = features_by_input(features)
    if name in inputs:
        return inputs[name]
    if members := [feature for feature in features if feature.name == name]:
        return members
    expected = ", ".join(f"{one} {DATATYPE_OF[members[0].tensor_type]}" for one, members in inputs.items())
    raise RowValueError(
        0,
        name,
        f"the model has no such input or feature; send {shown(expected, 300)}, or one input for each feature",
        code=RowErrorCode.UNKNOWN_FEATURE,
        without_value=f"the model has no input or feature {shown(name, 60)}",
    )


@dataclass(frozen=True, slots=True)
class InputTensor:
    """A tensor of a checked shape.

    Attributes
    ----------
    data
        As decoded from JSON, or None if the tensor has binary data.
    binary
        The binary data; empty if the tensor has none.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[Any] | None
    binary: memoryview

    @classmethod
    def of(cls, given: Mapping[str, Any], *, width: int, binary: memoryview, most_rows: int) -> "InputTensor":
        """Return a tensor from its description.

        Parameters
        ----------
        given
            The description, whose name is a string.
        width
            The number of columns that it must have.
        binary
            The rest of the body; the tensor's binary data are at its start.
        """
        name: str = given["name"]
        datatype, shape, data = given.get("datatype"), given.get("shape"), given.get("data")
        place = f"Input {shown(name, 60)}"
        if datatype not in DATATYPES:
            raise PayloadError(f"{place}: datatype must be one of {', '.join(DATATYPES)}, got {shown(datatype, 60)}.")
        if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
            raise PayloadError(f"{place}: shape must be a list of whole numbers, such as [2, {width}].")
        if len(shape) not in ((1, 2) if width == 1 else (2,)) or shape[1:] not in ([], [width]):
            expected = f"[rows, {width}]" if width > 1 else "[rows] or [rows, 1]"
            raise PayloadError(f"{place}: expected the shape {expected}, got {_shape_text(shape)}.")
        if not 0 < shape[0] <= most_rows:
            raise PayloadError(f"{place}: the shape has {_number_text(shape[0])} rows; send 1 to {most_rows}.")
        parameters = object_of(given.get("parameters"), f"{place}: parameters")
        if "shared_memory_region" in parameters:
            raise PayloadError(f"{place}: shared memory is not supported; send the data in the body.")
        size = parameters.get("binary_data_size")
        if (data is None) == (size is None):
            raise PayloadError(f"{place}: send either data, or binary data with its binary_data_size.")
        if size is None:
            if not isinstance(data, list):
                raise PayloadError(f"{place}: data must be a list, got {shown(data, 60)}.")
            return cls(name, datatype, tuple(shape), data, binary[:0])
        if type(size) is not int or not 0 <= size <= len(binary):
            left = f"the body has {len(binary)} bytes left"
            raise PayloadError(f"{place}: binary_data_size is {_number_text(size)}, but {left}.")
        tensor = cls(name, datatype, tuple(shape), None, binary[:size])
        if datatype != BYTES and size != (right := tensor.count * DTYPES[datatype].itemsize):
            shape_text = f"the shape {_shape_text(shape)} of {datatype}"
            raise PayloadError(f"{place}: binary_data_size is {size}, but {shape_text} needs {right} bytes.")
        return tensor

    @property
    def place(self) -> str:
        return f"Input {shown(self.name, 60)}"

    @property
    def rows(self) -> int:
        return self.shape[0]

    @property
    def width(self) -> int:
        return self.shape[1] if len(self.shape) == 2 else 1

    @property
    def count(self) -> int:
        return self.rows * self.width

    def columns(self, features: Sequence[Feature]) -> FeatureColumns:
        """Return the columns as `mlmon.values` converts them; NaN in binary data is a missing value."""
        if self.data is not None:
            values = self._flat(self.data)
            is_plain = self.datatype.startswith("FP") and _PLAIN_NUMBERS.issuperset(map(type, values))
            plain = None
            if is_plain and max(map(abs, values)) <= largest(self.datatype):
                numbers = np.array(values, dtype=np.float64).reshape(self.rows, self.width)
                plain = RowReader(features).columns_of_matrix(numbers)
            return plain or self._converted(features, values)
        if self.datatype == BYTES:
            strings = unpacked_strings(self.place, self.binary, self.count)
            return {
                feature.name: column_of_arrow(feature, pa.array(strings[index :: self.width], pa.binary()), None)
                for index, feature in enumerate(features)
            }
        matrix: NDArray[Any] = unpacked_numbers(self.place, self.datatype, self.binary).reshape(self.rows, self.width)
        plain = None
        if matrix.dtype.kind == "f":
            plain = RowReader(features).columns_of_matrix(matrix.astype(np.float64))
        return plain or {
            feature.name: column_of_arrow(feature, pa.array(matrix[:, index]), None)
            for index, feature in enumerate(features)
        }

    def _converted(self, features: Sequence[Feature], values: Sequence[object]) -> dict[str, NDArray[Any]]:
        columns = {}
        for index, feature in enumerate(features):
            column = values[index :: self.width]
            columns[feature.name] = column_of_json(feature, column)
            check_json(feature, self.datatype, column)
        return columns

    def _flat(self, data: list[Any]) -> list[Any]:
        """Return the data row by row; it may be a list for each row of a shape with two sizes."""
        if len(self.shape) == 2 and data and all(isinstance(row, list) for row in data):
            wrong = next((index for index, row in enumerate(data) if len(row) != self.width), None)
            if wrong is not None or len(data) != self.rows:
                found = f"{len(data)} rows" if wrong is None else f"{len(data[wrong])} values in row {wrong}"
                raise PayloadError(f"{self.place}: data has {found}, but the shape is {_shape_text(self.shape)}.")
            return [value for row in data for value in row]
        if len(data) != self.count:
            shape_text = f"the shape {_shape_text(self.shape)} has {self.count}"
            raise PayloadError(f"{self.place}: data has {len(data)} values, but {shape_text}.")
        return data


def _shape_text(shape: Sequence[int]) -> str:
    sizes = [_number_text(size) for size in shape[:4]]
    return f"[{', '.join(sizes)}{', …' if len(shape) > 4 else ''}]"


def _number_text(number: object) -> str:
    """Return a number of a client for a message."""
    return shown(number, 30)
