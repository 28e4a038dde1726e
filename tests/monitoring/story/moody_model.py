"""A real ONNX classifier that is slow, fails or has a low confidence, depending on its input."""

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tests.models_registry.onnx_models import constant, graph_model, value

FEATURES = ("signal", "fare", "seat")
WIDTH, LAYERS = 512, 24  # of the matrix products of each row: twelve million multiplications
LAST_SEAT = 1_000.0  # a lookup of a higher seat fails
STEEPNESS = 6.0


def moody_onnx() -> bytes:
    """Return the model, with one float tensor of three columns as its input.

    The probability of class 1 is sigmoid(6 signal). Matrix products that do not change the result make large requests
    slow. A `seat` above 1,000 is looked up in a table without that row, which ONNX Runtime refuses.
    """
    layers = [helper.make_node("MatMul", [f"layer{i}", "square"], [f"layer{i + 1}"]) for i in range(LAYERS)]
    nodes = [
        helper.make_node("Split", ["X"], list(FEATURES), axis=1, num_outputs=3),
        helper.make_node("ConstantOfShape", ["square_shape"], ["square"], value=constant("v", [1 / WIDTH], np.float32)),
        helper.make_node("ConstantOfShape", ["row_shape"], ["wide"], value=constant("w", [1.0], np.float32)),
        helper.make_node("Mul", ["fare", "wide"], ["layer0"]),
        *layers,
        helper.make_node("ReduceMean", [f"layer{LAYERS}", "columns"], ["mean"], keepdims=1),
        helper.make_node("Greater", ["seat", "last_seat"], ["is_behind"]),
        helper.make_node("Cast", ["is_behind"], ["place"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "place"], ["price"]),
        # The result is multiplied by 0 and added, so that no optimiser removes its computation.
        helper.make_node("Add", ["mean", "price"], ["work"]),
        helper.make_node("Mul", ["work", "nothing"], ["no_work"]),
        helper.make_node("Mul", ["signal", "steepness"], ["steep"]),
        helper.make_node("Add", ["steep", "no_work"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["yes"]),
        helper.make_node("Sub", ["one", "yes"], ["no"]),
        helper.make_node("Concat", ["no", "yes"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    model = graph_model(
        nodes,
        inputs=[value("X", shape=(None, len(FEATURES)))],
        outputs=[value("label", TensorProto.INT64, [None]), value("probabilities", shape=(None, 2))],
        initializers=[
            constant("square_shape", [WIDTH, WIDTH], np.int64),
            constant("row_shape", [1, WIDTH], np.int64),
            constant("columns", [1], np.int64),
            constant("last_seat", LAST_SEAT, np.float32),
            constant("table", [0.0], np.float32),
            constant("nothing", 0.0, np.float32),
            constant("steepness", STEEPNESS, np.float32),
            constant("one", 1.0, np.float32),
        ],
        opset=18,
    )
    return bytes(model.SerializeToString())


def rows(n: int, rng: np.random.Generator, *, signal: float | None = None, shift: float = 0.0) -> NDArray[np.float64]:
    """Return n rows, shape (n, 3): the signal is -1 or 1 with some noise, or the given one with little noise."""
    signals = rng.choice([-1.0, 1.0], n) + rng.normal(0, 0.1, n) if signal is None else rng.normal(signal, 0.001, n)
    return np.column_stack([signals + shift, rng.normal(5, 1, n), rng.normal(20, 3, n)])


def failing_rows(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return one row for which the model fails."""
    row = rows(1, rng)
    row[:, 2] = LAST_SEAT + 1
    return row
