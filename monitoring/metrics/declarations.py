"""Declarations of the metrics that are read from the database at each scrape.

To add a metric, add one line here, with its name, its help text and the value of a row, and its line in
docs/metrics.md; a test compares the two. The rows come from `monitoring.metrics.exposition`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from drift.models import DriftCheck, FeatureDrift
from mlmon.detection.performance import DropStatus, PerformanceDrop
from monitoring.models import JobRun
from performance.models import PerformanceReport
from rollouts.models import Rollout

Row = TypeVar("Row")
Value = float | None  # None: the row has no sample


@dataclass(frozen=True, slots=True, eq=False)
class StateMetric(Generic[Row]):
    """A gauge or a counter: its name, its help text, and its value for a row."""

    name: str
    documentation: str
    value: Callable[[Row], Value]
    kind: Literal["gauge", "counter"] = "gauge"


@dataclass(frozen=True, slots=True, eq=False)
class MetricGroup(Generic[Row]):
    """Metrics with the same labels that are read from the same kind of row."""

    labels: tuple[str, ...]
    metrics: tuple[StateMetric[Row], ...]


class MeasuredVersion(NamedTuple):
    """The latest report of a version, and its figures with and without ground truth."""

    report: PerformanceReport
    realised: dict[str, Any]
    estimated: dict[str, Any]


MODEL_VERSION: MetricGroup[Any] = MetricGroup(
    ("model_name", "model_version", "framework", "stage"),
    (
        StateMetric(
            "ml_model_info",
            "One series for each version that is not archived. The framework of one that is served elsewhere is empty.",
            lambda row: 1,
        ),
    ),
)
CHECK: MetricGroup[DriftCheck] = MetricGroup(
    ("model_name",),
    (
        StateMetric(
            "ml_prediction_drift_score",
            "Jensen-Shannon divergence of the predictions, natural log.",
            lambda check: check.prediction_js_divergence,
        ),
        StateMetric(
            "ml_prediction_drift_threshold",
            "Divergence above which the predictions count as drifted.",
            lambda check: None if check.prediction_js_divergence is None else check.prediction_threshold,
        ),
        StateMetric(
            "ml_prediction_drift_detected",
            "1 if the divergence is above its threshold.",
            lambda check: None if check.prediction_js_divergence is None else check.prediction_is_drifted,
        ),
        StateMetric(
            "ml_prediction_drift_confirmed",
            "1 if the verdict of the latest check is an alarm that lists the predictions.",
            lambda check: check.prediction_is_confirmed,
        ),
        StateMetric(
            "ml_correlation_drift_confirmed",
            "1 if the verdict of the latest check is an alarm that lists a pair of features.",
            lambda check: check.n_confirmed_correlations > 0,
        ),
        StateMetric(
            "ml_drift_window_rows", "Number of rows in the window of the latest check.", lambda check: check.n_current
        ),
        StateMetric(
            "ml_drift_reference_rows",
            "Number of rows in the reference of the latest check.",
            lambda check: check.n_reference,
        ),
        StateMetric(
            "ml_drift_features_not_compared",
            "Features that the latest check could not compare, and the predictions if it could not.",
            lambda check: check.n_not_compared,
        ),
    ),
)
FEATURE: MetricGroup[FeatureDrift] = MetricGroup(
    ("model_name", "feature_name"),
    (
        StateMetric(
            "ml_feature_drift_score",
            "KS statistic, or debiased Cohen's w for a categorical feature; the rise in missing values if few remain.",
            lambda row: row.score,
        ),
        StateMetric(
            "ml_feature_drift_threshold",
            "Score above which the feature counts as drifted.",
            lambda row: None if row.score is None else row.threshold,
        ),
        StateMetric(
            "ml_feature_drift_detected",
            "1 if the score is above its threshold.",
            lambda row: None if row.score is None else row.is_drifted,
        ),
        StateMetric(
            "ml_feature_drift_confirmed",
            "1 if the verdict of the latest check is an alarm that lists the feature.",
            lambda row: row.is_confirmed,
        ),
        StateMetric(
            "ml_feature_missing_ratio",
            "Share of the window's rows in which the feature is missing, also if there is no score.",
            lambda row: row.missing_share,
        ),
    ),
)
INCIDENT: MetricGroup[bool] = MetricGroup(
    ("model_name",),
    (
        StateMetric(
            "ml_drift_incident_open",
            "1 while a drift incident is open and not snoozed.",
            lambda is_alerting: is_alerting,
        ),
    ),
)
REPORT: MetricGroup[MeasuredVersion] = MetricGroup(
    ("model_name", "model_version"),
    (
        StateMetric(
            "ml_model_accuracy",
            "Accuracy of the latest predictions with ground truth (as many as the performance policy says).",
            lambda row: row.realised.get("accuracy"),
        ),
        StateMetric(
            "ml_model_balanced_accuracy",
            "Mean recall of the classes that occur in the same predictions.",
            lambda row: row.realised.get("balanced_accuracy"),
        ),
        StateMetric(
            "ml_model_f1_score",
            "Unweighted mean of the F1 of the classes, same predictions.",
            lambda row: row.realised.get("f1_score"),
        ),
        StateMetric(
            "ml_model_precision",
            "Unweighted mean of the precision of the classes, same predictions.",
            lambda row: row.realised.get("precision"),
        ),
        StateMetric(
            "ml_model_recall",
            "Unweighted mean of the recall of the classes, same predictions.",
            lambda row: row.realised.get("recall"),
        ),
        StateMetric(
            "ml_model_roc_auc",
            "Area under the ROC curve; for more than two classes the mean, each against the rest.",
            lambda row: row.realised.get("roc_auc"),
        ),
        StateMetric(
            "ml_model_log_loss", "Mean of -ln(probability of the true class).", lambda row: row.realised.get("log_loss")
        ),
        StateMetric(
            "ml_model_brier_score",
            "Mean squared error of the probabilities.",
            lambda row: row.realised.get("brier_score"),
        ),
        StateMetric(
            "ml_model_expected_calibration_error",
            "Mean distance between confidence and accuracy over ten bins.",
            lambda row: row.realised.get("expected_calibration_error"),
        ),
        StateMetric(
            "ml_model_mean_absolute_error",
            "Mean absolute error of a regression, in the unit of the target.",
            lambda row: row.realised.get("mean_absolute_error"),
        ),
        StateMetric(
            "ml_model_root_mean_squared_error",
            "Root of the mean squared error of a regression, in the unit of the target.",
            lambda row: row.realised.get("root_mean_squared_error"),
        ),
        StateMetric(
            "ml_model_r2_score",
            "Coefficient of determination of a regression.",
            lambda row: row.realised.get("r2_score"),
        ),
        StateMetric(
            "ml_model_bias",
            "Mean of predicted minus actual values of a regression, in the unit of the target.",
            lambda row: row.realised.get("bias"),
        ),
        StateMetric(
            "ml_model_estimated_accuracy",
            "Accuracy of the latest predictions, estimated without ground truth (CBPE).",
            lambda row: row.estimated.get("accuracy"),
        ),
        StateMetric(
            "ml_model_estimated_f1_score",
            "F1 of the latest predictions, estimated without ground truth (CBPE).",
            lambda row: row.estimated.get("f1_score"),
        ),
        StateMetric(
            "ml_model_estimated_roc_auc",
            "Area under the ROC curve of the latest predictions, estimated without ground truth (CBPE).",
            lambda row: row.estimated.get("roc_auc"),
        ),
        StateMetric(
            "ml_model_labelled_predictions",
            "Number of predictions with ground truth that the figures include.",
            lambda row: row.report.labelled_rows,
        ),
        StateMetric(
            "ml_model_label_coverage_ratio",
            "Share of the predictions of that period with ground truth.",
            lambda row: row.report.label_coverage,
        ),
        StateMetric(
            "ml_model_label_delay_seconds",
            "Median time from a prediction to its ground truth.",
            lambda row: row.report.label_delay_seconds,
        ),
    ),
)
PERFORMANCE_DROP: MetricGroup[PerformanceDrop] = MetricGroup(
    ("model_name",),
    (
        StateMetric(
            "ml_performance_drop_confirmed",
            "1 if errors are more frequent or larger than in the baseline, under the false-alarm budget.",
            lambda drop: drop.status == DropStatus.DROP,
        ),
    ),
)
TRAFFIC: MetricGroup[float] = MetricGroup(
    ("model_name", "model_version"),
    (
        StateMetric(
            "ml_traffic_share",
            "Share of the requests without a version that the version gets; 0 for a shadow.",
            lambda share: share,
        ),
    ),
)
ROLLOUT: MetricGroup[Rollout] = MetricGroup(
    ("model_name", "state"),
    (StateMetric("ml_rollout_state", "1 for the state of the model's latest rollout.", lambda rollout: 1),),
)
ROLLOUT_EVIDENCE: MetricGroup[tuple[float, float]] = MetricGroup(
    ("model_name", "guardrail"),
    (
        StateMetric(
            "ml_rollout_log10_evidence",
            "Log10 of the evidence that the challenger of the latest rollout is worse.",
            lambda row: row[0],
        ),
        StateMetric(
            "ml_rollout_log10_evidence_limit",
            "Log10 of the evidence from which the challenger is rolled back.",
            lambda row: row[1],
        ),
    ),
)
ROLLOUT_PROGRESS: MetricGroup[Rollout] = MetricGroup(
    ("model_name",),
    (
        StateMetric(
            "ml_rollout_overdue_seconds",
            "How long a running rollout has stayed in a step after its minimum time.",
            lambda rollout: rollout.overdue_seconds,
        ),
        StateMetric(
            "ml_rollout_incident_open",
            "1 after an automatic rollback, until it is acknowledged or the next rollout starts.",
            lambda rollout: rollout.has_open_incident,
        ),
        StateMetric(
            "ml_shadow_disagreement_ratio",
            "Share of the rows for which the shadow of the latest rollout predicts another class.",
            lambda rollout: rollout.disagreement_ratio,
        ),
    ),
)
JOB: MetricGroup[JobRun] = MetricGroup(
    ("job_name",),
    (
        StateMetric(
            "ml_job_last_success_timestamp_seconds",
            "Unix time of the last success of a periodic job.",
            lambda job: None if job.last_success_at is None else job.last_success_at.timestamp(),
        ),
        StateMetric(
            "ml_job_duration_seconds",
            "Duration of the last run of a periodic job.",
            lambda job: job.last_duration_seconds,
        ),
        StateMetric("ml_job_runs_total", "Started runs of a periodic job.", lambda job: job.runs, "counter"),
        StateMetric("ml_job_failures_total", "Failed runs of a periodic job.", lambda job: job.failures, "counter"),
    ),
)
SCRAPE: MetricGroup[bool] = MetricGroup(
    (),
    (
        StateMetric(
            "ml_collector_success",
            "1 if the database answered this scrape, 0 if its series are missing.",
            lambda is_available: is_available,
        ),
    ),
)

GROUPS: tuple[MetricGroup[Any], ...] = (
    MODEL_VERSION,
    TRAFFIC,
    FEATURE,
    CHECK,
    INCIDENT,
    REPORT,
    PERFORMANCE_DROP,
    ROLLOUT,
    ROLLOUT_EVIDENCE,
    ROLLOUT_PROGRESS,
    JOB,
    SCRAPE,
)
