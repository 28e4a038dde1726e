"""Reference data: upload it, profile it, make it the active reference of its version."""

import hashlib
import io
import json
import logging
import time
import uuid
from collections.abc import Callable, Collection
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.core.files.base import File
from django.db import transaction
from django.utils import timezone

from accounts.actors import Actor, account_of
from accounts.services.changes import bump_generation, record_change
from mlmon.exceptions import ReferenceFileError
from mlmon.profile import FORMAT_VERSION
from models_registry.exceptions import (
    ArtefactError,
    ConflictError,
    LargeReferenceError,
    PredictionColumnError,
    PredictionFailedError,
)
from models_registry.models import OUTDATED_FORMAT, Model, ModelVersion, ReferenceDataset, ReferenceStatus, Stage
from models_registry.services.reference_files import ProfiledFile, profile_file
from models_registry.services.stored_files import UploadQueue, digest_of, store_file

logger = logging.getLogger(__name__)

LONGEST_ERROR = 2000
SECONDS_BETWEEN_SAVES = 0.5
GIVEN_UP_AFTER = timedelta(hours=1)  # since the upload: it would kill the next worker too
REFERENCE_QUEUE = UploadQueue(
    ReferenceDataset,
    ReferenceStatus.PENDING,
    ReferenceStatus.PROFILING,
    "models_registry.tasks.profile_uploaded_reference",
)


# --- upload ---------------------------------------------------------------------------------------------------------


def upload_reference(
    *,
    version: ModelVersion,
    file: File[bytes],
    filename: str,
    label_column: str = "",
    prediction_column: str = "",
    time_column: str = "",
    encoding: str = "",
    missing_values: Collection[str] = (),
    user: Actor | None = None,
    enqueue: bool = True,
) -> ReferenceDataset:
    """Store reference data of a version and have a worker profile it.

    Parameters
    ----------
    version, file, filename
        The version that was trained on it; a CSV or Parquet file; the uploader's name for it.
    label_column
        The column with the ground truth; "" to detect it (`models_registry.reference_labels`).
    prediction_column
        The column with the predictions of a version that is served elsewhere; "" to detect it
        (`models_registry.reference_predictions`).
    time_column
        The column with the time of each row; "" to detect it (`models_registry.reference_times`).
    encoding
        Of a CSV file; "" for UTF-8, or UTF-16 with a byte order mark.
    missing_values
        Further strings that are missing values in every column of a CSV file, such as "-999".
    user
        Who uploads it.
    enqueue
        Whether a worker profiles it. Otherwise the caller calls `profile_reference`.

    Raises
    ------
    ConflictError
        The version is archived.
    LargeReferenceError
        The file is larger than the limit.
    PredictionColumnError
        A column of predictions is named, but mlmon serves the version.
    """
    refuse_large(file.size)
    refuse_predictions(version, prediction_column)
    options = {"label_column": label_column, "time_column": time_column, "encoding": encoding}
    options["prediction_column"] = prediction_column
    upload_sha256 = digest_of_upload(file, missing_values=missing_values, **options)
    with transaction.atomic():
        refuse_archived(version.pk)
        reference = ReferenceDataset(
            version=version,
            original_filename=Path(filename).name[:255],
            upload_sha256=upload_sha256,
            missing_values=list(missing_values),
            **options,
            created_by=account_of(user),
        )
        # Under a random name: the uploader's may be too long for the file system or have a meaning there.
        suffix = next((kind for kind in (".csv", ".csv.gz", ".parquet") if filename.lower().endswith(kind)), "")
        reference.file.save(f"{uuid.uuid4().hex}{suffix}", file, save=False)
        reference.save()
        record_change(user=user, row=reference, message="Uploaded.")
        if enqueue:
            transaction.on_commit(lambda: REFERENCE_QUEUE.enqueue(reference.pk))
    return reference


def digest_of_upload(
    file: File[bytes],
    *,
    label_column: str = "",
    prediction_column: str = "",
    time_column: str = "",
    encoding: str = "",
    missing_values: Collection[str] = (),
) -> str:
    """Return a digest of a file and of how it is to be read. Equal uploads have equal digests."""
    read_as: list[object] = [label_column, time_column, encoding, *sorted(set(missing_values))]
    if prediction_column:  # not in the digests of earlier uploads
        read_as.append({"prediction_column": prediction_column})
    return hashlib.sha256(json.dumps([digest_of(file), *read_as]).encode()).hexdigest()


def refuse_large(size: int) -> None:
    """Raise LargeReferenceError for a file that is larger than the limit."""
    if size > settings.MLMON_MAX_REFERENCE_BYTES:
        most = settings.MLMON_MAX_REFERENCE_BYTES // 2**20
        raise LargeReferenceError(f"The file has {size:,} bytes; the limit is {most} MiB. Upload a sample of the rows.")


def refuse_predictions(version: ModelVersion, prediction_column: str) -> None:
    """Raise PredictionColumnError if a column of predictions is named for a version that is served here."""
    if prediction_column and version.is_served_here:
        raise PredictionColumnError(
            f"{version} is served here, so mlmon predicts the rows itself. Name no column of predictions: it is for "
            "versions that are served elsewhere."
        )


@transaction.atomic
def refuse_archived(version_id: int) -> None:
    """Raise ConflictError for an archived version; lock any other version until the transaction ends."""
    version = ModelVersion.objects.select_for_update(of=["self"]).select_related("model").get(pk=version_id)
    if version.stage == Stage.ARCHIVED:
        raise ConflictError(f"{version} is archived. Upload reference data for a version that is in use.")


def enqueue_waiting_references() -> int:
    """Enqueue references whose message was lost or whose worker died; return how many."""
    too_old = timezone.now() - GIVEN_UP_AFTER
    for reference in ReferenceDataset.objects.filter(REFERENCE_QUEUE.is_abandoned(), created_at__lt=too_old):
        _fail(
            reference, "Workers died while they profiled it, perhaps of too little memory. Upload a sample of the rows."
        )
    return REFERENCE_QUEUE.enqueue_waiting()


# --- profile --------------------------------------------------------------------------------------------------------


def profile_reference(*, reference_id: int, on_progress: Callable[[str, int], None] | None = None) -> ReferenceDataset:
    """Profile an uploaded reference and activate it; a second call for the same one does nothing.

    An unusable file ends with the status ``failed`` and the reason, and the active reference stays active.
    `on_progress` receives each step and the percentage of the whole.
    """
    reference = ReferenceDataset.objects.select_related("version__model").get(pk=reference_id)
    if not REFERENCE_QUEUE.claim(reference, progress_percent=0, progress_step="reading"):
        return reference
    try:
        profiled = _profiled(reference, on_progress)
        _store(reference, profiled)
    except (ReferenceFileError, ArtefactError, PredictionFailedError) as error:
        _fail(reference, str(error))
    except SoftTimeLimitExceeded:
        _fail(reference, "Profiling exceeded its time limit. Upload a sample of the rows.")
    except MemoryError:
        _fail(reference, "Profiling needs more memory than the worker has. Upload a sample of the rows.")
    except Exception:  # the top of the task: the uploader must see that it failed
        logger.exception("Reference %d could not be profiled.", reference.pk)
        _fail(reference, "The server failed while it profiled the file. The worker's log has the details.")
    return reference


def _profiled(reference: ReferenceDataset, on_progress: Callable[[str, int], None] | None) -> ProfiledFile:
    return profile_file(reference, _progress_of(reference, on_progress))


def _progress_of(
    reference: ReferenceDataset, on_progress: Callable[[str, int], None] | None
) -> Callable[[str, int], None]:
    """Return a function that saves each new step at once, and its percentage as often as a person can see it."""
    last_save, last_step = 0.0, ""

    def save(step: str, percent: int) -> None:
        nonlocal last_save, last_step
        if on_progress is not None:
            on_progress(step, percent)
        if step != last_step or time.monotonic() - last_save >= SECONDS_BETWEEN_SAVES:
            last_save, last_step = time.monotonic(), step
            now = timezone.now()  # a sign of life
            if REFERENCE_QUEUE.held(reference).update(progress_step=step, progress_percent=percent, claimed_at=now):
                reference.claimed_at = now

    return save


def _store(reference: ReferenceDataset, profiled: ProfiledFile) -> None:
    """Store the profile and activate it, unless a later upload is already active."""
    result = _stored_result(reference, profiled)
    with transaction.atomic():
        result["profile_format"] = _format_in_zone(reference, profiled)
        lock_version(reference.version_id)
        ready = REFERENCE_QUEUE.held(reference).update(
            status=ReferenceStatus.READY,
            progress_step="",
            progress_percent=100,
            profiled_at=timezone.now(),
            **result,
        )
        if ready and not reference.version.references.filter(is_active=True, pk__gt=reference.pk).exists():
            _replace_active(reference, user=reference.created_by, message="Activated after profiling.")
    reference.refresh_from_db()


def _stored_result(reference: ReferenceDataset, profiled: ProfiledFile) -> dict[str, Any]:
    """Store the files of a result; return the fields of the reference that describe it, without their format."""
    predictions_name = ""
    if profiled.labelled is not None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, profiled.labelled.schema) as writer:
            writer.write_table(profiled.labelled)
        predictions_name = _store_by_hash(reference, "predictions", sink.getvalue().to_pybytes())
    first_time, last_time = profiled.times.ends()
    return {
        "profile_file": _store_by_hash(reference, "profiles", profiled.profile.to_bytes()),
        "predictions_file": predictions_name,
        "rows": profiled.profile.n_rows,
        "label_column": profiled.labels.column,
        "labelled_rows": profiled.labels.labelled_rows,
        "labels_note": profiled.labels.note[:LONGEST_ERROR],
        "prediction_column": profiled.given.column if profiled.given else "",
        "predictions_note": profiled.given.note[:LONGEST_ERROR] if profiled.given else "",
        "time_column": profiled.times.column,
        "timed_rows": profiled.times.timed_rows,
        "first_time": first_time,
        "last_time": last_time,
        "times_note": profiled.times.note[:LONGEST_ERROR],
        "ignored_columns": profiled.ignored_columns,
        "notes": profiled.notes,
    }


def _format_in_zone(reference: ReferenceDataset, profiled: ProfiledFile) -> int:
    """Return the format of a new profile; that of an outdated one if the model has another time zone by now.

    The model is locked until the transaction ends (`versions.save_changed_model`).
    """
    model = Model.objects.select_for_update(no_key=True).get(pk=reference.version.model_id)
    return FORMAT_VERSION if model.time_zone == profiled.times.zone else OUTDATED_FORMAT


# --- rebuild --------------------------------------------------------------------------------------------------------


def rebuild_next_profile() -> ReferenceDataset | None:
    """Rebuild one outdated profile from its file, and return its reference; None if there is none.

    Active references come first. One whose file or model cannot be read any more gets a note that says so.
    """
    outdated = ReferenceDataset.objects.filter(status=ReferenceStatus.READY, profile_format__lt=FORMAT_VERSION)
    reference = outdated.select_related("version__model").order_by("-is_active", "pk").first()
    if reference is None:
        return None
    row = ReferenceDataset.objects.filter(pk=reference.pk)
    try:
        profiled = _profiled(reference, None)
    except (ReferenceFileError, ArtefactError, PredictionFailedError, OSError) as error:
        logger.exception("The profile of reference %d could not be rebuilt.", reference.pk)
        reason = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
        note = f"The profile is outdated and could not be rebuilt: {reason} Upload the file again."
        row.update(profile_format=None, notes=[*reference.notes, note[:LONGEST_ERROR]])
    else:
        result = _stored_result(reference, profiled)
        with transaction.atomic():
            row.update(profile_format=_format_in_zone(reference, profiled), **result)
            bump_generation()
    reference.refresh_from_db()
    return reference


def _store_by_hash(reference: ReferenceDataset, folder: str, content: bytes) -> str:
    name = f"{folder}/{hashlib.sha256(content).hexdigest()}.arrow"
    store_file(storage=reference.profile_file.storage, name=name, content=io.BytesIO(content))
    return name


def _fail(reference: ReferenceDataset, message: str) -> None:
    """Store why it failed, unless another worker has taken over: then that worker's result counts."""
    REFERENCE_QUEUE.held(reference).update(
        status=ReferenceStatus.FAILED, error_message=message[:LONGEST_ERROR], progress_step=""
    )
    reference.refresh_from_db()


# --- activate -------------------------------------------------------------------------------------------------------


@transaction.atomic
def activate_reference(*, reference: ReferenceDataset, user: Actor | None = None) -> None:
    """Make a reference the one that drift checks use.

    Raises
    ------
    ConflictError
        It is not ready, or its version is archived.
    """
    refuse_archived(reference.version_id)  # also locks it, as `lock_version` does
    current = ReferenceDataset.objects.select_for_update().get(pk=reference.pk)
    if current.status != ReferenceStatus.READY:
        raise ConflictError(
            f"{current.original_filename} is {current.status}; only a ready reference can be activated."
        )
    if not current.is_active:
        _replace_active(current, user=user, message="Activated.")


def lock_version(version_id: int) -> None:
    """Serialise changes of a version's active reference; take this lock before any row of its references."""
    ModelVersion.objects.select_for_update().get(pk=version_id)


def _replace_active(reference: ReferenceDataset, *, user: Actor | None, message: str) -> None:
    active = ReferenceDataset.objects.filter(version_id=reference.version_id, is_active=True)
    before = active.values_list("original_filename", flat=True).first()
    active.update(is_active=False)
    ReferenceDataset.objects.filter(pk=reference.pk).update(is_active=True)
    reference.is_active = True
    bump_generation()
    changes = {"Active reference": (before, reference.original_filename)}
    record_change(user=user, row=reference, message=message, changes=changes)
