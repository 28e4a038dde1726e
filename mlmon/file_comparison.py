"""Comparing two files as the platform compares a window with its reference, without a model and without a database."""

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mlmon.comparison import compare
from mlmon.file_columns import (
    Column,
    ColumnKind,
    ComparedFileError,
    FileColumn,
    FileTable,
    as_levels,
    column_of_texts,
    in_single_precision,
    is_whole,
    read_columns,
)
from mlmon.prepared import prepare
from mlmon.profiling import profile_of
from mlmon.results import ComparisonResult, Criteria
from mlmon.schema import TaskType
from mlmon.tables import TableLimits

MOST_CLASSES = 20  # whole numbers: with more, predictions are numbers rather than classes
WEEKDAYS = pa.array(["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"])
HOURS = pa.array([f"{hour:02d}" for hour in range(24)])
_LEVELS = (ColumnKind.BOOLEAN, ColumnKind.TEXT, ColumnKind.EMPTY)


@dataclass(frozen=True, slots=True)
class ColumnChoices:
    """What a person says of the columns, beyond what their values say.

    Attributes
    ----------
    prediction
        The column with the model's answers; "" where there is none.
    time
        The column that orders the rows of both files; "" where they are in order already.
    ignored
        Columns that are left out.
    categorical
        Columns of numbers that are names: compared as levels.
    zone
        Whose hours and weekdays are compared of times that have a zone; "" for those of the zone that they have.
    """

    prediction: str = ""
    time: str = ""
    ignored: frozenset[str] = frozenset()
    categorical: frozenset[str] = frozenset()
    zone: str = ""


@dataclass(frozen=True, slots=True)
class FileComparison:
    """Two files compared.

    Attributes
    ----------
    result
        Of the rows of the second file, as one window, against those of the first.
    has_predictions
        Whether a column was named as the model's answers; without one the result's prediction says nothing.
    notes
        What was not compared or read in a way that may surprise: sentences.
    """

    reference: Path
    current: Path
    result: ComparisonResult
    has_predictions: bool
    notes: tuple[str, ...]


def compare_files(
    reference: Path, current: Path, choices: ColumnChoices, criteria: Criteria, limits: TableLimits
) -> FileComparison:
    """Compare the rows of one file with those of another.

    Parameters
    ----------
    reference, current
        CSV or Parquet. What a column holds is decided by its values in the reference: numbers are compared as numbers;
        texts, booleans and dictionaries as levels; of a time the hour and the weekday are.
    choices
        What the values do not tell.
    criteria
        What counts as drift.
    limits
        For each file.

    Raises
    ------
    ComparedFileError
        A file cannot be read, or a column that was named is not there.
    """
    before = read_columns(reference, limits, ignored=choices.ignored, zone=choices.zone)
    now = read_columns(current, limits, ignored=choices.ignored, zone=choices.zone)
    _check_choices(choices, before, now)
    notes = [*_notes_of(before), *_notes_of(now)]
    before, now = _in_order(before, choices.time), _in_order(now, choices.time)
    before, now = _in_one_precision(before, now), _in_one_precision(now, before)
    names = _compared_names(before, now, choices)
    counters = [name for name in names if _counts_rows(before.columns.get(name)) and name not in choices.categorical]
    notes += [f"{name}: its numbers count the rows; not compared." for name in counters]
    compared = [name for name in names if name not in counters]
    features = _reference_features(before, compared, choices)
    window = _window_features(before, now, compared, choices)
    _check_thresholds(criteria, {*features, *window}, before)
    if not features:
        raise ComparedFileError(f"{reference}: there is no column to compare.")
    answers, current_answers, task_type = _predictions(before, now, choices)
    classes = sorted(_distinct(answers)) if task_type is TaskType.CLASSIFICATION else []
    profile = profile_of(pa.table(features), answers.combine_chunks(), classes, task_type)
    result = compare(prepare(profile), pa.table(window), current_answers, criteria)
    return FileComparison(reference, current, result, bool(choices.prediction), tuple(notes))


def _check_choices(choices: ColumnChoices, reference: FileTable, current: FileTable) -> None:
    for name in choices.ignored | choices.categorical:
        known = {**reference.columns, **reference.unread, **current.columns, **current.unread}
        if name not in known and name not in choices.ignored:
            raise _unknown(reference, name)
    for name in filter(None, (choices.prediction, choices.time)):
        for table in (reference, current):
            if name not in table.columns:
                raise _unknown(table, name)


def _check_thresholds(criteria: Criteria, names: Collection[str], reference: FileTable) -> None:
    for name in criteria.thresholds.by_feature:
        if name not in names:
            raise _unknown(reference, name)


def _unknown(table: FileTable, name: str) -> ComparedFileError:
    if name in table.unread:
        return ComparedFileError(f"{table.path}: column {name!r} {table.unread[name]}, which is not compared.")
    close = difflib.get_close_matches(name, table.columns, n=1)
    meant = f" Is {close[0]!r} meant?" if close else f" It has: {', '.join(list(table.columns)[:20])}."
    return ComparedFileError(f"{table.path}: there is no column {name!r}.{meant}")


def _notes_of(table: FileTable) -> Iterator[str]:
    for name, column in table.columns.items():
        if column.note:
            yield f"{name} in {table.path.name}: {column.note}."
    for name, reason in table.unread.items():
        yield f"{name} in {table.path.name}: {reason}; not compared."


def _in_order(table: FileTable, time: str) -> FileTable:
    """Return the rows ordered by a column, those without a time last."""
    if not time:
        return table
    order = pc.sort_indices(table.columns[time].values)
    columns = {
        name: replace(
            column,
            values=column.values.take(order),
            texts=None if column.texts is None else column.texts.take(order),
        )
        for name, column in table.columns.items()
    }
    return replace(table, columns=columns)


def _in_one_precision(table: FileTable, other: FileTable) -> FileTable:
    """Return the columns that the other file keeps in single precision in it too: .1 is not .1 otherwise."""
    single = {
        name: in_single_precision(column)
        for name, column in table.columns.items()
        if column.kind is ColumnKind.NUMBER and not column.is_single and _is_single(other.columns.get(name))
    }
    return replace(table, columns={**table.columns, **single})


def _is_single(column: FileColumn | None) -> bool:
    return column is not None and column.is_single


def _compared_names(reference: FileTable, current: FileTable, choices: ColumnChoices) -> list[str]:
    """Return the columns that are features, the reference's first."""
    names = [*reference.columns, *(name for name in current.columns if name not in reference.columns)]
    return [name for name in names if name != choices.prediction and not _only_orders(name, reference, choices)]


def _only_orders(name: str, reference: FileTable, choices: ColumnChoices) -> bool:
    return name == choices.time and reference.columns[name].kind is not ColumnKind.TIME


def _counts_rows(column: FileColumn | None) -> bool:
    """Return whether a column numbers the rows: whole numbers that only ever grow."""
    if column is None or column.kind is not ColumnKind.NUMBER or len(column.values) < 3 or column.values.null_count:
        return False
    values = column.values.combine_chunks()
    grows = pc.all(pc.greater(values.slice(1), values.slice(0, len(values) - 1))).as_py()
    return bool(grows) and is_whole(column.values)


def _reference_features(table: FileTable, names: Collection[str], choices: ColumnChoices) -> dict[str, Column]:
    features: dict[str, Column] = {}
    for name in names:
        if name in table.columns:
            features |= _features_of(name, _chosen(name, table.columns[name], choices), table.columns)
    return features


def _window_features(
    reference: FileTable, current: FileTable, names: Collection[str], choices: ColumnChoices
) -> dict[str, Column]:
    features: dict[str, Column] = {}
    for name in names:
        if name not in current.columns:
            continue
        column = current.columns[name]
        if name in reference.columns:
            column = _as_in_reference(name, column, reference.columns[name].kind, current.path)
        features |= _features_of(name, _chosen(name, column, choices), reference.columns)
    return features


def _chosen(name: str, column: FileColumn, choices: ColumnChoices) -> FileColumn:
    return as_levels(column) if name in choices.categorical else column


def _as_in_reference(name: str, column: FileColumn, kind: ColumnKind, path: Path) -> FileColumn:
    """Return a column as the kind that it has in the reference, where its values can be read so."""
    if column.kind in (kind, ColumnKind.EMPTY):
        return column
    if kind is ColumnKind.TIME:
        raise ComparedFileError(f"{path}: column {name!r} holds no times; in the reference it does.")
    if kind is ColumnKind.NUMBER and column.texts is not None:
        read_again = column_of_texts(column.texts)
        return read_again if read_again.kind is ColumnKind.NUMBER else column
    if kind in _LEVELS and column.texts is not None:
        return FileColumn(ColumnKind.TEXT, column.texts, column.texts)
    if kind in _LEVELS and column.kind is ColumnKind.NUMBER and is_whole(column.values):
        return as_levels(column)
    return column


def _features_of(name: str, column: FileColumn, taken: Mapping[str, FileColumn]) -> dict[str, Column]:
    """Return a column as the features that it is compared as: a time as its hour and its weekday."""
    if column.kind is not ColumnKind.TIME:
        return {name: column.values}
    times: Any = column.values
    parts = {
        f"{name} (hour)": _picked(HOURS, pc.hour(times)),
        f"{name} (weekday)": _picked(WEEKDAYS, pc.day_of_week(times)),
    }
    return {part: values for part, values in parts.items() if part not in taken}


def _picked(names: "pa.StringArray", indices: Any) -> Column:
    return pa.chunked_array([names.take(chunk) for chunk in indices.chunks], pa.string())


def _predictions(
    reference: FileTable, current: FileTable, choices: ColumnChoices
) -> "tuple[Column, Column | None, TaskType]":
    """Return the predictions of both files, as classes or as numbers."""
    name = choices.prediction
    if not name:
        return pa.chunked_array([[]], pa.string()), None, TaskType.CLASSIFICATION
    before = reference.columns[name]
    if before.kind is ColumnKind.TIME:
        raise ComparedFileError(f"{reference.path}: column {name!r} holds times; predictions are classes or numbers.")
    are_numbers = before.kind is ColumnKind.NUMBER and name not in choices.categorical and not _are_classes(before)
    now = _as_in_reference(name, current.columns[name], before.kind, current.path)
    if are_numbers:
        return before.values, now.values, TaskType.REGRESSION
    return as_levels(before).values, as_levels(now).values, TaskType.CLASSIFICATION


def _distinct(levels: Column) -> list[str]:
    names: list[Any] = levels.drop_null().unique().to_pylist()
    return names


def _are_classes(column: FileColumn) -> bool:
    distinct: Any = pc.count_distinct(column.values)
    return bool(distinct.as_py() <= MOST_CLASSES) and is_whole(column.values)
