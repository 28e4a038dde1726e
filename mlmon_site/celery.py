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
    # Worker and beat import their tasks first of all; `beat_init` comes after the scheduler has written its schedules.
    try:
        refuse_outdated_database()
    except OutdatedDatabaseError as error:
        sys.exit(f"Celery does not start. {error}")


@worker_init.connect
def _import_what_checks_need(**_: Any) -> None:
    """Import it once, before the pool's processes are forked: they share its memory."""
    import scipy.stats  # noqa: F401


@worker_process_init.connect
def _end_with_the_main_process(**_: Any) -> None:
    # KILL, for a pool process goes on with its task at TERM; the task comes back, as it is acknowledged at its end.
    die_with_parent(signal.SIGKILL, parent_pid=_main_process_pid)
