"""All models of a fleet checked by a real Celery worker, enqueued as beat enqueues them."""

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from drift.models import CheckStatus, DriftCheck
from drift.services.checks import run_drift_check
from mlmon_site.celery import app
from tests.services.celery_worker import celery_worker

LONGEST_SECONDS = 300
POLL_SECONDS = 0.2
_SUCCEEDED = re.compile(r"Task drift\.tasks\.check_version\[[^]]*\] succeeded in ([0-9.e-]+)s")


@dataclass(frozen=True, slots=True)
class Run:
    """What the worker did.

    Attributes
    ----------
    seconds
        From the first tick until every model was checked, or until it was given up.
    task_seconds, check_seconds
        What each task took as the worker says, and what each check says of itself (without reading and writing).
    """

    models: int
    checked: int
    failed: int
    seconds: float
    ticks: int
    task_seconds: list[float]
    check_seconds: list[float]

    @property
    def is_complete(self) -> bool:
        """Whether all were checked, without a failure."""
        return self.checked == self.models and not self.failed


def checked_by_a_worker(version_ids: Sequence[int], folder: Path, *, processes: int = 1) -> Run:
    """Return what one worker with so many processes did; its log goes to `folder`."""
    with celery_worker(os.environ, folder, processes=processes):
        seconds, ticks = _tick_until_all_are_checked(len(version_ids))
    return _run_in_rows(len(version_ids), seconds, ticks, (folder / "worker.log").read_text())


def check_all(version_ids: Sequence[int]) -> None:
    """Check these versions here, one after the other."""
    for version_id in version_ids:
        run_drift_check(version_id=version_id)


def _tick_until_all_are_checked(models: int) -> tuple[float, int]:
    """Send what beat sends, when beat sends it; return the seconds from the first tick on, and the ticks."""
    entry: Any = settings.CELERY_BEAT_SCHEDULE["drift-tick"]
    started, ticks = time.monotonic(), 0
    while True:
        if time.monotonic() - started >= ticks * entry["schedule"].total_seconds():
            app.send_task(entry["task"], **entry["options"])
            ticks += 1
        if DriftCheck.objects.count() >= models or time.monotonic() - started > LONGEST_SECONDS:
            return time.monotonic() - started, ticks
        time.sleep(POLL_SECONDS)


def _run_in_rows(models: int, seconds: float, ticks: int, log: str) -> Run:
    checks = DriftCheck.objects.all()
    return Run(
        models=models,
        checked=checks.values("version").distinct().count(),
        failed=checks.filter(status=CheckStatus.FAILED).count(),
        seconds=seconds,
        ticks=ticks,
        task_seconds=[float(found) for found in _SUCCEEDED.findall(log)],
        check_seconds=list(checks.values_list("duration_seconds", flat=True)),
    )
