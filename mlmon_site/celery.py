"""The Celery application."""

import gc
import logging
import os
import signal
import sys
from typing import Any

from celery import Celery
from celery.bootsteps import StartStopStep
from celery.signals import beat_embedded_init, import_modules, worker_init, worker_process_init

from mlmon_site.database import OutdatedDatabaseError, refuse_outdated_database
from mlmon_site.processes import die_with_parent, name_process

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlmon_site.settings")

logger = logging.getLogger(__name__)

BEAT_POLL_SECONDS = 1.0

app = Celery("mlmon")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

_main_process_pid = os.getpid()


class KeepBeatRunning(StartStopStep):
    """Restarts the beat of a worker with the option ``--beat``. Celery itself would continue without one."""

    requires = ("celery.worker.components:Beat", "celery.worker.components:Timer")

    def include_if(self, parent: Any) -> bool:
        return parent.beat is not None

    def start(self, parent: Any) -> None:
        self._checks = parent.timer.call_repeatedly(BEAT_POLL_SECONDS, self._restart, (parent,))

    def stop(self, parent: Any) -> None:
        self._checks.cancel()  # the event loop goes on while tasks end
        parent.beat.stop()

    terminate = stop

    def _restart(self, worker: Any) -> None:
        if worker.beat.is_alive():
            return
        from celery.beat import EmbeddedService  # imported here because only workers with beat need it

        logger.warning("Beat ended with status %s. Restarting it.", worker.beat.exitcode)
        # As Celery's own step creates it. By default it would not use the schedules of the database.
        worker.beat = EmbeddedService(
            worker.app, schedule_filename=worker.schedule_filename, scheduler_cls=worker.scheduler
        )
        worker.beat.start()


app.steps["worker"].add(KeepBeatRunning)


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
def _share_memory(sender: Any, **_: Any) -> None:
    """Let the processes of the worker share the memory of what is loaded before they are forked."""
    if sender.concurrency != 1:
        import scipy.stats  # noqa: F401 -- 30 MB, which a single process loads when a check needs it

    gc.collect()
    gc.freeze()  # a collection in a process would write to, and so copy, the pages of every object that it visits


@worker_process_init.connect
def _die_with_main_process(**_: Any) -> None:
    # A pool process finishes its task after TERM. KILL ends it; the task is acknowledged late, so it is redelivered.
    die_with_parent(signal.SIGKILL, parent_pid=_main_process_pid)


@beat_embedded_init.connect
def _end_beat_with_main_process(**_: Any) -> None:
    die_with_parent(parent_pid=_main_process_pid)
    name_process("beat")
