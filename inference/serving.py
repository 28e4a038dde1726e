"""The process's serving state: the current snapshot, the thread that renews it, the recorder and the shadow runner."""

import functools
import logging
import os
import threading

import redis
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from accounts.selectors import current_generation
from inference.recorder import Recorder
from inference.redis_client import redis_client
from inference.shadow import ShadowRunner
from inference.snapshot import EMPTY, Snapshot, take_snapshot
from inference.traffic import process_tally

logger = logging.getLogger(__name__)

WATCH_SECONDS = 1.0
TRAFFIC_SECONDS = 2.0  # between two writes of the counts: what a process killed with -9 loses of them


class Serving:
    """What one process serves with.

    A web process calls `start_watching` once: then the snapshot is renewed in the background, about a second after a
    change of the registry. Without it (a test, a shell) every look compares the generation first.
    """

    def __init__(self) -> None:
        self._snapshot = EMPTY
        self._refresh_lock = threading.Lock()
        self._watching = False
        self._stopped = threading.Event()
        self.recorder = Recorder(
            redis_client,
            queue_rows=settings.MLMON_CAPTURE_QUEUE_ROWS,
            flush_seconds=settings.MLMON_CAPTURE_FLUSH_MS / 1000,
            stream_rows=settings.MLMON_STREAM_ROWS,
        )
        self.shadows = ShadowRunner(self.recorder)

    def snapshot(self) -> Snapshot:
        """Return the current picture of the registry."""
        if not self._watching:
            self.refresh()
        return self._snapshot

    def refresh(self) -> None:
        """Renew the snapshot if the registry has moved on; raises DatabaseError where the database is away."""
        with self._refresh_lock:
            if current_generation() != self._snapshot.generation:
                self._snapshot = take_snapshot(self._snapshot)
                logger.info("Serving generation %d of the registry.", self._snapshot.generation)

    def start_watching(self) -> None:
        """Load now what can be loaded, and keep it fresh in the background."""
        self._watching = True
        self._refresh_or_log()
        threading.Thread(target=self._watch, name="mlmon-registry-watch", daemon=True).start()
        threading.Thread(target=self._flush_traffic, name="mlmon-traffic", daemon=True).start()

    def stop(self) -> None:
        """End the threads and append what is still queued: for the process's end."""
        self._stopped.set()
        self.shadows.stop()
        self.recorder.flush_and_stop()
        self._flush_traffic_or_log()

    def _watch(self) -> None:
        while not self._stopped.wait(WATCH_SECONDS):
            self._refresh_or_log()
            close_old_connections()
        connection.close()

    def _flush_traffic(self) -> None:
        while not self._stopped.wait(TRAFFIC_SECONDS):
            self._flush_traffic_or_log()

    def _flush_traffic_or_log(self) -> None:
        try:
            process_tally().flush(redis_client())
        except redis.RedisError as error:
            logger.warning("Redis does not take the counts of requests; they wait: %s", error)

    def _refresh_or_log(self) -> None:
        try:
            self.refresh()
        except DatabaseError as error:
            logger.warning("The registry cannot be read; what is loaded goes on answering: %s", error)
            connection.close()
        except Exception:
            logger.exception("The registry's new generation could not be loaded; the one before goes on answering.")


def serving() -> Serving:
    """Return this process's serving state; a forked child makes its own (ONNX sessions do not survive a fork)."""
    return _serving_of_process(os.getpid())


@functools.lru_cache(maxsize=1)
def _serving_of_process(pid: int) -> Serving:
    return Serving()
