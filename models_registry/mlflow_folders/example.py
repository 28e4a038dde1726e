"""The input example of an MLflow model: rows that a version must predict before it is stored."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlmon.exceptions import RowValueError
from mlmon.figures import plain_text, short_number_text
from mlmon.schema import Feature
from mlmon.values import column_of_json, shown
from models_registry.engine import Engine
from models_registry.exceptions import ArtefactError, PredictionFailedError
from models_registry.schema import ModelSchema

LARGEST_BYTES = 1 << 20
_MOST_ROWS = 1000
_MOST_VALUES = 1_000_000
_SHOWN_PREDICTIONS = 5
_TIMEOUT_SECONDS = 60.0
# Objects around the rows: of the file for MLflow's own server, and of older versions of MLflow.
_AROUND = ("dataframe_split", "dataframe_records", "inputs", "instances")


def try_example(model: Path, schema: ModelSchema, example: Path) -> str:
    """Predict the rows of an input example; return a sentence with the predictions, or why the rows were not tried.

    Parameters
    ----------
    model
        The ONNX file that is served.
    schema
        Of the model.
    example
        A JSON file with a table, a matrix or a list of rows.

    Raises
    ------
    ArtefactError
        The columns are not the model's features, a value is not one of its feature, or the model fails.
    """
    if example.stat().st_size > LARGEST_BYTES:
        return f"The MLflow input example was not tried, because it has more than {LARGEST_BYTES >> 20} MiB."
    try:
        document = json.loads(example.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"The MLflow input example is not valid JSON ({error}).") from None
    rows = _rows_of(document)
    if rows is None:
        return "The MLflow input example was not tried, because it is not a table or a matrix, or a large one."
    by_feature = _by_feature(schema.features, *rows)
    try:
        table = {feature.name: column_of_json(feature, by_feature[feature.name]) for feature in schema.features}
    except RowValueError as error:
        raise ArtefactError(
            f"MLflow input example, row {error.row + 1}, feature {shown(error.feature)}: {error.reason}. Log the model "
            "with rows that it takes, or state which features are optional."
        ) from None
    engine = Engine(model, schema, timeout_seconds=_TIMEOUT_SECONDS)
    try:
        predicted = engine.predict(table).labels.tolist()
    except PredictionFailedError as error:
        raise ArtefactError(f"The model fails on the MLflow input example: {error}") from error
    first = predicted[:_SHOWN_PREDICTIONS]
    texts = [plain_text(each)[:60] if isinstance(each, str) else short_number_text(each) for each in first]
    more = ", …" if len(predicted) > len(first) else ""
    rows_text = "the row" if len(predicted) == 1 else f"the {len(predicted):,} rows"
    return f"Predicted for {rows_text} of the MLflow input example: {', '.join(texts)}{more}."


def _rows_of(document: Any) -> tuple[list[str] | None, list[list[Any]]] | None:
    """Return the names of the columns (None if there are none) and the first rows; None for other data."""
    names, rows = None, document
    while isinstance(rows, dict):
        if around := next((name for name in _AROUND if name in rows), None):
            rows = rows[around]
        elif "data" in rows:  # of a data frame; without names if pandas has numbered the columns
            names, rows = rows.get("columns"), rows["data"]
        elif len(rows) == 1:  # a tensor by its name
            (rows,) = rows.values()
        else:
            names, columns = list(rows), [value if isinstance(value, list) else [value] for value in rows.values()]
            if len({len(column) for column in columns}) != 1:
                return None
            rows = [list(row) for row in zip(*columns, strict=True)]
    if not isinstance(rows, list) or not rows:
        return None
    rows = rows[:_MOST_ROWS]
    if all(isinstance(row, dict) for row in rows):
        names = list(dict.fromkeys(name for row in rows for name in row))
        if len(names) * len(rows) > _MOST_VALUES:
            return None
        rows = [[row.get(name) for name in names] for row in rows]
    rows = [row if isinstance(row, list) else [row] for row in rows]
    widths = {len(row) for row in rows} | ({len(names)} if isinstance(names, list) else set())
    if len(widths) != 1 or any(isinstance(value, list | dict) for row in rows for value in row):
        return None
    return (list(map(str, names)) if isinstance(names, list) else None), rows


def _by_feature(
    features: Sequence[Feature], columns: list[str] | None, rows: Sequence[Sequence[Any]]
) -> dict[str, list[Any]]:
    """Return the values of each feature, by the names of the columns, or in their order if they have other names."""
    names = [feature.name for feature in features]
    if columns is None or not set(columns).intersection(names):
        if len(rows[0]) != len(features):
            raise ArtefactError(
                f"The MLflow input example has {len(rows[0])} columns; the model has {len(features)} features. Log the "
                "model with rows that it takes."
            )
        columns = names
    if absent := [each.name for each in features if each.is_required and each.name not in columns]:
        raise ArtefactError(
            f"The MLflow input example has no column for the feature {shown(absent[0])}. Its columns: "
            f"{', '.join(shown(name, 60) for name in columns[:10])}."
        )
    values = dict(zip(columns, zip(*rows, strict=True), strict=True))
    missing = [None] * len(rows)
    return {name: [None if _is_nan(value) else value for value in values.get(name, missing)] for name in names}


def _is_nan(value: object) -> bool:
    """Return whether a value is NaN, as which MLflow writes some missing values."""
    return isinstance(value, float) and math.isnan(value)
