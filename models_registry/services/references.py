"""Reference data: from an upload to the profile in force."""

import hashlib
import io
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from celery import current_app
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.core.files.base import File
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from kombu.exceptions import OperationalError

from accounts.actors import Actor, account_of
from accounts.services.audit import record_change
from accounts.services.generation import bump_generation
from mlmon.columns import observed_table
from mlmon.exceptions import ReferenceFileError
from mlmon.profile import ReferenceProfile, profile_of
from mlmon.schema import TaskType
from mlmon.tables import ReferenceTable, TableLimits
from models_registry.class_scores import kept_scores, scores_column
from models_registry.engine import Engine, Predictions
from models_registry.exceptions import ArtefactError, ConflictError, NoFiniteAnswerError, PredictionFailedError
from models_registry.models import ModelVersion, ReferenceDataset, ReferenceStatus, Stage
from models_registry.reference_labels import ReferenceLabels, read_labels
from models_registry.schema import ModelSchema
from models_registry.services.kept_files import keep_file

logger = logging.getLogger(__name__)

LONGEST_ERROR = 2000
SECONDS_BETWEEN_SAVES = 0.5
ABANDONED_AFTER = timedelta(minutes=5)  # without progress, which is saved after every batch: its worker is dead
GIVEN_UP_AFTER = timedelta(hours=1)  # since the upload: what killed worker after worker would kill the next one too
WAITING_TOO_LONG = timedelta(minutes=1)
SHARE_OF_READING = 90  # percent of the progress; reading and predicting go together, batch by batch
SHARE_OF_PROFILING = 98


def upload_reference(
    *,
    version: ModelVersion,
    file: File[bytes],
    filename: str,
    label_column: str = "",
    user: Actor | None = None,
    enqueue: bool = True,
) -> ReferenceDataset:
    """Keep reference data of a version and have it profiled.

    Parameters
    ----------
    version, file, filename
        The version that learned from it; a CSV or Parquet file; the name that the uploader knows it by.
    label_column
        The column with the ground truth; "" where it is to be found (`models_registry.reference_labels`).
    user
        Who did it.
    enqueue
        Whether a worker profiles it; otherwise the caller calls `profile_reference` itself.

    Raises
    ------
    ConflictError
        The version is archived.
    ReferenceFileError
        The file is larger than is taken.
    """
    if file.size > settings.MLMON_MAX_REFERENCE_BYTES:
        most = settings.MLMON_MAX_REFERENCE_BYTES // 2**20
        raise ReferenceFileError(f"The file has {file.size:,} bytes; at most {most} MiB are taken.")
    with transaction.atomic():
        refuse_archived(version.pk)
        reference = ReferenceDataset(
            version=version,
            original_filename=Path(filename).name[:255],
            label_column=label_column,
            created_by=account_of(user),
        )
        # Under a name of ours: a person's can be too long for the file system, or mean something to it.
        reference.file.save(f"{uuid.uuid4().hex}{_suffix(filename)}", file, save=False)
        reference.save()
        record_change(user=user, row=reference, message="Uploaded.")
        if enqueue:
            transaction.on_commit(lambda: _enqueue(reference.pk))
    return reference


def profile_reference(*, reference_id: int, on_progress: Callable[[str, int], None] | None = None) -> ReferenceDataset:
    """Profile an uploaded reference and put it in force; a second call for the same one does nothing.

    A file that cannot be used ends as ``failed`` with the reason, and the reference in force stays in force.
    `on_progress` is told each step and the percentage of the whole.
    """
    reference = ReferenceDataset.objects.select_related("version__model").get(pk=reference_id)
    if not _claim(reference):
        return reference
    try:
        _put_in_force(reference, _profile(reference, on_progress))
    except (ReferenceFileError, ArtefactError, PredictionFailedError) as error:
        _fail(reference, str(error))
    except SoftTimeLimitExceeded:
        _fail(reference, "Profiling took longer than it may. Upload a sample of the rows.")
    except MemoryError:
        _fail(reference, "Profiling took more memory than the worker has. Upload a sample of the rows.")
    except Exception:
        logger.exception("Reference %d could not be profiled.", reference.pk)
        _fail(reference, "Something broke on our side while the file was profiled; the worker's log has the details.")
    return reference


@transaction.atomic
def activate_reference(*, reference: ReferenceDataset, user: Actor | None = None) -> None:
    """Let drift checks use `reference` from now on; ConflictError where it is not ready, or its version archived."""
    refuse_archived(reference.version_id)  # and locks it, as `lock_version` does
    current = ReferenceDataset.objects.select_for_update().get(pk=reference.pk)
    if current.status != ReferenceStatus.READY:
        raise ConflictError(f"{current.original_filename} is {current.status}; only a ready reference can be in force.")
    if current.is_active:
        return  # as it is already: asked for twice
    _replace_active(current, user=user, message="Put in force.")


def _enqueue(reference_id: int) -> None:
    try:
        # By its name: tasks import services, not the other way round.
        current_app.send_task("models_registry.tasks.profile_reference", args=[reference_id])
    except OperationalError as error:
        logger.warning("Reference %d waits for the broker: %s", reference_id, error)  # enqueue_waiting finds it


def enqueue_waiting_references() -> int:
    """Enqueue references that nobody works at, though they were uploaded a while ago; return how many."""
    now = timezone.now()
    for reference in ReferenceDataset.objects.filter(_abandoned(now), created_at__lt=now - GIVEN_UP_AFTER):
        _fail(
            reference, "Workers died while they profiled it, perhaps for lack of memory. Upload a sample of the rows."
        )
    waiting = ReferenceDataset.objects.filter(
        Q(status=ReferenceStatus.PENDING, created_at__lt=now - WAITING_TOO_LONG) | _abandoned(now)
    )
    for reference_id in waiting.values_list("pk", flat=True):
        _enqueue(reference_id)
    return len(waiting)


def _abandoned(now: datetime) -> Q:
    return Q(status=ReferenceStatus.PROFILING, claimed_at__lt=now - ABANDONED_AFTER)


def _claim(reference: ReferenceDataset) -> bool:
    """Take the work, also from a worker that died at it; False where it is done or somebody is at it."""
    now = timezone.now()
    free = Q(status=ReferenceStatus.PENDING) | _abandoned(now)
    claimed = ReferenceDataset.objects.filter(free, pk=reference.pk).update(
        status=ReferenceStatus.PROFILING, claimed_at=now, progress_percent=0, progress_step="reading"
    )
    reference.refresh_from_db()
    return bool(claimed)


def _claimed(reference: ReferenceDataset) -> QuerySet[ReferenceDataset]:
    """Return the row while the work is still ours: a worker that was taken for dead may have lost it to another."""
    return ReferenceDataset.objects.filter(
        pk=reference.pk, status=ReferenceStatus.PROFILING, claimed_at=reference.claimed_at
    )


@dataclass(frozen=True, slots=True)
class _Profiled:
    """What was made of a file: its profile, its labelled answers (None without), and what to tell about it."""

    profile: ReferenceProfile
    answers: pa.Table | None
    labels: ReferenceLabels
    ignored_columns: list[str]


def _profile(reference: ReferenceDataset, on_progress: Callable[[str, int], None] | None) -> _Profiled:
    schema = reference.version.schema()
    limits = TableLimits(file_bytes=settings.MLMON_MAX_REFERENCE_BYTES, rows=settings.MLMON_MAX_REFERENCE_ROWS)
    table = ReferenceTable(Path(reference.file.path), schema.features, limits)
    labels = read_labels(table, schema, reference.label_column)
    engine = Engine(Path(reference.version.artefact.path), schema, timeout_seconds=60)
    progress = _progress_of(reference, on_progress)
    observed: list[pa.Table] = []
    predictions: list[Predictions] = []
    rows = 0
    for batch in table.batches():
        observed.append(observed_table(schema.features, batch.columns))
        try:
            predictions.append(engine.predict(batch.columns))
        except NoFiniteAnswerError as error:
            raise ReferenceFileError(f"Row {rows + error.row + 1}: {error.answer}") from error
        rows += batch.rows
        progress("reading and predicting", round(SHARE_OF_READING * batch.fraction))
    progress("profiling", SHARE_OF_READING)
    answered = _answers(schema, predictions)
    profile = profile_of(pa.concat_tables(observed), answered, schema.classes, schema.task_type)
    progress("saving", SHARE_OF_PROFILING)
    ignored = [name for name in table.ignored_columns if name != labels.column]
    return _Profiled(profile, _labelled_answers(schema, predictions, labels), labels, ignored)


def _answers(schema: ModelSchema, predictions: list[Predictions]) -> "pa.StringArray | pa.DoubleArray":
    labels = np.concatenate([batch.labels for batch in predictions])
    return (
        pa.array(labels, pa.string()) if schema.task_type is TaskType.CLASSIFICATION else pa.array(labels, pa.float64())
    )


def _labelled_answers(schema: ModelSchema, predictions: list[Predictions], labels: ReferenceLabels) -> pa.Table | None:
    """Return the ground truth and the answers of the rows that have one."""
    if not labels.labelled_rows:
        return None
    answers = _answers(schema, predictions)
    columns: dict[str, Any] = {"actual": pa.array(labels.values, answers.type), "prediction": answers}
    if all(batch.confidence is not None for batch in predictions):
        columns["confidence"] = np.concatenate(
            [batch.confidence for batch in predictions if batch.confidence is not None]
        )
    scores = [kept for batch in predictions if (kept := kept_scores(batch.scores, schema)) is not None]
    if scores:
        columns["scores"] = scores_column(np.concatenate(scores))
    return pa.table(columns).filter(pc.is_valid(pc.field("actual")))


def _progress_of(
    reference: ReferenceDataset, on_progress: Callable[[str, int], None] | None
) -> Callable[[str, int], None]:
    """Return a function that saves each new step, and its percentage not more often than a person can see."""
    last_save, last_step = 0.0, ""

    def save(step: str, percent: int) -> None:
        nonlocal last_save, last_step
        if on_progress is not None:
            on_progress(step, percent)
        if step != last_step or time.monotonic() - last_save >= SECONDS_BETWEEN_SAVES:
            last_save, last_step = time.monotonic(), step
            now = timezone.now()  # a sign of life
            if _claimed(reference).update(progress_step=step, progress_percent=percent, claimed_at=now):
                reference.claimed_at = now

    return save


def _put_in_force(reference: ReferenceDataset, profiled: _Profiled) -> None:
    """Keep the profile, and use it unless a later upload is in force already."""
    profile_name = _kept(reference, "profiles", profiled.profile.to_bytes())
    answers_name = "" if profiled.answers is None else _kept(reference, "answers", _file_bytes(profiled.answers))
    with transaction.atomic():
        lock_version(reference.version_id)
        ready = _claimed(reference).update(
            status=ReferenceStatus.READY,
            profile_file=profile_name,
            answers_file=answers_name,
            rows=profiled.profile.n_rows,
            label_column=profiled.labels.column,
            labelled_rows=profiled.labels.labelled_rows,
            labels_note=profiled.labels.note[:LONGEST_ERROR],
            ignored_columns=profiled.ignored_columns,
            progress_step="",
            progress_percent=100,
            profiled_at=timezone.now(),
        )
        if ready and not reference.version.references.filter(is_active=True, pk__gt=reference.pk).exists():
            _replace_active(reference, user=reference.created_by, message="Put in force, once profiled.")
    reference.refresh_from_db()


def _kept(reference: ReferenceDataset, folder: str, content: bytes) -> str:
    name = f"{folder}/{hashlib.sha256(content).hexdigest()}.arrow"
    keep_file(storage=reference.profile_file.storage, name=name, content=io.BytesIO(content))
    return name


def _file_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


@transaction.atomic
def refuse_archived(version_id: int) -> None:
    """Raise ConflictError for a version that is archived; one that is not stays so until the transaction ends."""
    version = ModelVersion.objects.select_for_update(of=["self"]).select_related("model").get(pk=version_id)
    if version.stage == Stage.ARCHIVED:
        raise ConflictError(f"{version} is archived: nothing is compared with reference data of it any more.")


def lock_version(version_id: int) -> None:
    """Let one at a time change which reference of a version is in force; taken before any row of its references."""
    ModelVersion.objects.select_for_update().get(pk=version_id)


def _replace_active(reference: ReferenceDataset, *, user: Actor | None, message: str) -> None:
    active = ReferenceDataset.objects.filter(version_id=reference.version_id, is_active=True)
    before = active.values_list("original_filename", flat=True).first()
    active.update(is_active=False)
    ReferenceDataset.objects.filter(pk=reference.pk).update(is_active=True)
    reference.is_active = True
    bump_generation()
    changes = {"In force": (before, reference.original_filename)}
    record_change(user=user, row=reference, message=message, changes=changes)


def _suffix(filename: str) -> str:
    suffix = Path(filename).suffix.lower()
    return suffix if suffix in (".csv", ".parquet") else ""


def _fail(reference: ReferenceDataset, message: str) -> None:
    """Say why, unless another worker has taken the work over: its result counts."""
    _claimed(reference).update(status=ReferenceStatus.FAILED, error_message=message[:LONGEST_ERROR], progress_step="")
    reference.refresh_from_db()
