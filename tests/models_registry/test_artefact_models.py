"""Models that are refused for their inputs, for their behaviour in the trial, or for their outputs."""

import contextlib
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from skl2onnx.common.data_types import StringTensorType
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from tests.models_registry import onnx_models as build
from tests.models_registry.inspection import LIMITS, refusal
from tests.models_registry.onnx_models import node

# --- refused by the inputs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        (build.value("X", shape=[None, 3, 3]), "has rank 3"),
        (build.value("X", shape=[]), "has rank 0"),
        (build.value("X", shape=None), "has no shape"),
        (build.value("X", shape=[None, "width"]), "has no fixed width"),
        (build.value("X", shape=[4]), "is a single row of 4 numbers. Export with an example input of shape 1 x 4"),
        (build.value("X", TensorProto.FLOAT16), "has element type FLOAT16"),
        (build.value("X", TensorProto.COMPLEX64), "has element type COMPLEX64"),
        (build.value("X", 99), "has element type unknown"),
        (helper.make_tensor_sequence_value_info("X", TensorProto.FLOAT, [None, 1]), "is a sequence, not a tensor"),
        (
            helper.make_value_info(
                "X", helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(1, [1]))
            ),
            "is a map, not a tensor",
        ),
        (build.value("X", shape=[None, LIMITS.max_features + 1]), "2,001 features; at most 2,000 are supported"),
        (build.value("X" * 256), "printable characters"),
        (build.value("X\n"), "printable characters"),
    ],
)
def test_inputs_that_are_not_tables_are_refused(described: Any, reason: str, tmp_path: Path) -> None:
    assert reason in refusal(build.identity_model(inputs=[described]), tmp_path)


def test_a_duplicate_input_name_is_refused(tmp_path: Path) -> None:
    assert "'X' is used twice" in refusal(build.identity_model(inputs=[build.value("X")] * 2), tmp_path)


def test_columns_with_the_same_name_are_refused(tmp_path: Path) -> None:
    inputs = [build.value("a", shape=[None, 2]), build.value("a_1")]
    assert "Two columns would have the name 'a_1'" in refusal(build.identity_model(inputs=inputs), tmp_path)


def test_a_model_without_input_is_refused(tmp_path: Path) -> None:
    model = build.identity_model()
    del model.graph.input[:]
    assert "has no input" in refusal(model, tmp_path)


# --- refused by the trial -------------------------------------------------------------------------------------------


def test_a_memory_bomb_is_refused(tmp_path: Path) -> None:
    model = build.doubling_model(30)
    assert model.ByteSize() < 2000
    assert "needs more memory" in refusal(model, tmp_path)


def test_memory_that_grows_with_the_rows_is_refused(tmp_path: Path) -> None:
    # A row needs 4 MiB, so only the large batch exceeds the limit.
    assert "needs more memory" in refusal(build.doubling_model(20), tmp_path)


def test_a_model_that_exceeds_the_cpu_limit_is_refused(tmp_path: Path) -> None:
    message = refusal(build.slow_model(400, 2000), tmp_path, replace(LIMITS, cpu_seconds=1))
    assert "more than 1 s of CPU time" in message


def test_a_model_that_exceeds_the_time_limit_is_refused(tmp_path: Path) -> None:
    message = refusal(build.slow_model(400, 2000), tmp_path, replace(LIMITS, wall_seconds=1))
    assert "within 1 s" in message


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="finds the trial in Linux's /proc")
def test_a_model_that_crashes_the_trial_is_refused(tmp_path: Path) -> None:
    # No file is known that crashes ONNX Runtime, so this sends the signal of a crash to the process.
    crash = threading.Thread(target=_crash_the_trial, args=(tmp_path,))
    crash.start()
    message = refusal(build.slow_model(400, 2000), tmp_path)
    crash.join()
    assert "ONNX Runtime crashed (SIGSEGV)" in message


def _crash_the_trial(folder: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):  # the process has ended
                is_child = f"PPid:\t{os.getpid()}\n" in status.read_text(encoding="ascii", errors="replace")
                if is_child and b"models_registry.artefacts.trial" in (status.parent / "cmdline").read_bytes():
                    os.kill(int(status.parent.name), signal.SIGSEGV)
                    return
        time.sleep(0.01)


def test_a_fixed_batch_inside_the_graph_is_refused(tmp_path: Path) -> None:
    model = build.graph_model(
        [node("Reshape", ["X", "shape"], ["Y"])], initializers=[build.constant("shape", [1, 1], np.int64)]
    )
    assert "accepts any number of rows" in refusal(model, tmp_path)


def test_an_output_that_combines_all_rows_is_refused(tmp_path: Path) -> None:
    model = build.graph_model([node("ReduceMean", ["X"], ["Y"], keepdims=1)])
    assert "No output has one result for each row" in refusal(model, tmp_path)


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"ir_version": 99}, "IR version is newer"), ({"opset": 99}, "does not support the model's opset")],
)
def test_newer_versions_of_onnx_are_refused(options: dict[str, int], reason: str, tmp_path: Path) -> None:
    message = refusal(build.identity_model(**options), tmp_path)
    assert reason in message
    assert "/onnxruntime_src" not in message
    assert str(tmp_path) not in message


def test_an_inconsistent_graph_is_refused(tmp_path: Path) -> None:
    assert "cannot load the model" in refusal(build.graph_model([node("Add", ["X", "absent"], ["Y"])]), tmp_path)


def test_a_cyclic_tree_is_refused(tmp_path: Path) -> None:
    tree = node(
        "TreeEnsembleRegressor", ["X"], ["Y"], domain="ai.onnx.ml", n_targets=1,
        nodes_treeids=[0, 0, 0], nodes_nodeids=[0, 1, 2], nodes_featureids=[0, 0, 0],
        nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ", "LEAF"], nodes_values=[0.5, 0.5, 0.0],
        nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 2, 0],
        target_treeids=[0], target_nodeids=[2], target_ids=[0], target_weights=[1.0],
    )  # fmt: skip
    assert "cannot load the model" in refusal(build.graph_model([tree]), tmp_path)


def test_a_model_that_fails_on_unknown_categories_is_refused(tmp_path: Path) -> None:
    rows = np.array([["a"], ["b"]] * 9, dtype=object)
    estimator = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(rows, [0, 1] * 9)
    content = build.export(estimator, types=[("category", StringTensorType([None, 1]))])
    assert "handle_unknown='ignore'" in refusal(content, tmp_path)


# --- refused by the outputs -----------------------------------------------------------------------------------------


def test_multi_output_regression_is_refused(tmp_path: Path) -> None:
    rows, _ = build.iris()
    content = build.export(LinearRegression().fit(rows, rows[:, :2]), types=build.floats(4))
    assert "2 numbers a row (multi-output regression)" in refusal(content, tmp_path)


def test_ambiguous_outputs_are_refused(tmp_path: Path) -> None:
    model = build.graph_model(
        [node("Identity", ["X"], ["mean"]), node("Abs", ["X"], ["deviation"])],
        outputs=[build.value("mean"), build.value("deviation")],
    )
    assert "several number outputs ('mean', 'deviation')" in refusal(model, tmp_path)


def test_labels_without_a_list_of_classes_are_refused(tmp_path: Path) -> None:
    model = build.graph_model(
        [node("Cast", ["X"], ["Y"], to=TensorProto.INT64)], outputs=[build.value("Y", TensorProto.INT64)]
    )
    assert "does not list its classes" in refusal(model, tmp_path)


def test_a_wrong_number_of_scores_is_refused(tmp_path: Path) -> None:
    model = build.parsed(build.iris_export(LogisticRegression(max_iter=500)))
    for each in model.graph.output:
        if each.name == "probabilities":
            each.CopyFrom(build.value("probabilities", shape=[None, 2]))
    last = next(each for each in model.graph.node if "probabilities" in each.output)
    last.output[0] = "three"
    model.graph.node.append(node("Gather", ["three", "first_two"], ["probabilities"], axis=1))
    model.graph.initializer.append(build.constant("first_two", [0, 1], np.int64))
    assert "3 classes, but 2 scores a row" in refusal(model, tmp_path)


def test_a_label_outside_the_classes_is_refused(tmp_path: Path) -> None:
    nodes = [
        node("Constant", [], ["classes"], value=build.constant("classes", [0, 1], np.int64)),
        node("ArgMax", ["X"], ["best"], axis=1, keepdims=0),
        node("Add", ["best", "five"], ["label"]),
    ]
    model = build.graph_model(
        [*nodes, node("Softmax", ["X"], ["scores"], axis=1)],
        inputs=[build.value("X", shape=[None, 2])],
        outputs=[build.value("label", TensorProto.INT64, [None]), build.value("scores", shape=[None, 2])],
        initializers=[build.constant("five", [5], np.int64)],
    )
    assert "predicted '5' for a sample row, which is not one of its classes (0, 1)" in refusal(model, tmp_path)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (["same", "same", "other"], "Two classes of the model have the same label"),
        (["a", "b", ""], "Class label '' is not allowed"),
        (["a", "b", "c\x00"], "printable characters"),
        (["a", "b", "c" * 200], "printable characters"),
        ([b"a", b"b", b"\xff"], "not UTF-8"),
    ],
)
def test_invalid_class_labels_are_refused(labels: list[Any], reason: str, tmp_path: Path) -> None:
    model = build.parsed(build.iris_export(LogisticRegression(max_iter=500), named=True))
    for each in model.graph.node:
        for attribute in each.attribute:
            if attribute.name == "classlabels_strings":
                del attribute.strings[:]
                attribute.strings.extend(x if isinstance(x, bytes) else x.encode() for x in labels)
    assert reason in refusal(model, tmp_path)


def test_too_many_classes_are_refused(tmp_path: Path) -> None:
    content = build.iris_export(LogisticRegression(max_iter=500))
    message = refusal(content, tmp_path, replace(LIMITS, max_classes=2))
    assert message == "The model has 3 class(es); 2 to 2 are supported."


def test_a_model_that_only_predicts_nan_is_refused(tmp_path: Path) -> None:
    model = build.graph_model([node("Sub", ["X", "ten"], ["low"]), node("Log", ["low"], ["Y"])],
                              initializers=[build.constant("ten", [10.0], np.float32)])  # fmt: skip
    assert "is NaN or infinite for every sample row" in refusal(model, tmp_path)
