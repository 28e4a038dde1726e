"""Shadow versions predict on a copy of the traffic outside the request; their predictions are only captured."""

import logging
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inference.capture import CaptureQueue
from inference.exceptions import InferenceError
from mlmon.values import FeatureColumns
from models_registry.exceptions import PredictionFailedError

if TYPE_CHECKING:
    from inference.serving import LoadedVersion  # which imports this module

logger = logging.getLogger(__name__)

MOST_QUEUED_COPIES = 1000


@dataclass(frozen=True, slots=True)
class _Copy:
    version: "LoadedVersion"
    columns: FeatureColumns
    rows: int


class ShadowRunner:
    """One thread that lets shadow versions predict; if it falls behind, it drops copies and never delays requests."""

    def __init__(self, capture_queue: CaptureQueue) -> None:
        self._capture_queue = capture_queue
        self._queue: queue.Queue[_Copy | None] = queue.Queue(MOST_QUEUED_COPIES)
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()

    def submit(
        self, versions: Sequence["LoadedVersion"], served_by: "LoadedVersion", columns: FeatureColumns, *, rows: int
    ) -> None:
        """Queue a copy of the rows for each of `versions` with the same features as the version that predicted."""
        with self._start_lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mlmon-shadow", daemon=True)
                self._thread.start()
        for version in versions:
            if version.schema.features == served_by.schema.features:
                try:
                    self._queue.put_nowait(_Copy(version, columns, rows))
                except queue.Full:
                    logger.debug("A copy for shadow version %s was dropped.", version.version)

    def stop(self) -> None:
        """End the thread after its current copy."""
        if self._thread is not None:
            with self._queue.mutex:
                self._queue.queue.clear()
            self._queue.put(None)
            self._thread.join(timeout=2)

    def _run(self) -> None:
        while (copy := self._queue.get()) is not None:
            version = copy.version
            started = time.perf_counter()
            try:
                predictions = version.engine().predict(copy.columns)
                seconds = time.perf_counter() - started
                version.metrics.count_predictions(predictions, [seconds], is_shadow=True)
                observations = version.new_observations(
                    copy.columns, predictions, rows=copy.rows, latency_ms=seconds * 1000
                )
                self._capture_queue.capture(observations, version.capture)
            except (InferenceError, PredictionFailedError) as error:
                logger.warning("Shadow version %s of %s: %s", version.version, version.model_name, error)
            except Exception:
                logger.exception("Shadow version %s of %s failed.", version.version, version.model_name)
