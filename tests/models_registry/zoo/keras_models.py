"""Keras models, exported with ``model.export(format="onnx")`` and with tf2onnx."""

import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # type: ignore[import-not-found]
import tensorflow as tf  # type: ignore[import-untyped]
import tf2onnx  # type: ignore[import-not-found]
from keras import layers

from tests.models_registry.zoo.datasets import DATASETS
from tests.models_registry.zoo.entry import Entry, Recipes, package

_EPOCHS = 40


def recipes() -> Recipes:
    """Return a recipe for each model and exporter."""
    return {
        f"keras-{model}-{exporter}": partial(entry, model, exporter)
        for model in _MODELS
        for exporter in (_EXPORTERS if model in ("softmax", "normalization") else _DEFAULTS)
    }


def entry(name: str, exporter: str) -> Entry:
    """Train the model and return its entry."""
    data_name, _, _, _, describe = _MODELS[name]
    data = DATASETS[data_name]()
    rows = data.rows.astype(np.float32)
    model = _trained(name)
    tool, options, export = _EXPORTERS[exporter]
    return Entry(
        export=partial(export, model),
        framework=f"{package('keras')} with {package('tensorflow-cpu')}",
        exporter=package(tool),
        options=options,
        features=data.features,
        rows=rows,
        fixes=f"keras-{_FIXES[name]}-{exporter}" if name in _FIXES and (name, exporter) != _ALREADY_RIGHT else None,
        **describe(model.predict(rows, verbose=0)),
    )


@cache
def _trained(name: str) -> Any:
    data_name, outputs, activation, loss, _ = _MODELS[name]
    data = DATASETS[data_name]()
    keras.utils.set_random_seed(0)
    model = _network(name, data.x.astype(np.float32), outputs, activation)
    target = data.y / 100 if data_name.startswith("diabetes") else data.y
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss=loss)
    model.fit(data.x.astype(np.float32), target, epochs=_EPOCHS, batch_size=50, verbose=0)
    return model


def _network(name: str, x: Any, outputs: int, activation: str | None) -> Any:
    """Return a functional model, since tf2onnx cannot convert a Sequential of Keras 3; or that Sequential."""
    deviation = x.std(axis=0)
    scale = layers.Rescaling((1 / deviation).tolist(), (-x.mean(axis=0) / deviation).tolist())
    if name == "normalization":
        scale = layers.Normalization()
        scale.adapt(x)
    parts = [scale, layers.Dense(8, activation="relu")]
    if name == "batch-norm-dropout":
        parts += [layers.BatchNormalization(), layers.Dropout(0.2)]
    parts.append(layers.Dense(outputs, activation=activation))
    if name == "sequential":
        return keras.Sequential([keras.Input((4,)), *parts])
    tensor = keras.Input((4,), name="measurements")
    first = tensor
    for part in parts:
        tensor = part(tensor)
    return keras.Model(first, tensor)


def _by_keras(model: Any, path: Path) -> None:
    model.export(path, format="onnx", verbose=False)


def _by_keras_with_signature(model: Any, path: Path) -> None:
    rows = keras.InputSpec(shape=(None, 4), dtype="float32", name="rows")
    model.export(path, format="onnx", verbose=False, input_signature=[rows])


def _by_keras_for_one_row(model: Any, path: Path) -> None:
    rows = keras.InputSpec(shape=(1, 4), dtype="float32", name="rows")
    model.export(path, format="onnx", verbose=False, input_signature=[rows])


def _by_tf2onnx(model: Any, path: Path) -> None:
    tf2onnx.convert.from_keras(model, output_path=str(path))


def _by_tf2onnx_function(model: Any, path: Path) -> None:
    signature = [tf.TensorSpec((None, 4), tf.float32, name="x")]
    function = tf.function(model, input_signature=signature)
    tf2onnx.convert.from_function(function, input_signature=signature, output_path=str(path))


def _classification(predictions: Any, probabilities: Any, **scores: Any) -> dict[str, Any]:
    return {"task": "classification", "predictions": predictions, "probabilities": probabilities, **scores}


def _sigmoid(p: Any) -> dict[str, Any]:
    return _classification((p.ravel() >= 0.5).astype(int), np.hstack([1 - p, p]))


def _logit(s: Any) -> dict[str, Any]:
    p = keras.ops.convert_to_numpy(keras.ops.sigmoid(s))
    return _classification((s.ravel() >= 0).astype(int), np.hstack([1 - p, p]), scores=s.ravel(), score_kind="logits")


def _logits(s: Any) -> dict[str, Any]:
    p = keras.ops.convert_to_numpy(keras.ops.softmax(s))
    return _classification(s.argmax(axis=1), p, scores=s, score_kind="logits")


def _softmax(p: Any) -> dict[str, Any]:
    return _classification(p.argmax(axis=1), p)


def _number(y: Any) -> dict[str, Any]:
    return {"task": "regression", "predictions": y.squeeze()}


_EXPORTERS: dict[str, tuple[str, str, Callable[[Any, Path], None]]] = {
    "export": ("keras", 'model.export(format="onnx"), defaults', _by_keras),
    "export-signature": ("keras", 'model.export(format="onnx", input_signature=…)', _by_keras_with_signature),
    "export-one-row": ("keras", 'model.export(format="onnx", input_signature of one row)', _by_keras_for_one_row),
    "tf2onnx": ("tf2onnx", "convert.from_keras, defaults", _by_tf2onnx),
    "tf2onnx-function": ("tf2onnx", "convert.from_function", _by_tf2onnx_function),
}
_DEFAULTS = ("export", "tf2onnx")
# What the user exports after the advice.
_FIXES = {"first-target": "two-targets", "softmax": "normalization"}
_ALREADY_RIGHT = ("softmax", "tf2onnx")
_SPARSE = "sparse_categorical_crossentropy"
_FROM_LOGITS = partial(keras.losses.SparseCategoricalCrossentropy, from_logits=True)
_MODELS: dict[str, tuple[str, int, str | None, Any, Callable[[Any], dict[str, Any]]]] = {
    "sigmoid": ("cancer 0 1", 1, "sigmoid", "binary_crossentropy", _sigmoid),
    "logit": ("cancer 0 1", 1, None, keras.losses.BinaryCrossentropy(from_logits=True), _logit),
    "softmax": ("iris 0 1 2", 3, "softmax", _SPARSE, _softmax),
    "logits": ("iris 0 1 2", 3, None, _FROM_LOGITS(), _logits),
    "regression": ("diabetes", 1, None, "mse", _number),
    "two-targets": ("diabetes two targets", 2, None, "mse", _number),
    "first-target": ("diabetes", 1, None, "mse", _number),
    "normalization": ("iris 0 1 2", 3, "softmax", _SPARSE, _softmax),
    "sequential": ("iris 0 1 2", 3, "softmax", _SPARSE, _softmax),
    "batch-norm-dropout": ("iris 0 1 2", 3, "softmax", _SPARSE, _softmax),
}
