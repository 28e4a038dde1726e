"""Ground truth from files: CSV or Parquet, batch by batch, with the same answers as the API's."""

import logging
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from celery import current_app
from django.conf import settings
from django.core.files.base import File
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from kombu.exceptions import OperationalError

from accounts.actors import Actor, account_of
from accounts.services.audit import record_change
from mlmon.exceptions import ReferenceFileError
from mlmon.tables import TableFile, TableLimits
from performance.exceptions import GroundTruthFileError
from performance.models import GroundTruthUpload, UploadStatus
from performance.services.ground_truth import ItemOutcome, Outcome, record_ground_truth

logger = logging.getLogger(__name__)

COLUMNS = ("prediction_id", "actual", "observed_at")
REQUIRED = frozenset({"prediction_id", "actual"})
BATCH_ROWS = 5_000
PROBLEMS_KEPT = 100
ABANDONED_AFTER = timedelta(minutes=5)  # without progress: its worker is dead
WAITING_TOO_LONG = timedelta(minutes=1)


def upload_ground_truth(
    *, file: File[bytes], filename: str, user: Actor | None = None, enqueue: bool = True
) -> GroundTruthUpload:
    """Keep a file of ground truth and have it read.

    Parameters
    ----------
    file, filename
        CSV or Parquet with the columns ``prediction_id``, ``actual`` and, where known, ``observed_at``.
    enqueue
        Whether a worker reads it; otherwise the caller calls `read_ground_truth_upload` itself.

    Raises
    ------
    GroundTruthFileError
        The file is larger than is taken.
    """
    if file.size > settings.MLMON_MAX_REFERENCE_BYTES:
        most = settings.MLMON_MAX_REFERENCE_BYTES // 2**20
        raise GroundTruthFileError(f"The file has {file.size:,} bytes; at most {most} MiB are taken.")
    with transaction.atomic():
        upload = GroundTruthUpload(original_filename=Path(filename).name[:255], created_by=account_of(user))
        upload.file.save(f"{uuid.uuid4().hex}.table", file, save=False)  # a name of ours: what it is its content tells
        upload.save()
        record_change(user=user, row=upload, message="Uploaded.")
        if enqueue:
            transaction.on_commit(lambda: _enqueue(upload.pk))
    return upload


def read_ground_truth_upload(*, upload_id: int) -> GroundTruthUpload:
    """Take the rows of an uploaded file; a second call for the same one does nothing.

    A file that cannot be read ends as ``failed`` with the reason; the rows before that place are kept.
    """
    upload = GroundTruthUpload.objects.get(pk=upload_id)
    if not _claim(upload):
        return upload
    try:
        _read(upload)
    except ReferenceFileError as error:
        _finish(upload, UploadStatus.FAILED, f"{error} {upload.rows_done:,} rows before it were taken.")
    else:
        _finish(upload, UploadStatus.DONE)
    return upload


def enqueue_waiting_uploads() -> int:
    """Enqueue uploads that nobody works at, though they were made a while ago; return how many."""
    waiting = GroundTruthUpload.objects.filter(
        Q(status=UploadStatus.PENDING, created_at__lt=timezone.now() - WAITING_TOO_LONG) | _abandoned()
    )
    for upload_id in waiting.values_list("pk", flat=True):
        _enqueue(upload_id)
    return len(waiting)


def _enqueue(upload_id: int) -> None:
    try:
        # By its name: tasks import services, not the other way round.
        current_app.send_task("performance.tasks.read_ground_truth_upload", args=[upload_id])
    except OperationalError as error:
        logger.warning("Ground truth upload %d waits for the broker: %s", upload_id, error)


def _abandoned() -> Q:
    return Q(status=UploadStatus.READING, claimed_at__lt=timezone.now() - ABANDONED_AFTER)


def _claim(upload: GroundTruthUpload) -> bool:
    """Take the work, also from a worker that died at it; False where it is done or somebody is at it."""
    free = GroundTruthUpload.objects.filter(Q(status=UploadStatus.PENDING) | _abandoned(), pk=upload.pk)
    claimed = free.update(status=UploadStatus.READING, claimed_at=timezone.now())
    upload.refresh_from_db()
    return bool(claimed)


def _claimed(upload: GroundTruthUpload) -> QuerySet[GroundTruthUpload]:
    """Return the row while the work is still ours."""
    return GroundTruthUpload.objects.filter(pk=upload.pk, status=UploadStatus.READING, claimed_at=upload.claimed_at)


def _read(upload: GroundTruthUpload) -> None:
    limits = TableLimits(file_bytes=settings.MLMON_MAX_REFERENCE_BYTES, rows=settings.MLMON_MAX_REFERENCE_ROWS)
    table = TableFile(Path(upload.file.path), limits)
    columns = [name for name in COLUMNS if name in table.column_names or name in REQUIRED]
    row = 0
    for rows, fraction in table.raw_rows(columns):
        remaining = iter(rows)
        while batch := list(islice(remaining, BATCH_ROWS)):
            row += len(batch)
            if row > upload.rows_done and not _take(upload, batch[-(row - upload.rows_done) :], fraction):
                return  # another worker has taken the work over


def _take(upload: GroundTruthUpload, rows: Sequence[dict[str, object]], fraction: float) -> bool:
    """Keep a batch and say so, all or nothing; return False where the work is not ours any more."""
    with transaction.atomic():
        results = record_ground_truth(items=rows)
        now = timezone.now()
        counts = Counter(upload.counts) + Counter(result.outcome.value for result in results)
        problems = [*upload.problems, *_problems(results, first_row=upload.rows_done + 1)][:PROBLEMS_KEPT]
        changed = _claimed(upload).update(
            rows_done=upload.rows_done + len(rows),
            counts=dict(counts),
            problems=problems,
            progress_percent=int(100 * fraction),
            claimed_at=now,
        )
        if not changed:
            transaction.set_rollback(True)
            return False
    upload.rows_done += len(rows)
    upload.counts, upload.problems, upload.claimed_at = dict(counts), problems, now
    return True


def _problems(results: Sequence[ItemOutcome], *, first_row: int) -> list[dict[str, Any]]:
    return [
        {"row": first_row + place, "field": result.field, "reason": result.reason}
        for place, result in enumerate(results)
        if result.outcome is Outcome.INVALID
    ]


def _finish(upload: GroundTruthUpload, status: UploadStatus, message: str = "") -> None:
    _claimed(upload).update(status=status, error_message=message, finished_at=timezone.now(), progress_percent=100)
    upload.refresh_from_db()
