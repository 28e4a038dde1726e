"""Prediction with ONNX Runtime: columns of features in, labels and confidences out, within a time limit."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import DTypeLike, NDArray

from mlmon.columns import FeatureColumns, level_name
from mlmon.schema import TaskType, TensorType
from models_registry.exceptions import ArtefactError, NoFiniteAnswerError, PredictionFailedError, PredictionTimeoutError
from models_registry.onnx_session import MOST_ROWS_AT_ONCE, load_session
from models_registry.schema import ModelSchema
from models_registry.watchdog import deadline

_Tensor = NDArray[Any]

_DTYPES: dict[TensorType, DTypeLike] = {
    TensorType.FLOAT32: np.float32,
    TensorType.FLOAT64: np.float64,
    TensorType.INT32: np.int32,
    TensorType.INT64: np.int64,
    TensorType.BOOL: np.bool_,
    TensorType.STRING: np.object_,
}
_FLOATS = (TensorType.FLOAT32, TensorType.FLOAT64)
_MISSING: Any = None  # as a variable: comparing an array with a literal None reads as a mistake


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a model answered, row by row.

    Attributes
    ----------
    labels
        Classification: shape (n,), object array of str. Regression: shape (n,), float64.
    class_index
        Classification: shape (n,), int64, place of the label in the schema's classes. Regression: None.
    confidence
        Shape (n,), float64 in [0, 1]: the probability of the predicted class. None for regression and for a
        classifier without scores.
    scores
        Shape (n, classes), float64, as the model gave them (probabilities only if the schema says so), or None.
    """

    labels: NDArray[np.object_] | NDArray[np.float64]
    class_index: NDArray[np.int64] | None
    confidence: NDArray[np.float64] | None
    scores: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True)
class _Input:
    """One ONNX input tensor: its element type and the features of its columns, from the left; flat is of rank 1."""

    name: str
    tensor_type: TensorType
    features: tuple[str, ...]
    is_flat: bool

    def tensor(self, columns: FeatureColumns) -> _Tensor:
        """Return the tensor in C order: rows x width, or only rows where the input is flat."""
        parts = [columns[name] for name in self.features]
        dtype = _DTYPES[self.tensor_type]
        if len(parts) == 1:
            values: _Tensor = parts[0] if self.is_flat else parts[0].reshape(-1, 1)
        else:
            values = np.array(parts).T
        if self.tensor_type is TensorType.STRING:
            return np.where(values == _MISSING, "", values)
        if self.tensor_type in _FLOATS:
            return values.astype(dtype, order="C")
        return self._exact(values, dtype)

    def _exact(self, values: _Tensor, dtype: DTypeLike) -> _Tensor:
        with np.errstate(invalid="ignore"):
            cast = values.astype(dtype, order="C")
        wrong = np.argwhere(cast != values)
        if len(wrong):
            row, column = (*wrong[0], 0)[:2]
            raise PredictionFailedError(
                f"Row {row}, feature {self.features[column]!r}: {values[tuple(wrong[0])]} is not a value of type "
                f"{self.tensor_type}, which cannot hold fractions or a missing value."
            )
        return cast


class Engine:
    """One loaded model version. Thread-safe; must be made after the process has forked.

    Parameters
    ----------
    artefact
        An ONNX file that `inspect_artefact` accepted, or its bytes.
    schema
        What that inspection found, with the edits of people.
    timeout_seconds
        How long one call of `predict` may run.

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
        self._class_names = np.array(schema.classes, dtype=np.object_)
        self._answer = self._regressed if schema.task_type is TaskType.REGRESSION else self._classified
        _check_names(self._session, self._inputs, self._outputs)

    def predict(self, columns: FeatureColumns) -> Predictions:
        """Return the predictions of all rows.

        Parameters
        ----------
        columns
            Every feature of the schema, all of one length of at least 1. A missing string becomes "", a missing
            float stays NaN; a number beyond float32's range becomes infinite in a float32 tensor.

        Raises
        ------
        PredictionTimeoutError
            The model ran longer than it may.
        NoFiniteAnswerError
            The answer to a row is NaN or infinite.
        PredictionFailedError
            An integer tensor would get a value that it cannot hold, ONNX Runtime failed, or the answer makes no
            sense: a label that is not among the classes, or a result that is not a number.
        """
        rows = len(columns[self.schema.features[0].name])
        with np.errstate(over="ignore"):
            feed = {each.name: each.tensor(columns) for each in self._inputs}
        return self._answer(self._run(feed, rows), rows)

    def _run(self, feed: dict[str, _Tensor], rows: int) -> dict[str, _Tensor]:
        """Run the model, in slices no larger than the upload's trial has tried: memory grows with the rows."""
        options = ort.RunOptions()
        limit = deadline(self._timeout_seconds, _terminator(options))
        try:
            slices = [slice(start, start + MOST_ROWS_AT_ONCE) for start in range(0, rows, MOST_ROWS_AT_ONCE)]
            parts = [
                self._session.run(self._outputs, {name: tensor[part] for name, tensor in feed.items()}, options)
                for part in slices
            ]
            results = parts[0] if len(parts) == 1 else [np.concatenate(column) for column in zip(*parts, strict=True)]
        # onnxruntime's exceptions share no base class of their own.
        except Exception as error:
            if limit.has_passed:
                raise PredictionTimeoutError(
                    f"The model did not answer within {self._timeout_seconds:g} seconds."
                ) from error
            raise PredictionFailedError(f"ONNX Runtime failed: {error}") from error
        finally:
            limit.lift()
        return dict(zip(self._outputs, results, strict=True))

    def _regressed(self, results: dict[str, _Tensor], rows: int) -> Predictions:
        name = self.schema.label_output
        values = _shaped(name, results[name], (rows,)).astype(np.float64, copy=False)
        if not np.isfinite(values).all():
            raise NoFiniteAnswerError(_first(~np.isfinite(values)), "the model answered no finite number.")
        return Predictions(labels=values, class_index=None, confidence=None, scores=None)

    def _classified(self, results: dict[str, _Tensor], rows: int) -> Predictions:
        scores = self._scores(results, rows) if self.schema.score_output else None
        if self.schema.label_output:
            class_index = self._positions(_shaped(self.schema.label_output, results[self.schema.label_output], (rows,)))
        elif scores is not None:
            class_index = scores.argmax(axis=1)
        else:
            raise PredictionFailedError("The schema names neither a label nor a score output.")
        return Predictions(
            labels=self._class_names[class_index],
            class_index=class_index,
            confidence=None if scores is None else self._confidence(scores, class_index),
            scores=scores,
        )

    def _scores(self, results: dict[str, _Tensor], rows: int) -> NDArray[np.float64]:
        name = self.schema.score_output
        scores = _shaped(name, results[name], (rows, len(self.schema.classes))).astype(np.float64, copy=False)
        largest = scores.max(axis=1)  # NaN where one of them is
        # Of infinite scores no softmax can be taken; -inf beside others is the logarithm of 0.
        answered = ~np.isnan(largest) if self.schema.scores_are_probabilities else np.isfinite(largest)
        if not answered.all():
            raise NoFiniteAnswerError(_first(~answered), "the model's scores are not numbers (NaN or infinite).")
        return scores

    def _positions(self, labels: _Tensor) -> NDArray[np.int64]:
        name_of = level_name if labels.dtype.kind == "f" else str
        names = [name_of(label) for label in labels.tolist()]
        try:
            return np.array([self._class_positions[name] for name in names], dtype=np.int64)
        except KeyError as error:
            raise PredictionFailedError(
                f"The model answered {error.args[0]!r}, which is not one of its classes "
                f"({', '.join(self.schema.classes[:10])})."
            ) from None

    def _confidence(self, scores: NDArray[np.float64], class_index: NDArray[np.int64]) -> NDArray[np.float64]:
        chosen = scores[np.arange(len(scores)), class_index]
        if self.schema.scores_are_probabilities:
            # float32 rounding gives 1.0000001.
            return np.minimum(np.maximum(chosen, 0.0), 1.0)
        return softmax_of(scores, chosen)


def softmax_of(scores: NDArray[np.float64], chosen: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the softmax probability of the chosen score in each row.

    Parameters
    ----------
    scores
        Shape (n, classes), any finite range: the largest score is taken out before exponentiation, so nothing
        overflows (log-sum-exp).
    chosen
        Shape (n,), one score of each row.
    """
    largest = scores.max(axis=1)
    log_sum = np.log(np.exp(scores - largest[:, None]).sum(axis=1))
    probabilities: NDArray[np.float64] = np.exp(chosen - largest - log_sum)
    return probabilities


def _inputs_of(schema: ModelSchema, session: ort.InferenceSession) -> tuple[_Input, ...]:
    ranks = {each.name: len(each.shape) for each in session.get_inputs()}
    by_input: dict[str, list[tuple[int, str]]] = {}
    types: dict[str, TensorType] = {}
    for feature in schema.features:
        by_input.setdefault(feature.input_name, []).append((feature.column, feature.name))
        types[feature.input_name] = feature.tensor_type
    for name, places in by_input.items():
        places.sort()
        if [column for column, _ in places] != list(range(len(places))):
            raise ArtefactError(f"The features of input {name!r} do not fill its columns without a gap.")
    return tuple(
        _Input(name, types[name], tuple(feature for _, feature in places), is_flat=ranks.get(name) == 1)
        for name, places in by_input.items()
    )


def _check_names(session: ort.InferenceSession, inputs: tuple[_Input, ...], outputs: list[str]) -> None:
    if {each.name for each in session.get_inputs()} != {each.name for each in inputs}:
        raise ArtefactError("The schema's inputs are not the inputs of the model.")
    missing = set(outputs) - {each.name for each in session.get_outputs()}
    if missing or not outputs:
        raise ArtefactError(f"The model has no output {', '.join(sorted(missing)) or 'that the schema names'}.")


def _terminator(options: ort.RunOptions) -> Callable[[], None]:
    def terminate() -> None:
        options.terminate = True

    return terminate


def _shaped(name: str, result: _Tensor, shape: tuple[int, ...]) -> _Tensor:
    try:
        if len(result) == shape[0]:
            return result.reshape(shape)
    except (TypeError, ValueError):  # no axis, or too many numbers for the shape
        pass
    raise PredictionFailedError(f"Output {name!r} has shape {np.shape(result)}; {shape} is expected.")


def _first(mask: Any) -> int:
    return int(np.argmax(mask))


def _resident_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:  # not Linux: the artefact's size has to do
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
