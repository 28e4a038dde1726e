"""Predictions of ONNX models. Oracles: scikit-learn's predictions with the same estimators, and SciPy's softmax."""

import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from celery.exceptions import SoftTimeLimitExceeded
from numpy.typing import NDArray
from onnx import TensorProto, helper
from scipy.special import expit, softmax
from sklearn.cluster import KMeans
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from mlmon.feature_columns import PlainRows
from mlmon.schema import Feature, FeatureKind, TaskType, TensorType
from models_registry.class_scores import softmax_of
from models_registry.engine import Engine
from models_registry.exceptions import ArtefactError, PredictionFailedError, PredictionTimeoutError
from models_registry.schema import MOST_ROWS_AT_ONCE, Declaration, ModelSchema, ScoreKind
from tests.models_registry import onnx_models as build
from tests.models_registry.inspection import REGRESSION, inspect

CLASSIFIERS = [
    LogisticRegression(max_iter=500),
    RandomForestClassifier(n_estimators=20, random_state=1),
    GradientBoostingClassifier(n_estimators=10, random_state=1),
    HistGradientBoostingClassifier(max_iter=10, random_state=1),
    make_pipeline(StandardScaler(), MLPClassifier(max_iter=2000, random_state=1)),
]
REGRESSORS = [
    LinearRegression(),
    GradientBoostingRegressor(n_estimators=10, random_state=1),
    HistGradientBoostingRegressor(max_iter=10, random_state=1),
    make_pipeline(StandardScaler(), MLPRegressor(max_iter=2000, random_state=1)),
]


def engine_for(content: bytes, folder: Path, declared: Declaration = Declaration()) -> Engine:  # noqa: B008
    report = inspect(content, folder, declared=declared)
    path = folder / "normalised" if report.is_normalised else folder / "upload"
    return Engine(path, report.schema, timeout_seconds=10)


def assert_close(actual: NDArray[np.float64] | None, expected: NDArray[Any], *, atol: float = 2e-5) -> None:
    assert actual is not None
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=atol)  # the models compute in float32


def columns_of(rows: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    return {f"f{place}": column.astype(np.float64) for place, column in enumerate(rows.T)}


def feature(name: str, tensor_type: TensorType, *, input_name: str = "", column: int = 0) -> Feature:
    kind = FeatureKind.CATEGORICAL if tensor_type is TensorType.STRING else FeatureKind.NUMERIC
    return Feature(name, kind, True, input_name or name, column, tensor_type)


def regression(*features: Feature) -> ModelSchema:
    return ModelSchema(TaskType.REGRESSION, features, (), "Y", "", None)


def by_scores(classes: tuple[str, ...], kind: ScoreKind = ScoreKind.LOGITS) -> ModelSchema:
    features = tuple(feature(f"f{i}", TensorType.FLOAT32, input_name="X", column=i) for i in range(len(classes)))
    return ModelSchema(TaskType.CLASSIFICATION, features, classes, "", "Y", kind)


def passing_scores(width: int) -> bytes:
    """Return a model whose scores are its features."""
    tensors = {"inputs": [build.value("X", shape=(None, width))], "outputs": [build.value("Y", shape=(None, width))]}
    content: bytes = build.identity_model(**tensors).SerializeToString()
    return content


def with_only(content: bytes, output: str) -> bytes:
    """Return the model without its other outputs."""
    model = build.parsed(content)
    kept = [each for each in model.graph.output if each.name == output]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    pruned: bytes = model.SerializeToString()
    return pruned


@pytest.mark.parametrize("named", [False, True], ids=["numbers", "names"])
@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=lambda each: type(each).__name__)
def test_classifiers_predict_what_scikit_learn_predicts(estimator: Any, named: bool, tmp_path: Path) -> None:
    engine = engine_for(build.iris_export(estimator, named=named), tmp_path)
    rows, _ = build.iris()

    predictions = engine.predict(columns_of(rows))

    expected = estimator.predict_proba(rows)
    assert engine.schema.classes == tuple(str(each) for each in estimator.classes_)
    assert predictions.labels.tolist() == [str(label) for label in estimator.predict(rows)]
    assert predictions.scores is not None
    assert predictions.confidence is not None
    assert predictions.class_index is not None
    assert_close(predictions.scores, expected)
    assert_close(predictions.confidence, expected.max(axis=1))
    assert predictions.class_index.tolist() == expected.argmax(axis=1).tolist()
    assert predictions.class_index.dtype == np.int64
    assert predictions.confidence.dtype == predictions.scores.dtype == np.float64


@pytest.mark.parametrize("estimator", REGRESSORS, ids=lambda each: type(each).__name__)
def test_regressors_predict_what_scikit_learn_predicts(estimator: Any, tmp_path: Path) -> None:
    rows, _ = build.iris()
    estimator.fit(rows[:, :3], rows[:, 3])
    engine = engine_for(build.export(estimator, types=build.floats(3)), tmp_path)

    predictions = engine.predict(columns_of(rows[:, :3]))

    assert predictions.labels.shape == (150,)
    assert predictions.labels.dtype == np.float64
    np.testing.assert_allclose(predictions.labels, estimator.predict(rows[:, :3]), atol=2e-5)
    assert (predictions.class_index, predictions.confidence, predictions.scores) == (None, None, None)


def test_a_pipeline_over_mixed_types_predicts_what_scikit_learn_predicts(
    tmp_path: Path,
) -> None:
    mixed = build.mixed_model()
    engine = engine_for(mixed.content, tmp_path)
    columns = {
        name: column if column.dtype == object else column.astype(np.float64) for name, column in mixed.columns.items()
    }
    by_row = [[None if value != value else value for value in row] for row in mixed.frame().tolist()]
    strings = tuple(column.dtype == object for column in columns.values())
    for predictions in (engine.predict(columns), engine.predict(PlainRows(tuple(columns), strings, by_row))):
        assert predictions.labels.tolist() == mixed.pipeline.predict(mixed.frame()).tolist()
        assert_close(predictions.scores, mixed.pipeline.predict_proba(mixed.frame()))


def test_five_hundred_features_reach_their_columns(tmp_path: Path) -> None:
    rows, classes = make_classification(300, 500, n_informative=30, random_state=1)
    rows = rows.astype(np.float32)
    estimator = LogisticRegression(max_iter=500).fit(rows, classes)
    engine = engine_for(build.export(estimator, types=build.floats(500)), tmp_path)
    assert_close(engine.predict(columns_of(rows)).scores, estimator.predict_proba(rows))


def test_a_single_row_is_predicted_as_in_a_batch(tmp_path: Path) -> None:
    engine = engine_for(build.iris_export(LogisticRegression(max_iter=500), named=True), tmp_path)
    rows, _ = build.iris()
    many = engine.predict(columns_of(rows))
    one = engine.predict(columns_of(rows[70:71]))
    assert one.labels.tolist() == [many.labels[70]]
    assert one.confidence is not None
    assert many.confidence is not None
    np.testing.assert_allclose(one.confidence, many.confidence[70:71], rtol=1e-5)  # float32


def test_many_rows_are_predicted_in_slices(tmp_path: Path) -> None:
    model = LogisticRegression(max_iter=500)
    engine = engine_for(build.iris_export(model, named=True), tmp_path)
    rows = np.random.default_rng(7).uniform(0, 8, size=(2 * MOST_ROWS_AT_ONCE + 1, 4)).astype(np.float32)
    predictions = engine.predict(columns_of(rows))
    assert predictions.scores is not None
    assert len(predictions.labels) == len(rows)
    assert_close(predictions.scores, model.predict_proba(rows))


@pytest.mark.filterwarnings("ignore:Attribute `prob:FutureWarning")  # skl2onnx reads it
def test_decision_scores_are_margins_without_confidence(tmp_path: Path) -> None:
    estimator = SVC(random_state=1)
    engine = engine_for(build.iris_export(estimator), tmp_path)
    rows, _ = build.iris()

    predictions = engine.predict(columns_of(rows))

    decision = estimator.decision_function(rows)
    assert predictions.labels.tolist() == [str(label) for label in estimator.predict(rows)]
    assert_close(predictions.scores, decision, atol=1e-4)
    assert_close(predictions.score, decision.max(axis=1), atol=1e-4)
    assert predictions.confidence is None


@pytest.mark.filterwarnings("ignore:Attribute `prob:FutureWarning")  # skl2onnx reads it
def test_the_confidence_of_declared_logits_is_their_softmax(tmp_path: Path) -> None:
    estimator = SVC(random_state=1)
    content = build.iris_export(estimator)
    engine = engine_for(content, tmp_path, Declaration(scores=ScoreKind.LOGITS))
    rows, _ = build.iris()
    predictions = engine.predict(columns_of(rows))
    decision = estimator.decision_function(rows)
    assert_close(predictions.confidence, softmax(decision, axis=1).max(axis=1), atol=1e-4)
    assert predictions.score is None


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (ScoreKind.PROBABILITIES, ["a", "b", "b"]),
        (ScoreKind.LOGITS, ["a", "b", "b"]),
        (ScoreKind.MARGINS, ["a", "b", "b"]),
    ],
)
def test_one_number_decides_between_two_classes(kind: ScoreKind, expected: list[str]) -> None:
    numbers = np.array([0.2, 0.5, 0.9]) if kind is ScoreKind.PROBABILITIES else np.array([-1.5, 0.0, 2.0])
    schema = ModelSchema(TaskType.CLASSIFICATION, (feature("X", TensorType.FLOAT32),), ("a", "b"), "", "Y", kind)
    engine = Engine(build.identity_model().SerializeToString(), schema, timeout_seconds=5)

    predictions = engine.predict({"X": numbers})

    assert predictions.labels.tolist() == expected
    if kind is ScoreKind.MARGINS:
        assert predictions.confidence is None
        assert_close(predictions.score, numbers)
    else:
        second = numbers if kind is ScoreKind.PROBABILITIES else expit(numbers)
        assert_close(predictions.confidence, np.maximum(second, 1 - second))


def test_without_labels_the_largest_score_wins() -> None:
    engine = Engine(passing_scores(3), by_scores(("a", "b", "c")), timeout_seconds=5)
    scores = np.array([[1.0, 3.0, 2.0], [1e4, -1e4, 0.0], [0.0, 0.0, 0.5]])

    predictions = engine.predict(columns_of(scores))

    assert predictions.labels.tolist() == ["b", "a", "c"]
    assert_close(predictions.confidence, softmax(scores, axis=1).max(axis=1))


def test_softmax_of_the_chosen_score_does_not_overflow() -> None:
    scores = np.array([[1000.0, 1000.0], [-1000.0, 0.0], [2.0, 1.0]])
    expected = softmax(scores, axis=1)[:, 0]
    np.testing.assert_allclose(softmax_of(scores, scores[:, 0]), expected, atol=1e-300)


def test_probabilities_stay_in_their_range() -> None:
    engine = Engine(passing_scores(2), by_scores(("a", "b"), ScoreKind.PROBABILITIES), timeout_seconds=5)
    predictions = engine.predict(columns_of(np.array([[1.0000001, -1e-9]])))
    assert predictions.confidence is not None
    assert predictions.confidence.tolist() == [1.0]


@pytest.mark.parametrize("named", [False, True], ids=["numbers", "names"])
def test_without_scores_there_is_no_confidence(named: bool, tmp_path: Path) -> None:
    estimator = RandomForestClassifier(n_estimators=5, random_state=1)
    engine = engine_for(with_only(build.iris_export(estimator, named=named), "label"), tmp_path)
    rows, _ = build.iris()
    predictions = engine.predict(columns_of(rows))
    assert predictions.labels.tolist() == [str(label) for label in estimator.predict(rows)]
    assert (predictions.confidence, predictions.scores) == (None, None)


def test_distances_of_a_clusterer_are_not_scores(tmp_path: Path) -> None:
    rows, _ = build.iris()
    estimator = KMeans(3, n_init=1, random_state=1).fit(rows)
    engine = engine_for(build.export(estimator, types=build.floats(4)), tmp_path)
    predictions = engine.predict(columns_of(rows))
    assert predictions.labels.tolist() == [str(label) for label in estimator.predict(rows)]
    assert predictions.confidence is None


def test_every_element_type_reaches_its_tensor(tmp_path: Path) -> None:
    types: dict[str, tuple[int, list[int | None]]] = {
        "half": (TensorProto.DOUBLE, [None, 1]),
        "count": (TensorProto.INT32, [None, 1]),
        "large": (TensorProto.INT64, [None, 2]),
        "flag": (TensorProto.BOOL, [None, 1]),
        "flat": (TensorProto.FLOAT, [None]),
    }
    nodes = [helper.make_node("Cast", [name], [f"{name}_float"], to=TensorProto.FLOAT) for name in types]
    nodes += [
        helper.make_node("Unsqueeze", ["flat_float", "one"], ["flat_column"]),
        helper.make_node("Concat", ["half_float", "count_float", "large_float", "flag_float", "flat_column"], ["all"],
                         axis=1),
        helper.make_node("Mul", ["all", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "one"], ["Y"], keepdims=0),
    ]  # fmt: skip
    model = build.graph_model(
        nodes,
        inputs=[build.value(name, element, shape) for name, (element, shape) in types.items()],
        outputs=[build.value("Y", shape=[None])],
        initializers=[
            build.constant("one", [1], np.int64),
            build.constant("weights", [[1, 10, 100, 1000, 10_000, 100_000]], np.float32),
        ],
    )
    engine = engine_for(model.SerializeToString(), tmp_path, REGRESSION)
    names = [each.name for each in engine.schema.features]
    assert names == ["half", "count", "large_0", "large_1", "flag", "flat"]

    columns = {name: np.array([place + 1.0, 0.0]) for place, name in enumerate(names)}
    columns["flag"] = np.array([1.0, 0.0])
    columns["half"] = np.array([0.5, -0.5])

    expected = [0.5 + 20 + 300 + 4000 + 10_000 + 600_000, -0.5]
    np.testing.assert_allclose(engine.predict(columns).labels, expected)
    rows = [[0.5, 2, 3, 4, True, 6], [-0.5, 0, 0, 0, False, 0]]
    np.testing.assert_allclose(engine.predict(PlainRows(tuple(names), (False,) * 6, rows)).labels, expected)


def test_a_missing_string_is_the_empty_string() -> None:
    encoder = helper.make_node(
        "LabelEncoder", ["X"], ["Y"], domain="ai.onnx.ml",
        keys_strings=["", "a"], values_floats=[7.0, 1.0], default_float=-1.0,
    )  # fmt: skip
    model = build.graph_model([encoder], inputs=[build.value("X", TensorProto.STRING)])
    engine = Engine(model.SerializeToString(), regression(feature("X", TensorType.STRING)), timeout_seconds=5)
    for columns in (
        {"X": np.array([None, "a", "b"], dtype=object)},
        PlainRows(("X",), (True,), [[None], ["a"], ["b"]]),
    ):
        assert engine.predict(columns).labels.tolist() == [7.0, 1.0, -1.0]


@pytest.mark.parametrize("value", [np.nan, 2.5, 3e9], ids=["missing", "fraction", "too large"])
@pytest.mark.parametrize("tensor_type", [TensorType.INT32, TensorType.BOOL])
def test_an_integer_tensor_refuses_values_that_it_cannot_hold(value: float, tensor_type: TensorType) -> None:
    element = TensorProto.INT32 if tensor_type is TensorType.INT32 else TensorProto.BOOL
    model = build.graph_model(
        [helper.make_node("Cast", ["X"], ["Y"], to=TensorProto.FLOAT)], inputs=[build.value("X", element)]
    )
    engine = Engine(model.SerializeToString(), regression(feature("X", tensor_type)), timeout_seconds=5)
    with pytest.raises(PredictionFailedError, match=r"Row 1, feature 'X'"):
        engine.predict({"X": np.array([1.0, value])})


def test_a_number_beyond_float32_becomes_infinite_without_a_warning() -> None:
    engine = Engine(passing_scores(2), by_scores(("a", "b"), ScoreKind.PROBABILITIES), timeout_seconds=5)
    with pytest.raises(PredictionFailedError, match="Row 0: the model's scores are not probabilities"):
        engine.predict(columns_of(np.array([[0.0, 1e300]])))


def test_scores_that_are_nan_fail() -> None:
    engine = Engine(passing_scores(2), by_scores(("a", "b")), timeout_seconds=5)
    with pytest.raises(PredictionFailedError, match="Row 1: the model's scores are NaN or infinite"):
        engine.predict(columns_of(np.array([[0.0, 1.0], [0.0, np.nan]])))


def test_a_non_finite_prediction_fails() -> None:
    model = build.graph_model([helper.make_node("Log", ["X"], ["Y"])])
    engine = Engine(model.SerializeToString(), regression(feature("X", TensorType.FLOAT32)), timeout_seconds=5)
    with pytest.raises(PredictionFailedError, match="Row 1: the prediction is not a finite number"):
        engine.predict({"X": np.array([1.0, -1.0])})


def test_a_label_outside_the_classes_fails() -> None:
    content = build.iris_export(LogisticRegression(max_iter=500), named=True)
    features = tuple(feature(f"f{i}", TensorType.FLOAT32, input_name="X", column=i) for i in range(4))
    schema = ModelSchema(
        TaskType.CLASSIFICATION,
        features,
        ("setosa", "versicolor", "rose"),
        "label",
        "probabilities",
        ScoreKind.PROBABILITIES,
    )
    engine = Engine(content, schema, timeout_seconds=5)
    rows, _ = build.iris()
    with pytest.raises(PredictionFailedError, match="'virginica', which is not one of its classes"):
        engine.predict(columns_of(rows[140:]))


def test_scores_of_the_wrong_width_fail() -> None:
    schema = by_scores(("a", "b", "c"))
    model = build.graph_model(
        [helper.make_node("Concat", ["X", "X"], ["Y"], axis=1)], inputs=[build.value("X", shape=[None, 3])],
        outputs=[build.value("Y", shape=[None, 6])],
    )  # fmt: skip
    with pytest.raises(PredictionFailedError, match=r"has 6 numbers a row; expected 3"):
        Engine(model.SerializeToString(), schema, timeout_seconds=5).predict(columns_of(np.zeros((1, 3))))


def test_an_error_of_onnx_runtime_is_a_failed_prediction() -> None:
    reshape = build.graph_model(
        [helper.make_node("Reshape", ["X", "shape"], ["Y"])], initializers=[build.constant("shape", [2, 1], np.int64)]
    )
    engine = Engine(reshape.SerializeToString(), regression(feature("X", TensorType.FLOAT32)), timeout_seconds=5)
    with pytest.raises(PredictionFailedError, match="ONNX Runtime failed"):
        engine.predict({"X": np.zeros(3)})


def test_an_endless_model_is_stopped() -> None:
    # The inspection refuses such a model; here it represents one that is slow for certain rows.
    schema = regression(feature("X", TensorType.FLOAT32))
    endless = Engine(build.loop_model(2**62).SerializeToString(), schema, timeout_seconds=0.3)
    quick = Engine(build.loop_model(3).SerializeToString(), schema, timeout_seconds=5)
    for _ in range(2):
        start = time.monotonic()
        with pytest.raises(PredictionTimeoutError, match=r"limit of 0\.3 seconds"):
            endless.predict({"X": np.ones(1)})
        assert 0.3 <= time.monotonic() - start < 2
        assert quick.predict({"X": np.ones(1)}).labels.tolist() == [4.0]


def test_a_time_limit_of_the_task_passes_through() -> None:
    """Celery raises its soft limit from a signal handler; it is not an error of the model."""
    schema = regression(feature("X", TensorType.FLOAT32))
    slow = Engine(build.loop_model(3_000_000).SerializeToString(), schema, timeout_seconds=60)

    def expire(*_: object) -> None:
        raise SoftTimeLimitExceeded

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with pytest.raises(SoftTimeLimitExceeded):
            slow.predict({"X": np.ones(1)})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_memory_is_at_least_the_size_of_the_artefact() -> None:
    content = build.iris_export(RandomForestClassifier(n_estimators=20, random_state=1))
    features = tuple(feature(f"f{i}", TensorType.FLOAT32, input_name="X", column=i) for i in range(4))
    schema = ModelSchema(
        TaskType.CLASSIFICATION, features, ("0", "1", "2"), "label", "probabilities", ScoreKind.PROBABILITIES
    )
    assert Engine(content, schema, timeout_seconds=5).memory_bytes >= len(content)


def test_other_content_is_not_loaded() -> None:
    with pytest.raises(ArtefactError, match="cannot load the model"):
        Engine(b"not a model", regression(feature("X", TensorType.FLOAT32)), timeout_seconds=5)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (regression(feature("Z", TensorType.FLOAT32)), "inputs are not the inputs"),
        (regression(feature("X", TensorType.FLOAT32, column=1)), "without a gap"),
        (ModelSchema(TaskType.REGRESSION, (feature("X", TensorType.FLOAT32),), (), "Z", "", None), "no output Z"),
        (ModelSchema(TaskType.REGRESSION, (feature("X", TensorType.FLOAT32),), (), "", "", None), "no output"),
    ],
)
def test_a_schema_that_does_not_fit_is_refused(schema: ModelSchema, reason: str) -> None:
    with pytest.raises(ArtefactError, match=reason):
        Engine(build.identity_model().SerializeToString(), schema, timeout_seconds=5)
