"""Compare two files or tables like a window with its reference, without a model or a database.

The kind of each column is inferred once, from the reference, and both files are read by it. Every column of the
reference is compared, not compared with a reason, or left out on purpose.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mlmon.column_kinds import ColumnKind, as_categories, is_whole
from mlmon.column_pairs import ALL_COLUMNS, ColumnPair, ColumnPairs, close_name
from mlmon.column_pairs import ColumnChoices as ColumnChoices
from mlmon.comparison import compare
from mlmon.criteria import Criteria
from mlmon.exceptions import ComparisonInputError
from mlmon.file_columns import FileTable, read_table
from mlmon.prepared import prepare
from mlmon.profiling import profile_of
from mlmon.results import ComparisonResult, LeftOut, LeftOutReason, NotCompared
from mlmon.schema import TaskType
from mlmon.tables import TableFormat, TableLimits
from mlmon.times import DateOrder, comparable_parts, parts_of
from mlmon.values import shown
from mlmon.windows import Column

MOST_CLASSES = 20  # of whole numbers; predictions with more are numbers, not classes


@dataclass(frozen=True, slots=True)
class FileComparison:
    """Two compared files.

    Attributes
    ----------
    reference_name, current_name
        Names of the files.
    reference_format, current_format
        What was detected in them.
    result
        Of the rows of the second file, as one window, against those of the first.
    has_predictions
        Whether a column with predictions was named; without one the result's prediction is empty.
    date_orders
        How dates that do not begin with the year were read, by column.
    notes
        Sentences about columns that were read in a way that may surprise.
    """

    reference_name: str
    current_name: str
    reference_format: TableFormat
    current_format: TableFormat
    result: ComparisonResult
    has_predictions: bool
    date_orders: Mapping[str, DateOrder]
    notes: tuple[str, ...]

    @property
    def formats(self) -> tuple[str, ...]:
        """What was detected in each file, as sentences."""
        return (
            _format_sentence(self.reference_name, self.reference_format),
            _format_sentence(self.current_name, self.current_format),
        )


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
        A file cannot be read, it lacks a column that was named, or nothing can be compared.
    """
    before, now = (
        read_table(source, limits, ignored=choices.ignored, encoding=choices.encoding, name=name)
        for source, name in ((reference, "reference"), (current, "current"))
    )
    _check_choices(choices, before, now)
    columns = ColumnPairs(before, now, choices)
    _check_named(choices, before, columns)
    pairs, left_out = dict(columns.pairs), list(columns.left_out)
    predicted = pairs.pop(choices.prediction, None)
    if choices.time and pairs[choices.time].reference.times is None:
        del pairs[choices.time]
        left_out.append(LeftOut(choices.time, LeftOutReason.IGNORED, "It orders the rows (--time)."))
    features: dict[str, Column] = {}
    window: dict[str, Column] = {}
    notes = list(columns.notes)
    for name, pair in pairs.items():
        for part, (values, current_values) in _features_of(name, pair, before.names, notes).items():
            features[part] = values
            if current_values is not None:
                window[part] = current_values
    for name in criteria.thresholds.by_feature:
        if name not in features and name not in before.names and name not in now.names:
            raise _unknown_column(before, name, "--column-threshold")
    if not features or not (window or predicted):
        raise _nothing_compared(before, columns.not_compared.values(), left_out)
    predictions, current_predictions, task_type = _predictions(predicted)
    classes: list[Any] = []
    if task_type is TaskType.CLASSIFICATION:
        classes = sorted(predictions.drop_null().unique().to_pylist())
    if predicted is not None and current_predictions is None:  # of another type than the reference's
        other: Any = pa.string() if task_type is TaskType.REGRESSION else pa.float64()
        current_predictions = pa.chunked_array([pa.nulls(now.rows, other)])
    profile = profile_of(pa.table(features), predictions.combine_chunks(), classes, task_type)
    not_compared = [each for name, each in columns.not_compared.items() if name != choices.prediction]
    result = compare(
        prepare(profile),
        pa.table(window),
        current_predictions,
        criteria,
        not_compared=not_compared,
        left_out=left_out,
    )
    if predicted is not None and predicted.current is None:
        failed = columns.not_compared[choices.prediction]
        result = replace(result, prediction=replace(result.prediction, status_detail=failed.detail))
    coverage = result.coverage
    if not coverage.compared and (predicted is None or predicted.current is None):
        raise _nothing_compared(before, coverage.not_compared, coverage.left_out)
    date_orders = {name: pair.reference.type.date_order for name, pair in pairs.items()}
    return FileComparison(
        reference_name=before.name,
        current_name=now.name,
        reference_format=before.format,
        current_format=now.format,
        result=result,
        has_predictions=bool(choices.prediction),
        date_orders={name: order for name, order in date_orders.items() if order is not None},
        notes=tuple(notes),
    )


def _check_choices(choices: ColumnChoices, reference: FileTable, current: FileTable) -> None:
    """Raise if a column that the user named is in neither file, or if the rows or the predictions need it in both."""
    for name in (choices.prediction, choices.time):
        for table in (reference, current):
            if name and name not in table.names:
                raise _unknown_column(table, name, choices.options_with(name)[0])
            if name and name in table.unread:
                kind = str(table.unread[name])[:80]
                raise ComparisonInputError(
                    f"{table.label}: column {name!r} has the type {kind} and cannot be compared."
                )
    for name in (*choices.categorical, *choices.date_orders):
        if name not in (*reference.all_names, *current.all_names, ALL_COLUMNS):
            raise _unknown_column(reference, name, choices.options_with(name)[0])


def _check_named(choices: ColumnChoices, reference: FileTable, columns: ColumnPairs) -> None:
    """Raise if the predictions or the times could not be read."""
    for name in filter(None, (choices.prediction, choices.time)):
        if name not in columns.pairs:
            option = choices.options_with(name)[0]
            raise ComparisonInputError(f"{option} {name}: {columns.not_compared[name].detail}")
    if choices.prediction and columns.pairs[choices.prediction].reference.times is not None:
        raise ComparisonInputError(
            f"{reference.label}: column {choices.prediction!r} has times; predictions are classes or numbers."
        )


def _unknown_column(table: FileTable, name: str, option: str) -> ComparisonInputError:
    hint = close_name(name, table.names) or f" It has: {', '.join(table.names[:20])}."
    return ComparisonInputError(f"{table.label}: there is no column {name!r} ({option}).{hint}")


def _nothing_compared(
    reference: FileTable, not_compared: Iterable[NotCompared], left_out: Iterable[LeftOut]
) -> ComparisonInputError:
    both: list[NotCompared | LeftOut] = [*not_compared, *left_out]
    reasons = [f"{each.feature}: {each.detail}" for each in both]
    more = f" And {len(reasons) - 5} more." if len(reasons) > 5 else ""
    return ComparisonInputError(
        f"{reference.label}: there is no column to compare. {' '.join(reasons[:5])}{more}".strip()
    )


def _format_sentence(name: str, detected: TableFormat) -> str:
    if detected.kind != "csv":
        kinds = {"parquet": "a Parquet file", "parquet folder": "a folder of Parquet files", "arrow": "an Arrow table"}
        return f"{name} is {kinds.get(detected.kind, detected.kind)}."
    delimiter = {"": "with one column", "\t": "separated by tabs"}.get(
        detected.delimiter, f"separated by {shown(detected.delimiter)}"
    )
    comma = " with decimal commas" if detected.decimal_point == "," else ""
    packed = ", compressed with gzip" if detected.is_compressed else ""
    return f"{name} is a CSV file {delimiter}{comma}, in {detected.encoding}{packed}."


def _features_of(
    name: str, pair: ColumnPair, names: Collection[str], notes: list[str]
) -> "dict[str, tuple[Column, Column | None]]":
    """Return the features that a column is compared as: itself, or parts of its times."""
    before, now = pair
    if before.times is None:
        return {name: (before.values, None if now is None else now.values)}
    if now is None or now.times is None:
        return {}
    parts, reasons = comparable_parts(before.times, now.times)
    notes += [f"{name}: {reason}." for reason in reasons.values()]
    features: dict[str, tuple[Column, Column | None]] = {}
    for part in parts:
        feature = f"{name} ({part})"
        if feature not in names:
            features[feature] = parts_of(before.times, part), parts_of(now.times, part)
    # Without a part to compare, missing times are compared still.
    return features or {name: tuple(pc.if_else(each.values.is_valid(), "a time", None) for each in (before, now))}


def _predictions(pair: ColumnPair | None) -> "tuple[Column, Column | None, TaskType]":
    """Return the predictions of both files, as classes or as numbers."""
    if pair is None:
        return pa.chunked_array([[]], pa.string()), None, TaskType.CLASSIFICATION
    before, now = pair
    if before.type.kind is ColumnKind.NUMBER:
        distinct: Any = pc.count_distinct(before.values, mode="only_valid")
        if distinct.as_py() > MOST_CLASSES or not is_whole(before.values):
            return before.values, None if now is None else now.values, TaskType.REGRESSION
    return as_categories(before).values, None if now is None else as_categories(now).values, TaskType.CLASSIFICATION
