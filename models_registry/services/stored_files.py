"""Uploaded files: each is stored completely or not at all, and processed by one worker at a time."""

import hashlib
import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

from celery import current_app
from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import Storage
from django.db.models import Model, Q, QuerySet
from django.utils import timezone
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)

ABANDONED_AFTER = timedelta(minutes=5)  # without progress, which is saved after every batch: the worker is dead
WAITING_TOO_LONG = timedelta(minutes=1)


def digest_of(file: File[bytes]) -> str:
    """Return the SHA-256 of a file in hexadecimal, and put its position back to the start."""
    digest = hashlib.sha256()
    for chunk in file.chunks(1 << 20):
        digest.update(chunk)
    file.seek(0)
    return digest.hexdigest()


def store_file(*, storage: Storage, name: str, content: BinaryIO) -> None:
    """Store `content` under a name made from it, completely or not at all; an existing file is not written again.

    The file is written beside its place and then renamed. Otherwise the next upload would take what a killed process
    left for the complete file.
    """
    path = Path(storage.path(name))
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".part", delete=False) as part:
        try:
            shutil.copyfileobj(content, part, 1 << 20)
            part.flush()
            os.fsync(part.fileno())
            Path(part.name).chmod(settings.FILE_UPLOAD_PERMISSIONS or 0o644)
            Path(part.name).replace(path)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise


@dataclass(frozen=True, slots=True)
class UploadQueue:
    """Rows of uploaded files, each of which one worker claims at a time.

    Attributes
    ----------
    rows
        A model with the fields ``status``, ``created_at`` and ``claimed_at``, the time of the worker's last progress.
    waiting, claimed
        Status of a row before and while a worker processes it.
    task
        Name of the task that processes a row (not the task itself, because tasks import services).
    """

    rows: type[Model]
    waiting: str
    claimed: str
    task: str

    def enqueue(self, key: int) -> None:
        """Send the task of a row; if the broker is unavailable, `enqueue_waiting` sends it later."""
        try:
            current_app.send_task(self.task, args=[key])
        except OperationalError as error:
            logger.warning("%s %d waits for the message broker: %s", self.rows.__name__, key, error)

    def enqueue_waiting(self) -> int:
        """Enqueue rows again that no worker has started or continued for a while; return their number."""
        is_late = Q(status=self.waiting, created_at__lt=timezone.now() - WAITING_TOO_LONG)
        keys = self.rows._default_manager.filter(is_late | self.is_abandoned()).values_list("pk", flat=True)
        for key in keys:
            self.enqueue(key)
        return len(keys)

    def is_abandoned(self) -> Q:
        """Return the condition that a row's worker is dead."""
        return Q(status=self.claimed, claimed_at__lt=timezone.now() - ABANDONED_AFTER)

    def claim(self, row: Model, **values: object) -> bool:
        """Claim a row, also from a dead worker, and set `values`; return False if it is done or taken."""
        free = self.rows._default_manager.filter(Q(status=self.waiting) | self.is_abandoned(), pk=row.pk)
        is_claimed = free.update(status=self.claimed, claimed_at=timezone.now(), **values)
        row.refresh_from_db()
        return bool(is_claimed)

    def held(self, row: Any) -> QuerySet[Any]:
        """Return the row as long as no other worker has claimed it, because this one seemed dead."""
        return self.rows._default_manager.filter(pk=row.pk, status=self.claimed, claimed_at=row.claimed_at)
