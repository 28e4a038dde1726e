"""Drift: which features have drifted, and how the predictions changed."""

from grafana_foundation_sdk.builders.common import StackingConfig
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import StackingMode, TableColorTextCellOptions

from monitoring.dashboards.panels import (
    BY_CLASS,
    BY_FEATURE,
    BY_MODEL,
    CHOOSE_MODEL,
    DASHED,
    DRIFT_PAGE,
    FEATURE_PAGE,
    Column,
    dashboard,
    lines,
    link,
    query,
    states,
    steps,
    table,
    yes_no,
)
from monitoring.dashboards.queries import gauge, rate

OF_CLASS = ("model_name", "predicted_class")
OF_FEATURE = ("model_name", "feature_name")
YES_NO = {"mappings": [yes_no("yes", "no")], "custom.cellOptions": TableColorTextCellOptions()}
ROW_PATH = "/go/models/${__data.fields.model_name}/drift?feature=${__data.fields.feature_name:percentencode}"
SCORE = gauge("ml_feature_drift_score", *OF_FEATURE)
THRESHOLD = gauge("ml_feature_drift_threshold", *OF_FEATURE)

DRIFT = dashboard(
    "mlmon-drift",
    "Drift",
    "Which features differ from the reference, how much they differ, and how the predictions changed.",
    CHOOSE_MODEL,
    (
        states("Features over time: score as a share of the threshold", units.PercentUnit)
        .description("A row for each feature of the primary production version. A feature has drifted from 100 % on.")
        .with_target(query(f"{SCORE} / {THRESHOLD}", BY_FEATURE))
        .thresholds(steps("green", (0.5, "yellow"), (0.8, "orange"), (1, "red")))
        .data_links([FEATURE_PAGE])
        .span(24)
        .height(10),
        lines("Score by feature", units.NoUnit)
        .description(
            "KS statistic, or debiased Cohen's w for a categorical feature. The dashed lines are the thresholds."
        )
        .with_target(query(SCORE, BY_FEATURE))
        .with_target(query(THRESHOLD, f"threshold of {BY_FEATURE}"))
        .override_by_query("B", DASHED)
        .min(0)
        .data_links([FEATURE_PAGE])
        .height(10),
        table(
            "Features, latest check",
            OF_FEATURE,
            (
                Column("Score", SCORE, {"decimals": 3}),
                Column("Threshold", THRESHOLD, {"decimals": 2}),
                Column("Over threshold", gauge("ml_feature_drift_detected", *OF_FEATURE), YES_NO),
                Column("Confirmed", gauge("ml_feature_drift_confirmed", *OF_FEATURE), YES_NO),
            ),
        )
        .description(
            "A feature is confirmed if the verdict, at the model's false-alarm budget, is an alarm that lists it."
        )
        .data_links([link("What changed", ROW_PATH)])
        .span(12)
        .height(10),
        lines("Prediction drift", units.NoUnit)
        .description(
            "Jensen-Shannon divergence (natural logarithm) from the predictions in the reference. "
            "The dashed lines are the thresholds."
        )
        .with_target(query(gauge("ml_prediction_drift_score"), BY_MODEL))
        .with_target(query(gauge("ml_prediction_drift_threshold"), f"threshold of {BY_MODEL}"))
        .override_by_query("B", DASHED)
        .min(0)
        .data_links([DRIFT_PAGE]),
        lines("Predictions by class", units.PercentUnit)
        .description("Share of each predicted class.")
        .with_target(query(rate("ml_prediction_distribution_total", *OF_CLASS), BY_CLASS))
        .stacking(StackingConfig().mode(StackingMode.PERCENT).group("A"))
        .fill_opacity(30)
        .data_links([DRIFT_PAGE]),
        states("Confirmed by the verdict", units.NoUnit)
        .description("Red while the latest check's alarm lists the predictions, or a pair of features.")
        .with_target(query(gauge("ml_prediction_drift_confirmed"), f"predictions of {BY_MODEL}"))
        .with_target(query(gauge("ml_correlation_drift_confirmed"), f"correlations of {BY_MODEL}"))
        .thresholds(steps("green", (1, "red")))
        .mappings([yes_no("drift", "none")])
        .data_links([DRIFT_PAGE]),
        states("Open incidents", units.NoUnit)
        .description("Red while a drift incident is open and not snoozed.")
        .with_target(query(gauge("ml_drift_incident_open"), BY_MODEL))
        .thresholds(steps("green", (1, "red")))
        .mappings([yes_no("open", "none")])
        .data_links([DRIFT_PAGE]),
        states("Features that could not be compared", units.NoUnit)
        .description(
            "Drift of these features is not noticed. The page of the latest check names them, with the reason and what "
            "to do. The predictions count too."
        )
        .with_target(query(gauge("ml_drift_features_not_compared"), BY_MODEL))
        .thresholds(steps("green", (1, "orange")))
        .data_links([DRIFT_PAGE]),
        lines("Missing values by feature", units.PercentUnit)
        .description(
            "Share of the window's rows in which the feature is missing. If few values are left, its rise is the score."
        )
        .with_target(query(gauge("ml_feature_missing_ratio", *OF_FEATURE), BY_FEATURE))
        .min(0)
        .max(1)
        .data_links([FEATURE_PAGE]),
        lines("Rows compared", units.NoUnit)
        .description("Rows of the current window and of the reference.")
        .with_target(query(gauge("ml_drift_window_rows"), f"{BY_MODEL} window"))
        .with_target(query(gauge("ml_drift_reference_rows"), f"{BY_MODEL} reference"))
        .min(0),
    ),
    time_from="now-24h",
)
