"""Rows and predictions in the bodies of protocol v1 and v2; the layouts are those of the public specification."""

import json
import struct
from typing import Any

import numpy as np
import pytest

from inference.exceptions import EventError
from inference.kserve.events import EventOutcome
from inference.kserve.payloads import predictions_of_response, rows_of_request
from mlmon.schema import Feature, FeatureKind, TaskType, TensorType
from models_registry.schema import ModelSchema

NAMES = ("income", "region", "age")
FEATURES = tuple(
    Feature(name, FeatureKind.NUMERIC, True, "", column, TensorType.FLOAT64) for column, name in enumerate(NAMES)
)
ROWS = [[1.5, 2.0, 3.0], [4.0, 5.0, 6.0]]
NAMED = [dict(zip(NAMES, row, strict=True)) for row in ROWS]


def schema_of(*classes: str, task: TaskType = TaskType.CLASSIFICATION) -> ModelSchema:
    return ModelSchema(task, FEATURES, classes, "", "", None)


THREE = schema_of("a", "b", "c")
TWO = schema_of("0", "1")
NUMBER = schema_of(task=TaskType.REGRESSION)


def tensor(name: str, shape: list[int], datatype: str, data: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def rows_of(document: Any, tail: bytes = b"", *, features: tuple[Feature, ...] = FEATURES) -> list[Any]:
    return rows_of_request(json.dumps(document).encode() + tail, features, most_rows=100)


def predictions_of(document: Any, schema: ModelSchema, *, rows: int, tail: bytes = b"") -> list[dict[str, Any]]:
    return predictions_of_response(json.dumps(document).encode() + tail, schema, rows=rows)


FLAT = [value for row in ROWS for value in row]
BY_NAME = [tensor(name, [2], "FP64", [row[index] for row in ROWS]) for index, name in enumerate(NAMES)]
BY_NAME_IN_COLUMNS = [tensor(one["name"], [2, 1], "FP64", [[value] for value in one["data"]]) for one in BY_NAME]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"instances": ROWS}, ROWS),
        ({"instances": NAMED, "signature_name": "serving_default"}, NAMED),
        ({"inputs": [tensor("input-0", [2, 3], "FP64", FLAT)]}, ROWS),
        ({"id": "7", "inputs": [tensor("input-0", [2, 3], "FP64", ROWS)], "parameters": {}}, ROWS),
        ({"inputs": [tensor("input-0", [3], "FP64", ROWS[0])]}, ROWS[:1]),
        ({"inputs": BY_NAME}, NAMED),
        ({"inputs": BY_NAME[::-1]}, NAMED),
        ({"inputs": BY_NAME_IN_COLUMNS}, NAMED),
        (
            {"inputs": [BY_NAME[0], tensor("region", [2], "BYTES", ["n", "s"])]},
            [{"income": 1.5, "region": "n"}, {"income": 4.0, "region": "s"}],
        ),
    ],
)
def test_rows(document: Any, expected: list[Any]) -> None:
    assert rows_of(document) == expected


def test_rows_of_a_single_feature() -> None:
    one = FEATURES[:1]
    assert rows_of({"instances": [1.5, 2.5]}, features=one) == [[1.5], [2.5]]
    assert rows_of({"inputs": [tensor("x", [2], "FP32", [1.5, 2.5])]}, features=one) == [[1.5], [2.5]]
    assert rows_of({"inputs": [tensor("income", [2, 1], "FP32", [1.5, 2.5])]}, features=one) == [
        {"income": 1.5},
        {"income": 2.5},
    ]


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "INT8", "INT64", "UINT16"])
def test_binary_rows(datatype: str) -> None:
    numpy_name = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "INT8": "i1", "INT64": "<i8", "UINT16": "<u2"}[datatype]
    tail = np.array([[1, 2, 3], [4, 5, 6]], dtype=numpy_name).tobytes()
    described = {"name": "x", "shape": [2, 3], "datatype": datatype, "parameters": {"binary_data_size": len(tail)}}
    assert rows_of({"inputs": [described]}, tail) == [[1, 2, 3], [4, 5, 6]]


def test_binary_strings_and_missing_numbers() -> None:
    strings = b"".join(struct.pack("<I", len(one)) + one for one in ("süd".encode(), b""))
    numbers = np.array([1.5, np.nan], dtype="<f4").tobytes()
    parts = [("region", "BYTES", strings), ("income", "FP32", numbers)]
    described = [
        {"name": name, "shape": [2, 1], "datatype": datatype, "parameters": {"binary_data_size": len(part)}}
        for name, datatype, part in parts
    ]
    assert rows_of({"inputs": described}, strings + numbers) == [
        {"region": "süd", "income": 1.5},
        {"region": "", "income": None},
    ]


BINARY = {"name": "x", "shape": [1, 3], "datatype": "FP32"}


@pytest.mark.parametrize(
    ("document", "tail", "reason"),
    [
        ([], b"", "must be a JSON object"),
        ({}, b"", "neither"),
        ({"instances": {}}, b"", "must be a list"),
        ({"instances": []}, b"", "0 rows"),
        ({"instances": [[1, 2, 3]] * 101}, b"", "101 rows"),
        ({"inputs": 7}, b"", "neither"),
        ({"inputs": [7]}, b"", "neither"),
        ({"inputs": [{}]}, b"", "must have a name"),
        ({"inputs": [tensor("x", [1, 3], "BF16", [1, 2, 3])]}, b"", "except BF16"),
        ({"inputs": [tensor("x", [-1, 3], "FP32", [1, 2, 3])]}, b"", "must have a shape"),
        ({"inputs": [tensor("x", [True, 3], "FP32", [1, 2, 3])]}, b"", "must have a shape"),
        ({"inputs": [tensor("x", [1] * 9, "FP32", [1])]}, b"", "must have a shape"),
        ({"inputs": [tensor("x", [2, 3], "FP32", [1, 2, 3])]}, b"", "has 3 values"),
        ({"inputs": [tensor("x", [10**9, 0], "FP32", [])]}, b"", "neither one with 3 columns"),
        ({"inputs": [tensor("x", [1, 3], "FP32", [[[1, 2, 3]]])]}, b"", "nested"),
        ({"inputs": [tensor("x", [1, 3], "FP32", {"a": 1})]}, b"", "nested"),
        ({"inputs": [tensor("x", [1, 4], "FP32", [1, 2, 3, 4])]}, b"", "neither one with 3 columns"),
        ({"inputs": [tensor("a", [1, 3], "FP32", [1, 2, 3])] * 2}, b"", "neither one with 3 columns"),
        ({"inputs": [*BY_NAME[:2], tensor("age", [1], "FP64", [1])]}, b"", "different numbers of rows"),
        ({"inputs": [{**BINARY, "parameters": {"binary_data_size": 12}}]}, b"1234", "that the body has"),
        ({"inputs": [{**BINARY, "parameters": {"binary_data_size": -1}}]}, b"", "that the body has"),
        ({"inputs": [{**BINARY, "parameters": {"binary_data_size": 8}}]}, b"12345678", "has 2 values"),
        ({"inputs": [{**BINARY, "parameters": {"binary_data_size": 11}}]}, b"12345678901", "cannot be decoded"),
        (
            {"inputs": [{**BINARY, "datatype": "BYTES", "parameters": {"binary_data_size": 5}}]},
            b"\xff\xff\0\0a",
            "cannot be decoded",
        ),
        ({"inputs": [tensor("x", [1, 3], "FP32", [1, 2, 3])]}, b"1234", "belong to no tensor"),
    ],
)
def test_requests_that_are_refused(document: Any, tail: bytes, reason: str) -> None:
    with pytest.raises(EventError, match=reason) as refused:
        rows_of(document, tail)
    assert refused.value.outcome == EventOutcome.UNDECODABLE


@pytest.mark.parametrize(
    "body",
    [b"", b"\x1f\x8b\x08", b"{", b'{"a": NaN}', b"[" * 100_000, b'{"a":' * 100_000, b"{1", b'{"a": 1' + b"0" * 5000],
)
def test_bodies_that_are_no_json_are_refused(body: bytes) -> None:
    with pytest.raises(EventError):
        rows_of_request(body, FEATURES, most_rows=100)


CHANCES = [[0.1, 0.7, 0.2], [0.6, 0.3, 0.1]]
FLAT_CHANCES = [0.1, 0.7, 0.2, 0.6, 0.3, 0.1]
OF_CHANCES = [
    {"prediction": "b", "probabilities": CHANCES[0]},
    {"prediction": "a", "probabilities": CHANCES[1]},
]


@pytest.mark.parametrize(
    ("document", "schema", "expected"),
    [
        ({"predictions": ["a", "c"]}, THREE, [{"prediction": "a"}, {"prediction": "c"}]),
        ({"predictions": [["a"], ["c"]]}, THREE, [{"prediction": "a"}, {"prediction": "c"}]),
        ({"predictions": CHANCES}, THREE, OF_CHANCES),
        ({"predictions": [dict(zip("abc", one, strict=True)) for one in CHANCES]}, THREE, OF_CHANCES),
        (
            {"predictions": [{"prediction": "a", "confidence": 0.9, "took": 1}, {"prediction": "b"}]},
            THREE,
            [{"prediction": "a", "confidence": 0.9}, {"prediction": "b"}],
        ),
        ({"predictions": [1, 0]}, TWO, [{"prediction": 1}, {"prediction": 0}]),
        ({"predictions": [1.0, 0.0]}, TWO, [{"prediction": 1.0}, {"prediction": 0.0}]),
        (
            {"predictions": [0.75, 0.25]},
            TWO,
            [{"prediction": "1", "probabilities": [0.25, 0.75]}, {"prediction": "0", "probabilities": [0.75, 0.25]}],
        ),
        ({"predictions": [12.5, -1]}, NUMBER, [{"prediction": 12.5}, {"prediction": -1}]),
        ({"predictions": [[12.5], [-1]]}, NUMBER, [{"prediction": 12.5}, {"prediction": -1}]),
        ({"outputs": [tensor("predict", [2, 1], "INT64", [1, 0])]}, TWO, [{"prediction": 1}, {"prediction": 0}]),
        ({"outputs": [tensor("predict", [2], "BYTES", ["a", "c"])]}, THREE, [{"prediction": "a"}, {"prediction": "c"}]),
        ({"outputs": [tensor("p", [2, 3], "FP32", CHANCES)]}, THREE, OF_CHANCES),
        (
            {"outputs": [tensor("label", [2], "BYTES", ["b", "a"]), tensor("p", [2, 3], "FP32", FLAT_CHANCES)]},
            THREE,
            OF_CHANCES,
        ),
        (
            {
                "outputs": [
                    tensor("label", [2], "BYTES", ["b", "a"]),
                    tensor("logits", [2, 3], "FP32", [1, 2, 3, 4, 5, 6]),
                ]
            },
            THREE,
            [{"prediction": "b"}, {"prediction": "a"}],
        ),
        (
            {"outputs": [tensor("p", [2], "FP32", [0.75, 0.25])]},
            TWO,
            [{"prediction": "1", "probabilities": [0.25, 0.75]}, {"prediction": "0", "probabilities": [0.75, 0.25]}],
        ),
        (
            {"outputs": [tensor("y", [2, 1], "FP64", [12.5, -1.0])]},
            NUMBER,
            [{"prediction": 12.5}, {"prediction": -1.0}],
        ),
    ],
)
def test_predictions(document: Any, schema: ModelSchema, expected: list[dict[str, Any]]) -> None:
    assert predictions_of(document, schema, rows=2) == expected


def test_a_binary_response_has_its_labels_and_probabilities() -> None:
    labels, chances = np.array([1, 0], "<i8").tobytes(), np.array([[0.25, 0.75], [0.5, 0.5]], "<f4").tobytes()
    document = {
        "model_name": "é",  # two bytes, so that places in the text and in the bytes differ
        "outputs": [
            {"name": "label", "shape": [2], "datatype": "INT64", "parameters": {"binary_data_size": len(labels)}},
            {"name": "p", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": len(chances)}},
        ],
    }
    body = json.dumps(document, ensure_ascii=False).encode() + labels + chances
    assert predictions_of_response(body, TWO, rows=2) == [
        {"prediction": 1, "probabilities": [0.25, 0.75]},
        {"prediction": 0, "probabilities": [0.5, 0.5]},
    ]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "neither"),
        ({"predictions": "a"}, "must be a list"),
        ({"predictions": ["a"]}, "1 predictions for 2 rows"),
        ({"predictions": [[0.5, 0.5]] * 2}, "each of 3 classes"),
        ({"predictions": [["x", "y", "z"]] * 2}, "each of 3 classes"),
        ({"outputs": []}, "not clear"),
        ({"outputs": [tensor("a", [2], "BYTES", ["a", "b"])] * 2}, "not clear"),
        ({"outputs": [tensor("p", [2, 3], "FP32", FLAT_CHANCES)] * 2}, "not clear"),
        ({"outputs": [tensor("a", [3], "BYTES", ["a", "b", "c"])]}, "not clear"),
    ],
)
def test_responses_that_are_refused(document: Any, reason: str) -> None:
    with pytest.raises(EventError, match=reason) as refused:
        predictions_of(document, THREE, rows=2)
    assert refused.value.outcome == EventOutcome.UNDECODABLE
