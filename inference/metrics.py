"""Metrics of the request path (docs/metrics.md lists every metric); they live in the web workers."""

from dataclasses import dataclass

from prometheus_client import Counter, Gauge, Histogram

UNKNOWN = "unknown"

PREDICTION_REQUESTS = Counter(
    "ml_prediction_requests",
    "Predict requests: success, error (ours) or rejected (the client's).",
    ["model_name", "model_version", "status"],
)
PREDICTION_LATENCY = Histogram(
    "ml_prediction_latency_seconds",
    "Time from the decoded request to the prediction.",
    ["model_name", "model_version"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
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
    buckets=(0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9, 0.95, 0.99),
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
    """Metric children of one model version, bound once: they exist at 0 from the moment the version is loaded."""

    def __init__(self, model_name: str, model_version: str, classes: tuple[str, ...]) -> None:
        self.success, self.error, self.rejected = (
            PREDICTION_REQUESTS.labels(model_name, model_version, status) for status in ("success", "error", "rejected")
        )
        self.latency = PREDICTION_LATENCY.labels(model_name, model_version)
        self.batch_size = BATCH_SIZE.labels(model_name)
        self.classes = [
            ClassMetrics(
                count=PREDICTION_DISTRIBUTION.labels(model_name, name),
                confidence=MODEL_CONFIDENCE.labels(model_name, name),
            )
            for name in classes
        ]


def bind_capture_metrics(model_name: str) -> None:
    """Let the capture metrics of a model exist at 0."""
    CAPTURE_DROPPED.labels(model_name)
    CAPTURE_SAMPLED_OUT.labels(model_name)
    CAPTURE_PENDING.labels(model_name)


def count_without_version(model_name: str, status: str) -> None:
    """Count a request that no version got to see; `model_name` is a registered name or "unknown"."""
    PREDICTION_REQUESTS.labels(model_name, UNKNOWN, status).inc()
