"""The ground truth in a reference file: find its column and read its values."""

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from mlmon.exceptions import LabelError, ReferenceFileError
from mlmon.labels import class_of, label_string, number_of, truth_of
from mlmon.schema import TaskType
from mlmon.tables import ReferenceTable
from mlmon.values import MISSING_STRINGS, shown
from models_registry.schema import ModelSchema

LABEL_NAMES = frozenset({"actual", "class", "ground_truth", "label", "target", "y"})


@dataclass(frozen=True, slots=True)
class ReferenceLabels:
    """The ground truth of a reference's rows.

    Attributes
    ----------
    column
        Name of the column; "" without one.
    values
        A class, or a number for a regression; None for a row without ground truth. Empty without a column.
    note
        Why there is no ground truth, for the person who uploaded the file.
    """

    column: str = ""
    values: Sequence[str | float | None] = ()
    note: str = ""

    @property
    def labelled_rows(self) -> int:
        return sum(value is not None for value in self.values)


def read_labels(
    table: ReferenceTable, schema: ModelSchema, chosen: str, *, taken: Collection[str] = ()
) -> ReferenceLabels:
    """Return the ground truth of a reference file's rows.

    Without a chosen column, it is the only column beside the features whose name is one of `LABEL_NAMES` or a class of
    a model with two classes, or else the only one whose values are several of the classes.

    Parameters
    ----------
    chosen
        The column that the uploader named; "" to detect it.
    taken
        Columns that are used for something else.

    Raises
    ------
    ReferenceFileError
        The chosen column does not exist, or has a value that cannot be ground truth of the model.
    """
    unusable = {*taken, *(feature.name for feature in schema.features)}
    others = [name for name in table.column_names if name not in unusable]
    if chosen:
        if others.count(chosen) != 1:
            raise ReferenceFileError(_no_such_column(chosen, schema, table))
        return ReferenceLabels(chosen, _values(table, schema, chosen))
    names = [name for name in others if others.count(name) == 1]
    candidates = [name for name in names if name.lower() in LABEL_NAMES or _is_named_after_class(name, schema)]
    if not candidates and schema.task_type is not TaskType.REGRESSION:
        for name, values in table.first_values(names).items():
            with contextlib.suppress(LabelError):  # a value that is none of the classes
                found = {label_of_value(value, name, schema, is_text=table.text is not None) for value in values}
                if len(found - {None}) > 1:
                    candidates.append(name)
    if not candidates:
        return ReferenceLabels(note="No column of the file looks like ground truth.")
    if len(candidates) > 1:
        listed = ", ".join(candidates[:10])
        note = f"Several columns look like ground truth: {listed}. Name one when you upload it."
        return ReferenceLabels(note=note)
    (column,) = candidates
    try:
        return ReferenceLabels(column, _values(table, schema, column))
    except ReferenceFileError as error:
        return ReferenceLabels(note=f"Column {shown(column)} is not used as ground truth. {error}")


def label_of_value(value: object, column: str, schema: ModelSchema, *, is_text: bool = False) -> str | float | None:
    """Return the ground truth that a value stands for; None if it is missing.

    In a column that has the name of one of two classes, true is that class and false the other. In a CSV file
    (`is_text`), "NA" and its like are missing unless the model has a class of that name.

    Raises
    ------
    LabelError
        The value cannot be ground truth of the model.
    """
    if value is None or (is_text and value in MISSING_STRINGS and value not in schema.classes):
        return None
    label = label_string(value)
    if schema.task_type is TaskType.REGRESSION:
        return number_of(label)
    if label not in schema.classes and _is_named_after_class(column, schema):
        truth = truth_of(label)
        if truth is not None:
            return next(name for name in schema.classes if (name == column) is truth)
    return class_of(label, schema.classes)


def _values(table: ReferenceTable, schema: ModelSchema, column: str) -> list[str | float | None]:
    labels: list[str | float | None] = []
    is_text = table.text is not None
    meaning = lru_cache(maxsize=1000, typed=True)(
        partial(label_of_value, column=column, schema=schema, is_text=is_text)
    )
    for batch in table.raw_labels(column):
        for value in batch:
            try:
                labels.append(meaning(value))
            except LabelError as error:
                raise ReferenceFileError(f"Column {shown(column)}, row {len(labels) + 1}: {error}.") from None
    return labels


def _is_named_after_class(name: str, schema: ModelSchema) -> bool:
    return len(schema.classes) == 2 and name in schema.classes


def _no_such_column(chosen: str, schema: ModelSchema, table: ReferenceTable) -> str:
    if chosen in {feature.name for feature in schema.features}:
        return f"Column {shown(chosen)} is a feature of the model, so it cannot be the ground truth."
    if chosen in table.column_names:
        return f"The file has several columns {shown(chosen)}. Rename all but one."
    others = ", ".join(table.column_names[:20])
    return f"The file has no column {shown(chosen)} for the ground truth. Its columns are: {others}."
