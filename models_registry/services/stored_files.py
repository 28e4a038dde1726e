"""Files whose names are made from their content."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.core.files.storage import Storage


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
