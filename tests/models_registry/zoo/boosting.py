"""XGBoost, LightGBM and CatBoost: their own exporters, onnxmltools, and onnxmltools' converters within skl2onnx."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import catboost  # type: ignore[import-not-found]
import lightgbm  # type: ignore[import-not-found]
import numpy as np
import onnxmltools  # type: ignore[import-not-found]
import xgboost  # type: ignore[import-not-found]
from onnxmltools.convert.common.data_types import FloatTensorType  # type: ignore[import-not-found]
from onnxmltools.convert.lightgbm.operator_converters.LightGbm import (  # type: ignore[import-not-found]
    convert_lightgbm,
)
from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost  # type: ignore[import-not-found]
from skl2onnx import to_onnx, update_registered_converter
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from sklearn.base import is_classifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.models_registry.zoo.datasets import DATASETS
from tests.models_registry.zoo.entry import Entry, Recipes, package

Export = Callable[[Any, Path], object]

# What the user exports after the advice.
_FIXES = {
    "xgboost-regressor": "xgboost-regressor-two-targets",
    "catboost-regressor": "catboost-regressor-two-targets",
    "catboost-2-strings": "catboost-2-labels-2-10",
}

_SMALL = {"n_estimators": 5, "max_depth": 3, "n_jobs": 1}
_XGBOOST: dict[str, Any] = {"max_depth": 3, "nthread": 1}
_LIGHTGBM: dict[str, Any] = {"max_depth": 3, "num_threads": 1, "verbose": -1, "min_data_in_leaf": 5}
_CATBOOST: dict[str, Any] = {
    "iterations": 5,
    "depth": 2,
    "verbose": 0,
    "thread_count": 1,
    "allow_writing_files": False,
    "random_seed": 0,
}


def recipes() -> Recipes:
    """Return all recipes of the three libraries."""
    return {name: partial(_with_fix, name, recipe) for name, recipe in _recipes()}


def _with_fix(name: str, recipe: Callable[[], Entry]) -> Entry:
    return replace(recipe(), fixes=_FIXES.get(name))


def _recipes() -> Iterator[tuple[str, Callable[[], Entry]]]:
    yield from _xgboost()
    yield from _lightgbm()
    yield from _catboost()


def _xgboost() -> Iterator[tuple[str, Callable[[], Entry]]]:
    make = partial(_estimator, "xgboost")
    classifier, regressor = partial(xgboost.XGBClassifier, **_SMALL), partial(xgboost.XGBRegressor, **_SMALL)
    tools = ("onnxmltools", "convert_xgboost, defaults", _by_onnxmltools(onnxmltools.convert_xgboost))
    for name, made, data in (
        ("2", classifier, "cancer 0 1"),
        ("3", classifier, "iris 0 1 2"),
        ("2-missing", classifier, "cancer missing"),
        ("regressor", regressor, "diabetes"),
        ("regressor-missing", regressor, "diabetes missing"),
        ("regressor-poisson", partial(regressor, objective="count:poisson"), "diabetes"),
        ("regressor-absolute-error", partial(regressor, objective="reg:absoluteerror"), "diabetes"),
        ("dart-2", partial(classifier, booster="dart", rate_drop=0.5), "cancer 0 1"),
        ("random-forest-2", partial(xgboost.XGBRFClassifier, **_SMALL), "cancer 0 1"),
        ("linear-regressor", partial(xgboost.XGBRegressor, booster="gblinear", n_jobs=1), "diabetes"),
        ("regressor-two-targets", regressor, "diabetes two targets"),
    ):
        yield f"xgboost-{name}", partial(make, made, data, *tools)
    yield "xgboost-2-early-stopping", partial(make, _stopped_early, "cancer 0 1", *tools)
    for name, objective, data in (
        ("2", {"objective": "binary:logistic"}, "cancer 0 1"),
        ("3", {"objective": "multi:softprob", "num_class": 3}, "iris 0 1 2"),
        ("3-softmax", {"objective": "multi:softmax", "num_class": 3}, "iris 0 1 2"),
        ("regression", {"objective": "reg:squarederror"}, "diabetes"),
    ):
        yield f"xgboost-booster-{name}", partial(_xgboost_booster, objective, data, tools)
    for name, options in {"": None, "-no-zipmap": {"zipmap": False}}.items():
        pipeline = ("skl2onnx", f"registered converter, {options or 'defaults'}", partial(_by_skl2onnx, options))
        yield f"xgboost-pipeline-2{name}", partial(make, partial(_scaled, classifier), "cancer 0 1", *pipeline)
        yield f"xgboost-pipeline-3{name}", partial(make, partial(_scaled, classifier), "iris 0 1 2", *pipeline)
    pipeline = ("skl2onnx", "registered converter, defaults", partial(_by_skl2onnx, None))
    yield "xgboost-pipeline-regressor", partial(make, partial(_scaled, regressor), "diabetes", *pipeline)


def _lightgbm() -> Iterator[tuple[str, Callable[[], Entry]]]:
    make = partial(_estimator, "lightgbm")
    classifier = partial(lightgbm.LGBMClassifier, **_SMALL, verbose=-1, min_child_samples=5)
    regressor = partial(lightgbm.LGBMRegressor, **_SMALL, verbose=-1, min_child_samples=5)
    tools = ("onnxmltools", "convert_lightgbm, defaults", _by_onnxmltools(onnxmltools.convert_lightgbm))
    plain = (
        "onnxmltools",
        "convert_lightgbm, zipmap=False",
        _by_onnxmltools(partial(onnxmltools.convert_lightgbm, zipmap=False)),
    )
    for name, made, data in (
        ("2", classifier, "cancer 0 1"),
        ("3", classifier, "iris 0 1 2"),
        ("2-strings", classifier, "cancer"),
        ("3-strings", classifier, "iris"),
        ("3-labels-2-9-10", classifier, "iris 2 9 10"),
        ("2-labels-minus-1-1", classifier, "cancer -1 1"),
        ("2-bool", classifier, "cancer bool"),
        ("2-missing", classifier, "cancer missing"),
        ("3-one-vs-all", partial(classifier, objective="multiclassova"), "iris"),
    ):
        yield f"lightgbm-{name}", partial(make, made, data, *tools)
        if name in ("2", "3-strings", "3-one-vs-all"):
            yield f"lightgbm-{name}-no-zipmap", partial(make, made, data, *plain)
    for name, made, data in (
        ("regressor", regressor, "diabetes"),
        ("regressor-missing", regressor, "diabetes missing"),
        ("regressor-poisson", partial(regressor, objective="poisson"), "diabetes"),
        ("regressor-absolute-error", partial(regressor, objective="l1"), "diabetes"),
        (
            "random-forest-regressor",
            partial(regressor, boosting_type="rf", bagging_freq=1, bagging_fraction=0.7),
            "diabetes",
        ),
    ):
        yield f"lightgbm-{name}", partial(make, made, data, *tools)
    for name, objective, data in (
        ("2", {"objective": "binary"}, "cancer 0 1"),
        ("3", {"objective": "multiclass", "num_class": 3}, "iris 0 1 2"),
        ("regression", {"objective": "regression"}, "diabetes"),
    ):
        yield f"lightgbm-booster-{name}", partial(_lightgbm_booster, objective, data, tools)
    for name, options in {"": None, "-no-zipmap": {"zipmap": False}}.items():
        pipeline = ("skl2onnx", f"registered converter, {options or 'defaults'}", partial(_by_skl2onnx, options))
        yield f"lightgbm-pipeline-3{name}", partial(make, partial(_scaled, classifier), "iris", *pipeline)


def _catboost() -> Iterator[tuple[str, Callable[[], Entry]]]:
    make = partial(_estimator, "catboost")
    classifier = partial(catboost.CatBoostClassifier, **_CATBOOST)
    regressor = partial(catboost.CatBoostRegressor, **_CATBOOST)
    save = (
        "catboost",
        'save_model(format="onnx"), defaults',
        lambda model, path: model.save_model(path, format="onnx"),
    )
    for name, made, data in (
        ("2", classifier, "cancer 0 1"),
        ("2-strings", classifier, "cancer"),
        ("2-labels-2-10", classifier, "cancer 2 10"),
        ("2-labels-minus-1-1", classifier, "cancer -1 1"),
        ("2-bool", classifier, "cancer bool"),
        ("2-missing", classifier, "cancer missing"),
        ("3", classifier, "iris 0 1 2"),
        ("3-strings", classifier, "iris"),
        ("3-labels-2-9-10", classifier, "iris 2 9 10"),
        ("3-one-vs-all", partial(classifier, loss_function="MultiClassOneVsAll"), "iris"),
        ("regressor", regressor, "diabetes"),
        ("regressor-missing", regressor, "diabetes missing"),
        ("regressor-poisson", partial(regressor, loss_function="Poisson"), "diabetes"),
        ("regressor-two-targets", partial(regressor, loss_function="MultiRMSE"), "diabetes two targets"),
    ):
        yield f"catboost-{name}", partial(make, made, data, *save)


def _stopped_early() -> Any:
    """Return XGBoost's classifier, which has more trees than it uses to predict, since training stops early."""
    classifier = xgboost.XGBClassifier(
        n_estimators=40, max_depth=2, n_jobs=1, early_stopping_rounds=3, learning_rate=1.0
    )
    fit = classifier.fit
    classifier.fit = lambda x, y: fit(x[:100], y[:100], eval_set=[(x[100:], y[100:])], verbose=False)
    return classifier


def _scaled(make: Any) -> Any:
    return make_pipeline(StandardScaler(), make())


def _by_onnxmltools(convert: Any) -> Export:
    def export(model: Any, path: Path) -> None:
        converted = convert(model, initial_types=[("input", FloatTensorType([None, 4]))])
        path.write_bytes(converted.SerializeToString())

    return export


def _by_skl2onnx(options: dict[str, Any] | None, pipeline: Any, path: Path) -> None:
    """Export a pipeline as skl2onnx's documentation does: with onnxmltools' converters registered."""
    classes = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    for kind, alias, shapes, convert, allowed in (
        (xgboost.XGBClassifier, "XGBClassifier", calculate_linear_classifier_output_shapes, convert_xgboost, classes),
        (xgboost.XGBRegressor, "XGBRegressor", calculate_linear_regressor_output_shapes, convert_xgboost, None),
        (
            lightgbm.LGBMClassifier,
            "LGBMClassifier",
            calculate_linear_classifier_output_shapes,
            convert_lightgbm,
            classes,
        ),
    ):
        update_registered_converter(kind, alias, shapes, convert, options=allowed)
    example = np.zeros((1, 4), dtype=np.float32)
    chosen = {id(pipeline): options} if options else None
    model = to_onnx(pipeline, example, options=chosen, target_opset={"": 15, "ai.onnx.ml": 3})
    path.write_bytes(model.SerializeToString())


def _estimator(framework: str, make: Any, data_name: str, exporter: str, options: str, export: Export) -> Entry:
    """Train an estimator with scikit-learn's interface, and return its entry."""
    data = DATASETS[data_name]()
    model = make()
    model.fit(data.x, data.y)
    predictions = np.asarray(model.predict(data.rows))
    is_labelled = is_classifier(model) or (framework == "catboost" and hasattr(model, "predict_proba"))
    return Entry(
        export=lambda path: export(model, path),
        framework=package(framework),
        exporter=package(exporter),
        options=options,
        features=data.features,
        rows=data.rows.astype(np.float32),
        task="classification" if is_labelled else "regression",
        predictions=predictions.squeeze(),
        classes=np.asarray(model.classes_) if is_labelled else None,
        probabilities=model.predict_proba(data.rows) if is_labelled else None,
    )


def _xgboost_booster(parameters: dict[str, Any], data_name: str, tools: tuple[str, str, Export]) -> Entry:
    data = DATASETS[data_name]()
    booster = xgboost.train(_XGBOOST | parameters, xgboost.DMatrix(data.x, data.y), 5)
    rows = xgboost.DMatrix(data.rows)
    found = _booster("xgboost", booster, data_name, booster.predict(rows), tools)
    if parameters["objective"] != "multi:softmax":
        return found
    return replace(found, scores=booster.predict(rows, output_margin=True), score_kind="logits")


def _lightgbm_booster(parameters: dict[str, Any], data_name: str, tools: tuple[str, str, Export]) -> Entry:
    data = DATASETS[data_name]()
    booster = lightgbm.train(_LIGHTGBM | parameters, lightgbm.Dataset(data.x, data.y), 5)
    return _booster("lightgbm", booster, data_name, booster.predict(data.rows), tools)


def _booster(framework: str, booster: Any, data_name: str, predicted: Any, tools: tuple[str, str, Export]) -> Entry:
    """Return the entry of a Booster, which predicts probabilities (or the position of a class, for softmax)."""
    data = DATASETS[data_name]()
    exporter, options, export = tools
    found: dict[str, Any] = {"task": "classification", "predictions": predicted}
    if data_name == "diabetes":
        found["task"] = "regression"
    elif predicted.ndim == 2:
        found |= {"predictions": predicted.argmax(axis=1), "probabilities": predicted}
    elif data_name.startswith("cancer"):
        found |= {
            "predictions": (predicted >= 0.5).astype(int),
            "probabilities": np.column_stack([1 - predicted, predicted]),
        }
    else:
        found["predictions"] = predicted.astype(int)
    return Entry(
        export=lambda path: export(booster, path),
        framework=f"{package(framework)} Booster",
        exporter=package(exporter),
        options=options,
        features=data.features,
        rows=data.rows.astype(np.float32),
        **found,
    )
