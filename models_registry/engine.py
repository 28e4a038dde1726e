"""Prediction with ONNX Runtime: columns of features in, labels and confidences out, within a time limit."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import DTypeLike, NDArray

from mlmon.feature_columns import FeatureColumns, MatrixColumns, PlainRows, row_count
from mlmon.schema import TaskType, TensorType
from models_registry.class_scores import softmax_of
from models_registry.exceptions import (
    ArtefactError,
    NonFinitePredictionError,
    PredictionFailedError,
    PredictionTimeoutError,
)
from models_registry.onnx_session import ONNX_RUNTIME_ERRORS, deadline, label_text, load_session, results_by_row
from models_registry.schema import ModelSchema, ScoreKind

_Tensor = NDArray[Any]

_DTYPES: dict[TensorType, DTypeLike] = {
    TensorType.FLOAT32: np.float32,
    TensorType.FLOAT64: np.float64,
    TensorType.INT32: np.int32,
    TensorType.INT64: np.int64,
    TensorType.BOOL: np.bool_,
    TensorType.STRING: np.object_,
}
_TOLERANCE = 1e-3  # of probabilities in float32
_FLOATS = (TensorType.FLOAT32, TensorType.FLOAT64)
_MISSING: Any = None  # a variable, because comparing an array with a literal None looks like a mistake


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """The predictions of a batch of rows.

    Attributes
    ----------
    labels
        Classification: shape (n,), object array of str. Regression: shape (n,), float64.
    class_index
        Classification: shape (n,), int64, position of the label in the schema's classes. Regression: None.
    confidence
        Shape (n,), float64 in [0, 1]: the probability of the predicted class. None without probabilities or logits.
    scores
        Shape (n, classes), float64: probabilities, logits or margins, as the schema says. Of one number in a row:
        (1 - p, p) for a probability p of the second class, (0, s) for a logit s, (-s, s) for a margin s. None without
        scores, and of an anomaly model.
    score
        Shape (n,), float64: the margin of the predicted class, of two classes that of the second one (negative if the
        first is predicted); or the score of an anomaly model, as the model gives it. None in other cases.
    """

    labels: NDArray[np.object_] | NDArray[np.float64]
    class_index: NDArray[np.int64] | None
    confidence: NDArray[np.float64] | None
    scores: NDArray[np.float64] | None
    score: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class _Input:
    """An ONNX input.

    Attributes
    ----------
    features
        Of its columns, in order.
    places
        Of these features among all of the schema.
    is_flat
        Whether its rank is 1.
    """

    name: str
    tensor_type: TensorType
    features: tuple[str, ...]
    places: tuple[int, ...]
    is_flat: bool

    def tensor(self, columns: FeatureColumns) -> _Tensor:
        """Return the tensor in C order: rows x width, or only rows for a flat input."""
        dtype = _DTYPES[self.tensor_type]
        if isinstance(columns, PlainRows):
            return self._tensor_of_rows(columns.rows)
        if isinstance(columns, MatrixColumns) and columns.names == self.features and not self.is_flat:
            return columns.matrix.astype(dtype)  # of floats, all in range
        parts = [columns[name] for name in self.features]
        if len(parts) == 1:
            values: _Tensor = parts[0] if self.is_flat else parts[0].reshape(-1, 1)
        else:
            values = np.array(parts).T
        if self.tensor_type is TensorType.STRING:
            return np.where(values == _MISSING, "", values)
        with np.errstate(over="ignore", invalid="ignore"):
            cast = values.astype(dtype, order="C")
        if self.tensor_type in _FLOATS:
            return cast
        wrong = np.argwhere(cast != values)
        if len(wrong):
            row, column = (*wrong[0], 0)[:2]
            raise PredictionFailedError(
                f"Row {row}, feature {self.features[column]!r}: {values[tuple(wrong[0])]} is not a value of type "
                f"{self.tensor_type}, which cannot hold fractions or missing values."
            )
        return cast

    def _tensor_of_rows(self, rows: Sequence[list[Any]]) -> _Tensor:
        values: Any = [[row[place] for place in self.places] for row in rows]
        if self.tensor_type is TensorType.STRING:
            values = [["" if value is None else value for value in row] for row in values]
        tensor = np.array(values, dtype=_DTYPES[self.tensor_type])  # None becomes NaN
        return tensor[:, 0] if self.is_flat else tensor


class Engine:
    """One loaded model version. Thread-safe; must be created after the process has forked.

    Parameters
    ----------
    artefact
        An ONNX file that `inspect_artefact` accepted, or its content.
    schema
        The schema that the inspection found, with people's edits.
    timeout_seconds
        Time limit of one call of `predict`.

    Raises
    ------
    ArtefactError
        ONNX Runtime cannot load the artefact, or the schema does not fit it.
    """

    def __init__(self, artefact: Path | bytes, schema: ModelSchema, *, timeout_seconds: float) -> None:
        resident_before = _resident_bytes()
        self._session = load_session(artefact)
        size = len(artefact) if isinstance(artefact, bytes) else artefact.stat().st_size
        self.memory_bytes: int = max(size, _resident_bytes() - resident_before)
        self.schema = schema
        self._timeout_seconds = timeout_seconds
        self._inputs = _inputs_of(schema, self._session)
        self._outputs = [name for name in (schema.label_output, schema.score_output) if name]
        self._class_positions = {name: position for position, name in enumerate(schema.classes)}
        self._label_positions: dict[Any, int] = {}  # by the model's own labels, as far as it has predicted them
        self._class_names = np.array(schema.classes, dtype=np.object_)
        self._interpret = {
            TaskType.REGRESSION: self._regression,
            TaskType.CLASSIFICATION: self._classification,
            TaskType.ANOMALY: self._anomalies,
        }[schema.task_type]
        missing = set(self._outputs) - {each.name for each in self._session.get_outputs()}
        if missing or not self._outputs:
            raise ArtefactError(f"The model has no output {', '.join(sorted(missing)) or 'that the schema names'}.")

    def predict(self, columns: FeatureColumns) -> Predictions:
        """Return the predictions of all rows.

        Parameters
        ----------
        columns
            Every feature of the schema, all of the same length, at least 1. A missing string becomes "", a missing
            float stays NaN; a number beyond float32's range becomes infinite in a float32 tensor.

        Raises
        ------
        PredictionTimeoutError
            The model exceeded its time limit.
        NonFinitePredictionError
            The prediction for a row is NaN or infinite.
        PredictionFailedError
            An integer tensor cannot hold a value, ONNX Runtime failed, or the output is invalid: a label that is not
            one of the classes, or a result of the wrong shape.
        """
        rows = row_count(columns)
        feed = {each.name: each.tensor(columns) for each in self._inputs}
        options = ort.RunOptions()
        limit = deadline(self._timeout_seconds, partial(setattr, options, "terminate", True))
        try:
            # In slices as large as the upload's trial has tried, because memory grows with the rows.
            step = self.schema.rows_at_once
            slices = (
                [feed]
                if rows <= step
                else [
                    {name: tensor[start : start + step] for name, tensor in feed.items()}
                    for start in range(0, rows, step)
                ]
            )
            runs = [self._session.run(self._outputs, one, options) for one in slices]
        except ONNX_RUNTIME_ERRORS as error:
            if limit.has_passed:
                raise PredictionTimeoutError(
                    f"The model exceeded its time limit of {self._timeout_seconds:g} seconds."
                ) from error
            raise PredictionFailedError(f"ONNX Runtime failed: {error}") from error
        finally:
            limit.lift()
        results = {}
        for position, name in enumerate(self._outputs):
            parts = [
                _by_row(name, run[position], min(step, rows - start))
                for start, run in zip(range(0, rows, step), runs, strict=True)
            ]
            results[name] = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return self._interpret(results)

    def _regression(self, results: dict[str, _Tensor]) -> Predictions:
        values = _column(self.schema.label_output, results).astype(np.float64, copy=False)
        _refuse_non_finite(np.isfinite(values), "the prediction is not a finite number.")
        return Predictions(labels=values, class_index=None, confidence=None, scores=None)

    def _anomalies(self, results: dict[str, _Tensor]) -> Predictions:
        class_index = self._positions(_column(self.schema.label_output, results))
        score = None
        if name := self.schema.score_output:
            score = _column(name, results).astype(np.float64, copy=False)
            _refuse_non_finite(np.isfinite(score), "the model's score is NaN or infinite.")
        return Predictions(self._class_names[class_index], class_index, confidence=None, scores=None, score=score)

    def _classification(self, results: dict[str, _Tensor]) -> Predictions:
        schema = self.schema
        kind, scores, class_index = schema.score_kind, None, None
        if name := schema.score_output:
            scores = results[name].astype(np.float64, copy=False)
            if scores.shape[1] == 1 and len(schema.classes) == 2:
                number = scores[:, 0]
                class_index = (number >= (0.5 if kind is ScoreKind.PROBABILITIES else 0.0)).astype(np.int64)
                # A margin has the opposite margin beside it; the softmax of (0, logit) is the sigmoid of the logit.
                first = np.zeros(len(number)) if kind is ScoreKind.LOGITS else -number
                if kind is ScoreKind.PROBABILITIES:
                    first = 1 - number
                scores = np.column_stack([first, number])
            elif scores.shape[1] != len(schema.classes):
                raise PredictionFailedError(
                    f"Output {name!r} has {scores.shape[1]} numbers a row; expected {len(schema.classes)}."
                )
            _refuse_invalid_scores(scores, are_probabilities=kind is ScoreKind.PROBABILITIES)
        if schema.label_output:
            class_index = self._positions(_column(schema.label_output, results))
        elif scores is None:
            raise PredictionFailedError("The schema names neither a label output nor a score output.")
        elif class_index is None:
            class_index = scores.argmax(axis=1)
        labels = self._class_names[class_index]
        if scores is None:
            return Predictions(labels, class_index, confidence=None, scores=None)
        chosen = scores[np.arange(len(scores)), class_index]
        if kind is ScoreKind.MARGINS:
            score = scores[:, 1] if scores.shape[1] == 2 else chosen
            return Predictions(labels, class_index, confidence=None, scores=scores, score=score)
        # In float32 a probability can be 1.0000001.
        is_probability = kind is ScoreKind.PROBABILITIES
        confidence = np.minimum(np.maximum(chosen, 0.0), 1.0) if is_probability else softmax_of(scores, chosen)
        return Predictions(labels, class_index, confidence, scores)

    def _positions(self, labels: _Tensor) -> NDArray[np.int64]:
        values, known = labels.tolist(), self._label_positions
        for value in set(values).difference(known):
            name = label_text(value)
            if name not in self._class_positions:
                raise PredictionFailedError(
                    f"The model predicted {name!r}, which is not one of its classes "
                    f"({', '.join(self.schema.classes[:10])})."
                )
            known[value] = self._class_positions[name]
        return np.fromiter(map(known.__getitem__, values), dtype=np.int64, count=len(values))


def _inputs_of(schema: ModelSchema, session: ort.InferenceSession) -> tuple[_Input, ...]:
    ranks = {each.name: len(each.shape) for each in session.get_inputs()}
    by_input: dict[str, list[tuple[int, int, str]]] = {}
    types: dict[str, TensorType] = {}
    for place, feature in enumerate(schema.features):
        by_input.setdefault(feature.input_name, []).append((feature.column, place, feature.name))
        types[feature.input_name] = feature.tensor_type
    for name, places in by_input.items():
        places.sort()
        if [column for column, _, _ in places] != list(range(len(places))):
            raise ArtefactError(f"The features of input {name!r} do not fill its columns without a gap.")
    if set(ranks) != set(by_input):
        raise ArtefactError("The schema's inputs are not the inputs of the model.")
    return tuple(
        _Input(
            name,
            types[name],
            tuple(feature for _, _, feature in places),
            tuple(place for _, place, _ in places),
            is_flat=ranks[name] == 1,
        )
        for name, places in by_input.items()
    )


def _by_row(name: str, result: Any, rows: int) -> _Tensor:
    if isinstance(result, np.ndarray) and 0 < result.ndim <= 2 and len(result) == rows:  # nearly always
        return result.reshape(rows, -1)
    table = results_by_row(result, rows)
    if table is None:
        raise PredictionFailedError(f"Output {name!r} has shape {np.shape(result)}; expected a result for {rows} rows.")
    return table


def _column(name: str, results: dict[str, _Tensor]) -> _Tensor:
    table = results[name]
    if table.shape[1] != 1:
        raise PredictionFailedError(f"Output {name!r} has {table.shape[1]} results a row; expected 1.")
    return table[:, 0]


def _refuse_invalid_scores(scores: NDArray[np.float64], *, are_probabilities: bool) -> None:
    # NaN makes the maximum NaN, and every comparison with it false.
    if scores.max() <= 1 + _TOLERANCE and scores.min() >= -_TOLERANCE:  # of all rows at once: nearly always
        return
    largest = scores.max(axis=1)
    if are_probabilities:
        is_inside = ~((largest > 1 + _TOLERANCE) | (scores.min(axis=1) < -_TOLERANCE))
        _refuse_non_finite(is_inside, "the model's scores are not probabilities: one is outside 0 to 1.")
    # The softmax of infinite scores does not exist; -inf beside finite scores is the logarithm of 0.
    is_valid = ~np.isnan(largest) if are_probabilities else np.isfinite(largest)
    _refuse_non_finite(is_valid, "the model's scores are NaN or infinite.")


def _refuse_non_finite(is_valid: NDArray[np.bool_], reason: str) -> None:
    if not is_valid.all():
        raise NonFinitePredictionError(int(np.argmin(is_valid)), reason)


def _resident_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:  # not Linux; the caller uses the artefact's size
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
