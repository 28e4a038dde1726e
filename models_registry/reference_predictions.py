"""The predictions in the reference file of a version that is served elsewhere: find their columns and read the values.

mlmon cannot predict these rows. Without the model's own predictions for them, those of windows are not compared.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlmon.exceptions import LabelError, ReferenceFileError, RowValueError
from mlmon.labels import class_of, label_string
from mlmon.schema import Feature, FeatureKind, TaskType, TensorType
from mlmon.tables import ReferenceTable
from mlmon.values import column_of_arrow, shown, string_bytes
from models_registry.schema import ModelSchema

PREDICTION_NAMES = frozenset(
    {"pred", "predicted", "predicted_class", "predicted_label", "predicted_value", "prediction", "predictions"}
    | {"y_hat", "y_pred", "yhat"}
)
CONFIDENCE_NAMES = frozenset({"confidence", "probability"})  # of the predicted class
PROBABILITY_PREFIX = "probability_"  # followed by a class: its probability
SUM_TOLERANCE = 1e-3  # of the probabilities of a row: servers round them
WHAT_TO_DO = (
    "Until a reference has them, the predictions of windows are not compared: upload the file again with a column of "
    "the model's predictions for its rows."
)


@dataclass(frozen=True, slots=True, eq=False)
class ReferencePredictions:
    """The model's predictions for a reference's rows.

    Attributes
    ----------
    values
        Classes (string) or numbers (float64), one for each row; empty without a column.
    column
        Name of their column; "" without one.
    confidence
        Probability of the predicted class, NaN if unknown, shape (rows,); None without.
    probabilities
        Of the classes, a row of NaN if unknown, shape (rows, classes); None without.
    score_columns
        The columns with probabilities.
    note
        Why there are no predictions, or why a column of probabilities is not used; for the person who uploaded the
        file.
    """

    values: "pa.Array[Any]"
    column: str = ""
    confidence: NDArray[np.float64] | None = None
    probabilities: NDArray[np.float64] | None = None
    score_columns: tuple[str, ...] = ()
    note: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are used."""
        return (self.column, *self.score_columns) if self.column else ()


def read_predictions(
    table: ReferenceTable, schema: ModelSchema, chosen: str, *, taken: Collection[str]
) -> ReferencePredictions:
    """Return the predictions for a reference file's rows.

    Without a chosen column, it is the only column beside the features whose name is one of `PREDICTION_NAMES`. The
    probabilities of a classifier are found by their names.

    Parameters
    ----------
    chosen
        The column that the uploader named; "" to detect it.
    taken
        Columns that the uploader named for something else.

    Raises
    ------
    ReferenceFileError
        The chosen column does not exist, or has a value that cannot be a prediction of the model.
    """
    none = pa.array([], predicted_type(schema.task_type))
    features = {feature.name for feature in schema.features}
    others = [name for name in table.column_names if name not in features and name not in taken]
    column = chosen
    if chosen and others.count(chosen) != 1:
        raise ReferenceFileError(_no_such_column(chosen, features, taken, table.column_names))
    if not chosen:
        candidates = [name for name in others if name.lower() in PREDICTION_NAMES]
        if not candidates:
            return ReferencePredictions(none, note=f"No column of the file is named like predictions. {WHAT_TO_DO}")
        if len(candidates) > 1:
            listed = ", ".join(candidates[:10])
            reason = f"Several columns are named like predictions: {listed}. Name one when you upload the file."
            return ReferencePredictions(none, note=f"{reason} {WHAT_TO_DO}")
        (column,) = candidates
    is_number = schema.task_type is TaskType.REGRESSION
    try:
        values = _numbers_of(table, column) if is_number else _classes(table, schema, column)
    except ReferenceFileError as error:
        if chosen:
            raise
        note = f"Column {shown(column)} is not used as predictions. {error} {WHAT_TO_DO}"
        return ReferencePredictions(none, note=note)
    found = ReferencePredictions(values, column)
    if schema.task_type is not TaskType.CLASSIFICATION:
        return found
    return _with_probabilities(found, table, schema, [name for name in others if name != column])


def predicted_type(task: TaskType) -> Any:
    """Return the Arrow type of a task's predictions."""
    return pa.float64() if task is TaskType.REGRESSION else pa.string()


def _classes(table: ReferenceTable, schema: ModelSchema, column: str) -> "pa.Array[Any]":
    meaning = lru_cache(maxsize=1000, typed=True)(lambda value: class_of(label_string(value), schema.classes))
    found: list[str] = []
    for batch in table.raw_labels(column):
        for value in batch:
            try:
                if value is None:
                    raise LabelError("every row needs a prediction, but it is missing")
                found.append(meaning(value))
            except LabelError as error:
                raise ReferenceFileError(f"Column {shown(column)}, row {len(found) + 1}: {error}.") from None
    return pa.array(found, pa.string())


def _numbers_of(table: ReferenceTable, column: str) -> "pa.Array[Any]":
    numbers = _numbers(table, column, is_required=True)
    if not (is_finite := np.isfinite(numbers)).all():
        row = int(np.argmin(is_finite)) + 1
        raise ReferenceFileError(f"Column {shown(column)}, row {row}: a prediction must be a finite number.")
    return pa.array(numbers, pa.float64())


def _numbers(table: ReferenceTable, column: str, *, is_required: bool = False) -> NDArray[np.float64]:
    """Return a column of numbers, NaN for a missing one."""
    if column not in table.plain_columns:
        raise ReferenceFileError(f"Column {shown(column)} has neither strings nor numbers.")
    feature = Feature(column, FeatureKind.NUMERIC, is_required, "", 0, TensorType.FLOAT64)
    parts: list[NDArray[Any]] = []
    rows = 0
    for batch, _ in table.arrow_batches([column]):
        try:
            string_bytes(feature, batch.column(0))
            parts.append(column_of_arrow(feature, batch.column(0), table.text))
        except RowValueError as error:
            row = rows + error.row + 1
            raise ReferenceFileError(f"Column {shown(column)}, row {row}: {error.reason}.") from error
        rows += batch.num_rows
    return np.concatenate([np.array([], dtype=np.float64), *parts])


def _with_probabilities(
    found: ReferencePredictions, table: ReferenceTable, schema: ModelSchema, others: Sequence[str]
) -> ReferencePredictions:
    """Return predictions with the probabilities of all classes or of the predicted one, if a column has them."""
    by_class: dict[str, list[str]] = {}
    for name in others:
        if name.lower().startswith(PROBABILITY_PREFIX):
            try:
                label = class_of(name[len(PROBABILITY_PREFIX) :], schema.classes)
            except LabelError:
                continue  # of something else
            by_class.setdefault(label, []).append(name)
    confidences = [name for name in others if name.lower() in CONFIDENCE_NAMES]
    columns = [name for names in by_class.values() for name in names]
    try:
        if by_class:
            probabilities = _probabilities(table, schema, by_class)
            codes = np.asarray(pc.index_in(found.values, pa.array(schema.classes)), dtype=np.int64)
            confidence = probabilities[np.arange(len(codes)), codes]
        elif confidences:
            columns, probabilities = confidences, None
            confidence = _shares(table, _only(confidences))
        else:
            return found
    except ReferenceFileError as error:
        note = f"The probabilities of the predictions are not used, so performance is not estimated. {error}"
        return ReferencePredictions(found.values, found.column, note=note)
    return ReferencePredictions(found.values, found.column, confidence, probabilities, tuple(columns))


def _only(names: Sequence[str]) -> str:
    if len(names) > 1:
        raise ReferenceFileError(f"Several columns may have them: {', '.join(map(shown, names[:10]))}. Keep one.")
    return names[0]


def _shares(table: ReferenceTable, column: str) -> NDArray[np.float64]:
    shares = _numbers(table, column)
    if (wrong := (shares < 0) | (shares > 1)).any():
        row = int(np.argmax(wrong)) + 1
        raise ReferenceFileError(f"Column {shown(column)}, row {row}: a probability is a number from 0 to 1.")
    return shares


def _probabilities(table: ReferenceTable, schema: ModelSchema, by_class: dict[str, list[str]]) -> NDArray[np.float64]:
    """Return the probabilities of all classes; of two classes, one column determines both."""
    found = {label: _shares(table, _only(names)) for label, names in by_class.items()}
    if absent := [label for label in schema.classes if label not in found]:
        if len(schema.classes) > 2:
            wanted = shown(PROBABILITY_PREFIX + absent[0])
            raise ReferenceFileError(f"The file has a column for some classes, but no column {wanted}.")
        found[absent[0]] = 1 - next(iter(found.values()))
    matrix = np.column_stack([found[label] for label in schema.classes])
    totals = matrix.sum(axis=1, keepdims=True)
    if (wrong := np.abs(totals[:, 0] - 1) > SUM_TOLERANCE).any():  # false for NaN
        row = int(np.argmax(wrong))
        raise ReferenceFileError(f"Row {row + 1}: the probabilities must sum to 1, not to {totals[row, 0]:.6g}.")
    return np.asarray(matrix / totals)


def _no_such_column(chosen: str, features: Collection[str], taken: Collection[str], names: Sequence[str]) -> str:
    if chosen in features:
        return f"Column {shown(chosen)} is a feature of the model, so it cannot have the predictions."
    if chosen in taken:
        return f"Column {shown(chosen)} is named for the ground truth or the times, so it cannot have the predictions."
    if chosen in names:
        return f"The file has several columns {shown(chosen)}. Rename all but one."
    return f"The file has no column {shown(chosen)} for the predictions. Its columns are: {', '.join(names[:20])}."
