"""A first schema of a version that is served elsewhere, read from its reference file, for a person to correct."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from mlmon.column_kinds import ColumnKind, FileColumn, identifier_reason, is_whole, read_reference
from mlmon.exceptions import ReferenceFileError
from mlmon.file_columns import FileTable, read_columns
from mlmon.schema import TaskType
from mlmon.tables import ReadOptions, TableLimits
from mlmon.times import AmbiguousDatesError
from mlmon.values import TextFormat, category_name, shown
from models_registry.artefacts.report import LONGEST_NAME
from models_registry.reference_labels import LABEL_NAMES
from models_registry.reference_predictions import CONFIDENCE_NAMES, PREDICTION_NAMES, PROBABILITY_PREFIX
from models_registry.schema_document import ANOMALY_CLASSES, MOST_CLASSES, MOST_FEATURES

MOST_CELLS = 5_000_000  # that are read: the first rows show the kinds, and a web process has little memory
MOST_NUMBERED_CLASSES = 20  # whole numbers with more different values are quantities
TYPE_NAMES = {ColumnKind.NUMBER: "number", ColumnKind.BOOLEAN: "boolean", ColumnKind.STRING: "category"}


@dataclass(frozen=True, slots=True)
class SchemaChoices:
    """What the person knows about a file, where it is not detected.

    Attributes
    ----------
    task
        None to infer it from the values of the predictions and of the ground truth.
    prediction_column, label_column, time_column
        Names of columns; "" to detect them by their names.
    encoding, missing
        As of `mlmon.tables.ReadOptions`.
    """

    task: TaskType | None = None
    prediction_column: str = ""
    label_column: str = ""
    time_column: str = ""
    encoding: str = ""
    missing: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ColumnLeftOut:
    """A column of the file that is no feature, and why."""

    column: str
    reason: str


@dataclass(frozen=True, slots=True)
class InferredSchema:
    """A schema that a file suggests.

    Attributes
    ----------
    document
        As `models_registry.schema_document` reads it; a person may have to correct it first.
    left_out
        The columns that are no features.
    notes
        What the person should check.
    """

    document: Mapping[str, Any]
    left_out: tuple[ColumnLeftOut, ...]
    notes: tuple[str, ...]


def infer_schema(path: Path, choices: SchemaChoices, limits: TableLimits) -> InferredSchema:
    """Return the schema that a reference file suggests.

    Every column is a feature, unless it has the predictions, their probabilities, the ground truth or times, identifies
    rows, or is empty. A feature is required if none of its values is missing.

    Raises
    ------
    ReferenceFileError
        The file cannot be read, lacks a column that was named, or shows neither a task nor a feature.
    """
    options = ReadOptions(choices.encoding, missing=choices.missing)
    table = read_columns(path, limits, options, most_cells=MOST_CELLS)
    text = TextFormat(table.format.decimal_point or ".", choices.missing)
    prediction = _column(table, choices.prediction_column, PREDICTION_NAMES, "predictions")
    label = _column(table, choices.label_column, LABEL_NAMES, "ground truth", without=prediction)
    left_out: dict[str, str] = {}
    if prediction:
        left_out[prediction] = "It has the predictions."
    if label:
        left_out[label] = "It has the ground truth."
    if choices.time_column:
        left_out[_column(table, choices.time_column, (), "times")] = "It has the times."
    columns: dict[str, FileColumn] = {}
    for name in table.names:
        reason = left_out.get(name) or _reason_of_name(name, table, has_predictions=bool(prediction))
        if name in table.columns and (not reason or name in (prediction, label)):
            try:
                columns[name] = read_reference(table.columns[name], text)
            except AmbiguousDatesError:
                reason = reason or "It has dates. Add it as a category if the model uses it as one."
            else:
                reason = reason or _reason_of_values(columns[name], table, name)
        if reason:
            left_out[name] = reason
    outputs = [columns[name] for name in (prediction, label) if name in columns]
    notes: list[str] = []
    task, classes = _task(choices.task, outputs, _probability_classes(table.names, left_out), notes)
    if task is TaskType.CLASSIFICATION and prediction and not label:
        label = _label_by_values([name for name in columns if name not in left_out], columns, classes)
        if label:
            left_out[label] = "Its values are classes, so it looks like the ground truth. Add it if it is a feature."
    features = [
        {"name": name, "type": TYPE_NAMES[column.type.kind], "required": column.n_present == table.rows}
        for name, column in columns.items()
        if name not in left_out
    ]
    if not features:
        reasons = " ".join(f"{shown(name)}: {reason}" for name, reason in list(left_out.items())[:5])
        raise ReferenceFileError(f"No column of the file looks like a feature. {reasons}")
    if not table.is_complete:
        notes.append(
            f"Only the first {table.rows:,} rows were read. Check whether the classes are complete, and which features "
            "may be missing."
        )
    notes += _notes_of(columns, left_out, table)
    document: dict[str, Any] = {"task": task.value}
    if task is TaskType.CLASSIFICATION:
        document["classes"] = classes
    document["features"] = features
    ordered = tuple(ColumnLeftOut(name, left_out[name]) for name in table.names if name in left_out)
    return InferredSchema(document, ordered, tuple(notes))


def _column(table: FileTable, chosen: str, known: Collection[str], what: str, *, without: str = "") -> str:
    """Return the named column, or the only one with a known name; "" if there is none."""
    if chosen:
        if chosen not in table.names:
            listed = ", ".join(map(shown, table.names[:20]))
            reason = f"The file has no column {shown(chosen)} for the {what}. Its columns are: {listed}."
            raise ReferenceFileError(reason)
        if chosen not in table.columns:
            raise ReferenceFileError(f"Column {shown(chosen)} has neither strings nor numbers nor booleans.")
        return chosen
    found = [name for name in table.names if name.lower() in known and name != without]
    if len(found) > 1:
        listed = ", ".join(map(shown, found[:10]))
        raise ReferenceFileError(f"Several columns are named like {what}: {listed}. Name the right one.")
    return found[0] if found and found[0] in table.columns else ""


def _reason_of_name(name: str, table: FileTable, *, has_predictions: bool) -> str:
    """Return why a column is no feature by its name or type; "" if it may be one."""
    if name in table.index_columns:
        return "It is the index of a data frame."
    if name not in table.columns:
        return f"It has the type {str(table.unread[name])[:80]}, which no feature has."
    lower = name.lower()
    if has_predictions and (lower in CONFIDENCE_NAMES or lower.startswith(PROBABILITY_PREFIX)):
        return "It has probabilities of the predictions."
    if len(name) > LONGEST_NAME or not name.strip() or not name.isprintable():
        return f"Its name is not allowed: use 1 to {LONGEST_NAME} printable characters."
    return ""


def _reason_of_values(column: FileColumn, table: FileTable, name: str) -> str:
    if column.type.kind is ColumnKind.TIME:
        return "It has times."
    if column.type.kind is ColumnKind.EMPTY or not column.n_present:
        return "It has no values."
    if reason := identifier_reason(column, table.columns[name]):
        return f"{reason} Add it if it is a feature."
    return ""


def _task(
    stated: TaskType | None, outputs: Sequence[FileColumn], named: Sequence[str], notes: list[str]
) -> tuple[TaskType, list[str]]:
    """Return the task and the classes that the values of predictions and ground truth show."""
    if stated is TaskType.REGRESSION or stated is TaskType.ANOMALY:
        return stated, []
    numbers = [column for column in outputs if column.type.kind is ColumnKind.NUMBER]
    if outputs and len(numbers) == len(outputs):
        distinct = np.unique(np.concatenate([_present(column) for column in numbers]))
        is_quantity = len(distinct) > MOST_NUMBERED_CLASSES or not all(is_whole(column.values) for column in numbers)
        if stated is None and is_quantity:
            return TaskType.REGRESSION, []
        classes = [category_name(value) for value in distinct.tolist()]
        if stated is None:
            notes.append(
                f"The output has {len(classes)} different whole numbers, so they are taken to be classes. If they are "
                'quantities, change the task to "regression" and remove the classes.'
            )
            if set(classes) == set(ANOMALY_CLASSES):
                notes.append('If the model detects anomalies, change the task to "anomaly" and remove the classes.')
    else:
        names = {value for column in outputs for value in _strings(column)}
        classes = sorted(names)
    classes += [name for name in named if name not in classes]
    if not classes and stated is None:
        raise ReferenceFileError(
            "The file does not show what the model predicts: it has no column that is named like predictions or ground "
            "truth. Name one, or state the task."
        )
    if len(classes) > MOST_CLASSES:
        raise ReferenceFileError(
            f"The output has {len(classes):,} different strings; at most {MOST_CLASSES:,} classes are supported. Name "
            "another column, or state the task."
        )
    if len(classes) < 2:
        notes.append("A classification has at least two classes. Add those that the file does not show.")
    return TaskType.CLASSIFICATION, classes


def _present(column: FileColumn) -> Any:
    return column.values.drop_null().to_numpy().astype(np.float64, copy=False)


def _strings(column: FileColumn) -> list[str]:
    if column.type.kind is ColumnKind.NUMBER:
        return [category_name(value) for value in np.unique(_present(column)).tolist()]
    if column.type.kind is ColumnKind.TIME:
        raise ReferenceFileError("The predictions and the ground truth are numbers, strings or booleans, not times.")
    strings: list[Any] = pc.unique(column.values).drop_null().to_pylist()
    return strings


def _probability_classes(names: Iterable[str], left_out: Collection[str]) -> list[str]:
    """Return the classes that columns with probabilities are named after."""
    return [
        name[len(PROBABILITY_PREFIX) :]
        for name in names
        if name in left_out and name.lower().startswith(PROBABILITY_PREFIX) and len(name) > len(PROBABILITY_PREFIX)
    ]


def _label_by_values(names: Iterable[str], columns: Mapping[str, FileColumn], classes: Collection[str]) -> str:
    """Return the only column of strings whose values are several of the classes; "" if there is none."""
    found = [
        name
        for name in names
        if columns[name].type.kind is ColumnKind.STRING
        and columns[name].n_distinct > 1
        and set(_strings(columns[name])) <= set(classes)
    ]
    return found[0] if len(found) == 1 else ""


def _notes_of(columns: Mapping[str, FileColumn], left_out: Collection[str], table: FileTable) -> Iterable[str]:
    for name, column in columns.items():
        if name in left_out:
            continue
        if column.n_unreadable:
            yield (
                f"{name}: {column.n_unreadable:,} values are no {column.type.kind}, the first in row "
                f"{column.first_row}: {shown(column.first_value)}. A reference is refused with them: correct them, or "
                "change the type."
            )
        if column.type.note:
            yield f"{name}: {column.type.note}."
    if len(columns) - len(left_out) > MOST_FEATURES:
        yield f"At most {MOST_FEATURES:,} features are supported."
