"""Comparison of a model's predictions with those that its framework made for the same rows.

An exporter can write a file that computes something else. Only the framework's own numbers show it.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from django.core.files.base import File
from numpy.typing import NDArray

from mlmon.exceptions import LabelError, ReferenceFileError
from mlmon.labels import class_of, label_string, number_of
from mlmon.schema import TaskType
from mlmon.table_options import TableLimits
from mlmon.tables import ReferenceTable
from mlmon.values import shown
from models_registry.artefacts.report import ABSOLUTE_TOLERANCE, RELATIVE_TOLERANCE
from models_registry.class_scores import softmax
from models_registry.engine import Engine, Predictions
from models_registry.exceptions import ArtefactError, CheckFileError, PredictionFailedError
from models_registry.schema import ModelSchema, ScoreKind

PREDICTION = "prediction"
PROBABILITY = "probability"  # of the predicted class; followed by "_" and a class: of that class
SCORE = "score"
LIMITS = TableLimits(file_bytes=64 << 20, rows=100_000, text_bytes=64 << 20)
_TIMEOUT_SECONDS = 60.0


def check_predictions(model: Path, schema: ModelSchema, file: File[bytes]) -> str:
    """Return a sentence on the rows and columns that were compared.

    Parameters
    ----------
    model
        The ONNX file that is served.
    schema
        Of the model.
    file
        A CSV or Parquet file with a column for each feature and "prediction". Further columns that are compared:
        "probability" of the predicted class, "probability_CLASS" for a class, and "score".

    Raises
    ------
    ArtefactError
        A prediction differs, or the model failed; the message names the first row.
    CheckFileError
        The file cannot be read, or lacks a column.
    """
    with tempfile.NamedTemporaryFile() as copy:
        file.seek(0)
        while chunk := file.read(1 << 20):
            if copy.tell() + len(chunk) > LIMITS.file_bytes:
                raise CheckFileError(f"The file of rows to check has more than {LIMITS.file_bytes >> 20} MiB.")
            copy.write(chunk)
        copy.flush()
        try:
            return _compared(model, schema, Path(copy.name))
        except ReferenceFileError as error:
            raise CheckFileError(str(error)) from error


def _compared(model: Path, schema: ModelSchema, path: Path) -> str:
    if any(feature.name == PREDICTION for feature in schema.features):
        raise ReferenceFileError(
            f"A feature of the model is named {PREDICTION!r}, so no column can hold predictions. Give the feature "
            "another name to check the file."
        )
    table = ReferenceTable(path, schema.features, LIMITS)
    if PREDICTION not in table.ignored_columns:
        raise ReferenceFileError(
            f"The file of rows to check has no column {PREDICTION!r} with the framework's predictions. "
            f"Its other columns: {', '.join(map(shown, table.ignored_columns[:20])) or 'none'}."
        )
    numbers = _number_columns(schema, table.ignored_columns)
    given = _rows(table, (PREDICTION, *numbers), schema)
    engine = Engine(model, schema, timeout_seconds=_TIMEOUT_SECONDS)
    rows = 0
    for batch in table.batches():
        try:
            predictions = engine.predict(batch.columns)
        except PredictionFailedError as error:
            raise ArtefactError(f"The model fails on the rows to check, from row {rows + 1}: {error}") from error
        found = {PREDICTION: predictions.labels, **{name: _found(predictions, schema, name) for name in numbers}}
        for offset in range(batch.rows):
            for name, value in next(given).items():
                _refuse_difference(schema, rows + offset + 1, name, value, found[name][offset])
        rows += batch.rows
    compared = ", ".join((PREDICTION, *numbers))
    ignored = [name for name in table.ignored_columns if name not in (PREDICTION, *numbers)]
    rest = f" Not compared: {', '.join(map(shown, ignored[:10]))}." if ignored else ""
    return f"Equal to the framework's own numbers for {rows:,} row{'s' if rows > 1 else ''} ({compared}).{rest}"


def _number_columns(schema: ModelSchema, columns: list[str]) -> list[str]:
    """Return the columns with probabilities and scores; raise for one that the model cannot be compared with."""
    has_confidence = schema.score_kind in (ScoreKind.PROBABILITIES, ScoreKind.LOGITS)
    names = []
    for name in columns:
        of_class = name.removeprefix(f"{PROBABILITY}_") if name.startswith(f"{PROBABILITY}_") else None
        if of_class is not None and of_class not in schema.classes:
            raise ReferenceFileError(
                f"Column {shown(name)}: the model has no class {shown(of_class)}; its classes are "
                f"{', '.join(schema.classes[:10]) or 'none'}."
            )
        if (name == PROBABILITY or of_class is not None) and not has_confidence:
            raise ReferenceFileError(
                f"Column {shown(name)}: the model has no probabilities. If its scores are logits, state scores=logits; "
                "otherwise leave out the column."
            )
        if name == SCORE and schema.score_kind is not ScoreKind.MARGINS:
            raise ReferenceFileError(f"Column {shown(name)}: the model has no scores beside probabilities.")
        if name in (PROBABILITY, SCORE) or of_class is not None:
            names.append(name)
    return names


def _rows(table: ReferenceTable, columns: Sequence[str], schema: ModelSchema) -> Iterator[dict[str, object]]:
    """Yield the given numbers row by row, with decimal points."""
    numbers = [name for name in columns if name != PREDICTION or schema.task_type is TaskType.REGRESSION]
    has_comma = table.format.decimal_point == ","
    for batch, _ in table.raw_rows(columns, labels=columns):
        for row in batch:
            for name in numbers if has_comma else ():
                value = row[name]
                row[name] = value.replace(",", ".") if isinstance(value, str) else value
            yield row


def _found(predictions: Predictions, schema: ModelSchema, name: str) -> NDArray[Any]:
    if name == SCORE:
        assert predictions.score is not None  # noqa: S101 -- margins have a score
        return predictions.score
    assert predictions.confidence is not None  # noqa: S101
    assert predictions.scores is not None  # noqa: S101
    if name == PROBABILITY:
        return predictions.confidence
    scores = predictions.scores
    if schema.score_kind is ScoreKind.LOGITS:
        scores = softmax(scores)
    column: NDArray[Any] = scores[:, schema.classes.index(name.removeprefix(f"{PROBABILITY}_"))]
    return column


def _refuse_difference(schema: ModelSchema, row: int, column: str, given: object, found: object) -> None:
    try:
        if given is None:
            raise LabelError("is missing")
        label = label_string(given)
        if column == PREDICTION and schema.task_type is not TaskType.REGRESSION:
            is_equal = class_of(label, schema.classes) == found
        else:
            is_equal = bool(np.isclose(float(str(found)), number_of(label), RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE))
    except LabelError as error:
        raise ReferenceFileError(f"Column {shown(column)}, row {row}: {error}.") from None
    if not is_equal:
        raise ArtefactError(
            f"Row {row} of the rows to check: the file's {column} is {shown(given)}, the model's is {found}. The "
            "export computes something else than the framework: try another version of the exporter, or another model."
        )
