"""Shadow versions predict on copies of the traffic outside the requests; their predictions are only captured."""

import logging
import queue
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from inference import metrics
from inference.capture import CaptureQueue
from inference.exceptions import InferenceError
from inference.prediction_ids import PredictionIds
from inference.rollout_counts import SHADOW_ROUTING, RolloutTally, Routing
from inference.served import ServedRequest, count_and_capture
from mlmon.feature_columns import merged_columns
from models_registry.exceptions import PredictionFailedError

if TYPE_CHECKING:
    from inference.serving import LoadedVersion  # which imports this module

logger = logging.getLogger(__name__)

MOST_QUEUED_ROWS = 100_000
MOST_ROWS_AT_ONCE = 10_000


class ShadowRunner:
    """One thread that lets shadow versions predict; if it falls behind, it drops copies and never delays requests.

    A copy is captured under the prediction id of its request, so that one label scores both versions. The requests
    arrive in groups, one for each flush of the capture queue. Of a group, each version predicts the first
    request alone, which measures its latency, and all others together, which costs much less.
    """

    def __init__(self, capture_queue: CaptureQueue, rollouts: RolloutTally) -> None:
        self._capture_queue = capture_queue
        self._rollouts = rollouts
        self._queue: queue.SimpleQueue[Sequence[ServedRequest] | None] = queue.SimpleQueue()
        self._rows = 0  # in the queue
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._is_stopped = False

    def submit(self, requests: Sequence[ServedRequest]) -> None:
        """Queue copies of requests for their shadow versions, or drop and count them if the queue is full."""
        rows = sum(len(request.prediction_ids) for request in requests)
        with self._lock:
            if self._rows and self._rows + rows > MOST_QUEUED_ROWS:
                for request in requests:
                    metrics.SHADOW_DROPPED.labels(request.version.model_name).inc(len(request.shadows))
                    for version in request.shadows:
                        self._count_copies(version, [request], "dropped")
                return
            self._rows += rows
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mlmon-shadow", daemon=True)
                self._thread.start()
        self._queue.put(requests)

    def stop(self) -> None:
        """End the thread after its current copies; those in the queue are dropped."""
        self._is_stopped = True
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout=2)

    def _run(self) -> None:
        while (requests := self._queue.get()) is not None and not self._is_stopped:
            with self._lock:
                self._rows -= sum(len(request.prediction_ids) for request in requests)
            copies: dict[LoadedVersion, list[ServedRequest]] = defaultdict(list)
            for request in requests:
                for version in request.shadows:
                    copies[version].append(request)
            for version, of_version in copies.items():
                try:
                    self._predict(version, of_version)
                except Exception:
                    logger.exception("Shadow version %s of %s failed.", version.version, version.model_name)

    def _predict(self, version: "LoadedVersion", requests: Sequence[ServedRequest]) -> None:
        features = version.schema.features
        groups: list[list[ServedRequest]] = []
        rows = 0
        for request in requests:
            if request.version.schema.features != features:
                continue
            if len(groups) < 2 or rows + len(request.prediction_ids) > MOST_ROWS_AT_ONCE:
                groups.append([])
                rows = 0
            groups[-1].append(request)
            rows += len(request.prediction_ids)
        served = []
        for group in groups:
            try:
                served.append(self._compared(version, group))
            except (InferenceError, PredictionFailedError):
                for request in group:  # one of them fails
                    try:
                        served.append(self._compared(version, [request]))
                    except (InferenceError, PredictionFailedError) as error:
                        self._count_copies(version, [request], "failed")
                        logger.warning("Shadow version %s of %s: %s", version.version, version.model_name, error)
        if served:
            count_and_capture(version, served, self._capture_queue, is_shadow=True)

    def _compared(self, version: "LoadedVersion", requests: Sequence[ServedRequest]) -> ServedRequest:
        """Return the predictions of a shadow version, and count them and where they differ from the clients'."""
        served = _predicted(version, requests)
        self._count_copies(version, requests, "predicted")
        labels = np.concatenate([request.predictions.labels for request in requests])
        if version.is_in_rollout and labels.dtype == served.predictions.labels.dtype == object:
            for rollout_id in _rollout_ids(requests):
                different = int(np.count_nonzero(labels != served.predictions.labels))
                self._rollouts.count_copies(rollout_id, compared=len(labels), different=different)
        return served

    def _count_copies(self, version: "LoadedVersion", requests: Sequence[ServedRequest], outcome: str) -> None:
        if version.is_in_rollout:
            for rollout_id, number in _rollout_ids(requests).items():
                self._rollouts.count_copies(rollout_id, **{outcome: number})


def _rollout_ids(requests: Sequence[ServedRequest]) -> Counter[int]:
    """Return how many of the requests were routed during each rollout."""
    return Counter(Routing.of(one.routing).rollout_id for one in requests if one.routing is not None)


def _predicted(version: "LoadedVersion", requests: Sequence[ServedRequest]) -> ServedRequest:
    """Return the predictions of a shadow version for the rows of requests, as one request."""
    columns = merged_columns([request.columns for request in requests])
    started = time.perf_counter()
    predictions = version.engine().predict(columns)
    seconds = time.perf_counter() - started
    return ServedRequest(
        version=version,
        columns=columns,
        predictions=predictions,
        prediction_ids=PredictionIds.joined([request.prediction_ids for request in requests]),
        predicted_at_us=time.time_ns() // 1000,
        latency_seconds=seconds if len(requests) == 1 else nan,
        routing=SHADOW_ROUTING,
    )
