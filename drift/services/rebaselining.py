"""Making the window of a check the new reference, after a permanent change."""

import io
from collections.abc import Collection
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from django.core.files.base import ContentFile
from django.db import transaction
from django.db.models import Q

from accounts.actors import Actor
from accounts.services.changes import record_change
from drift.exceptions import FeaturesNotStoredError, WindowAlreadyUsedError, WindowGoneError
from drift.models import DriftCheck
from inference.archive import TIME, read_observations
from inference.stream import FEATURE_PREFIX, read_window, redis_client
from mlmon.schema import TaskType
from models_registry.class_scores import scores_matrix
from models_registry.models import ReferenceDataset, ReferenceStatus
from models_registry.reference_predictions import PROBABILITY_PREFIX
from models_registry.schema import ModelSchema
from models_registry.services.references import lock_version, upload_reference

CLOCK_STEP = timedelta(microseconds=1)  # of observed_at


def make_window_the_reference(*, check: DriftCheck, user: Actor) -> ReferenceDataset:
    """Upload the rows of a check's window as reference data of its version, which become active once profiled.

    Raises
    ------
    FeaturesNotStoredError
        The capture policy does not store some features.
    WindowGoneError
        The rows are neither in the live window nor in the archive.
    ConflictError
        The version is archived.
    WindowAlreadyUsedError
        The rows already are reference data.
    ReferenceFileError
        The file would be larger than the limit.
    redis.RedisError
        The live window could not be read.
    """
    rows = _rows_of_window(check)  # before the transaction, as reading the archive is slow
    names = [feature.name for feature in check.version.schema().features]
    if missing := [name for name in names if FEATURE_PREFIX + name not in rows.column_names]:
        raise FeaturesNotStoredError(
            f"The rows of this window have no {', '.join(missing)}, because the capture policy does not store them. "
            "Upload a file instead."
        )
    columns: dict[str, Any] = {name: rows.column(FEATURE_PREFIX + name) for name in names}
    prediction_column = ""
    if not check.version.is_served_here:  # mlmon cannot predict the rows again
        prediction_column = _unused("prediction", columns)
        columns[prediction_column] = rows.column("prediction")
        columns |= _probabilities(check.version.schema(), rows, columns)
    time_column = _unused(TIME, columns)
    columns[time_column] = rows.column(TIME)
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pa.table(columns), sink)
    name = f"window-of-check-{check.pk}.parquet"
    file = ContentFile(sink.getvalue(), name=name)
    with transaction.atomic():
        lock_version(check.version_id)  # against a second press of the button
        of_window = ReferenceDataset.objects.filter(version=check.version_id, original_filename=name)
        in_progress = Q(status__in=[ReferenceStatus.PENDING, ReferenceStatus.PROFILING])
        if of_window.filter(in_progress | Q(is_active=True)).exists():
            raise WindowAlreadyUsedError(
                f"This window already is reference data: {name} is active, or will be once profiled."
            )
        reference = upload_reference(
            version=check.version,
            file=file,
            filename=name,
            prediction_column=prediction_column,
            time_column=time_column,
            user=user,
        )
        message = f"Made from the {rows.num_rows:,} rows of the window of drift check {check.pk}."
        record_change(user=user, row=reference, message=message)
    return reference


def _rows_of_window(check: DriftCheck) -> pa.Table:
    """Return the window's rows, oldest first, with the names of the columns of a stream."""
    rows = pa.table({})
    if not check.is_backfilled:
        rows = read_window(redis_client(), check.version_id, check.n_current, check.window_end).table
    # The stream is trimmed from its old end, so it may have only a part of the window.
    if rows.num_rows < check.n_current and check.window_started_at and check.window_ended_at:
        until = check.window_ended_at + CLOCK_STEP
        rows = read_observations(check.version_id, since=check.window_started_at, until=until)
        rows = rows.slice(max(0, rows.num_rows - check.n_current))
    if rows.num_rows < check.n_current or not rows.num_rows:
        raise WindowGoneError(
            f"Only {rows.num_rows:,} of the {check.n_current:,} rows of this window are still stored. Use the "
            "window of a later check, or upload a file."
        )
    return rows


def _unused(name: str, columns: Collection[str]) -> str:
    """Return the name of a new column."""
    while name in columns:
        name += "_"
    return name


def _probabilities(schema: ModelSchema, rows: pa.Table, taken: Collection[str]) -> dict[str, Any]:
    """Return columns with the probabilities of the predictions, if their names are not those of features."""
    columns: dict[str, Any] = {}
    scores: Any = rows.column("scores").combine_chunks() if "scores" in rows.column_names else None
    if scores is not None and scores.null_count < len(scores):
        matrix = scores_matrix(scores)
        columns = {f"{PROBABILITY_PREFIX}{name}": matrix[:, place] for place, name in enumerate(schema.classes)}
    elif schema.task_type is TaskType.CLASSIFICATION:
        columns = {"confidence": rows.column("confidence")}
    return {} if columns.keys() & set(taken) else columns
