"""Which features have moved."""

from monitoring.dashboards.boards.common import DRIFT_PAGE, FEATURE_PAGE, GREEN_RED, INCIDENTS, OF_MODELS
from monitoring.dashboards.panels import Dashboard, Link, Query, lines, states, table, yes_or_no
from monitoring.dashboards.selectors import rate, state


def drift() -> Dashboard:
    """Return which features have moved."""
    feature = ("model_name", "feature_name")
    return Dashboard(
        "mlmon-drift",
        "Drift",
        "Which features have moved away from the reference, how far, and what happened to the predictions.",
        (
            states(
                "Features over time: score as a share of the threshold",
                "A row for each feature of the primary production version; from 100 % on it counts as drifted.",
                Query(
                    f"{state('ml_feature_drift_score', *feature)} / {state('ml_feature_drift_threshold', *feature)}",
                    "{{model_name}} {{feature_name}}",
                ),
                unit="percentunit",
                limits=((None, "green"), (0.5, "yellow"), (0.8, "orange"), (1.0, "red")),
                links=(FEATURE_PAGE,),
                width=24,
                height=10,
            ),
            lines(
                "Score of each feature",
                "KS statistic, or debiased Cohen's w of a categorical feature; the thresholds are dashed.",
                Query(state("ml_feature_drift_score", *feature), "{{model_name}} {{feature_name}}"),
                Query(
                    state("ml_feature_drift_threshold", *feature),
                    "threshold of {{model_name}} {{feature_name}}",
                    is_threshold=True,
                ),
                unit="none",
                minimum=0.0,
                links=(FEATURE_PAGE,),
                height=10,
            ),
            table(
                "Features, newest check",
                "Confirmed: the verdict under the model's false-alarm budget is an alarm that lists the feature.",
                (
                    ("Score", Query(state("ml_feature_drift_score", *feature)), {"decimals": 3}),
                    ("Threshold", Query(state("ml_feature_drift_threshold", *feature)), {"decimals": 2}),
                    (
                        "Over threshold",
                        Query(state("ml_feature_drift_detected", *feature)),
                        {"mappings": [yes_or_no("yes", "no")], "custom.cellOptions": {"type": "color-text"}},
                    ),
                    (
                        "Confirmed",
                        Query(state("ml_feature_drift_confirmed", *feature)),
                        {"mappings": [yes_or_no("yes", "no")], "custom.cellOptions": {"type": "color-text"}},
                    ),
                ),
                keys=feature,
                links=(
                    Link(
                        "What changed",
                        "${mlmon_url}/go/models/${__data.fields.model_name}/drift"
                        "?feature=${__data.fields.feature_name:percentencode}",
                    ),
                ),
                width=12,
                height=10,
            ),
            lines(
                "Drift of the predictions",
                "Jensen-Shannon divergence from the reference's predictions, natural log; thresholds are dashed.",
                Query(state("ml_prediction_drift_score"), "{{model_name}}"),
                Query(state("ml_prediction_drift_threshold"), "threshold of {{model_name}}", is_threshold=True),
                unit="none",
                minimum=0.0,
                links=(DRIFT_PAGE,),
            ),
            lines(
                "Predictions by class",
                "Share of each predicted class.",
                Query(
                    rate("ml_prediction_distribution_total", "model_name", "predicted_class"),
                    "{{model_name}} {{predicted_class}}",
                ),
                unit="percentunit",
                stacked=True,
                links=(DRIFT_PAGE,),
            ),
            states(
                "Open incidents",
                "Red while the verdict's incident is open and nobody has snoozed it.",
                Query(state("ml_drift_incident_open"), "{{model_name}}"),
                unit="none",
                limits=GREEN_RED,
                mappings=(yes_or_no("open", "none"),),
                links=(DRIFT_PAGE,),
            ),
            lines(
                "Rows compared",
                "Of the current window, and of the reference.",
                Query(state("ml_drift_window_rows"), "{{model_name}} window"),
                Query(state("ml_drift_reference_rows"), "{{model_name}} reference"),
                unit="none",
                minimum=0.0,
            ),
        ),
        OF_MODELS,
        annotations=(INCIDENTS,),
        time_from="now-24h",
    )
