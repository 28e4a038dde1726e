"""ONNX models for tests: exports of scikit-learn estimators, and graphs built by hand."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.base import is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

IRIS_NAMES = ("setosa", "versicolor", "virginica")
OPSETS = {"": 17, "ai.onnx.ml": 3}


def _attribute(key: str, value: Any, *arguments: Any, **named: Any) -> onnx.AttributeProto:
    # skl2onnx 1.20 writes HistGradientBoosting's directions for missing values as a mix of integers and booleans,
    # which onnx 1.23's protobuf refuses.
    if isinstance(value, list) and any(isinstance(item, bool) for item in value):
        value = [int(item) for item in value]
    return _make_attribute(key, value, *arguments, **named)


_make_attribute = helper.make_attribute


def export(estimator: Any, *, types: list[tuple[str, Any]], **options: Any) -> bytes:
    """Return the estimator as ONNX; classifiers without ZipMap by default."""
    if is_classifier(estimator):
        options = {"zipmap": False} | options
    with patch.object(helper, "make_attribute", _attribute):
        model = to_onnx(estimator, initial_types=types, options=options or None, target_opset=OPSETS)
    content: bytes = model.SerializeToString()
    return content


def floats(width: int) -> list[tuple[str, Any]]:
    """Return the type of a single float tensor named X."""
    return [("X", FloatTensorType([None, width]))]


@cache
def iris() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return iris: 150 x 4 measurements in cm, and its classes 0, 1, 2."""
    measurements, classes = load_iris(return_X_y=True)
    return measurements.astype(np.float32), classes.astype(np.int64)


def iris_export(estimator: Any, *, named: bool = False, **options: Any) -> bytes:
    """Fit the estimator on iris, with class names instead of numbers if ``named``, and export it."""
    measurements, classes = iris()
    estimator.fit(measurements, np.array(IRIS_NAMES)[classes] if named else classes)
    return export(estimator, types=floats(4), **options)


@dataclass(frozen=True, eq=False)
class MixedModel:
    """A pipeline over strings, floats with missing values and integers, its export, and rows for it."""

    pipeline: Any
    content: bytes
    columns: dict[str, NDArray[Any]]

    def frame(self) -> NDArray[np.object_]:
        """Return the rows in the form that the pipeline accepts."""
        return np.column_stack([column.astype(object) for column in self.columns.values()])


@cache
def mixed_model() -> MixedModel:
    """Return a classifier of carriers and distances (seeded), one ONNX input for each column."""
    rng = np.random.default_rng(20130101)
    n = 400
    columns: dict[str, NDArray[Any]] = {
        "carrier": rng.choice(np.array(["AA", "UA", "DL"], dtype=object), n),
        "origin": rng.choice(np.array(["JFK", "LGA"], dtype=object), n),
        "distance": rng.normal(1000, 300, n).astype(np.float32),
        "humidity": np.where(rng.random(n) < 0.2, np.nan, rng.normal(60, 10, n)).astype(np.float32),
        "hour": rng.integers(0, 24, n),
    }
    late = (columns["carrier"] == "UA") | (columns["distance"] > 1300)
    numeric = make_pipeline(SimpleImputer(), StandardScaler())
    pipeline = make_pipeline(
        ColumnTransformer(
            [
                ("categories", OneHotEncoder(handle_unknown="ignore", sparse_output=False), [0, 1]),
                ("numbers", numeric, [2, 3]),
                ("hour", StandardScaler(), [4]),
            ]
        ),
        LogisticRegression(max_iter=500),
    )
    frame = np.column_stack([column.astype(object) for column in columns.values()])
    pipeline.fit(frame, np.where(late, "late", "on time"))
    types: list[tuple[str, Any]] = [
        ("carrier", StringTensorType([None, 1])),
        ("origin", StringTensorType([None, 1])),
        ("distance", FloatTensorType([None, 1])),
        ("humidity", FloatTensorType([None, 1])),
        ("hour", Int64TensorType([None, 1])),
    ]
    return MixedModel(pipeline, export(pipeline, types=types), columns)


def node(operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    """Return an operator of a graph."""
    return helper.make_node(operator, inputs, outputs, **attributes)


def value(name: str, element: int = TensorProto.FLOAT, shape: Sequence[int | str | None] | None = (None, 1)) -> Any:
    """Return the description of an input or output tensor."""
    return helper.make_tensor_value_info(name, element, shape)


def constant(name: str, values: Any, dtype: Any) -> onnx.TensorProto:
    """Return an initializer."""
    return numpy_helper.from_array(np.array(values, dtype=dtype), name)


def graph_model(
    nodes: Sequence[onnx.NodeProto],
    *,
    inputs: Sequence[onnx.ValueInfoProto] = (),
    outputs: Sequence[onnx.ValueInfoProto] = (),
    initializers: Sequence[onnx.TensorProto] = (),
    ir_version: int = 8,
    opset: int = 17,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """Return a model built from nodes; by default its input is float X (rows x 1) and its output float Y (rows x 1)."""
    graph = helper.make_graph(
        nodes, "test", inputs or [value("X")], outputs or [value("Y")], initializer=list(initializers)
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    opsets += [helper.make_opsetid(domain, 1) for domain in domains]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, producer_name="by hand")


def identity_model(**options: Any) -> onnx.ModelProto:
    """Return a model that returns its input."""
    return graph_model([helper.make_node("Identity", ["X"], ["Y"])], **options)


def loop_model(turns: int) -> onnx.ModelProto:
    """Return a model that adds X to itself ``turns`` times, one by one."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["keep"], ["keep_on"]),
            helper.make_node("Add", ["sum", "X"], ["more"]),
        ],
        "body",
        [value("turn", TensorProto.INT64, []), value("keep", TensorProto.BOOL, []), value("sum")],
        [value("keep_on", TensorProto.BOOL, []), value("more")],
    )
    return graph_model(
        [helper.make_node("Loop", ["turns", "go", "X"], ["Y"], body=body)],
        initializers=[constant("turns", turns, np.int64), constant("go", True, np.bool_)],
    )


def doubling_model(doublings: int) -> onnx.ModelProto:
    """Return a model of a few hundred bytes that widens a row by 2 to the power of ``doublings`` and sums it."""
    names = ["X", *(f"wide{step}" for step in range(doublings))]
    nodes = [helper.make_node("Concat", [a, a], [b], axis=1) for a, b in itertools.pairwise(names)]
    nodes.append(helper.make_node("ReduceMean", [names[-1]], ["Y"], axes=[1], keepdims=1))
    return graph_model(nodes)


def slow_model(layers: int, width: int) -> onnx.ModelProto:
    """Return a small model that multiplies large matrices many times: much CPU time, little memory."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["m0"], value=constant("one", [0.5], np.float32)),
        helper.make_node("ReduceMean", ["X"], ["x"], keepdims=0),
        helper.make_node("Add", ["m0", "x"], ["n0"]),
    ]
    nodes += [helper.make_node("MatMul", [f"n{i}", f"n{i}"], [f"n{i + 1}"]) for i in range(layers)]
    nodes += [
        helper.make_node("ReduceMean", [f"n{layers}"], ["mean"], keepdims=0),
        helper.make_node("Add", ["X", "mean"], ["Y"]),
    ]
    return graph_model(nodes, initializers=[constant("shape", [width, width], np.int64)])


def slow_row_model(width: int = 4000, steps: int = 300) -> onnx.ModelProto:
    """Return a model that computes ``width`` sines ``steps`` times for each row: about 10 ms."""
    names = [f"wide{step}" for step in range(steps + 1)]
    nodes = [helper.make_node("MatMul", ["X", "ones"], [names[0]])]
    nodes += [helper.make_node("Sin", [a], [b]) for a, b in itertools.pairwise(names)]
    nodes.append(helper.make_node("ReduceMean", [names[-1]], ["Y"], axes=[1], keepdims=1))
    return graph_model(nodes, initializers=[constant("ones", np.ones((1, width)), np.float32)])


def parsed(content: bytes) -> onnx.ModelProto:
    """Return the parsed model."""
    model = onnx.ModelProto()
    model.ParseFromString(content)
    return model
