"""Graphs that would be served with a wrong class, number or confidence: each is served right, asked for or refused.

The expected values are those of the graphs, computed by hand.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.linear_model import LinearRegression, LogisticRegression

from mlmon.schema import TaskType
from models_registry.engine import Engine, Predictions
from models_registry.exceptions import ArtefactError, NonFinitePredictionError, UndeclaredOutputError
from models_registry.schema import Declaration, ScoreKind
from tests.models_registry import onnx_models as build
from tests.models_registry.inspection import REGRESSION, inspect, refusal
from tests.models_registry.onnx_models import constant, node, value

CLASSIFICATION = TaskType.CLASSIFICATION
FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING


def predicted(
    model: onnx.ModelProto,
    folder: Path,
    rows: NDArray[Any],
    declared: Declaration = Declaration(),  # noqa: B008
) -> Predictions:
    """Return the predictions of an uploaded model for rows x columns."""
    report = inspect(model, folder, declared=declared)
    path = folder / ("normalised" if report.is_normalised else "upload")
    engine = Engine(path, report.schema, timeout_seconds=5)
    return engine.predict({each.name: rows[:, place] for place, each in enumerate(report.schema.features)})


def labelled_sigmoid(scale: float, *, label: list[onnx.NodeProto] | None = None) -> onnx.ModelProto:
    """Return p = sigmoid(scale x + 3 scale) and a label of x: at least 0.5 is 1. Sample rows have the class 1."""
    nodes = [
        node("Mul", ["X", "scale"], ["scaled"]),
        node("Add", ["scaled", "shift"], ["logit"]),
        node("Sigmoid", ["logit"], ["p"]),
        *(label or [node("GreaterOrEqual", ["p", "half"], ["is_second"]),
                    node("Cast", ["is_second"], ["cast"], to=INT64),
                    node("Squeeze", ["cast", "axis"], ["label"])]),
    ]  # fmt: skip
    constants = [
        constant("scale", [scale], np.float32),
        constant("shift", [20 * scale], np.float32),
        constant("half", [0.5], np.float32),
        constant("axis", [1], np.int64),
    ]
    outputs = [value("label", INT64, [None]), value("p", shape=[None, 1])]
    return build.graph_model(nodes, outputs=outputs, initializers=constants)


ROWS = np.array([[-30.0], [-21.0], [0.0]])  # classes 0, 0, 1


def test_a_label_beside_a_sigmoid_is_no_anomaly(tmp_path: Path) -> None:
    found = predicted(labelled_sigmoid(1.0), tmp_path, ROWS)
    assert found.labels.tolist() == ["0", "0", "1"]


def test_a_stated_name_follows_the_probability_and_not_its_sign(tmp_path: Path) -> None:
    declared = Declaration(CLASSIFICATION, None, ("no", "yes"))
    found = predicted(labelled_sigmoid(1.0), tmp_path, ROWS, declared)
    assert found.labels.tolist() == ["no", "no", "yes"]
    assert found.confidence is not None
    p = 1 / (1 + np.exp(-(ROWS[:, 0] + 20)))
    np.testing.assert_allclose(found.confidence, np.maximum(p, 1 - p), rtol=1e-5)
    wrong = Declaration(CLASSIFICATION, ScoreKind.LOGITS, ("no", "yes"))
    assert "is the result of a sigmoid" in refusal(labelled_sigmoid(1.0), tmp_path, declared=wrong)


def detector(first: int, second: int) -> onnx.ModelProto:
    """Return a score x and a label: `first` below -100, else `second`."""
    nodes = [
        node("Less", ["X", "limit"], ["is_low"]),
        node("Where", ["is_low", "first", "second"], ["label"]),
        node("Identity", ["X"], ["scores"]),
    ]
    constants = [
        constant("limit", [-100.0 if second == 1 else 1.0], np.float32),
        constant("first", [first], np.int64),
        constant("second", [second], np.int64),
    ]
    outputs = [value("label", INT64, [None, 1]), value("scores", shape=[None, 1])]
    return build.graph_model(nodes, outputs=outputs, initializers=constants)


def test_signs_of_an_unknown_exporter_are_asked_for(tmp_path: Path) -> None:
    model = detector(1, -1)
    with pytest.raises(UndeclaredOutputError) as asked:
        inspect(model, tmp_path)
    assert [task for task, _, _ in asked.value.choices] == [TaskType.ANOMALY, CLASSIFICATION]
    assert predicted(model, tmp_path, ROWS, Declaration(TaskType.ANOMALY)).labels.tolist() == ["1", "1", "1"]
    found = predicted(model, tmp_path, ROWS, Declaration(CLASSIFICATION, None, ("-1", "1")))
    assert found.labels.tolist() == ["1", "1", "1"]


def test_an_anomaly_model_that_only_predicts_1_may_be_inverted(tmp_path: Path) -> None:
    message = refusal(detector(0, 1), tmp_path, declared=Declaration(TaskType.ANOMALY))
    assert "it may be that 1 is an anomaly" in message


def columns_of_softmax(names: tuple[str, ...], *, width: int = 3) -> onnx.ModelProto:
    nodes = [node("Softmax", ["X"], ["p"], axis=1)]
    constants = []
    for place, name in enumerate(names):
        constants.append(constant(f"place{place}", place, np.int64))
        nodes.append(node("Gather", ["p", f"place{place}"], [name], axis=1))
    outputs = [value(name, shape=[None]) for name in names]
    return build.graph_model(nodes, inputs=[value("X", shape=[None, width])], outputs=outputs, initializers=constants)


def test_names_of_columns_are_only_classes_if_skl2onnx_wrote_them(tmp_path: Path) -> None:
    names = ("setosa", "versicolor", "virginica")
    report = inspect(columns_of_softmax(names), tmp_path)
    assert report.schema.classes == ("0", "1", "2")
    assert "numbered 0 to 2" in report.remarks[-1]
    found = predicted(columns_of_softmax(names), tmp_path, np.eye(3), Declaration(classes=names))
    assert found.labels.tolist() == list(names)


def test_some_columns_of_a_tensor_are_not_its_classes(tmp_path: Path) -> None:
    assert "has 3 columns, of which 2 are outputs" in refusal(columns_of_softmax(("a", "b")), tmp_path)


@pytest.mark.parametrize("element", [FLOAT, TensorProto.DOUBLE, TensorProto.UINT8, TensorProto.INT16])
def test_labels_of_other_types_are_not_replaced_by_numbers(element: int, tmp_path: Path) -> None:
    nodes = [
        node("Softmax", ["X"], ["probabilities"], axis=1),
        node("ArgMax", ["X"], ["best"], axis=1, keepdims=0),
        node("Add", ["best", "one"], ["shifted"]),
        node("Cast", ["shifted"], ["label"], to=element),
    ]
    model = build.graph_model(
        nodes,
        inputs=[value("X", shape=[None, 2])],
        outputs=[value("label", element, [None]), value("probabilities", shape=[None, 2])],
        initializers=[constant("one", [1], np.int64)],
    )
    assert "Export labels as int64 or strings" in refusal(model, tmp_path)


def test_probabilities_in_another_order_are_not_used(tmp_path: Path) -> None:
    nodes = [
        node("Softmax", ["X"], ["probabilities"], axis=1),
        node("ArgMin", ["X"], ["worst"], axis=1, keepdims=0),
        node("ArrayFeatureExtractor", ["table", "worst"], ["extracted"], domain="ai.onnx.ml"),
        node("Reshape", ["extracted", "flat"], ["label"]),
    ]
    model = build.graph_model(
        nodes,
        inputs=[value("X", shape=[None, 2])],
        outputs=[value("label", STRING, [None]), value("probabilities", shape=[None, 2])],
        initializers=[constant("table", ["a", "b"], object), constant("flat", [-1], np.int64)],
    )
    found = predicted(model, tmp_path, np.array([[5.0, 0.0], [0.0, 5.0]]))
    assert found.labels.tolist() == ["b", "a"]
    assert found.confidence is None


def two_outputs(first: str, second: str, second_type: int = FLOAT) -> onnx.ModelProto:
    nodes = [node("Mul", ["X", "ten"], [first])]
    nodes.append(
        node("Cast", ["X"], [second], to=second_type) if second_type != FLOAT else node("Abs", ["X"], [second])
    )
    outputs = [value(first, shape=[None, 1]), value(second, second_type, [None, 1])]
    return build.graph_model(nodes, outputs=outputs, initializers=[constant("ten", [10.0], np.float32)])


def test_the_leaf_of_a_regression_is_not_its_prediction(tmp_path: Path) -> None:
    model = two_outputs("y", "leaf", INT64)
    found = predicted(model, tmp_path, np.array([[1.0], [2.5]]), REGRESSION)
    assert found.labels.tolist() == [10.0, 25.0]
    assert "several possible prediction outputs ('leaf', 'y')" in refusal(model, tmp_path)


@pytest.mark.parametrize("second", ["probable_error", "class_of_worst"])
def test_a_second_number_is_not_chosen_by_its_name(second: str, tmp_path: Path) -> None:
    message = refusal(two_outputs("forecast", second), tmp_path, declared=REGRESSION)
    assert f"several number outputs ('forecast', '{second}')" in message


def test_weights_beside_a_number_are_not_its_probabilities(tmp_path: Path) -> None:
    nodes = [node("ReduceSum", ["X", "axis"], ["rain_mm"]), node("Softmax", ["X"], ["attention"], axis=1)]
    model = build.graph_model(
        nodes,
        inputs=[value("X", shape=[None, 3])],
        outputs=[value("rain_mm", shape=[None, 1]), value("attention", shape=[None, 3])],
        initializers=[constant("axis", [1], np.int64)],
    )
    assert "several number outputs ('rain_mm', 'attention')" in refusal(model, tmp_path)


def test_strings_show_that_rows_depend_on_each_other(tmp_path: Path) -> None:
    encoder = node(
        "LabelEncoder", ["X"], ["number"], domain="ai.onnx.ml", keys_strings=["a", "b", "c"],
        values_floats=[1.0, 2.0, 3.0], default_float=0.0,
    )  # fmt: skip
    nodes = [
        encoder,
        node("ReduceMean", ["number"], ["mean"], axes=[0], keepdims=1),
        node("Sub", ["number", "mean"], ["Y"]),
    ]
    model = build.graph_model(nodes, inputs=[value("X", STRING, [None, 1])])
    assert "depends on the other rows of the request" in refusal(model, tmp_path, declared=REGRESSION)
    fixed = build.graph_model(nodes, inputs=[value("X", STRING, [1, 1])], outputs=[value("Y", shape=[1, 1])])
    report = inspect(fixed, tmp_path, declared=REGRESSION)
    assert report.schema.rows_at_once == 1


def test_rows_may_depend_on_each_other_only_in_large_requests(tmp_path: Path) -> None:
    nodes = [
        node("Shape", ["X"], ["shape"]),
        node("Gather", ["shape", "first"], ["rows"], axis=0),
        node("Greater", ["rows", "five"], ["is_large"]),
        node("Cast", ["is_large"], ["factor"], to=FLOAT),
        node("ReduceMean", ["X"], ["mean"], axes=[0], keepdims=1),
        node("Mul", ["mean", "factor"], ["shift"]),
        node("Sub", ["X", "shift"], ["Y"]),
    ]
    constants = [constant("first", [0], np.int64), constant("five", [5], np.int64)]
    message = refusal(build.graph_model(nodes, initializers=constants), tmp_path, declared=REGRESSION)
    assert "depends on the other rows of the request" in message


@pytest.mark.parametrize("operator", ["Hardmax", "OneHot"])
def test_hard_votes_are_asked_for_and_have_no_confidence(operator: str, tmp_path: Path) -> None:
    nodes = [node("Hardmax", ["X"], ["Y"], axis=1)]
    if operator == "OneHot":
        nodes = [
            node("ArgMax", ["X"], ["best"], axis=1, keepdims=0),
            node("OneHot", ["best", "depth", "values"], ["Y"], axis=-1),
        ]
    model = build.graph_model(
        nodes,
        inputs=[value("X", shape=[None, 3])],
        outputs=[value("Y", shape=[None, 3])],
        initializers=[constant("depth", [3], np.int64), constant("values", [0.0, 1.0], np.float32)],
    )
    with pytest.raises(UndeclaredOutputError):
        inspect(model, tmp_path)
    found = predicted(model, tmp_path, np.eye(3), Declaration(CLASSIFICATION, ScoreKind.MARGINS))
    assert (found.labels.tolist(), found.confidence) == (["0", "1", "2"], None)
    declared = Declaration(CLASSIFICATION, ScoreKind.PROBABILITIES)
    assert "it is not a probability" in refusal(model, tmp_path, declared=declared)


def test_probabilities_outside_their_range_are_an_error_of_the_row(tmp_path: Path) -> None:
    nodes = [
        node("Mul", ["X", "slope"], ["scaled"]),
        node("Add", ["scaled", "half"], ["p"]),
        node("Sub", ["one", "p"], ["q"]),
        node("Concat", ["q", "p"], ["Y"], axis=1),
    ]
    constants = [constant(n, [v], np.float32) for n, v in (("slope", 0.01), ("half", 0.5), ("one", 1.0))]
    model = build.graph_model(nodes, outputs=[value("Y", shape=[None, 2])], initializers=constants)
    with pytest.raises(NonFinitePredictionError, match="Row 1: the model's scores are not probabilities"):
        predicted(model, tmp_path, np.array([[1.0], [200.0]]))


def test_a_log_softmax_over_something_else_is_no_logarithm_of_probabilities(tmp_path: Path) -> None:
    nodes = [
        node("Reshape", ["X", "heads"], ["three"]),
        node("LogSoftmax", ["three"], ["logs"], axis=2),
        node("Reshape", ["logs", "flat"], ["Y"]),
    ]
    constants = [constant("heads", [-1, 2, 3], np.int64), constant("flat", [-1, 6], np.int64)]
    model = build.graph_model(
        nodes, inputs=[value("X", shape=[None, 6])], outputs=[value("Y", shape=[None, 6])], initializers=constants
    )
    assert "is not over the 6 numbers of a row" in refusal(model, tmp_path)


@pytest.mark.parametrize(
    "estimator", [LogisticRegression(max_iter=500), LinearRegression()], ids=["classes", "numbers"]
)
@pytest.mark.parametrize("width", [2, 3, 5])
def test_a_model_trained_on_other_columns_is_refused(estimator: Any, width: int, tmp_path: Path) -> None:
    rows, classes = build.iris()
    content = build.export(estimator.fit(rows, classes), types=build.floats(width))
    assert f"another number of columns than the input has ({width})" in refusal(content, tmp_path)


# --- what an attacker would write -----------------------------------------------------------------------------------


def test_a_function_reads_no_file_of_the_server(tmp_path: Path) -> None:
    secret = constant("secret", np.zeros(6, np.uint8), np.uint8)
    secret.ClearField("raw_data")
    secret.data_location = TensorProto.EXTERNAL
    secret.external_data.add(key="location", value="manage.py")
    secret.external_data.add(key="length", value="6")
    nodes = [
        node("Constant", [], ["bytes"], value=secret),
        node("Cast", ["bytes"], ["numbers"], to=FLOAT),
        node("Add", ["a", "numbers"], ["b"]),
    ]
    model = build.graph_model(
        [node("Read", ["X"], ["Y"], domain="local")], outputs=[value("Y", shape=[None, 6])], domains=["local"]
    )
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("local", "Read", ["a"], ["b"], nodes, opsets))
    assert "stored in the file 'manage.py' (external data), which was not uploaded" in refusal(model, tmp_path)


def test_a_string_cannot_grow(tmp_path: Path) -> None:
    model = build.graph_model(
        [node("StringConcat", ["X", "X"], ["Y"])], inputs=[value("X", STRING)], outputs=[value("Y", STRING)], opset=20
    )
    assert "Operator StringConcat is not supported" in refusal(model, tmp_path)


def test_a_dropout_that_may_be_random_is_refused(tmp_path: Path) -> None:
    nodes = [
        node("ReduceMax", ["X"], ["largest"], keepdims=0),
        node("Greater", ["largest", "limit"], ["is_training"]),
        node("Dropout", ["X", "ratio", "is_training"], ["Y"]),
    ]
    constants = [constant("limit", 100.0, np.float32), constant("ratio", 0.5, np.float32)]
    message = refusal(build.graph_model(nodes, initializers=constants), tmp_path, declared=REGRESSION)
    assert "predictions could be random" in message


def test_a_file_in_the_format_of_onnx_runtime_is_read_as_onnx(tmp_path: Path) -> None:
    model = build.graph_model([node("Identity", ["X"], ["Y"])], inputs=[value("X", shape=[1, 1])])
    model.producer_name = "ORTM"  # its place in the file is that of the mark of another format
    assert model.SerializeToString()[4:8] == b"ORTM"
    assert predicted(model, tmp_path, np.array([[3.0]]), REGRESSION).labels.tolist() == [3.0]


@pytest.mark.parametrize("operator", ["ZipMap", "Cast", "Identity", "Reshape", "Squeeze"])
def test_a_graph_that_no_exporter_writes_is_refused_without_a_traceback(operator: str, tmp_path: Path) -> None:
    domain = "ai.onnx.ml" if operator == "ZipMap" else ""
    message = refusal(build.graph_model([node(operator, [], ["Y"], domain=domain)]), tmp_path)
    assert "Traceback" not in message
    assert "The trial of the model failed" not in message


def test_thousands_of_outputs_are_refused_at_once(tmp_path: Path) -> None:
    names = [f"y{place}" for place in range(3000)]
    model = build.graph_model(
        [node("Identity", ["X"], [name]) for name in names], outputs=[value(name) for name in names]
    )
    with pytest.raises(ArtefactError, match="has 3,000 outputs; at most 100"):
        inspect(model, tmp_path)
