"""Read ground truth from CSV and Parquet files in batches, with the same outcomes as the API."""

import uuid
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from django.conf import settings
from django.core.files.base import File
from django.db import transaction
from django.utils import timezone

from accounts.actors import Actor, account_of
from accounts.services.changes import record_change
from mlmon.exceptions import ReferenceFileError
from mlmon.tables import ReadOptions, TableFile, TableLimits
from models_registry.services.stored_files import UploadQueue
from performance.exceptions import GroundTruthFileError
from performance.models import GroundTruthUpload, UploadStatus
from performance.services.ground_truth import Outcome, record_ground_truth

IDS = ("prediction_id", "event_id")  # a file has one of them; the first if it has both
BATCH_ROWS = 5_000
PROBLEMS_KEPT = 100
UPLOAD_QUEUE = UploadQueue(
    GroundTruthUpload, UploadStatus.PENDING, UploadStatus.READING, "performance.tasks.read_ground_truth_upload"
)


def upload_ground_truth(
    *, file: File[bytes], filename: str, encoding: str = "", user: Actor | None = None, enqueue: bool = True
) -> GroundTruthUpload:
    """Store a file of ground truth and enqueue the task that reads it.

    Parameters
    ----------
    file, filename
        CSV or Parquet with the columns ``prediction_id`` or ``event_id``, ``actual`` and, optionally, ``observed_at``.
    encoding
        Of a CSV file; "" for UTF-8, or UTF-16 with a byte order mark.
    enqueue
        Whether a worker reads it; otherwise the caller calls `read_ground_truth_upload` itself.

    Raises
    ------
    GroundTruthFileError
        The file is too large.
    """
    if file.size > settings.MLMON_MAX_REFERENCE_BYTES:
        limit = settings.MLMON_MAX_REFERENCE_BYTES // 2**20
        raise GroundTruthFileError(f"The file has {file.size:,} bytes; the limit is {limit} MiB.")
    with transaction.atomic():
        upload = GroundTruthUpload(
            original_filename=Path(filename).name[:255], encoding=encoding, created_by=account_of(user)
        )
        upload.file.save(f"{uuid.uuid4().hex}.table", file, save=False)  # the content decides the format, not the name
        upload.save()
        record_change(user=user, row=upload, message="Uploaded.")
        if enqueue:
            transaction.on_commit(lambda: UPLOAD_QUEUE.enqueue(upload.pk))
    return upload


def read_ground_truth_upload(*, upload_id: int) -> GroundTruthUpload:
    """Store the rows of an uploaded file; do nothing if another worker reads it or has read it.

    If the file cannot be read to its end, the upload fails with the reason; the rows read before that are kept.
    """
    upload = GroundTruthUpload.objects.get(pk=upload_id)
    if not UPLOAD_QUEUE.claim(upload):
        return upload
    status, message = UploadStatus.DONE, ""
    try:
        _read(upload)
    except ReferenceFileError as error:
        status, message = UploadStatus.FAILED, f"{error} {upload.rows_done:,} rows before it were read."
    UPLOAD_QUEUE.held(upload).update(
        status=status, error_message=message, finished_at=timezone.now(), progress_percent=100
    )
    upload.refresh_from_db()
    return upload


def _read(upload: GroundTruthUpload) -> None:
    """Store the rows that are not done yet, until the file ends or another worker has claimed the upload."""
    limits = TableLimits(file_bytes=settings.MLMON_MAX_REFERENCE_BYTES, rows=settings.MLMON_MAX_REFERENCE_ROWS)
    table = TableFile(Path(upload.file.path), limits, ReadOptions(encoding=upload.encoding))
    columns = [next((name for name in IDS if name in table.column_names), IDS[0]), "actual"]
    columns += [name for name in ("observed_at",) if name in table.column_names]
    row = 0
    for rows, fraction in table.raw_rows(columns, labels=["actual"]):
        remaining = iter(rows)
        while batch := list(islice(remaining, BATCH_ROWS)):
            row += len(batch)
            if row > upload.rows_done and not _store_batch(upload, batch[-(row - upload.rows_done) :], fraction):
                return


def _store_batch(upload: GroundTruthUpload, rows: Sequence[dict[str, object]], fraction: float) -> bool:
    """Store rows and the progress in one transaction; return False if another worker has claimed the upload."""
    with transaction.atomic():
        results = record_ground_truth(items=rows)
        invalid = [
            {"row": row, "field": result.field, "reason": result.reason}
            for row, result in enumerate(results, upload.rows_done + 1)
            if result.outcome is Outcome.INVALID
        ]
        progress = {
            "rows_done": upload.rows_done + len(rows),
            "counts": dict(Counter(upload.counts) + Counter(result.outcome.value for result in results)),
            "problems": [*upload.problems, *invalid][:PROBLEMS_KEPT],
            "progress_percent": int(100 * fraction),
            "claimed_at": timezone.now(),
        }
        if not UPLOAD_QUEUE.held(upload).update(**progress):
            transaction.set_rollback(True)
            return False
    for name, value in progress.items():
        setattr(upload, name, value)
    return True
