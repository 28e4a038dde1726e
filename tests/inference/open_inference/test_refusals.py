"""Requests that cannot be read or do not fit the model: each message names the cause."""

import gzip
import struct
from typing import Any

import numpy as np
import pytest

from inference.exceptions import LargeBodyError, PayloadError, UnreadableBodyError, UnsupportedEncodingError
from inference.open_inference.messages import InferMessage
from mlmon.exceptions import RowErrorCode, RowValueError
from mlmon.schema import TensorType
from tests.inference.open_inference.requests import FLOWER, columns, feature, message, tensor

FOUR = [1.0, 2.0, 3.0, 4.0]
INVALID_TENSORS: list[tuple[Any, str]] = [
    ([], '"inputs" is empty; send at least one tensor.'),
    (None, '"inputs" is empty; send at least one tensor.'),
    ({"a": 1}, '"inputs" must be a list of objects, got an object.'),
    ([7], "inputs[0] must be an object, got 7."),
    ([{}], 'An input\'s "name" must be a string, got null.'),
    ([tensor("features", "FP8", [1, 4], FOUR)], "datatype must be one of BOOL, INT8,"),
    ([tensor("features", "BF16", [1, 4], FOUR)], 'got "BF16".'),
    ([tensor("features", {}, [1, 4], FOUR)], "got an object."),
    ([tensor("features", "FP32", None, FOUR)], "shape must be a list of whole numbers, such as [2, 4]."),
    ([tensor("features", "FP32", [-1, 4], FOUR)], "shape must be a list of whole numbers"),
    ([tensor("features", "FP32", [True, 4], FOUR)], "shape must be a list of whole numbers"),
    ([tensor("features", "FP32", [1.0, 4.0], FOUR)], "shape must be a list of whole numbers"),
    ([tensor("features", "FP32", [4], FOUR)], 'Input "features": expected the shape [rows, 4], got [4].'),
    ([tensor("features", "FP32", [1, 1, 4], FOUR)], "expected the shape [rows, 4], got [1, 1, 4]."),
    ([tensor("features", "FP32", [1] * 10**5, FOUR)], "expected the shape [rows, 4], got [1, 1, 1, 1, …]."),
    ([tensor("features", "FP32", [], [])], "expected the shape [rows, 4], got []."),
    ([tensor("a", "FP32", [1, 2], [1, 2])], 'Input "a": expected the shape [rows] or [rows, 1], got [1, 2].'),
    ([tensor("features", "FP32", [0, 4], [])], "the shape has 0 rows; send 1 to 100."),
    ([tensor("features", "FP32", [101, 4], FOUR)], "the shape has 101 rows; send 1 to 100."),
    ([tensor("features", "FP32", [2**63 - 1, 4], FOUR)], "the shape has 9223372036854775807 rows; send 1 to 100."),
    ([tensor("features", "FP32", [2, 4], FOUR)], "data has 4 values, but the shape [2, 4] has 8."),
    ([tensor("features", "FP32", [2, 4], [FOUR])], "data has 1 rows, but the shape is [2, 4]."),
    ([tensor("features", "FP32", [2, 4], [FOUR, FOUR[:3]])], "data has 3 values in row 1, but the shape is [2, 4]."),
    ([tensor("features", "FP32", [1, 4], "1234")], 'data must be a list, got "1234".'),
    ([tensor("features", "FP32", [1, 4])], "send either data, or binary data with its binary_data_size."),
    ([tensor("features", "FP32", [1, 4], FOUR, 16)], "send either data, or binary data with its binary_data_size."),
    ([tensor("features", "FP32", [1, 4], size=16)], "binary_data_size is 16, but the body has 0 bytes left."),
    ([tensor("features", "FP32", [1, 4], size=-1)], "binary_data_size is -1, but the body has 0 bytes left."),
    ([tensor("features", "FP32", [1, 4], size=True)], "binary_data_size is true, but"),
    ([tensor("features", "FP32", [1, 4], size="16")], 'binary_data_size is "16", but'),
    ([tensor("features", "FP32", [1, 4], size=0)], "but the shape [1, 4] of FP32 needs 16 bytes."),
    ([tensor("features", "FP32", [1, 4], parameters=[])], "parameters must be an object, got a list."),
    ([tensor("features", "FP32", [1, 4], parameters=[1])], "parameters must be an object, got a list."),
    (
        [tensor("features", "FP32", [1, 4], parameters={"shared_memory_region": "r"})],
        "shared memory is not supported; send the data in the body.",
    ),
    (
        [tensor("features", "FP32", [1, 4], FOUR), tensor("a", "FP32", [1], [1])],
        'Input "a": the feature "a" is in two inputs.',
    ),
    ([tensor("features", "FP32", [1, 4], FOUR)] * 2, 'the feature "a" is in two inputs.'),
    (
        [tensor("a", "FP32", [1], [1]), tensor("b", "FP32", [2], [1, 2])],
        'Input "b" has 2 rows, but the inputs before it have 1.',
    ),
]


@pytest.mark.parametrize(("tensors", "part"), INVALID_TENSORS, ids=[part[-50:] for _, part in INVALID_TENSORS])
def test_tensors_that_do_not_fit_are_refused(tensors: Any, part: str) -> None:
    with pytest.raises(PayloadError) as caught:
        columns(FLOWER, tensors)
    assert part in str(caught.value)


def test_unknown_and_missing_inputs_are_refused_by_name() -> None:
    with pytest.raises(RowValueError, match=r"feature 'X': the model has no such input or feature; send") as unknown:
        columns(FLOWER, [tensor("X", "FP32", [1, 4], FOUR)])
    assert "features FP32" in str(unknown.value)
    assert unknown.value.code is RowErrorCode.UNKNOWN_FEATURE
    with pytest.raises(RowValueError, match="row 0, feature 'b': a value is required, but it is missing"):
        columns(FLOWER, [tensor("a", "FP32", [1], [1])])


@pytest.mark.parametrize(
    ("datatype", "binary", "part"),
    [
        ("BYTES", b"\1\0\0", "the shape has 2 strings, but the binary data 0."),
        ("BYTES", struct.pack("<I1s", 1, b"a"), "the shape has 2 strings, but the binary data 1."),
        ("BYTES", struct.pack("<II", 0, 2**32 - 1), "string 1 is longer than the rest of the binary data."),
        ("BYTES", struct.pack("<III", 0, 0, 0), "4 bytes follow the 2 strings of the shape."),
        ("BOOL", b"\1\2", "value 1: a boolean is the byte 0 or 1, got 2."),
        ("INT32", b"\0" * 7, "binary_data_size is 7, but the shape [2] of INT32 needs 8 bytes."),
    ],
)
def test_binary_data_that_do_not_fit_are_refused(datatype: str, binary: bytes, part: str) -> None:
    with pytest.raises(PayloadError) as caught:
        columns([feature("x", TensorType.STRING)], [tensor("x", datatype, [2], size=len(binary))], binary)
    assert part in str(caught.value)


def test_bytes_behind_the_last_tensor_are_refused() -> None:
    with pytest.raises(PayloadError, match="3 bytes follow the binary data of the last input"):
        columns(FLOWER, [tensor("features", "FP32", [1, 4], size=16)], b"\0" * 19)


@pytest.mark.parametrize(
    ("body", "length", "part"),
    [
        (b"", None, "The body is empty; send a JSON object with inputs."),
        (b"{}", "0", "The body is empty"),
        (b"{}", "3", "Inference-Header-Content-Length is 3, but the body has 2 bytes."),
        (b"{}", "-1", 'must be the number of bytes of the JSON, got "-1".'),
        (b"{}", "1.5", "must be the number of bytes"),
        (b"{}", "", "must be the number of bytes"),
        (b"{}", "٢", "must be the number of bytes"),
        (b"{}", "9" * 5000, "must be the number of bytes"),
        (b"{}", "1", "The body is not valid JSON"),
        (b"[" * 10**5, None, "The body is not valid JSON"),
        (b'{"a": NaN}', None, "NaN is not JSON; for a missing value send null."),
        (b"\xff\xfe", None, "The body is not valid JSON"),
        (b'{"id": "\\ud800"}', None, "The body is not valid JSON"),
    ],
)
def test_a_body_that_cannot_be_taken_apart_is_refused(body: bytes, length: str | None, part: str) -> None:
    with pytest.raises(UnreadableBodyError) as caught:
        InferMessage.of(body, header_length=length, encoding="", most_bytes=10**6)
    assert part in str(caught.value)


def test_compression_is_bounded_and_checked() -> None:
    def read(body: bytes, encoding: str) -> InferMessage:
        return InferMessage.of(body, header_length=None, encoding=encoding, most_bytes=1000)

    assert read(gzip.compress(b"{}" + b" " * 998), "gzip").header == {}
    bomb = gzip.compress(b" " * 10**7)
    with pytest.raises(LargeBodyError, match="larger than 1,000 bytes after decompression"):
        read(bomb, "gzip")
    for broken in (b"{}", b"", gzip.compress(b"{}") + b"x", gzip.compress(b"{}")[:-4]):
        with pytest.raises(UnreadableBodyError):
            read(broken, "gzip")
    with pytest.raises(UnsupportedEncodingError, match='Content-Encoding "br" is not supported; use gzip or deflate'):
        read(b"{}", "br")


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ([], "The body must be an object, got a list."),
        ({"id": 7}, '"id" must be a string, got 7.'),
        ({"parameters": [1]}, '"parameters" must be an object, got a list.'),
        ({"parameters": {"binary_data_output": "yes"}}, 'binary_data_output must be true or false, got "yes".'),
        ({"outputs": [{"name": "x"}]}, 'Output "x": the model has no such output. Its outputs are prediction, score.'),
        ({"outputs": [{"name": ["x"]}]}, "Output a list: the model has no such output."),
        ({"outputs": [{"name": "score"}] * 2}, 'Output "score" is requested twice.'),
        ({"outputs": [{"name": "score", "parameters": {"binary_data": 1}}]}, "binary_data must be true or false"),
        ({"outputs": [{"name": "score", "parameters": {"classification": 2}}]}, "request the scores of all classes"),
        ({"outputs": [{"name": "score", "parameters": {"shared_memory_region": "r"}}]}, "shared memory is not"),
        ({"outputs": 7}, '"outputs" must be a list of objects, got 7.'),
    ],
)
def test_what_the_response_cannot_be_is_refused(header: Any, part: str) -> None:
    asked = message(header)
    with pytest.raises(PayloadError) as caught:
        _ = asked.id, asked.requested_outputs(("prediction", "score"))
    assert part in str(caught.value)


def test_binary_data_of_an_output_overrides_the_default_of_the_request() -> None:
    outputs = [{"name": "score", "parameters": {"binary_data": False}}, {"name": "prediction"}]
    asked = message({"outputs": outputs, "parameters": {"binary_data_output": True}})
    found = asked.requested_outputs(("prediction", "score"))
    assert [(one.name, one.is_binary) for one in found] == [("score", False), ("prediction", True)]


@pytest.mark.parametrize(
    ("kind", "datatype", "data", "reason"),
    [
        ("float32", "BYTES", ["5"], 'expected a number, got "5"'),
        ("float32", "FP64", [1e300], "1e+300 is beyond the range of float32"),
        ("float32", "FP32", [1e300], "1e+300 is beyond the range of float32"),
        ("float64", "FP32", [1e300], "1e+300 is beyond the range of FP32"),
        ("float32", "FP16", [65536], "65536 is beyond the range of FP16"),
        ("float32", "FP32", ["5"], 'expected a number, got "5"'),
        ("float32", "FP32", [[5]], "expected a number, got a list"),
        ("float32", "INT8", [128], "128 is beyond the range of INT8"),
        ("float32", "UINT8", [-1], "-1 is beyond the range of UINT8"),
        ("float32", "INT64", [2.5], "expected a whole number (INT64), got 2.5"),
        ("float32", "UINT64", [2**64], "1.8446744073709552e+19 is beyond the range of UINT64"),
        ("float32", "BOOL", [2], "2 is beyond the range of BOOL"),
        ("int64", "FP64", [2.5], "expected a whole number, got 2.5"),
        ("int64", "INT64", [2**53 + 1], "9007199254740993 is beyond 2^53, the largest exact whole number"),
        ("int32", "INT64", [2**31], "2147483648 is beyond the range of int32"),
        ("bool", "INT8", [2], "expected true or false, got 2"),
        ("string", "FP32", ["a"], 'expected a number (FP32), got "a"'),
        ("string", "BOOL", ["a"], 'expected true or false (BOOL), got "a"'),
        ("float32", "BYTES", [2.5], "expected a string or a whole number (BYTES), got 2.5"),
        ("string", "BOOL", [True], "expected a string or a whole number, got true"),
        ("string", "FP64", [2.5], "expected a string or a whole number, got 2.5"),
        ("string", "BYTES", ["a\0"], "the string contains a NUL character"),
        ("string", "BYTES", ["a" * 1001], "the string is longer than 1,000 characters"),
    ],
)
def test_a_value_is_refused_with_its_row_and_reason(kind: str, datatype: str, data: list[Any], reason: str) -> None:
    with pytest.raises(RowValueError) as caught:
        columns([feature("x", TensorType(kind))], [tensor("x", datatype, [2], [None, *data])])
    assert (caught.value.row, caught.value.feature) == (1, "x")
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("kind", "datatype", "binary", "reason"),
    [
        ("float32", "FP64", np.array([0, 1e300]).tobytes(), "1e+300 is beyond the range of float32"),
        ("int64", "FP32", np.array([0, 2.5], np.float32).tobytes(), "expected a whole number, got 2.5"),
        ("int64", "UINT64", np.array([0, 2**64 - 1], np.uint64).tobytes(), "18446744073709551615 is beyond 2^53, the"),
        ("bool", "INT16", np.array([0, 2], np.int16).tobytes(), "expected true or false, got 2"),
        ("string", "BOOL", b"\0\1", "expected a string or a whole number, got false"),
        ("string", "BYTES", struct.pack("<I1sI1s", 1, b"a", 1, b"\xff"), "byte 0xff is not UTF-8"),
        ("float32", "BYTES", struct.pack("<I1sI1s", 1, b"5", 1, b"6"), 'expected a number, got "5"'),
    ],
)
def test_a_binary_value_is_refused_with_its_reason(kind: str, datatype: str, binary: bytes, reason: str) -> None:
    with pytest.raises(RowValueError) as caught:
        columns([feature("x", TensorType(kind))], [tensor("x", datatype, [2], size=len(binary))], binary)
    assert caught.value.reason.startswith(reason)
