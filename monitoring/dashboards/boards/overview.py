"""What needs attention first."""

from monitoring.dashboards.boards.common import (
    ANSWERED,
    FAILED,
    GREEN_RED,
    IN_PRODUCTION,
    INCIDENTS,
    MODEL_PAGE,
    MOST_ERRORS,
    OF_MODELS,
    SLOW_SECONDS,
)
from monitoring.dashboards.panels import Dashboard, Json, Link, Query, figure, lines, table, yes_or_no
from monitoring.dashboards.selectors import MODEL, quantile, rate, ratio, state


def overview() -> Dashboard:
    """Return what needs attention first, a row for each model."""
    errors = ratio(
        rate("ml_prediction_requests_total", matchers=(MODEL, FAILED)),
        rate("ml_prediction_requests_total", matchers=(MODEL, ANSWERED)),
    )
    return Dashboard(
        "mlmon-overview",
        "Overview of models",
        "Which model needs attention: traffic, errors, latency, drift and accuracy, a row for each.",
        (
            figure(
                "Models in production",
                "Models with a version in production.",
                Query(f"count({state('ml_model_info', matchers=(MODEL, IN_PRODUCTION))})"),
                unit="none",
            ),
            figure(
                "Predict requests",
                "Requests a second, of all chosen models.",
                Query(f"sum({rate('ml_prediction_requests_total')})"),
                unit="reqps",
            ),
            figure(
                "Failed requests",
                "Share of the requests that failed by our fault; what a client got wrong does not count.",
                Query(
                    ratio(
                        f"sum({rate('ml_prediction_requests_total', matchers=(MODEL, FAILED))})",
                        f"sum({rate('ml_prediction_requests_total', matchers=(MODEL, ANSWERED))})",
                    )
                ),
                unit="percentunit",
                limits=((None, "green"), (0.005, "orange"), (MOST_ERRORS, "red")),
            ),
            figure(
                "Open drift incidents",
                "Models whose drift the verdict has confirmed and nobody has snoozed.",
                Query(f"sum({state('ml_drift_incident_open')})"),
                unit="none",
                limits=GREEN_RED,
            ),
            figure(
                "Features over their threshold",
                "Of the latest check of each model.",
                Query(f"sum({state('ml_feature_drift_detected', 'model_name', 'feature_name')})"),
                unit="none",
                limits=((None, "green"), (1.0, "orange")),
            ),
            figure(
                "Alerts that fire",
                "Of mlmon, but for the one that always does.",
                Query('count(ALERTS{alertstate="firing", service="mlmon", severity!="none"}) or vector(0)'),
                unit="none",
                limits=GREEN_RED,
            ),
            table(
                "Models",
                "The newest figures of every model; a click on a name opens its page in mlmon.",
                _model_columns(errors),
                keys=("model_name",),
                links=(Link("Open in mlmon", "${mlmon_url}/go/models/${__data.fields.model_name}"),),
                height=9,
            ),
            lines(
                "Requests by model",
                "Predict requests a second, whatever their outcome.",
                Query(rate("ml_prediction_requests_total"), "{{model_name}}"),
                unit="reqps",
                links=(MODEL_PAGE,),
                width=8,
            ),
            lines(
                "Slowest 5 % by model",
                "95th percentile of the time from the decoded request to the prediction. The alert's limit is dashed.",
                Query(quantile(0.95, "ml_prediction_latency_seconds"), "{{model_name}}"),
                unit="s",
                limit=SLOW_SECONDS,
                links=(MODEL_PAGE,),
                width=8,
            ),
            lines(
                "Failed requests by model",
                "Share of the requests that failed by our fault. The alert's limit is dashed.",
                Query(errors, "{{model_name}}"),
                unit="percentunit",
                limit=MOST_ERRORS,
                links=(MODEL_PAGE,),
                width=8,
            ),
            table(
                "Alerts that fire now",
                "As Prometheus sees them; Alertmanager may keep some of them quiet.",
                (
                    (
                        "Fires",
                        Query(
                            "max by (alertname, severity, model_name, feature_name) "
                            '(ALERTS{alertstate="firing", service="mlmon", severity!="none"})'
                        ),
                        {"mappings": [yes_or_no("yes", "no")]},
                    ),
                ),
                keys=("severity", "alertname", "model_name", "feature_name"),
                height=7,
            ),
        ),
        OF_MODELS,
        annotations=(INCIDENTS,),
    )


def _model_columns(errors: str) -> tuple[tuple[str, Query, Json], ...]:
    share: Json = {"unit": "percentunit", "decimals": 1}
    return (
        ("Requests / s", Query(rate("ml_prediction_requests_total")), {"unit": "reqps"}),
        ("p95", Query(quantile(0.95, "ml_prediction_latency_seconds")), {"unit": "s"}),
        ("Failed", Query(errors), share),
        (
            "Features over threshold",
            Query(f"sum by (model_name) ({state('ml_feature_drift_detected', 'model_name', 'feature_name')})"),
            {"unit": "none"},
        ),
        (
            "Drift incident",
            Query(state("ml_drift_incident_open")),
            {"mappings": [yes_or_no("open", "none")], "custom.cellOptions": {"type": "color-text"}},
        ),
        ("Accuracy", Query(state("ml_model_accuracy")), share),
        ("Estimated accuracy", Query(state("ml_model_estimated_accuracy")), share),
    )
