"""Metrics of predict requests (docs/metrics.md lists every metric); each web process holds its own values."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter, Gauge, Histogram

from inference.kserve.events import EventOutcome
from inference.rejections import Rejection, possible_rejections
from inference.traffic import CONFIDENCE_EDGES, LATENCY_EDGES, Status, TrafficTally
from models_registry.engine import Predictions
from models_registry.schema import ModelSchema


class BulkHistogram(Histogram):
    """A histogram that observes many values at once."""

    def observe_many(self, values: NDArray[np.float64]) -> None:
        """Observe each of `values`, shape (n,), all finite."""
        bins = np.bincount(np.searchsorted(self._upper_bounds, values), minlength=len(self._upper_bounds))
        self._sum.inc(float(values.sum()))
        for place in np.flatnonzero(bins).tolist():
            self._buckets[place].inc(int(bins[place]))


UNKNOWN = "unknown"
STATUSES: tuple[Status, ...] = ("success", "error", "rejected")

PREDICTION_REQUESTS = Counter(
    "ml_prediction_requests",
    "Predict requests by outcome: success, error (server error) or rejected (client error).",
    ["model_name", "model_version", "status"],
)
PREDICTION_LATENCY = BulkHistogram(
    "ml_prediction_latency_seconds",
    "Time from the decoded request to the prediction.",
    ["model_name", "model_version"],
    buckets=LATENCY_EDGES,
)
BATCH_SIZE = BulkHistogram(
    "ml_batch_size",
    "Rows of a predict request.",
    ["model_name"],
    buckets=(1, 5, 10, 25, 50, 100, 250, 500),
)
MODEL_CONFIDENCE = BulkHistogram(
    "ml_model_confidence",
    "Probability of the predicted class.",
    ["model_name", "predicted_class"],
    buckets=CONFIDENCE_EDGES,
)
PREDICTION_DISTRIBUTION = Counter(
    "ml_prediction_distribution",
    "Predictions by class.",
    ["model_name", "predicted_class"],
)
MODEL_MEMORY = Gauge(
    "ml_model_memory_bytes",
    "Memory of a model's loaded versions, over all web workers.",
    ["model_name"],
    multiprocess_mode="livesum",
)
REJECTED_VALUES = Counter(
    "ml_rejected_values",
    "Rejected requests and observations by the first value that was refused.",
    ["model_name", "feature_name", "reason"],
)
CAPTURE_DROPPED = Counter(
    "ml_capture_dropped",
    "Observations dropped because the capture queue was full.",
    ["model_name"],
)
CAPTURE_SAMPLED_OUT = Counter(
    "ml_capture_sampled_out",
    "Predictions that were not captured because the capture policy samples.",
    ["model_name"],
)
SHADOW_DROPPED = Counter(
    "ml_shadow_dropped",
    "Copies of requests that shadow versions did not predict, because they fell behind.",
    ["model_name"],
)
CAPTURE_PENDING = Gauge(
    "ml_capture_pending",
    "Observations that are queued for the live window, over all web workers.",
    ["model_name"],
    multiprocess_mode="livesum",
)
KSERVE_RECEIVED = Counter(
    "ml_kserve_events_received",
    "Events received from KServe's payload logger.",
)
KSERVE_EVENTS = Counter(
    "ml_kserve_events",
    "Events of KServe's payload logger by outcome, counted when it is known.",
    ["model_name", "outcome"],
)


class VersionMetrics:
    """Counts of one model version, for `/metrics` and in the process's tally for the application's own pages.

    All series are bound at once, so that they exist at 0 as soon as the version is loaded.
    """

    def __init__(
        self, version_id: int, model_name: str, model_version: str, schema: ModelSchema, tally: TrafficTally
    ) -> None:
        self._version_id = version_id
        self._model_name = model_name
        self._tally = tally
        self._requests = {status: PREDICTION_REQUESTS.labels(model_name, model_version, status) for status in STATUSES}
        self._latency = PREDICTION_LATENCY.labels(model_name, model_version)
        self._batch_size = BATCH_SIZE.labels(model_name)
        self._class_count = [PREDICTION_DISTRIBUTION.labels(model_name, name) for name in schema.classes]
        self._class_confidence = [MODEL_CONFIDENCE.labels(model_name, name) for name in schema.classes]
        for feature_name, reason in possible_rejections(schema.features):
            REJECTED_VALUES.labels(model_name, feature_name, reason)

    def count_request(self, status: Status) -> None:
        """Count a request by its outcome."""
        self._requests[status].inc()
        self._tally.count_request(self._version_id, status)

    def count_batch_sizes(self, rows: Sequence[int]) -> None:
        """Count the rows of requests that succeeded."""
        self._batch_size.observe_many(np.array(rows, dtype=np.float64))

    def count_rejection(self, rejection: Rejection) -> None:
        """Count why a request or an observation was rejected; `count_request` counts the request itself."""
        _count_rejection(self._model_name, rejection, self._tally)

    def count_predictions(
        self, predictions: Predictions, latency_seconds: NDArray[np.float64], *, is_shadow: bool = False
    ) -> None:
        """Count predictions and the latencies of the measured requests.

        Predictions of a shadow version count only on the application's own pages, where versions are compared:
        `/metrics` has only what clients received.
        """
        if not is_shadow and len(latency_seconds):
            self._latency.observe_many(latency_seconds)
        if predictions.class_index is None:
            outputs = predictions.labels.astype(np.float64)
            self._tally.count_predictions(self._version_id, latency_seconds=latency_seconds, outputs=outputs)
            return
        class_counts = np.bincount(predictions.class_index, minlength=len(self._class_count))
        confidence = predictions.confidence
        if not is_shadow:
            for index in np.flatnonzero(class_counts).tolist():
                self._class_count[index].inc(int(class_counts[index]))
                if confidence is not None:
                    of_class = confidence[predictions.class_index == index]
                    self._class_confidence[index].observe_many(of_class[np.isfinite(of_class)])  # NaN is unknown
        self._tally.count_predictions(
            self._version_id, latency_seconds=latency_seconds, class_counts=class_counts, confidence=confidence
        )


def count_without_version(model_name: str, status: Status) -> None:
    """Count a request that reached no version; `model_name` is a registered name or "unknown"."""
    PREDICTION_REQUESTS.labels(model_name, UNKNOWN, status).inc()


def count_rejected_without_version(model_name: str, rejection: Rejection, tally: TrafficTally) -> None:
    """Count a rejected request that reached no version, and why; `model_name` is a registered name."""
    count_without_version(model_name, "rejected")
    _count_rejection(model_name, rejection, tally)


def _count_rejection(model_name: str, rejection: Rejection, tally: TrafficTally) -> None:
    REJECTED_VALUES.labels(model_name, rejection.feature_name, rejection.reason).inc()
    tally.count_rejection(model_name, rejection)


def expect_kserve_events(model_name: str) -> None:
    """Let the counters of KServe's events exist at 0; `model_name` is a registered name or "unknown"."""
    for outcome in EventOutcome:
        KSERVE_EVENTS.labels(model_name, outcome.value)


def count_kserve_events(model_name: str, outcome: EventOutcome, events: int = 1) -> None:
    """Count events of KServe's payload logger; `model_name` is a registered name or "unknown"."""
    KSERVE_EVENTS.labels(model_name, outcome.value).inc(events)
