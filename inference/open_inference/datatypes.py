"""The datatypes of tensors and their binary form: little-endian numbers; strings, each behind its length."""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.exceptions import PayloadError
from mlmon.exceptions import RowErrorCode, RowValueError
from mlmon.schema import Feature, TensorType
from mlmon.values import shown, type_of

BYTES, FP64 = "BYTES", "FP64"
# A boolean is one byte, 0 or 1. Strings have no fixed size.
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("u1"),
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
}
DATATYPES = (*DTYPES, BYTES)
DATATYPE_OF = {
    TensorType.FLOAT32: "FP32",
    TensorType.FLOAT64: FP64,
    TensorType.INT32: "INT32",
    TensorType.INT64: "INT64",
    TensorType.BOOL: "BOOL",
    TensorType.STRING: BYTES,
}
_EXPECTED = {name: "a number" if name.startswith("FP") else "a whole number" for name in DTYPES}
_EXPECTED |= {"BOOL": "true or false", BYTES: "a string or a whole number"}
_LENGTH = struct.Struct("<I")


def unpacked_numbers(place: str, datatype: str, data: memoryview) -> NDArray[Any]:
    """Return the numbers in the binary data of a tensor as a flat array in the machine's byte order."""
    values = np.frombuffer(data, DTYPES[datatype])
    if datatype != "BOOL":
        return values.astype(values.dtype.newbyteorder("="))
    if (wrong := values > 1).any():
        index = int(np.argmax(wrong))
        raise PayloadError(f"{place}, value {index}: a boolean is the byte 0 or 1, got {values[index]}.")
    return values.astype(np.bool_)


def unpacked_strings(place: str, data: memoryview, count: int) -> list[bytes]:
    """Return the `count` strings in the binary data of a tensor; raise PayloadError if it has more or fewer."""
    strings, position = [], 0
    for index in range(count):
        start = position + _LENGTH.size
        if start > len(data):
            raise PayloadError(f"{place}: the shape has {count} strings, but the binary data {index}.")
        position = start + _LENGTH.unpack_from(data, position)[0]
        if position > len(data):
            raise PayloadError(f"{place}: string {index} is longer than the rest of the binary data.")
        strings.append(bytes(data[start:position]))
    if position != len(data):
        raise PayloadError(f"{place}: {len(data) - position} bytes follow the {count} strings of the shape.")
    return strings


def packed_strings(distinct: Sequence[str], indices: NDArray[np.int64]) -> bytes:
    """Return the binary data of the strings ``distinct[index]``."""
    encoded = [_LENGTH.pack(len(one)) + one for one in (string.encode() for string in distinct)]
    return b"".join(encoded[index] for index in indices.tolist())


def check_json(feature: Feature, datatype: str, values: Sequence[object]) -> None:
    """Raise RowValueError for the first value that the feature can have, but not the datatype; null is always missing.

    A datatype has the values that a tensor of the model would have: a boolean is 1 or 0, a whole number is a string.
    """
    for row, value in enumerate(values):
        if value is None:
            continue
        is_whole = not isinstance(value, str) and (not isinstance(value, float) or value.is_integer())
        if datatype == BYTES:
            is_right = isinstance(value, str) or (is_whole and not isinstance(value, bool))
        else:
            is_right = is_whole or (isinstance(value, float) and datatype.startswith("FP"))
        if not is_right:
            expected = f"expected {_EXPECTED[datatype]} ({datatype}), got"
            reason, without_value = f"{expected} {shown(value, 60)}", f"{expected} {type_of(value)}"
            raise RowValueError(row, feature.name, reason, code=RowErrorCode.WRONG_TYPE, without_value=without_value)
        if datatype != BYTES and not _is_in_range(datatype, value):
            beyond = f"is beyond the range of {datatype}"
            reason, without_value = f"{shown(value, 60)} {beyond}", f"a number {beyond}"
            raise RowValueError(row, feature.name, reason, code=RowErrorCode.OUT_OF_RANGE, without_value=without_value)


def largest(datatype: str) -> float:
    """Return the largest number of a datatype; the smallest is its negative for a float."""
    if datatype == "BOOL":
        return 1
    dtype = DTYPES[datatype]
    return float(np.finfo(dtype).max) if dtype.kind == "f" else int(np.iinfo(dtype).max)


def _is_in_range(datatype: str, value: Any) -> bool:
    dtype = DTYPES[datatype]
    least = -largest(datatype) if dtype.kind == "f" else 0 if datatype == "BOOL" else int(np.iinfo(dtype).min)
    return bool(least <= value <= largest(datatype))
