"""Models that are accepted, and the schema that is read from them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier

from mlmon.schema import Feature, FeatureKind, TaskType, TensorType
from models_registry.artefacts.inspection import sandbox_environment
from models_registry.schema import Declaration, ScoreKind
from tests.models_registry import onnx_models as build
from tests.models_registry.inspection import LIMITS, REGRESSION, inspect
from tests.models_registry.onnx_models import node


def test_the_report_describes_file_and_schema(tmp_path: Path) -> None:
    content = build.iris_export(LogisticRegression(max_iter=500), named=True)
    report = inspect(content, tmp_path)

    assert report.framework.startswith("skl2onnx 1.")
    schema = report.schema
    assert schema.task_type is TaskType.CLASSIFICATION
    assert schema.classes == build.IRIS_NAMES
    assert (schema.label_output, schema.score_output) == ("label", "probabilities")
    assert schema.score_kind is ScoreKind.PROBABILITIES
    assert schema.features == tuple(
        Feature(f"f{i}", FeatureKind.NUMERIC, True, "X", i, TensorType.FLOAT32) for i in range(4)
    )


def test_separate_inputs_name_the_features(tmp_path: Path) -> None:
    schema = inspect(build.mixed_model().content, tmp_path).schema
    described = [(each.name, each.kind, each.tensor_type, each.column) for each in schema.features]
    assert described == [
        ("carrier", FeatureKind.CATEGORICAL, TensorType.STRING, 0),
        ("origin", FeatureKind.CATEGORICAL, TensorType.STRING, 0),
        ("distance", FeatureKind.NUMERIC, TensorType.FLOAT32, 0),
        ("humidity", FeatureKind.NUMERIC, TensorType.FLOAT32, 0),
        ("hour", FeatureKind.NUMERIC, TensorType.INT64, 0),
    ]
    assert all(each.is_required for each in schema.features)
    assert schema.classes == ("late", "on time")


def test_a_regressor_predicts_a_number(tmp_path: Path) -> None:
    rows, classes = build.iris()
    content = build.export(LinearRegression().fit(rows, classes), types=build.floats(4))
    schema = inspect(content, tmp_path).schema
    assert schema.task_type is TaskType.REGRESSION
    assert (schema.label_output, schema.score_output, schema.classes) == ("variable", "", ())
    assert schema.score_kind is None


@pytest.mark.parametrize("named", [False, True], ids=["numbers", "names"])
@pytest.mark.parametrize("estimator", [GaussianNB(), MLPClassifier(max_iter=2000, random_state=1)], ids=type)
def test_classes_are_read_from_the_final_lookup_table(estimator: Any, named: bool, tmp_path: Path) -> None:
    schema = inspect(build.iris_export(estimator, named=named), tmp_path).schema
    assert schema.classes == (build.IRIS_NAMES if named else ("0", "1", "2"))


def test_classes_are_read_from_a_label_encoder(tmp_path: Path) -> None:
    encoder = node(
        "LabelEncoder", ["best"], ["label"], domain="ai.onnx.ml", keys_int64s=[1, 0], values_strings=["yes", "no"]
    )
    model = build.graph_model(
        [node("Softmax", ["X"], ["scores"], axis=1), node("ArgMax", ["X"], ["best"], axis=1, keepdims=0), encoder],
        inputs=[build.value("X", shape=[None, 2])],
        outputs=[build.value("label", TensorProto.STRING, [None]), build.value("scores", shape=[None, 2])],
    )
    schema = inspect(model, tmp_path).schema
    assert schema.classes == ("no", "yes")
    assert schema.score_kind is ScoreKind.PROBABILITIES


def test_classes_of_scores_without_labels_are_numbered(tmp_path: Path) -> None:
    model = build.graph_model(
        [node("Identity", ["X"], ["logits"])],
        inputs=[build.value("X", shape=[None, 3])],
        outputs=[build.value("logits", shape=[None, 3])],
    )
    report = inspect(model, tmp_path, declared=Declaration(TaskType.CLASSIFICATION, ScoreKind.LOGITS))
    schema = report.schema
    assert (schema.label_output, schema.score_output, schema.classes) == ("", "logits", ("0", "1", "2"))
    assert "numbered 0 to 2" in report.remarks[0]
    assert schema.score_kind is ScoreKind.LOGITS


def test_a_model_with_the_most_allowed_features_is_accepted(tmp_path: Path) -> None:
    width = LIMITS.max_features
    model = build.graph_model(
        [node("ReduceSum", ["X", "axis"], ["Y"])],
        inputs=[build.value("X", shape=[None, width])],
        initializers=[build.constant("axis", [1], np.int64)],
    )
    assert len(inspect(model, tmp_path, declared=REGRESSION).schema.features) == width


def test_initializers_listed_as_inputs_are_not_features(tmp_path: Path) -> None:
    model = build.graph_model(
        [node("Add", ["X", "bias"], ["Y"])],
        inputs=[build.value("X"), build.value("bias", shape=[1])],
        initializers=[build.constant("bias", [1.0], np.float32)],
    )
    assert [each.name for each in inspect(model, tmp_path, declared=REGRESSION).schema.features] == ["X"]


def test_shapes_that_depend_on_the_number_of_rows_are_allowed(tmp_path: Path) -> None:
    nodes = [
        node("Shape", ["X"], ["shape"]),
        node("ConstantOfShape", ["shape"], ["zeros"]),
        node("Expand", ["one", "shape"], ["ones"]),
        node("Sum", ["X", "zeros", "ones"], ["Y"]),
    ]
    model = build.graph_model(nodes, initializers=[build.constant("one", [1.0], np.float32)])
    assert inspect(model, tmp_path, declared=REGRESSION).schema.task_type is TaskType.REGRESSION


def test_the_sandbox_does_not_get_the_servers_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "hidden")
    monkeypatch.setenv("DATABASE_URL", "postgres://user:password@host/name")
    assert not {"SECRET_KEY", "DATABASE_URL"} & set(sandbox_environment())


def test_the_inspection_leaves_no_files(tmp_path: Path) -> None:
    inspect(build.identity_model(), tmp_path, declared=REGRESSION)
    assert [path.name for path in tmp_path.iterdir()] == ["upload"]
