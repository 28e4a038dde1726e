"""Overview of models: which model needs attention first. Latency and traffic: how requests were served."""

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.common import TableColorTextCellOptions

from monitoring.dashboards.panels import (
    BY_MODEL,
    BY_VERSION,
    CHOOSE_MODEL,
    CHOOSE_VERSION,
    MODEL_PAGE,
    VERSION_PAGE,
    Column,
    dashboard,
    figure,
    heat,
    lines,
    link,
    query,
    steps,
    table,
    yes_no,
)
from monitoring.dashboards.queries import (
    ERROR_ALERT_RATIO,
    FAILED,
    LATENCY_ALERT_SECONDS,
    MODEL,
    NOT_REJECTED,
    REJECTED,
    REJECTED_ALERT_RATIO,
    VERSION,
    gauge,
    quantile,
    rate,
    ratio,
)

REQUESTS = "ml_prediction_requests_total"
LATENCY = "ml_prediction_latency_seconds"

FAILED_REQUESTS = rate(REQUESTS, matchers=(MODEL, FAILED))
VALID_REQUESTS = rate(REQUESTS, matchers=(MODEL, NOT_REJECTED))
ERROR_RATIO = ratio(FAILED_REQUESTS, VALID_REQUESTS)
FEATURES_OVER_THRESHOLD = gauge("ml_feature_drift_detected", "model_name", "feature_name")
PRODUCTION = 'stage="production"'
ALERTS = 'ALERTS{alertstate="firing", service="mlmon", severity!="none"}'
FIRING = f"max by (alertname, severity, model_name, feature_name) ({ALERTS})"

PERCENT = {"unit": units.PercentUnit, "decimals": 1}
OPEN_NONE = {"mappings": [yes_no("open", "none")], "custom.cellOptions": TableColorTextCellOptions()}

OVERVIEW = dashboard(
    "mlmon-overview",
    "Overview of models",
    "Which model needs attention: traffic, errors, latency, drift and accuracy of each model.",
    CHOOSE_MODEL,
    (
        figure("Models in production", units.NoUnit)
        .description("Models with a version in production.")
        .with_target(query(f"count({gauge('ml_model_info', matchers=(MODEL, PRODUCTION))})"))
        .span(4),
        figure("Predict requests", units.RequestsPerSecond)
        .description("Requests per second to the chosen models.")
        .with_target(query(f"sum({rate(REQUESTS)})"))
        .span(4),
        figure("Failed requests", units.PercentUnit)
        .description("Share of requests that failed with a server error. Client errors do not count.")
        .with_target(query(ratio(f"sum({FAILED_REQUESTS})", f"sum({VALID_REQUESTS})")))
        .thresholds(steps("green", (0.005, "orange"), (ERROR_ALERT_RATIO, "red")))
        .span(4),
        figure("Open drift incidents", units.NoUnit)
        .description("Models with an open drift incident that is not snoozed.")
        .with_target(query(f"sum({gauge('ml_drift_incident_open')})"))
        .thresholds(steps("green", (1, "red")))
        .span(4),
        figure("Features over their threshold", units.NoUnit)
        .description("In the latest drift check of each model.")
        .with_target(query(f"sum({FEATURES_OVER_THRESHOLD})"))
        .thresholds(steps("green", (1, "orange")))
        .span(4),
        figure("Firing alerts", units.NoUnit)
        .description("Alerts of mlmon, without the heartbeat that always fires.")
        .with_target(query(f"count({ALERTS}) or vector(0)"))
        .thresholds(steps("green", (1, "red")))
        .span(4),
        table(
            "Models",
            ("model_name",),
            (
                Column("Requests / s", rate(REQUESTS), {"unit": units.RequestsPerSecond}),
                Column("p95", quantile(0.95, LATENCY), {"unit": units.Seconds}),
                Column("Failed", ERROR_RATIO, PERCENT),
                Column(
                    "Features over threshold",
                    f"sum by (model_name) ({FEATURES_OVER_THRESHOLD})",
                    {"unit": units.NoUnit},
                ),
                Column("Drift incident", gauge("ml_drift_incident_open"), OPEN_NONE),
                Column("Accuracy", gauge("ml_model_accuracy"), PERCENT),
                Column("Estimated accuracy", gauge("ml_model_estimated_accuracy"), PERCENT),
            ),
        )
        .description("Latest values of each model. Click a name to open the model in mlmon.")
        .data_links([link("Open in mlmon", "/go/models/${__data.fields.model_name}")])
        .height(9),
        lines("Requests by model", units.RequestsPerSecond)
        .description("Predict requests per second, with any outcome.")
        .with_target(query(rate(REQUESTS), BY_MODEL))
        .data_links([MODEL_PAGE])
        .span(8),
        lines("Latency by model, 95th percentile", units.Seconds, alert_at=LATENCY_ALERT_SECONDS)
        .description(
            "95th percentile of the time from the decoded request to the prediction. "
            "The dashed line is the alert's threshold."
        )
        .with_target(query(quantile(0.95, LATENCY), BY_MODEL))
        .data_links([MODEL_PAGE])
        .span(8),
        lines("Failed requests by model", units.PercentUnit, alert_at=ERROR_ALERT_RATIO)
        .description("Share of requests that failed with a server error. The dashed line is the alert's threshold.")
        .with_target(query(ERROR_RATIO, BY_MODEL))
        .data_links([MODEL_PAGE])
        .span(8),
        table(
            "Alerts firing now",
            ("severity", "alertname", "model_name", "feature_name"),
            (Column("Firing", FIRING, {"mappings": [yes_no("yes", "no")]}),),
        )
        .description("Alerts firing in Prometheus. Alertmanager may have silenced some of them.")
        .height(7),
    ),
)

OF_VERSION = ("model_name", "model_version")
VERSION_ERROR_RATIO = ratio(
    rate(REQUESTS, *OF_VERSION, matchers=(VERSION, FAILED)),
    rate(REQUESTS, *OF_VERSION, matchers=(VERSION, NOT_REJECTED)),
)
REJECTED_RATIO = ratio(rate(REQUESTS, matchers=(MODEL, REJECTED)), rate(REQUESTS))
P50, P95, P99 = (quantile(q, LATENCY, *OF_VERSION, matchers=(VERSION,)) for q in (0.5, 0.95, 0.99))

LATENCY_AND_TRAFFIC = dashboard(
    "mlmon-traffic",
    "Latency and traffic",
    "How many requests there are, how long they take and how many of them fail.",
    CHOOSE_VERSION,
    (
        lines("Requests by outcome", units.RequestsPerSecond)
        .description("error: a server error; rejected: a client error.")
        .with_target(query(rate(REQUESTS, "status", matchers=(VERSION,)), "{{status}}")),
        lines("Requests by version", units.RequestsPerSecond)
        .description("Predict requests per second.")
        .with_target(query(rate(REQUESTS, *OF_VERSION, matchers=(VERSION,)), BY_VERSION))
        .data_links([VERSION_PAGE]),
        lines("Failed requests", units.PercentUnit, alert_at=ERROR_ALERT_RATIO)
        .description("Share of requests that failed with a server error. The dashed line is the alert's threshold.")
        .with_target(query(VERSION_ERROR_RATIO, BY_VERSION))
        .data_links([VERSION_PAGE]),
        lines("Latency", units.Seconds, alert_at=LATENCY_ALERT_SECONDS)
        .description(
            "Quantiles of the time from the decoded request to the prediction. "
            "The dashed line is the threshold of the alert on p95."
        )
        .with_target(query(P50, f"{BY_VERSION} p50"))
        .with_target(query(P95, f"{BY_VERSION} p95"))
        .with_target(query(P99, f"{BY_VERSION} p99"))
        .data_links([VERSION_PAGE]),
        heat(
            "Distribution of latency", units.Seconds, rate(f"{LATENCY}_bucket", "le", matchers=(VERSION,))
        ).description("Requests per second in each bucket of the histogram."),
        heat("Distribution of batch size", units.NoUnit, rate("ml_batch_size_bucket", "le")).description(
            "Requests per second by number of rows."
        ),
        lines("Rows per second", units.ReadsPerSecond)
        .description("Predicted rows per second.")
        .with_target(query(rate("ml_batch_size_sum"), BY_MODEL))
        .data_links([MODEL_PAGE]),
        lines("Mean rows per request", units.NoUnit)
        .description("Mean batch size of the requests.")
        .with_target(query(ratio(rate("ml_batch_size_sum"), rate("ml_batch_size_count")), BY_MODEL))
        .data_links([MODEL_PAGE]),
        lines("Rejected requests", units.PercentUnit, alert_at=REJECTED_ALERT_RATIO)
        .description(
            "Share of requests that are client errors, of all versions. The dashed line is the alert's threshold."
        )
        .with_target(query(REJECTED_RATIO, BY_MODEL))
        .data_links([MODEL_PAGE]),
        lines("Rejections by feature and reason", units.RequestsPerSecond)
        .description("Rejected requests and observations per second, by the first value that was refused.")
        .with_target(
            query(
                f"topk(10, {rate('ml_rejected_values_total', 'model_name', 'feature_name', 'reason')} > 0)",
                "{{model_name}} {{feature_name}} {{reason}}",
            )
        )
        .data_links([MODEL_PAGE]),
    ),
)
