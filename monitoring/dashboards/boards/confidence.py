"""How sure the models are."""

from monitoring.dashboards.boards.common import INCIDENTS, LEAST_CONFIDENCE, MODEL_PAGE, OF_MODELS
from monitoring.dashboards.panels import Dashboard, Query, heat, lines
from monitoring.dashboards.selectors import MODEL, of, quantile, rate, ratio


def confidence() -> Dashboard:
    """Return how sure the models are."""
    unsure = of("ml_model_confidence_bucket", MODEL, f'le="{LEAST_CONFIDENCE:g}"')
    return Dashboard(
        "mlmon-confidence",
        "Confidence",
        "How sure the models are of what they predict; a model that has become unsure sees what it has not learned.",
        (
            lines(
                "Median confidence",
                "Of the predicted class. Below the dashed line an alert fires.",
                Query(quantile(0.5, "ml_model_confidence"), "{{model_name}}"),
                unit="percentunit",
                limit=LEAST_CONFIDENCE,
                minimum=0.0,
                maximum=1.0,
                links=(MODEL_PAGE,),
            ),
            lines(
                "The least sure tenth",
                "10th percentile of the confidence.",
                Query(quantile(0.1, "ml_model_confidence"), "{{model_name}}"),
                unit="percentunit",
                minimum=0.0,
                maximum=1.0,
                links=(MODEL_PAGE,),
            ),
            heat(
                "How confidence is spread",
                "Predictions a second in each bucket of the histogram.",
                Query(rate("ml_model_confidence_bucket", "le")),
                unit="percentunit",
            ),
            lines(
                "Unsure predictions",
                f"Share of the predictions with a confidence of at most {LEAST_CONFIDENCE:g}.",
                Query(
                    ratio(
                        f"sum by (model_name) (rate({unsure}[$__rate_interval]))",
                        rate("ml_model_confidence_count"),
                    ),
                    "{{model_name}}",
                ),
                unit="percentunit",
                minimum=0.0,
                maximum=1.0,
                links=(MODEL_PAGE,),
            ),
            lines(
                "Mean confidence by class",
                "Which answers the model is less sure of.",
                Query(
                    ratio(
                        rate("ml_model_confidence_sum", "model_name", "predicted_class"),
                        rate("ml_model_confidence_count", "model_name", "predicted_class"),
                    ),
                    "{{model_name}} {{predicted_class}}",
                ),
                unit="percentunit",
                minimum=0.0,
                maximum=1.0,
                links=(MODEL_PAGE,),
                width=24,
            ),
        ),
        OF_MODELS,
        annotations=(INCIDENTS,),
    )
