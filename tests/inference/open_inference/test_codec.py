"""From the bytes of a request to columns, and from predictions to the bytes of a response.

The oracles are tritonclient's own serialisation, which runs in the clients' environment, and the wire format as the
binary tensor data extension publishes it: numbers as NumPy's ``tobytes`` writes them on a little-endian machine.
"""

import base64
import gzip
import json
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.exceptions import LargeBodyError, PayloadError, UnreadableBodyError, UnsupportedEncodingError
from inference.open_inference.messages import InferMessage
from inference.open_inference.metadata import model_configuration, model_metadata
from inference.open_inference.outputs import encoded_response, outputs_of
from inference.rows import columns_of_rows
from mlmon.exceptions import RowErrorCode, RowValueError
from mlmon.schema import Feature, FeatureKind, TaskType, TensorType
from models_registry.engine import Predictions
from models_registry.schema import ModelSchema, ScoreKind
from tests.inference.open_inference.clients import run_script

TRITON = (Path(__file__).with_name("scripts") / "triton_codec.py").read_text()


def feature(name: str, kind: TensorType, *, inside: str = "", column: int = 0, required: bool = False) -> Feature:
    return Feature(
        name=name,
        kind=FeatureKind.CATEGORICAL if kind is TensorType.STRING else FeatureKind.NUMERIC,
        is_required=required,
        input_name=inside or name,
        column=column,
        tensor_type=kind,
    )


FLOWER = [
    feature(name, TensorType.FLOAT32, inside="features", column=index, required=True)
    for index, name in enumerate(("a", "b", "c", "d"))
]
ONE_OF_EACH = [feature(kind.value, kind) for kind in TensorType]


def message(header: Any, binary: bytes = b"", *, encoding: str = "", most_bytes: int = 10**6) -> InferMessage:
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    body, length = text + binary, str(len(text)) if binary else None
    if encoding:
        body = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding](body)
    return InferMessage.of(body, header_length=length, encoding=encoding, most_bytes=most_bytes)


def columns(features: list[Feature], tensors: Any, binary: bytes = b"", most_rows: int = 100) -> dict[str, list[Any]]:
    found = message({"inputs": tensors}, binary).columns(features, most_rows=most_rows)
    return {name: values.tolist() for name, values in found.items()}


def tensor(name: str, datatype: str, shape: Any, data: Any = None, size: Any = None, **more: Any) -> dict[str, Any]:
    described = {"name": name, "datatype": datatype, "shape": shape, **more}
    if data is not None:
        described["data"] = data
    if size is not None:
        described["parameters"] = {"binary_data_size": size}
    return described


# --- tritonclient as the oracle -------------------------------------------------------------------------------------

NUMBERS = {f"{sign}INT{bits}": [0, 1, 100] for sign in ("", "U") for bits in (8, 16, 32, 64)}
NUMBERS |= {"FP16": [0.5, -2.0, 1000.0], "FP32": [0.5, -(2.0**127), 7.25], "FP64": [0.1, -1e300, 5e-324]}
SCORES = np.array([[0.75, 0.25], [0.1, 0.9]])
LABELLED = ModelSchema(
    task_type=TaskType.CLASSIFICATION,
    features=tuple(FLOWER),
    classes=("ja", "ñein"),
    label_output="label",
    score_output="scores",
    score_kind=ScoreKind.PROBABILITIES,
)
PREDICTED = Predictions(
    labels=np.array(["ja", "ñein"], dtype=object),
    class_index=np.array([0, 1]),
    confidence=np.array([0.75, 0.9]),
    scores=SCORES,
)


@pytest.mark.timeout(300)  # with the installation of the clients
def test_tritons_client_writes_what_is_read_and_reads_what_is_written() -> None:
    strings = ["a", "", "日本", "x" * 1000]
    cases = [
        (
            [feature("x", TensorType.FLOAT64)],
            [{"name": "x", "datatype": kind, "values": values, "binary": is_binary}],
            {"x": values},
        )
        for kind, values in NUMBERS.items()
        for is_binary in (True, False)
    ]
    for is_binary in (True, False):
        mixed = [
            {"name": "s", "datatype": "BYTES", "values": strings, "binary": is_binary},
            {"name": "m", "datatype": "FP64", "values": [[1.5, 2.0]] * 4, "binary": True},
            {"name": "b", "datatype": "BOOL", "values": [True, False, False, True], "binary": is_binary},
        ]
        members = [
            feature("s", TensorType.STRING),
            feature("m1", TensorType.FLOAT32, inside="m"),
            feature("m2", TensorType.INT32, inside="m", column=1),
            feature("b", TensorType.BOOL),
        ]
        wanted = {"s": ["a", None, "日本", "x" * 1000], "m1": [1.5] * 4, "m2": [2.0] * 4, "b": [1.0, 0.0, 0.0, 1.0]}
        cases.append((members, mixed, wanted))
    responses = []
    for is_binary in (True, False):
        asked = message({"inputs": [], "parameters": {"binary_data_output": is_binary}})
        requested = asked.requested_outputs(tuple(outputs_of(LABELLED)))
        encoded = encoded_response({"model_name": "m"}, LABELLED, PREDICTED, requested)
        length = encoded.headers.get("Inference-Header-Content-Length")
        assert (length is not None) == is_binary
        responses.append({"body": base64.b64encode(b"".join(encoded.parts)).decode(), "length": length})
    given = {"cases": [{"tensors": tensors} for _, tensors, _ in cases], "responses": responses}
    found = json.loads(run_script(TRITON, given=given))

    assert len(found["written"]) == len(cases) == 24
    for (members, _, wanted), written in zip(cases, found["written"], strict=True):
        length = None if written["length"] is None else str(written["length"])
        body = base64.b64decode(written["body"])
        read = InferMessage.of(body, header_length=length, encoding="", most_bytes=10**6)
        assert read.id == "é"
        assert {name: values.tolist() for name, values in read.columns(members, most_rows=4).items()} == wanted
    expected = {"prediction": ["ja", "ñein"], "confidence": [0.75, 0.9], "probabilities": SCORES.tolist()}
    assert found["read"] == [expected, expected]


# --- the wire format as the oracle ----------------------------------------------------------------------------------


def test_binary_tensors_follow_the_json_in_the_order_of_the_inputs() -> None:
    numbers = np.array([[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]])
    codes = struct.pack("<I", 2) + b"UA" + struct.pack("<I", 4) + "Müh".encode()
    tensors = [
        tensor("code", "BYTES", [2], size=len(codes)),
        tensor("features", "FP64", [2, 4], size=numbers.nbytes),
    ]
    found = columns([*FLOWER, feature("code", TensorType.STRING)], tensors, codes + numbers.tobytes())
    assert found["code"] == ["UA", "Müh"]
    assert [found[name] for name in "abcd"] == numbers.T.tolist()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_body_is_read(encoding: str) -> None:
    values = np.arange(8, dtype=np.float32)
    header = {"inputs": [tensor("features", "FP32", [2, 4], size=values.nbytes)]}
    found = message(header, values.tobytes(), encoding=encoding).columns(FLOWER, most_rows=2)
    assert found["c"].tolist() == [2.0, 6.0]


@pytest.mark.parametrize("data", [[1, 2, 3, 4, 5, 6, 7, 8], [[1, 2, 3, 4], [5, 6, 7, 8]]], ids=["flat", "nested"])
def test_json_data_are_flat_or_nested(data: list[Any]) -> None:
    assert columns(FLOWER, [tensor("features", "INT64", [2, 4], data)])["b"] == [2.0, 6.0]


def test_an_input_can_be_one_feature_with_or_without_a_second_size() -> None:
    tensors = [
        tensor("d", "FP64", [2, 1], [[4], [8]]),
        tensor("a", "INT8", [2], [1, 5]),
        tensor("b", "FP32", [2, 1], [2, 6]),
        tensor("c", "UINT64", [2], [3, 7]),
    ]
    assert columns(FLOWER, tensors) == columns(FLOWER, [tensor("features", "FP32", [2, 4], list(range(1, 9)))])


def test_json_tensors_equal_the_rows_of_a_predict_request() -> None:
    rows = [[1.5, 0.1, 3, -7, True, "a"], [None, 2, None, 7, None, None]]
    kinds = ["FP32", "FP64", "INT32", "INT64", "BOOL", "BYTES"]
    tensors = [
        tensor(one.name, kind, [2], list(values))
        for one, kind, values in zip(ONE_OF_EACH, kinds, zip(*rows, strict=True), strict=True)
    ]
    found = message({"inputs": tensors}).columns(ONE_OF_EACH, most_rows=2)
    for name, expected in columns_of_rows(ONE_OF_EACH, rows).items():
        np.testing.assert_array_equal(found[name], expected)


def test_missing_values() -> None:
    optional = [feature("x", TensorType.FLOAT32), feature("s", TensorType.STRING), feature("n", TensorType.INT64)]
    nan = np.array([1.5, np.nan], dtype=np.float32).tobytes()
    empty = struct.pack("<II1s", 0, 1, b"a")
    tensors = [tensor("x", "FP32", [2], size=8), tensor("s", "BYTES", [2], size=len(empty))]
    found = columns(optional, tensors, nan + empty)
    assert found["s"] == [None, "a"]
    assert found["x"][0] == 1.5
    assert all(math.isnan(one) for one in (found["x"][1], *found["n"]))
    with pytest.raises(RowValueError, match=r"row 1, feature 'x': a value is required, but it is missing"):
        columns([feature("x", TensorType.FLOAT32, required=True)], [tensor("x", "FP32", [2], size=8)], nan)


def test_infinity_is_accepted_in_binary_floats() -> None:
    infinite = np.array([np.inf, -np.inf])
    found = columns([feature("x", TensorType.FLOAT32)], [tensor("x", "FP64", [2], size=16)], infinite.tobytes())
    assert found["x"] == infinite.tolist()
    with pytest.raises(RowValueError, match="expected a whole number, got inf"):
        columns([feature("x", TensorType.INT64)], [tensor("x", "FP64", [2], size=16)], infinite.tobytes())


def test_json_numbers_are_not_rounded_to_their_datatype() -> None:
    x = [feature("x", TensorType.FLOAT64)]
    assert columns(x, [tensor("x", "FP32", [1], [5.1])])["x"] == [5.1]
    assert columns(x, [tensor("x", "FP32", [1], size=4)], np.float32(5.1).tobytes())["x"] == [float(np.float32(5.1))]


@pytest.mark.parametrize(
    ("kind", "datatype", "data", "reason"),
    [
        ("float32", "BYTES", ["5"], 'expected a number, got "5"'),
        ("float32", "FP64", [1e300], "1e+300 is beyond the range of float32"),
        ("float32", "FP32", [1e300], "1e+300 is beyond the range of FP32"),
        ("float32", "FP16", [65536], "65536 is beyond the range of FP16"),
        ("float32", "FP32", ["5"], 'expected a number (FP32), got "5"'),
        ("float32", "FP32", [[5]], "expected a number (FP32), got a list"),
        ("float32", "INT8", [128], "128 is beyond the range of INT8"),
        ("float32", "UINT8", [-1], "-1 is beyond the range of UINT8"),
        ("float32", "INT64", [2.5], "expected a whole number (INT64), got 2.5"),
        ("float32", "UINT64", [2**64], "1.8446744073709552e+19 is beyond the range of UINT64"),
        ("float32", "BOOL", [2], "2 is beyond the range of BOOL"),
        ("int64", "FP64", [2.5], "expected a whole number, got 2.5"),
        ("int64", "INT64", [2**53 + 1], "9007199254740993 is beyond 2^53, the largest exact whole number"),
        ("int32", "INT64", [2**31], "2147483648 is beyond the range of int32"),
        ("bool", "INT8", [2], "expected true or false, got 2"),
        ("string", "BYTES", [7], "expected a string (BYTES), got 7"),
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


def test_whole_numbers_are_strings_of_digits() -> None:
    code = [feature("code", TensorType.STRING)]
    assert columns(code, [tensor("code", "UINT64", [1], [2**64 - 1])])["code"] == ["18446744073709551615"]
    assert columns(code, [tensor("code", "FP32", [1], [7.0])])["code"] == ["7"]
    assert columns(code, [tensor("code", "INT16", [1], size=2)], b"\7\0")["code"] == ["7"]


# --- what is refused ------------------------------------------------------------------------------------------------

FOUR = [1.0, 2.0, 3.0, 4.0]
INVALID_TENSORS = [
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


# --- outputs --------------------------------------------------------------------------------------------------------


def schema(task: TaskType, kind: ScoreKind | None, *classes: str, scores: str = "scores") -> ModelSchema:
    return ModelSchema(task, tuple(FLOWER), classes, "label", scores, kind)


@pytest.mark.parametrize(
    ("described", "names"),
    [
        (LABELLED, ["prediction", "confidence", "probabilities"]),
        (schema(TaskType.CLASSIFICATION, ScoreKind.LOGITS, "a", "b"), ["prediction", "confidence", "logits"]),
        (schema(TaskType.CLASSIFICATION, ScoreKind.MARGINS, "a", "b"), ["prediction", "score", "margins"]),
        (schema(TaskType.CLASSIFICATION, None, "a", "b", scores=""), ["prediction"]),
        (schema(TaskType.ANOMALY, None, "-1", "1"), ["prediction", "score"]),
        (schema(TaskType.ANOMALY, None, "-1", "1", scores=""), ["prediction"]),
        (schema(TaskType.REGRESSION, None, scores=""), ["prediction"]),
    ],
)
def test_the_outputs_of_each_task(described: ModelSchema, names: list[str]) -> None:
    outputs = model_metadata("m", ["1"], described)["outputs"]
    assert [one["name"] for one in outputs] == names
    assert outputs[0]["datatype"] == ("BYTES" if described.classes else "FP64")
    assert [one["shape"] for one in outputs] == [[-1, 2] if one.endswith("s") else [-1] for one in names]
    assert [one["dims"] for one in model_configuration("m", described)["output"]] == [one["shape"] for one in outputs]


def test_a_regression_is_encoded_as_fp64() -> None:
    regression = schema(TaskType.REGRESSION, None, scores="")
    values = np.array([1.5, -2.25])
    predictions = Predictions(labels=values, class_index=None, confidence=None, scores=None)
    requested = message({"parameters": {"binary_data_output": True}}).requested_outputs(("prediction",))
    encoded = encoded_response({}, regression, predictions, requested)
    assert encoded.parts[1] == values.astype("<f8").tobytes()
    assert json.loads(encoded.parts[0])["outputs"][0]["parameters"] == {"binary_data_size": 16}
    assert encoded.headers["Inference-Header-Content-Length"] == str(len(encoded.parts[0]))
