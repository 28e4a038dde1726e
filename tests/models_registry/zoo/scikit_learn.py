"""scikit-learn's estimators, exported with skl2onnx."""

from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from onnx import helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.base import is_classifier, is_outlier_detector, is_regressor

from tests.models_registry.zoo.datasets import DATASETS, Dataset
from tests.models_registry.zoo.entry import Entry, Recipes, package
from tests.models_registry.zoo.estimators import Case, cases

_make_attribute = helper.make_attribute


def recipes() -> Recipes:
    """Return a recipe for each case."""
    return {f"sklearn-{name}": partial(entry, case) for name, case in cases()}


def entry(case: Case) -> Entry:
    """Train the estimator and return its entry."""
    data: Dataset = DATASETS[case.data]()
    estimator = case.make().fit(data.x, data.y)
    chosen = [f"{key}={value!r}" for key, value in (case.options or {}).items()]
    if case.batch:
        chosen.append(f"initial_types of {case.batch} rows")
    if case.opset:
        chosen.append(f"target_opset={case.opset}")
    rows = data.rows if case.dtype is np.float64 else data.rows.astype(case.dtype)

    def export(path: Path) -> None:
        with patch.object(helper, "make_attribute", _attribute):
            options = {id(estimator): case.options} if case.options is not None else None
            types = [("X", FloatTensorType([case.batch, rows.shape[1]]))] if case.batch else None
            model = to_onnx(estimator, rows[:1], initial_types=types, options=options, target_opset=case.opset)
        path.write_bytes(model.SerializeToString())

    return Entry(
        export=export,
        framework=package("scikit-learn"),
        exporter=package("skl2onnx"),
        options=f"{', '.join(chosen) or 'defaults'}; {np.dtype(case.dtype)} rows",
        features=data.features,
        rows=rows,
        fixes=case.fixes,
        **predicted(estimator, data.rows),
    )


def predicted(estimator: Any, rows: Any) -> dict[str, Any]:
    """Return the estimator's task, classes, predictions, probabilities and scores."""
    found: dict[str, Any] = {"predictions": estimator.predict(rows) if hasattr(estimator, "predict") else []}
    if is_classifier(estimator):
        found |= {"task": "classification", "classes": estimator.classes_}
        if hasattr(estimator, "predict_proba"):
            found["probabilities"] = estimator.predict_proba(rows)
        if hasattr(estimator, "decision_function"):
            found |= {"scores": estimator.decision_function(rows), "score_kind": "margins"}
    elif is_outlier_detector(estimator):
        scores = estimator.decision_function(rows)
        found |= {"task": "anomaly", "classes": [-1, 1], "scores": scores, "score_kind": "margins"}
        if hasattr(estimator, "score_samples"):
            found["score_samples"] = estimator.score_samples(rows)
    elif is_regressor(estimator):
        found["task"] = "regression"
    elif hasattr(estimator, "predict") and hasattr(estimator, "predict_proba"):
        found |= {"task": "clustering", "probabilities": estimator.predict_proba(rows)}
    elif hasattr(estimator, "predict"):
        found |= {"task": "clustering", "scores": estimator.transform(rows), "score_kind": "distances"}
    else:
        found |= {"task": "transformer", "predictions": estimator.transform(rows)}
    return found


def _attribute(key: str, value: Any, *arguments: Any, **named: Any) -> Any:
    # skl2onnx 1.20 writes HistGradientBoosting's directions for missing values as a mix of integers and booleans,
    # which protobuf 6 and later refuse. Without this, the export fails.
    if isinstance(value, list) and any(isinstance(item, bool) for item in value):
        value = [int(item) for item in value]
    return _make_attribute(key, value, *arguments, **named)
