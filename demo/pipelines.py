"""The two demo models: training and conversion to ONNX. Needs the dependency group ``train``."""

from typing import Any

import numpy as np
import onnx
import pyarrow as pa
from numpy.typing import NDArray
from skl2onnx import to_onnx, update_registered_converter
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
from skl2onnx.operator_converters.random_forest import convert_sklearn_random_forest_classifier
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from demo.flights import CATEGORICAL_FEATURES, FEATURES, FLOAT_FEATURES, INTEGER_FEATURES, OUTCOME

IRIS_FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
# Older than the latest operator sets, so that older versions of ONNX Runtime can load the files too.
OPSETS = {"": 17, "ai.onnx.ml": 3}


def iris_table() -> pa.Table:
    """Return the 150 iris flowers: four lengths in cm and the species."""
    iris = load_iris()
    columns: dict[str, Any] = {name: iris.data[:, index] for index, name in enumerate(IRIS_FEATURES)}
    return pa.table({**columns, "species": iris.target_names[iris.target].tolist()})


def train_classifier() -> Pipeline:
    """Return a logistic regression on the iris data."""
    iris = load_iris()
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(
        iris.data, iris.target_names[iris.target]
    )


def classifier_onnx(pipeline: Pipeline) -> bytes:
    """Return the classifier as ONNX: one float tensor of four columns."""
    return _onnx(pipeline, [("features", FloatTensorType([None, len(IRIS_FEATURES)]))])


def train_flight_delay(flights: pa.Table, *, trees: int = 100, leaves: int = 15) -> Pipeline:
    """Return a gradient boosting model that predicts ``late`` or ``on_time``. Missing numbers are allowed.

    Parameters
    ----------
    flights
        Rows of `demo.flights.flight_table` with an outcome.
    trees, leaves
        The number of trees, and of leaves in each.
    """
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer(
        [
            ("categories", encoder, list(CATEGORICAL_FEATURES)),
            ("numbers", "passthrough", [*INTEGER_FEATURES, *FLOAT_FEATURES]),
        ]
    )
    boosting = HistGradientBoostingClassifier(
        learning_rate=0.08, max_iter=trees, max_leaf_nodes=leaves, early_stopping=False, random_state=0
    )
    pipeline = Pipeline([("columns", columns), ("boosting", boosting)])
    labels = np.where(flights[OUTCOME].to_numpy(), "late", "on_time")
    with threadpool_limits(1):  # with several threads, the order of sums and so the file would differ each time
        pipeline.fit(feature_frame(flights), labels)
    _round_thresholds_down(boosting)
    return pipeline


def flight_delay_onnx(pipeline: Pipeline) -> bytes:
    """Return the flight model as ONNX, with one input for each feature, named like the feature."""
    types = {
        **{name: StringTensorType([None, 1]) for name in CATEGORICAL_FEATURES},
        **{name: Int64TensorType([None, 1]) for name in INTEGER_FEATURES},
        **{name: FloatTensorType([None, 1]) for name in FLOAT_FEATURES},
    }
    update_registered_converter(
        HistGradientBoostingClassifier,
        "SklearnHistGradientBoostingClassifier",
        calculate_linear_classifier_output_shapes,
        lambda scope, operator, container: convert_sklearn_random_forest_classifier(
            scope, operator, _IntegerFlags(container)
        ),
        options={"zipmap": [True, False, "columns"], "raw_scores": [True, False], "nocl": [True, False]},
    )
    return _onnx(pipeline, [(name, types[name]) for name in FEATURES])


def exchange_inputs(content: bytes, first: str, second: str) -> bytes:
    """Return an ONNX model that reads each of two inputs as the other, as after a change of the order of columns."""
    model = onnx.load_from_string(content)
    exchanged = {first: second, second: first}
    if missing := exchanged.keys() - {value.name for value in model.graph.input}:
        raise ValueError(f"The model has no input {sorted(missing)[0]!r}.")
    for node in model.graph.node:
        names = [exchanged.get(name, name) for name in node.input]
        node.input[:] = names
    exchanged_content: bytes = model.SerializeToString()
    return exchanged_content


def feature_frame(flights: pa.Table) -> Any:
    """Return the features as a data frame; scikit-learn selects its columns by name."""
    return flights.select(list(FEATURES)).to_pandas()


def onnx_feed(flights: pa.Table) -> dict[str, NDArray[Any]]:
    """Return the features as tensors for the inputs of the flight model."""
    dtypes: dict[str, type] = dict.fromkeys(CATEGORICAL_FEATURES, np.object_)
    dtypes |= dict.fromkeys(INTEGER_FEATURES, np.int64) | dict.fromkeys(FLOAT_FEATURES, np.float32)
    return {name: flights[name].to_numpy().astype(dtypes[name]).reshape(-1, 1) for name in FEATURES}


class _IntegerFlags:
    """A container of skl2onnx that writes one attribute of nodes as integers.

    skl2onnx 1.20 writes ``nodes_missing_value_tracks_true`` as booleans, which onnx refuses.
    """

    def __init__(self, container: Any) -> None:
        self._container = container

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, *args: Any, **attributes: Any) -> Any:
        flags = attributes["nodes_missing_value_tracks_true"]
        return self._container.add_node(
            *args, **{**attributes, "nodes_missing_value_tracks_true": [int(flag) for flag in flags]}
        )


def _round_thresholds_down(boosting: HistGradientBoostingClassifier) -> None:
    """Round every threshold t down to float32: for a float32 x, x <= t is the same condition with t rounded down.

    ONNX stores thresholds as float32 and would round to the nearest. If it rounds up, a value between both takes the
    other branch (0.18 inches of rain changed a probability by 0.03).
    """
    for trees in boosting._predictors:
        for tree in trees:
            thresholds = tree.nodes["num_threshold"]
            nearest = thresholds.astype(np.float32)
            below = np.nextafter(nearest, np.float32(-np.inf))
            tree.nodes["num_threshold"] = np.where(nearest > thresholds, below, nearest)


def _onnx(pipeline: Pipeline, initial_types: list[tuple[str, Any]]) -> bytes:
    # Without zipmap, probabilities are a tensor. mlmon does not serve a list of dictionaries.
    model = to_onnx(pipeline, initial_types=initial_types, options={"zipmap": False}, target_opset=OPSETS)
    # skl2onnx takes the operator sets from a set of strings, whose order changes with PYTHONHASHSEED.
    opsets = sorted(model.opset_import, key=lambda opset: opset.domain)
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    content: bytes = model.SerializeToString()
    return content
