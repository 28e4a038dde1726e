"""Making the window of a check the new reference: for a change that is here to stay."""

import io
from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet
from django.core.files.base import ContentFile
from django.db import transaction
from django.db.models import Q

from accounts.actors import Actor
from accounts.services.changes import record_change
from drift.exceptions import FeaturesNotStoredError, WindowAlreadyUsedError, WindowGoneError
from drift.models import DriftCheck
from inference.archive import read_observations
from inference.redis_client import redis_client
from inference.stream import FEATURE_PREFIX, read_window
from models_registry.models import ReferenceDataset, ReferenceStatus
from models_registry.services.references import lock_version, upload_reference

CLOCK_STEP = timedelta(microseconds=1)  # of observed_at


def make_window_the_reference(*, check: DriftCheck, user: Actor) -> ReferenceDataset:
    """Upload the rows of a check's window as reference data of its version; once profiled they are in force.

    Raises
    ------
    FeaturesNotStoredError
        The capture policy keeps features out of the rows.
    WindowGoneError
        The rows are neither in the live window nor in the archive any more.
    ConflictError
        The version is archived.
    WindowAlreadyUsedError
        They are reference data already.
    ReferenceFileError
        They make a larger file than is taken.
    redis.RedisError
        The live window could not be read.
    """
    features = _features_of_window(check)  # before the transaction: an archive takes its time to read
    names = [feature.name for feature in check.version.schema().features]
    if missing := [name for name in names if name not in features.column_names]:
        raise FeaturesNotStoredError(missing)
    sink = io.BytesIO()
    pyarrow.parquet.write_table(features, sink)
    name = f"window-of-check-{check.pk}.parquet"
    file = ContentFile(sink.getvalue(), name=name)
    with transaction.atomic():
        _refuse_second(check, name)
        reference = upload_reference(version=check.version, file=file, filename=name, user=user)
        message = f"Made of the {features.num_rows:,} rows of the window of drift check {check.pk}."
        record_change(user=user, row=reference, message=message)
    return reference


def _refuse_second(check: DriftCheck, name: str) -> None:
    """Refuse a window that is in force or on its way there: somebody pressed the button twice."""
    lock_version(check.version_id)
    of_window = ReferenceDataset.objects.filter(version=check.version_id, original_filename=name)
    on_its_way = Q(status__in=[ReferenceStatus.PENDING, ReferenceStatus.PROFILING])
    if of_window.filter(on_its_way | Q(is_active=True)).exists():
        raise WindowAlreadyUsedError(name)


def _features_of_window(check: DriftCheck) -> pa.Table:
    """Return the features of the window's rows, oldest first, under their own names."""
    features = pa.table({}) if check.is_backfilled else _live_features(check)
    if features.num_rows < check.n_current:  # the stream is trimmed from its old end: it may still hold a part
        features = _archived_features(check)
    if features.num_rows < check.n_current or not features.num_rows:
        raise WindowGoneError(check.n_current, features.num_rows)
    return features


def _live_features(check: DriftCheck) -> pa.Table:
    return read_window(redis_client(), check.version_id, check.n_current, check.window_end).features


def _archived_features(check: DriftCheck) -> pa.Table:
    if check.window_started_at is None or check.window_ended_at is None:
        return pa.table({})
    table = read_observations(check.version_id, since=check.window_started_at, until=check.window_ended_at + CLOCK_STEP)
    names = [name for name in table.column_names if name.startswith(FEATURE_PREFIX)]
    features = table.select(names).rename_columns([name.removeprefix(FEATURE_PREFIX) for name in names])
    newest: pa.Table = features.slice(max(0, table.num_rows - check.n_current))
    return newest
