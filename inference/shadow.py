"""Shadow versions: they see a copy of the traffic outside the request, and their answers are only remembered."""

import logging
import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inference.capture import remember
from inference.exceptions import InferenceError
from inference.prediction_ids import new_prediction_ids
from inference.recorder import ObservationBatch, Recorder
from inference.snapshot import LoadedVersion
from inference.traffic import process_tally
from mlmon.columns import FeatureColumns
from models_registry.class_scores import kept_scores
from models_registry.engine import Predictions
from models_registry.exceptions import PredictionFailedError

logger = logging.getLogger(__name__)

MOST_WAITING_REQUESTS = 1000


@dataclass(frozen=True, slots=True)
class _Copy:
    version: LoadedVersion
    columns: FeatureColumns
    rows: int


class ShadowRunner:
    """One thread that lets shadow versions predict; when it falls behind, copies are dropped, never requests slowed."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._queue: queue.Queue[_Copy | None] = queue.Queue(MOST_WAITING_REQUESTS)
        self._thread: threading.Thread | None = None
        self._start_lock = threading.Lock()

    def submit(self, versions: Sequence[LoadedVersion], answered_by: LoadedVersion, columns: FeatureColumns) -> None:
        """Queue a copy of the rows for each of `versions` that takes the same features as the version that answered."""
        rows = len(next(iter(columns.values()), ()))
        for version in versions:
            if version.schema.features != answered_by.schema.features:
                continue
            self._start()
            try:
                self._queue.put_nowait(_Copy(version, columns, rows))
            except queue.Full:
                logger.debug("A copy for shadow version %s was dropped.", version.version)

    def stop(self) -> None:
        """End the thread after the copy in hand."""
        if self._thread is not None:
            with self._queue.mutex:
                self._queue.queue.clear()
            self._queue.put(None)
            self._thread.join(timeout=2)

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mlmon-shadow", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (copy := self._queue.get()) is not None:
            try:
                self._predict(copy)
            except (InferenceError, PredictionFailedError) as error:
                logger.warning("Shadow version %s of %s: %s", copy.version.version, copy.version.model_name, error)
            except Exception:
                logger.exception("Shadow version %s of %s failed.", copy.version.version, copy.version.model_name)

    def _predict(self, copy: _Copy) -> None:
        started = time.perf_counter()
        predictions = copy.version.engine().predict(copy.columns)
        seconds = time.perf_counter() - started
        _count(copy.version, predictions, seconds)
        remember(
            ObservationBatch(
                version_id=copy.version.id,
                model_name=copy.version.model_name,
                features=copy.version.schema.features,
                prediction_ids=new_prediction_ids(copy.rows, copy.version.id),
                observed_at_us=time.time_ns() // 1000,
                columns=copy.columns,
                predictions=predictions.labels,
                confidence=predictions.confidence,
                scores=kept_scores(predictions.scores, copy.version.schema),
                latency_ms=seconds * 1000,
            ),
            copy.version.capture,
            self._recorder,
        )


def _count(version: LoadedVersion, predictions: Predictions, seconds: float) -> None:
    """Count a copy for our own pages, where versions are compared; `/metrics` speaks of what clients were answered."""
    tally = process_tally()
    tally.count_latency(version.id, seconds)
    if predictions.class_index is None:
        tally.count_outputs(version.id, predictions.labels.astype(np.float64))
    else:
        by_class = np.bincount(predictions.class_index, minlength=len(version.schema.classes))
        tally.count_classes(version.id, by_class, predictions.confidence)
