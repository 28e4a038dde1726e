"""How right the models are."""

from monitoring.dashboards.boards.common import INCIDENTS, OF_VERSIONS, VERSION_PAGE
from monitoring.dashboards.panels import Dashboard, Panel, Query, lines
from monitoring.dashboards.selectors import VERSION, state


def performance() -> Dashboard:
    """Return how right the models are."""
    return Dashboard(
        "mlmon-performance",
        "Performance",
        "How right the models are: by the ground truth that has come, and as estimated without it.",
        (
            _beside("Accuracy", "ml_model_accuracy", "ml_model_estimated_accuracy"),
            _beside("F1", "ml_model_f1_score", "ml_model_estimated_f1_score"),
            _beside("Area under the ROC curve", "ml_model_roc_auc", "ml_model_estimated_roc_auc"),
            _of_version(
                "Fall against the labelled reference",
                "How much worse accuracy (of a regression the mean absolute error, as a share) is than on the labelled "
                "reference, and from when on somebody is told (dashed).",
                ("ml_model_performance_drop", "fall"),
                ("ml_model_performance_drop_threshold", "threshold"),
                unit="percentunit",
            ),
            _of_version(
                "Precision and recall",
                "Unweighted means over the classes.",
                ("ml_model_precision", "precision"),
                ("ml_model_recall", "recall"),
                ("ml_model_balanced_accuracy", "balanced accuracy"),
                unit="percentunit",
            ),
            _of_version(
                "How good the probabilities are",
                "Lower is better: log loss, Brier score and the distance of confidence and accuracy.",
                ("ml_model_log_loss", "log loss"),
                ("ml_model_brier_score", "Brier score"),
                ("ml_model_expected_calibration_error", "calibration error"),
                unit="none",
            ),
            _of_version(
                "Errors of regressions",
                "In the unit of what is predicted.",
                ("ml_model_mean_absolute_error", "mean absolute"),
                ("ml_model_root_mean_squared_error", "root mean squared"),
                ("ml_model_bias", "bias"),
                unit="none",
            ),
            _of_version(
                "Explained by regressions",
                "Coefficient of determination: 1 is perfect, 0 no better than the mean.",
                ("ml_model_r2_score", "R²"),
                unit="none",
            ),
            _of_version(
                "Labels that have come",
                "Share of the predictions of the period that have ground truth.",
                ("ml_model_label_coverage_ratio", "coverage"),
                unit="percentunit",
                width=8,
            ),
            _of_version(
                "Labelled predictions",
                "How many the figures above speak of.",
                ("ml_model_labelled_predictions", "labelled"),
                unit="none",
                width=8,
            ),
            _of_version(
                "How late labels come",
                "Median time from a prediction to its ground truth.",
                ("ml_model_label_delay_seconds", "delay"),
                unit="s",
                width=8,
            ),
        ),
        OF_VERSIONS,
        annotations=(INCIDENTS,),
        time_from="now-7d",
        refresh="1m",
    )


def _beside(title: str, realised: str, estimated: str) -> Panel:
    return _of_version(
        title,
        "Realised on the newest predictions with ground truth, and estimated for the newest ones without it (CBPE).",
        (realised, "realised"),
        (estimated, "estimated"),
        unit="percentunit",
    )


def _of_version(title: str, description: str, *metrics: tuple[str, str], unit: str, width: int = 12) -> Panel:
    """Return state gauges of a version, each with the word that its series are called by."""
    queries = [
        Query(
            state(metric, "model_name", "model_version", matchers=(VERSION,)),
            f"{{{{model_name}}}} {{{{model_version}}}} {word}",
            is_threshold=metric.endswith("_threshold"),
        )
        for metric, word in metrics
    ]
    return lines(title, description, *queries, unit=unit, width=width, links=(VERSION_PAGE,))
