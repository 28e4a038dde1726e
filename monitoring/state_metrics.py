"""Names and help of the gauges that are read from the database at a scrape (docs/metrics.md lists every metric)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StateGauge:
    """Declaration of one gauge: its name, its help, its labels."""

    name: str
    documentation: str
    labels: tuple[str, ...]


MODEL = ("model_name",)
FEATURE = ("model_name", "feature_name")
JOB = ("job_name",)

MODEL_INFO = StateGauge(
    "ml_model_info",
    "One series a model version: what it is.",
    ("model_name", "model_version", "framework", "stage"),
)
FEATURE_DRIFT_SCORE = StateGauge(
    "ml_feature_drift_score", "KS statistic, or debiased Cohen's w of a categorical feature.", FEATURE
)
FEATURE_DRIFT_THRESHOLD = StateGauge(
    "ml_feature_drift_threshold", "Score above which the feature counts as drifted.", FEATURE
)
FEATURE_DRIFT_DETECTED = StateGauge("ml_feature_drift_detected", "1 where the score is above its threshold.", FEATURE)
PREDICTION_DRIFT_SCORE = StateGauge(
    "ml_prediction_drift_score", "Jensen-Shannon divergence of the predictions, natural log.", MODEL
)
PREDICTION_DRIFT_THRESHOLD = StateGauge(
    "ml_prediction_drift_threshold", "Divergence above which predictions count as drifted.", MODEL
)
PREDICTION_DRIFT_DETECTED = StateGauge(
    "ml_prediction_drift_detected", "1 where the divergence is above its threshold.", MODEL
)
FEATURE_DRIFT_CONFIRMED = StateGauge(
    "ml_feature_drift_confirmed", "1 where the latest check's verdict is an alarm that lists the feature.", FEATURE
)
DRIFT_INCIDENT_OPEN = StateGauge(
    "ml_drift_incident_open", "1 while an incident of the verdict is open and not snoozed.", MODEL
)
DRIFT_WINDOW_ROWS = StateGauge("ml_drift_window_rows", "Rows of the current window in the latest check.", MODEL)
DRIFT_REFERENCE_ROWS = StateGauge("ml_drift_reference_rows", "Rows of the reference in the latest check.", MODEL)
JOB_LAST_SUCCESS = StateGauge("ml_job_last_success_timestamp_seconds", "Unix time of the job's last success.", JOB)
JOB_DURATION = StateGauge("ml_job_duration_seconds", "Duration of the job's last run.", JOB)
COLLECTOR_SUCCESS = StateGauge(
    "ml_collector_success",
    "1 where the database answered this scrape, 0 where the series read from it are left out.",
    (),
)

ALL = tuple(value for value in list(globals().values()) if isinstance(value, StateGauge))
