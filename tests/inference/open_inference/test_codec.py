"""From the bytes of a request to columns, and from predictions to the bytes of a response.

The oracles are tritonclient's own serialisation, which runs in the clients' environment, and the wire format as the
binary tensor data extension publishes it: numbers as NumPy's ``tobytes`` writes them on a little-endian machine.
"""

import base64
import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.open_inference.messages import InferMessage
from inference.open_inference.metadata import model_configuration, model_metadata
from inference.open_inference.outputs import encoded_response, outputs_of
from inference.rows import RowReader
from mlmon.exceptions import RowValueError
from mlmon.schema import Feature, TaskType, TensorType
from models_registry.engine import Predictions
from models_registry.schema import ModelSchema, ScoreKind
from tests.inference.open_inference.clients import run_script
from tests.inference.open_inference.requests import FLOWER, ONE_OF_EACH, columns, feature, message, tensor

TRITON = (Path(__file__).with_name("scripts") / "triton_codec.py").read_text()


# --- tritonclient as the oracle -------------------------------------------------------------------------------------

NUMBERS: dict[str, list[Any]] = {f"{sign}INT{bits}": [0, 1, 100] for sign in ("", "U") for bits in (8, 16, 32, 64)}
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
    cases: list[tuple[list[Feature], list[dict[str, Any]], dict[str, list[Any]]]] = [
        (
            [feature("x", TensorType.FLOAT64)],
            [{"name": "x", "datatype": kind, "values": values, "binary": is_binary}],
            {"x": values},
        )
        for kind, values in NUMBERS.items()
        for is_binary in (True, False)
    ]
    for is_binary in (True, False):
        mixed: list[dict[str, Any]] = [
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
        wanted: dict[str, list[Any]] = {"s": ["a", None, "日本", "x" * 1000], "b": [1.0, 0.0, 0.0, 1.0]}
        wanted |= {"m1": [1.5] * 4, "m2": [2.0] * 4}
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
    for name, expected in RowReader(ONE_OF_EACH).columns(rows).items():
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


def test_whole_numbers_are_strings_of_digits() -> None:
    code = [feature("code", TensorType.STRING)]
    assert columns(code, [tensor("code", "UINT64", [1], [2**64 - 1])])["code"] == ["18446744073709551615"]
    assert columns(code, [tensor("code", "FP32", [1], [7.0])])["code"] == ["7"]
    assert columns(code, [tensor("code", "INT16", [1], size=2)], b"\7\0")["code"] == ["7"]


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
