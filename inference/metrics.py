"""Metrics of the request path (docs/metrics.md lists every metric); they live in the web workers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter, Gauge, Histogram

from inference.traffic import CONFIDENCE_EDGES, LATENCY_EDGES, Status, process_tally

UNKNOWN = "unknown"
STATUSES: tuple[Status, ...] = ("success", "error", "rejected")

PREDICTION_REQUESTS = Counter(
    "ml_prediction_requests",
    "Predict requests: success, error (ours) or rejected (the client's).",
    ["model_name", "model_version", "status"],
)
PREDICTION_LATENCY = Histogram(
    "ml_prediction_latency_seconds",
    "Time from the decoded request to the prediction.",
    ["model_name", "model_version"],
    buckets=LATENCY_EDGES,
)
BATCH_SIZE = Histogram(
    "ml_batch_size",
    "Rows of a predict request.",
    ["model_name"],
    buckets=(1, 5, 10, 25, 50, 100, 250, 500),
)
MODEL_CONFIDENCE = Histogram(
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
    "Memory that the loaded versions of a model take, over all web workers.",
    ["model_name"],
    multiprocess_mode="livesum",
)
CAPTURE_DROPPED = Counter(
    "ml_capture_dropped",
    "Observations dropped because the capture queue was full.",
    ["model_name"],
)
CAPTURE_SAMPLED_OUT = Counter(
    "ml_capture_sampled_out",
    "Predictions not remembered because the capture policy draws a share of them.",
    ["model_name"],
)
CAPTURE_PENDING = Gauge(
    "ml_capture_pending",
    "Observations that wait to be written to the live window, over all web workers.",
    ["model_name"],
    multiprocess_mode="livesum",
)


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """Bound children of one predicted class."""

    count: Counter
    confidence: Histogram


class VersionMetrics:
    """What is counted of one model version: for `/metrics`, and by minute for our own pages.

    Its series are bound once, so that they exist at 0 from the moment the version is loaded.
    """

    def __init__(self, version_id: int, model_name: str, model_version: str, classes: tuple[str, ...]) -> None:
        self._version_id = version_id
        self._requests: dict[Status, Counter] = {
            status: PREDICTION_REQUESTS.labels(model_name, model_version, status) for status in STATUSES
        }
        self._latency = PREDICTION_LATENCY.labels(model_name, model_version)
        self._batch_size = BATCH_SIZE.labels(model_name)
        self._classes = [
            ClassMetrics(
                count=PREDICTION_DISTRIBUTION.labels(model_name, name),
                confidence=MODEL_CONFIDENCE.labels(model_name, name),
            )
            for name in classes
        ]

    def count_request(self, status: Status) -> None:
        """Count a request by its outcome."""
        self._requests[status].inc()
        process_tally().count_request(self._version_id, status)

    def observe_latency(self, seconds: float) -> None:
        """Count a measured request."""
        self._latency.observe(seconds)
        process_tally().count_latency(self._version_id, seconds)

    def observe_batch_size(self, rows: int) -> None:
        """Count the rows of an answered request."""
        self._batch_size.observe(rows)

    def observe_outputs(self, values: NDArray[np.float64]) -> None:
        """Count a regression's predictions, shape (n,)."""
        process_tally().count_outputs(self._version_id, values)

    def observe_classes(self, class_index: NDArray[np.int64], confidence: NDArray[np.float64] | None) -> None:
        """Count a classifier's predictions.

        Parameters
        ----------
        class_index
            Place of each in the version's classes, shape (n,).
        confidence
            Shape (n,); NaN where it is not known. None where none is.
        """
        by_class = np.bincount(class_index, minlength=len(self._classes))
        for place in np.flatnonzero(by_class):
            self._classes[place].count.inc(int(by_class[place]))
        if confidence is not None:
            known = np.isfinite(confidence)
            for place, value in zip(class_index[known].tolist(), confidence[known].tolist(), strict=True):
                self._classes[place].confidence.observe(value)
        process_tally().count_classes(self._version_id, by_class, confidence)


def bind_capture_metrics(model_name: str) -> None:
    """Let the capture metrics of a model exist at 0."""
    CAPTURE_DROPPED.labels(model_name)
    CAPTURE_SAMPLED_OUT.labels(model_name)
    CAPTURE_PENDING.labels(model_name)


def count_without_version(model_name: str, status: Status) -> None:
    """Count a request that no version got to see; `model_name` is a registered name or "unknown"."""
    PREDICTION_REQUESTS.labels(model_name, UNKNOWN, status).inc()
