"""Requests that have been served: counted and captured together, every flush of the capture queue.

A request only appends to a queue. All requests of a version since the last flush are then merged, so that the cost of
metrics, ids and columns is paid once for all of them.
"""

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inference.capture import CaptureQueue
from inference.observations import ObservationBatch
from inference.prediction_ids import PredictionIds
from mlmon.feature_columns import FeatureColumns, merged_columns
from models_registry.class_scores import kept_scores
from models_registry.engine import Predictions

if TYPE_CHECKING:
    from inference.serving import LoadedVersion  # which imports this module

logger = logging.getLogger(__name__)

MOST_WAITING_ROWS = 20_000  # then the request that exceeds it does the work of the flush


@dataclass(frozen=True, slots=True, eq=False)
class ServedRequest:
    """The rows of one request with their predictions.

    Attributes
    ----------
    version
        The version that made the predictions.
    prediction_ids
        One id of 16 bytes for each row.
    predicted_at_us
        Unix time in microseconds.
    latency_seconds
        NaN if it was not measured, because the rows were predicted together with those of other requests.
    shadows
        Versions that get a copy.
    routing
        How the traffic policy chose the version (`inference.rollout_counts.Routing`), packed; None without a rollout.
    """

    version: "LoadedVersion"
    columns: FeatureColumns
    predictions: Predictions
    prediction_ids: PredictionIds
    predicted_at_us: int
    latency_seconds: float
    shadows: "Sequence[LoadedVersion]" = ()
    routing: bytes | None = None


class ServedRequests:
    """The queue of requests that are neither counted nor captured yet.

    Parameters
    ----------
    capture_queue
        Gets the observations. It calls `settle` before each flush.
    copy
        Takes the requests that have shadow versions.
    """

    def __init__(self, capture_queue: CaptureQueue, copy: Callable[[Sequence[ServedRequest]], None]) -> None:
        self._capture_queue = capture_queue
        self._copy = copy
        self._waiting: deque[ServedRequest] = deque()
        self._rows = 0
        self._lock = threading.Lock()  # one settlement at a time, so that rows keep their order

    def add(self, request: ServedRequest) -> None:
        """Queue a request that has been served."""
        self._waiting.append(request)
        self._rows += len(request.prediction_ids)
        if self._rows > MOST_WAITING_ROWS:
            self.settle()
        self._capture_queue.wake()

    def settle(self) -> None:
        """Count the waiting requests and hand their rows to the capture queue."""
        with self._lock:
            self._rows = 0
            requests = [self._waiting.popleft() for _ in range(len(self._waiting))]
            by_version: dict[LoadedVersion, list[ServedRequest]] = defaultdict(list)
            for request in requests:
                by_version[request.version].append(request)
            for version, group in by_version.items():
                try:
                    version.metrics.count_batch_sizes([len(request.prediction_ids) for request in group])
                    count_and_capture(version, group, self._capture_queue)
                except Exception:  # of one version: those of the others are counted and captured
                    logger.exception("Requests of %s were not captured.", version.model_name)
        if with_shadows := [request for request in requests if request.shadows]:
            self._copy(with_shadows)


def count_and_capture(
    version: "LoadedVersion", requests: Sequence[ServedRequest], capture_queue: CaptureQueue, *, is_shadow: bool = False
) -> None:
    """Count the predictions of requests of one version, and capture them as one batch of observations."""
    rows = [len(request.prediction_ids) for request in requests]
    latency = np.array([request.latency_seconds for request in requests])
    predictions = _merged_predictions([request.predictions for request in requests])
    version.metrics.count_predictions(predictions, latency[np.isfinite(latency)], is_shadow=is_shadow)
    batch = ObservationBatch(
        version_id=version.id,
        model_name=version.model_name,
        features=version.schema.features,
        prediction_ids=PredictionIds.joined([request.prediction_ids for request in requests]),
        observed_at_us=np.repeat(np.array([request.predicted_at_us for request in requests], dtype=np.int64), rows),
        columns=merged_columns([request.columns for request in requests]),
        predictions=predictions.labels,
        confidence=predictions.confidence,
        scores=kept_scores(predictions.scores, version.schema),
        latency_ms=np.repeat(latency * 1000, rows),
        routing=_routing_of_rows(requests) if version.is_in_rollout or is_shadow else None,
    )
    capture_queue.capture(batch, version.capture)


def _routing_of_rows(requests: Sequence[ServedRequest]) -> list[bytes | None]:
    """Return the routing of each row."""
    return [routing for request in requests for routing in [request.routing] * len(request.prediction_ids)]


def _merged_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Return the predictions of several requests to one version; all have the same attributes."""
    if len(parts) == 1:
        return parts[0]
    labels: Any = np.concatenate([part.labels for part in parts])
    return Predictions(
        labels,
        _concatenated([part.class_index for part in parts]),
        _concatenated([part.confidence for part in parts]),
        _concatenated([part.scores for part in parts]),
    )


def _concatenated(parts: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    present = [part for part in parts if part is not None]
    return np.concatenate(present) if present else None
