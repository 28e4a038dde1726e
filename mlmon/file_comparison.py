"""Compare two files or tables like a window with its reference, without a model or a database."""

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mlmon.comparison import compare
from mlmon.exceptions import ComparisonInputError
from mlmon.file_columns import (
    ColumnKind,
    FileColumn,
    FileTable,
    as_categories,
    column_of_strings,
    in_single_precision,
    is_whole,
    read_columns,
)
from mlmon.prepared import prepare
from mlmon.profiling import profile_of
from mlmon.results import ComparisonResult, Criteria
from mlmon.schema import TaskType
from mlmon.tables import TableLimits
from mlmon.windows import Column

MOST_CLASSES = 20  # of whole numbers; predictions with more are numbers, not classes
# Tuples, because pyarrow imports pandas when it builds an array, and a web process must not load pandas at start.
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
HOURS = tuple(f"{hour:02d}" for hour in range(24))
_CATEGORIES = (ColumnKind.BOOLEAN, ColumnKind.TEXT, ColumnKind.EMPTY)


@dataclass(frozen=True, slots=True)
class ColumnChoices:
    """What the user specifies about columns, because their values do not show it.

    Attributes
    ----------
    prediction
        The column with the model's predictions; "" if there is none.
    time
        The column that orders the rows of both files; "" if they are in order.
    ignored
        Columns that are left out.
    categorical
        Columns of numbers that are names: compared as categories.
    zone
        The time zone whose hours and weekdays are compared for times with a zone; "" for their own zone.
    """

    prediction: str = ""
    time: str = ""
    ignored: frozenset[str] = frozenset()
    categorical: frozenset[str] = frozenset()
    zone: str = ""


@dataclass(frozen=True, slots=True)
class FileComparison:
    """Two compared files.

    Attributes
    ----------
    reference_name, current_name
        Names of the files.
    result
        Of the rows of the second file, as one window, against those of the first.
    has_predictions
        Whether a column with predictions was named; without one the result's prediction is empty.
    notes
        Sentences about columns that were not compared, or read in a way that may surprise.
    """

    reference_name: str
    current_name: str
    result: ComparisonResult
    has_predictions: bool
    notes: tuple[str, ...]


def compare_files(
    reference: Path | pa.Table,
    current: Path | pa.Table,
    choices: ColumnChoices,
    criteria: Criteria,
    limits: TableLimits,
) -> FileComparison:
    """Compare the rows of one file or Arrow table with those of another.

    Parameters
    ----------
    reference, current
        CSV or Parquet. The values of a column in the reference decide how it is compared: numbers as numbers; strings,
        booleans and dictionaries as categories; a time by its hour and its weekday.
    choices
        What the values do not show.
    criteria
        What counts as drift.
    limits
        For each file.

    Raises
    ------
    ComparisonInputError
        A file cannot be read, or it lacks a column that was named.
    """
    before = read_columns(reference, limits, ignored=choices.ignored, zone=choices.zone, name="reference")
    now = read_columns(current, limits, ignored=choices.ignored, zone=choices.zone, name="current")
    _check_choices(choices, before, now)
    notes = [*_notes_of(before), *_notes_of(now)]
    before, now = _in_order(before, choices.time), _in_order(now, choices.time)
    before, now = _in_one_precision(before, now), _in_one_precision(now, before)
    names = []
    for name in (*before.columns, *(name for name in now.columns if name not in before.columns)):
        column = before.columns.get(name)
        if name == choices.prediction or (name == choices.time and column and column.kind is not ColumnKind.TIME):
            continue
        if column is not None and _counts_rows(column) and name not in choices.categorical:
            notes.append(f"{name}: its numbers count the rows; not compared.")
            continue
        names.append(name)
    features = _features(before, before, names, choices)
    window = _features(now, before, names, choices)
    for name in criteria.thresholds.by_feature:
        if name not in features and name not in window:
            raise _unknown_column(before, name)
    if not features:
        raise ComparisonInputError(f"{before.label}: there is no column to compare.")
    predictions, current_predictions, task_type = _predictions(before, now, choices)
    classes: list[Any] = []
    if task_type is TaskType.CLASSIFICATION:
        classes = sorted(predictions.drop_null().unique().to_pylist())
    profile = profile_of(pa.table(features), predictions.combine_chunks(), classes, task_type)
    result = compare(prepare(profile), pa.table(window), current_predictions, criteria)
    return FileComparison(before.name, now.name, result, bool(choices.prediction), tuple(notes))


def _check_choices(choices: ColumnChoices, reference: FileTable, current: FileTable) -> None:
    known = {**reference.columns, **reference.unread, **current.columns, **current.unread}
    for name in choices.categorical - choices.ignored:
        if name not in known:
            raise _unknown_column(reference, name)
    for name in filter(None, (choices.prediction, choices.time)):
        for table in (reference, current):
            if name not in table.columns:
                raise _unknown_column(table, name)


def _unknown_column(table: FileTable, name: str) -> ComparisonInputError:
    if name in table.unread:
        return ComparisonInputError(f"{table.label}: column {name!r} {table.unread[name]} and cannot be compared.")
    close = difflib.get_close_matches(name, table.columns, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else f" It has: {', '.join(list(table.columns)[:20])}."
    return ComparisonInputError(f"{table.label}: there is no column {name!r}.{hint}")


def _notes_of(table: FileTable) -> Iterator[str]:
    for name, column in table.columns.items():
        if column.note:
            yield f"{name} in {table.name}: {column.note}."
    for name, reason in table.unread.items():
        yield f"{name} in {table.name}: {reason}; not compared."


def _in_order(table: FileTable, time: str) -> FileTable:
    """Return the rows ordered by a column, those without a time last."""
    if not time:
        return table
    order = pc.sort_indices(table.columns[time].values)
    columns = {
        name: replace(
            column,
            values=column.values.take(order),
            strings=None if column.strings is None else column.strings.take(order),
        )
        for name, column in table.columns.items()
    }
    return replace(table, columns=columns)


def _in_one_precision(table: FileTable, other: FileTable) -> FileTable:
    """Return the table with single precision in the columns where the other one has it: .1 differs between the two."""
    single = {
        name: in_single_precision(column)
        for name, column in table.columns.items()
        if column.kind is ColumnKind.NUMBER
        and not column.is_single
        and name in other.columns
        and other.columns[name].is_single
    }
    return replace(table, columns={**table.columns, **single})


def _counts_rows(column: FileColumn) -> bool:
    """Return whether a column numbers the rows: whole numbers that only increase."""
    if column.kind is not ColumnKind.NUMBER or len(column.values) < 3 or column.values.null_count:
        return False
    values = column.values.combine_chunks()
    increases = pc.all(pc.greater(values.slice(1), values.slice(0, len(values) - 1))).as_py()
    return bool(increases) and is_whole(column.values)


def _features(
    table: FileTable, reference: FileTable, names: Collection[str], choices: ColumnChoices
) -> Mapping[str, Column]:
    """Return the columns of a table as features, each read as the kind that it has in the reference."""
    features: dict[str, Column] = {}
    for name in names:
        if name not in table.columns:
            continue
        column = table.columns[name]
        if name in reference.columns:
            column = _as_in_reference(name, column, reference.columns[name].kind, table.label)
        if name in choices.categorical:
            column = as_categories(column)
        if column.kind is not ColumnKind.TIME:
            features[name] = column.values
            continue
        times: Any = column.values
        for part, names_of_parts, values in (
            (f"{name} (hour)", HOURS, pc.hour(times)),
            (f"{name} (weekday)", WEEKDAYS, pc.day_of_week(times)),
        ):
            if part not in reference.columns:
                parts = pa.array(names_of_parts)
                features[part] = pa.chunked_array([parts.take(chunk) for chunk in values.chunks], pa.string())
    return features


def _as_in_reference(name: str, column: FileColumn, kind: ColumnKind, label: str) -> FileColumn:
    """Return a column as the kind that it has in the reference, if its values allow it."""
    if column.kind in (kind, ColumnKind.EMPTY):
        return column
    if kind is ColumnKind.TIME:
        raise ComparisonInputError(f"{label}: column {name!r} has no times, but it does in the reference.")
    if kind is ColumnKind.NUMBER and column.strings is not None:
        read_again = column_of_strings(column.strings)
        return read_again if read_again.kind is ColumnKind.NUMBER else column
    if kind in _CATEGORIES and column.strings is not None:
        return FileColumn(ColumnKind.TEXT, column.strings, column.strings)
    if kind in _CATEGORIES and column.kind is ColumnKind.NUMBER and is_whole(column.values):
        return as_categories(column)
    return column


def _predictions(
    reference: FileTable, current: FileTable, choices: ColumnChoices
) -> "tuple[Column, Column | None, TaskType]":
    """Return the predictions of both files, as classes or as numbers."""
    name = choices.prediction
    if not name:
        return pa.chunked_array([[]], pa.string()), None, TaskType.CLASSIFICATION
    before = reference.columns[name]
    if before.kind is ColumnKind.TIME:
        message = f"{reference.label}: column {name!r} has times; predictions are classes or numbers."
        raise ComparisonInputError(message)
    now = _as_in_reference(name, current.columns[name], before.kind, current.label)
    if before.kind is ColumnKind.NUMBER and name not in choices.categorical:
        distinct: Any = pc.count_distinct(before.values)
        if distinct.as_py() > MOST_CLASSES or not is_whole(before.values):
            return before.values, now.values, TaskType.REGRESSION
    return as_categories(before).values, as_categories(now).values, TaskType.CLASSIFICATION
