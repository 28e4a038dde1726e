"""Performance: how well the models predict. Confidence: how confident they are in their predictions."""

from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models import units

from monitoring.dashboards.panels import (
    BY_CLASS,
    BY_MODEL,
    BY_VERSION,
    CHOOSE_MODEL,
    CHOOSE_VERSION,
    MODEL_PAGE,
    VERSION_PAGE,
    dashboard,
    heat,
    lines,
    query,
    states,
    steps,
    yes_no,
)
from monitoring.dashboards.queries import CONFIDENCE_ALERT, MODEL, VERSION, gauge, quantile, rate, ratio


def _gauges(title: str, unit: str, metrics: dict[str, str]) -> timeseries.Panel:
    """Return a panel of gauges of each version. The keys of `metrics` end the legends."""
    panel = lines(title, unit).data_links([VERSION_PAGE])
    for word, metric in metrics.items():
        expression = gauge(metric, "model_name", "model_version", matchers=(VERSION,))
        panel.with_target(query(expression, f"{BY_VERSION} {word}"))
    return panel


def _realised_and_estimated(title: str, realised: str, estimated: str) -> timeseries.Panel:
    panel = _gauges(title, units.PercentUnit, {"realised": realised, "estimated": estimated})
    return panel.description(
        "Measured on the latest predictions with ground truth, and estimated (CBPE) for the latest ones without it."
    )


PERFORMANCE = dashboard(
    "mlmon-performance",
    "Performance",
    "How well the models predict: measured with ground truth, and estimated without it.",
    CHOOSE_VERSION,
    (
        _realised_and_estimated("Accuracy", "ml_model_accuracy", "ml_model_estimated_accuracy"),
        _realised_and_estimated("F1", "ml_model_f1_score", "ml_model_estimated_f1_score"),
        _realised_and_estimated("Area under the ROC curve", "ml_model_roc_auc", "ml_model_estimated_roc_auc"),
        states("Confirmed performance drops", units.NoUnit)
        .description(
            "Red while errors are more frequent or larger than in the baseline, under the model's false-alarm budget. "
            "The baseline is the labelled reference, or the first labelled predictions in production."
        )
        .with_target(query(gauge("ml_performance_drop_confirmed"), BY_MODEL))
        .thresholds(steps("green", (1, "red")))
        .mappings([yes_no("confirmed", "none")])
        .data_links([MODEL_PAGE]),
        _gauges(
            "Precision and recall",
            units.PercentUnit,
            {
                "precision": "ml_model_precision",
                "recall": "ml_model_recall",
                "balanced accuracy": "ml_model_balanced_accuracy",
            },
        ).description("Unweighted means over the classes."),
        _gauges(
            "Quality of the probabilities",
            units.NoUnit,
            {
                "log loss": "ml_model_log_loss",
                "Brier score": "ml_model_brier_score",
                "calibration error": "ml_model_expected_calibration_error",
            },
        ).description("Log loss, Brier score and expected calibration error. Lower is better."),
        _gauges(
            "Errors of regressions",
            units.NoUnit,
            {
                "mean absolute": "ml_model_mean_absolute_error",
                "root mean squared": "ml_model_root_mean_squared_error",
                "bias": "ml_model_bias",
            },
        ).description("In the unit of the prediction."),
        _gauges("R² of regressions", units.NoUnit, {"R²": "ml_model_r2_score"}).description(
            "Coefficient of determination: 1 is perfect, 0 is no better than the mean."
        ),
        _gauges("Label coverage", units.PercentUnit, {"coverage": "ml_model_label_coverage_ratio"})
        .description("Share of the period's predictions that have ground truth.")
        .span(8),
        _gauges("Labelled predictions", units.NoUnit, {"labelled": "ml_model_labelled_predictions"})
        .description("Number of predictions that the measured values above are based on.")
        .span(8),
        _gauges("Label delay", units.Seconds, {"delay": "ml_model_label_delay_seconds"})
        .description("Median time from a prediction to its ground truth.")
        .span(8),
    ),
    time_from="now-7d",
    refresh="1m",
)


def _confidence(title: str, *, alert_at: float | None = None) -> timeseries.Panel:
    """Return a panel of values between 0 and 1 that link to their model."""
    return lines(title, units.PercentUnit, alert_at=alert_at).min(0).max(1).data_links([MODEL_PAGE])


OF_CLASS = ("model_name", "predicted_class")
UNSURE = rate("ml_model_confidence_bucket", matchers=(MODEL, f'le="{CONFIDENCE_ALERT:g}"'))
MEAN_BY_CLASS = ratio(rate("ml_model_confidence_sum", *OF_CLASS), rate("ml_model_confidence_count", *OF_CLASS))

CONFIDENCE = dashboard(
    "mlmon-confidence",
    "Confidence",
    "How confident the models are in their predictions. Confidence falls when the inputs differ from those that a "
    "model was trained on.",
    CHOOSE_MODEL,
    (
        _confidence("Median confidence", alert_at=CONFIDENCE_ALERT)
        .description("Confidence in the predicted class. An alert fires below the dashed line.")
        .with_target(query(quantile(0.5, "ml_model_confidence"), BY_MODEL)),
        _confidence("10th percentile of confidence")
        .description("10th percentile of the confidence.")
        .with_target(query(quantile(0.1, "ml_model_confidence"), BY_MODEL)),
        heat("Distribution of confidence", units.PercentUnit, rate("ml_model_confidence_bucket", "le")).description(
            "Predictions per second in each bucket of the histogram."
        ),
        _confidence("Low-confidence predictions")
        .description(f"Share of predictions with a confidence of at most {CONFIDENCE_ALERT:g}.")
        .with_target(query(ratio(UNSURE, rate("ml_model_confidence_count")), BY_MODEL)),
        _confidence("Mean confidence by class")
        .description("The predicted classes in which the model is less confident.")
        .with_target(query(MEAN_BY_CLASS, BY_CLASS))
        .span(24),
    ),
)
