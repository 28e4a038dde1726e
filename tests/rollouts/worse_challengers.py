"""Classifiers of iris flowers that are worse in one way: they fail, they are slow, or their features are permuted."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tests.factories import iris_onnx

LARGEST_LENGTH = 1000
WIDTH, LAYERS = 1000, 40
# The type of a node, the names of its inputs, the name of its output, and attributes.
Node: TypeAlias = tuple[str, Sequence[str], str, Mapping[str, Any]]


def failing_iris() -> bytes:
    """Return a classifier that fails for rows whose first feature is above `LARGEST_LENGTH`."""
    values: dict[str, NDArray[Any]] = {
        "first": np.array([0], np.int64),
        "most": np.array([LARGEST_LENGTH], np.float32),
        "zero": np.zeros(1, np.float32),
    }
    nodes: list[Node] = [
        ("Gather", ["row", "first"], "length", {"axis": 1}),
        ("Greater", ["length", "most"], "is_large", {}),
        ("Cast", ["is_large"], "place", {"to": onnx.TensorProto.INT64}),
        ("Gather", ["zero", "place"], "nothing", {"axis": 0}),  # there is only the place 0
        ("Add", ["row", "nothing"], "changed", {}),
    ]
    return _iris_behind(nodes, values)


def slow_iris() -> bytes:
    """Return a classifier behind a network of `LAYERS` layers of `WIDTH` units, which hardly changes its inputs."""
    rng = np.random.default_rng(0)
    values: dict[str, NDArray[Any]] = {
        "widen": rng.normal(0, 0.1, (4, WIDTH)).astype(np.float32),
        "layer": rng.normal(0, WIDTH**-0.5, (WIDTH, WIDTH)).astype(np.float32),
        "narrow": rng.normal(0, 1e-7, (WIDTH, 4)).astype(np.float32),
    }
    nodes: list[Node] = [("MatMul", ["row", "widen"], "hidden_0", {})]
    for place in range(LAYERS):
        nodes += [
            ("MatMul", [f"hidden_{place}", "layer"], f"sum_{place}", {}),
            ("Tanh", [f"sum_{place}"], f"hidden_{place + 1}", {}),
        ]
    nodes += [
        ("MatMul", [f"hidden_{LAYERS}", "narrow"], "correction", {}),
        ("Add", ["row", "correction"], "changed", {}),
    ]
    return _iris_behind(nodes, values)


def permuted_iris() -> bytes:
    """Return a classifier that takes the lengths of sepals for those of petals, and the other way round."""
    values: dict[str, NDArray[Any]] = {"order": np.array([2, 3, 0, 1], np.int64)}
    return _iris_behind([("Gather", ["row", "order"], "changed", {"axis": 1})], values)


def _iris_behind(nodes: Sequence[Node], values: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the classifier with nodes before it, which turn `row` into `changed`."""
    model = onnx.load_from_string(iris_onnx())
    graph = model.graph
    row = graph.input[0].name
    for node in graph.node:
        node.input[:] = ["changed" if name == row else name for name in node.input]
    graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in values.items())
    before = [
        helper.make_node(kind, [row if name == "row" else name for name in inputs], [output], **attributes)
        for kind, inputs, output, attributes in nodes
    ]
    after = list(graph.node)
    del graph.node[:]
    graph.node.extend([*before, *after])
    content: bytes = model.SerializeToString()
    return content
