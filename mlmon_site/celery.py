"""The Celery application."""

import os
import signal
import sys
from typing import Any

from celery import Celery
from celery.signals import import_modules, worker_init, worker_process_init

from mlmon_site.database import OutdatedDatabaseError, refuse_outdated_database
from mlmon_site.processes import die_with_parent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlmon_site.settings")

app = Celery("mlmon")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

_main_process_pid = os.getpid()


@import_modules.connect(sender=app)
def _refuse_outdated_database(**_: Any) -> None:
    # Worker and beat import their tasks first. `beat_init` is sent after the scheduler has written its schedules.
    if os.getpid() != _main_process_pid:
        return  # the pool's processes import them again
    try:
        refuse_outdated_database()
    except OutdatedDatabaseError as error:
        sys.exit(f"Celery does not start. {error}")


@worker_init.connect
def _import_scipy(**_: Any) -> None:
    """Import SciPy before the pool forks its processes, which then share the memory."""
    import scipy.stats  # noqa: F401


@worker_process_init.connect
def _die_with_main_process(**_: Any) -> None:
    # A pool process finishes its task after TERM. KILL ends it; the task is acknowledged late, so it is redelivered.
    die_with_parent(signal.SIGKILL, parent_pid=_main_process_pid)
