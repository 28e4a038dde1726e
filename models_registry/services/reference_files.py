"""Profiling one reference file: its rows, the predictions for them, the ground truth and the times."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from django.conf import settings

from mlmon.exceptions import ReferenceFileError
from mlmon.profile import ReferenceProfile
from mlmon.profiling import profile_of
from mlmon.tables import ReadOptions, ReferenceTable, TableLimits
from mlmon.values import observed_table
from models_registry.class_scores import kept_scores, scores_column
from models_registry.engine import Engine, Predictions
from models_registry.exceptions import NonFinitePredictionError
from models_registry.models import ReferenceDataset
from models_registry.reference_labels import ReferenceLabels, read_labels
from models_registry.reference_predictions import ReferencePredictions, predicted_type, read_predictions
from models_registry.reference_times import ReferenceTimes, read_times
from models_registry.schema import ModelSchema

PREDICTED_PERCENT = 90  # progress once all rows are read and predicted
PROFILED_PERCENT = 98


@dataclass(frozen=True, slots=True)
class ProfiledFile:
    """The result of profiling a file, whose rows were ordered by time.

    `labelled` is None without ground truth or predictions.
    """

    profile: ReferenceProfile
    labelled: pa.Table | None
    labels: ReferenceLabels
    given: ReferencePredictions | None
    times: ReferenceTimes
    ignored_columns: list[str]
    notes: list[str]


def profile_file(reference: ReferenceDataset, progress: Callable[[str, int], None]) -> ProfiledFile:
    """Return the profile of an uploaded file; `progress` receives each step and the percentage of the whole.

    Raises
    ------
    ReferenceFileError
        The file cannot be used; the message names the column and the row if possible.
    ArtefactError, PredictionFailedError
        The model cannot be loaded, or fails on the rows.
    """
    schema = reference.version.schema()
    limits = TableLimits(file_bytes=settings.MLMON_MAX_REFERENCE_BYTES, rows=settings.MLMON_MAX_REFERENCE_ROWS)
    options = ReadOptions(encoding=reference.encoding, missing=frozenset(reference.missing_values))
    table = ReferenceTable(Path(reference.file.path), schema.features, limits, options)
    is_served_here, given, engine = reference.version.is_served_here, None, None
    if is_served_here:
        engine = Engine(reference.version.served_path(), schema, timeout_seconds=60)
    else:
        named = (reference.label_column, reference.time_column)
        given = read_predictions(table, schema, reference.prediction_column, taken=named)
    used = given.columns if given else ()
    labels = read_labels(table, schema, reference.label_column, taken=used)
    times = read_times(
        table,
        reference.time_column,
        reference.version.model.time_zone,
        features=[*used, *(feature.name for feature in schema.features)],
        label_column=labels.column,
    )
    features: list[pa.Table] = []
    predictions: list[Predictions] = []
    rows = 0
    for batch in table.batches():
        features.append(observed_table(schema.features, batch.columns))
        if engine is not None:
            try:
                predictions.append(engine.predict(batch.columns))
            except NonFinitePredictionError as error:
                raise ReferenceFileError(f"Row {rows + error.row + 1}: {error.reason}") from error
        rows += batch.rows
        progress("reading and predicting" if engine else "reading", round(PREDICTED_PERCENT * batch.fraction))
    progress("profiling", PREDICTED_PERCENT)
    predicted = _of_engine(schema, predictions) if given is None else _of_file(schema, given)
    observed, instants, labelled = pa.concat_tables(features), times.instants, None
    if labels.labelled_rows and predicted.num_rows:
        labelled = predicted.add_column(0, "actual", pa.array(labels.values, predicted.column("prediction").type))
    if instants is not None and (order := times.order()) is not None:
        observed, instants = observed.take(order), instants[order]
        predicted = predicted.take(order) if predicted.num_rows else predicted
        labelled = None if labelled is None else labelled.take(order)
    values = predicted.column("prediction").combine_chunks()
    profile = profile_of(observed, values, schema.classes, schema.task_type, times=instants, zone=times.zone)
    progress("saving", PROFILED_PERCENT)
    if labelled is not None:
        labelled = labelled.filter(pc.is_valid(pc.field("actual")))
    ignored = [name for name in table.ignored_columns if name not in (labels.column, times.column, *used)]
    notes = [
        f"{name}: {count:,} values are {value}, a category like any other. If they are missing values, upload the file "
        f"again with the missing value {value}."
        for name, counts in table.spelled_missing.items()
        for value, count in counts.items()
    ]
    return ProfiledFile(profile, labelled, labels, given, times, ignored, notes)


def _of_engine(schema: ModelSchema, predictions: Sequence[Predictions]) -> pa.Table:
    """Return the predictions of all rows, in the columns of `selectors.labelled_reference`."""
    labels = np.concatenate([batch.labels for batch in predictions])
    columns: dict[str, Any] = {"prediction": pa.array(labels, predicted_type(schema.task_type))}
    confidence = [batch.confidence for batch in predictions if batch.confidence is not None]
    if len(confidence) == len(predictions):
        columns["confidence"] = np.concatenate(confidence)
    scores = [kept for batch in predictions if (kept := kept_scores(batch.scores, schema)) is not None]
    if scores:
        columns["scores"] = scores_column(np.concatenate(scores))
    return pa.table(columns)


def _of_file(schema: ModelSchema, given: ReferencePredictions) -> pa.Table:
    """Return the predictions that a file has, in the same columns; without rows if it has none."""
    columns: dict[str, Any] = {"prediction": given.values}
    if given.confidence is not None:
        columns["confidence"] = given.confidence
    if (scores := kept_scores(given.probabilities, schema)) is not None:
        columns["scores"] = scores_column(scores)
    return pa.table(columns)
