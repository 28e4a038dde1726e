"""The Celery application."""

import os
import signal
from typing import Any

from celery import Celery
from celery.signals import worker_init, worker_process_init

from mlmon_site.processes import die_with_parent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlmon_site.settings")

app = Celery("mlmon")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

_main_process_pid = os.getpid()


@worker_init.connect
def _import_what_checks_need(**_: Any) -> None:
    """Import it once, before the pool's processes are forked: they share its memory."""
    import scipy.stats  # noqa: F401


@worker_process_init.connect
def _end_with_the_main_process(**_: Any) -> None:
    # KILL, for a pool process goes on with its task at TERM; the task comes back, as it is acknowledged at its end.
    die_with_parent(signal.SIGKILL, parent_pid=_main_process_pid)
