"""Names and help of the metrics that are read from the database at a scrape (docs/metrics.md lists every metric)."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class StateMetric:
    """Declaration of one metric: its name, its help, its labels, its type."""

    name: str
    documentation: str
    labels: tuple[str, ...]
    kind: Literal["gauge", "counter"] = "gauge"


MODEL = ("model_name",)
FEATURE = ("model_name", "feature_name")
JOB = ("job_name",)
VERSION = ("model_name", "model_version")

MODEL_INFO = StateMetric(
    "ml_model_info",
    "One series for each version that is not archived: what it is.",
    ("model_name", "model_version", "framework", "stage"),
)
FEATURE_DRIFT_SCORE = StateMetric(
    "ml_feature_drift_score", "KS statistic; debiased Cohen's w of a categorical feature.", FEATURE
)
FEATURE_DRIFT_THRESHOLD = StateMetric(
    "ml_feature_drift_threshold", "Score above which the feature counts as drifted.", FEATURE
)
FEATURE_DRIFT_DETECTED = StateMetric("ml_feature_drift_detected", "1 where the score is above its threshold.", FEATURE)
PREDICTION_DRIFT_SCORE = StateMetric(
    "ml_prediction_drift_score", "Jensen-Shannon divergence of the predictions, natural log.", MODEL
)
PREDICTION_DRIFT_THRESHOLD = StateMetric(
    "ml_prediction_drift_threshold", "Divergence above which the predictions count as drifted.", MODEL
)
PREDICTION_DRIFT_DETECTED = StateMetric(
    "ml_prediction_drift_detected", "1 where the divergence is above its threshold.", MODEL
)
FEATURE_DRIFT_CONFIRMED = StateMetric(
    "ml_feature_drift_confirmed", "1 where the latest check's verdict is an alarm that lists the feature.", FEATURE
)
DRIFT_INCIDENT_OPEN = StateMetric(
    "ml_drift_incident_open", "1 while an incident of the verdict is open and not snoozed.", MODEL
)
DRIFT_WINDOW_ROWS = StateMetric("ml_drift_window_rows", "Rows of the current window in the latest check.", MODEL)
DRIFT_REFERENCE_ROWS = StateMetric("ml_drift_reference_rows", "Rows of the reference in the latest check.", MODEL)
JOB_LAST_SUCCESS = StateMetric(
    "ml_job_last_success_timestamp_seconds", "Unix time of a periodic job's last success.", JOB
)
JOB_DURATION = StateMetric("ml_job_duration_seconds", "Duration of a periodic job's last run.", JOB)
JOB_RUNS = StateMetric("ml_job_runs_total", "Runs of a periodic job that have begun.", JOB, "counter")
JOB_FAILURES = StateMetric("ml_job_failures_total", "Runs of a periodic job that have failed.", JOB, "counter")
PERFORMANCE = {
    "accuracy": StateMetric(
        "ml_model_accuracy",
        "Share of right predictions, of the newest ones with ground truth (as many as the performance policy says).",
        VERSION,
    ),
    "balanced_accuracy": StateMetric(
        "ml_model_balanced_accuracy", "Mean recall of the classes that occur, of the same predictions.", VERSION
    ),
    "f1_score": StateMetric(
        "ml_model_f1_score", "Unweighted mean of the classes' F1, of the same predictions.", VERSION
    ),
    "precision": StateMetric(
        "ml_model_precision", "Unweighted mean of the classes' precision, of the same predictions.", VERSION
    ),
    "recall": StateMetric(
        "ml_model_recall", "Unweighted mean of the classes' recall, of the same predictions.", VERSION
    ),
    "roc_auc": StateMetric(
        "ml_model_roc_auc", "Area under the ROC curve; of several classes the mean, each against the rest.", VERSION
    ),
    "log_loss": StateMetric("ml_model_log_loss", "Mean of -ln(probability of the true class).", VERSION),
    "brier_score": StateMetric("ml_model_brier_score", "Mean squared error of the probabilities.", VERSION),
    "expected_calibration_error": StateMetric(
        "ml_model_expected_calibration_error", "Distance of confidence and accuracy over ten bins.", VERSION
    ),
    "mean_absolute_error": StateMetric(
        "ml_model_mean_absolute_error", "Mean absolute error of a regression, in the target's unit.", VERSION
    ),
    "root_mean_squared_error": StateMetric(
        "ml_model_root_mean_squared_error",
        "Root of the mean squared error of a regression, in the target's unit.",
        VERSION,
    ),
    "r2_score": StateMetric("ml_model_r2_score", "Coefficient of determination of a regression.", VERSION),
    "bias": StateMetric(
        "ml_model_bias", "Mean of predicted minus actual of a regression, in the target's unit.", VERSION
    ),
}
ESTIMATED_PERFORMANCE = {
    "accuracy": StateMetric(
        "ml_model_estimated_accuracy",
        "Accuracy of the newest predictions, estimated without ground truth (CBPE).",
        VERSION,
    ),
    "f1_score": StateMetric(
        "ml_model_estimated_f1_score", "F1 of the newest predictions, estimated without ground truth (CBPE).", VERSION
    ),
    "roc_auc": StateMetric(
        "ml_model_estimated_roc_auc",
        "Area under the ROC curve of the newest predictions, estimated without ground truth (CBPE).",
        VERSION,
    ),
}
LABELLED_ROWS = StateMetric(
    "ml_model_labelled_predictions", "Predictions with ground truth that the figures speak of.", VERSION
)
LABEL_COVERAGE = StateMetric(
    "ml_model_label_coverage_ratio", "Share of the predictions of that time that have ground truth.", VERSION
)
LABEL_DELAY = StateMetric("ml_model_label_delay_seconds", "Median time from a prediction to its ground truth.", VERSION)
PERFORMANCE_DROP = StateMetric(
    "ml_model_performance_drop",
    "How much worse accuracy (of a regression the mean absolute error, as a share) is than on the labelled reference.",
    VERSION,
)
PERFORMANCE_DROP_THRESHOLD = StateMetric(
    "ml_model_performance_drop_threshold", "The largest such drop that nobody is told of.", VERSION
)
COLLECTOR_SUCCESS = StateMetric(
    "ml_collector_success",
    "1 where the database answered this scrape, 0 where the series read from it are left out.",
    (),
)

ALL = (
    *(value for value in list(globals().values()) if isinstance(value, StateMetric)),
    *PERFORMANCE.values(),
    *ESTIMATED_PERFORMANCE.values(),
)
