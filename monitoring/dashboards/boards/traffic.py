"""How many ask, and how long they wait."""

from monitoring.dashboards.boards.common import (
    ANSWERED,
    FAILED,
    INCIDENTS,
    MODEL_PAGE,
    MOST_ERRORS,
    OF_VERSIONS,
    SLOW_SECONDS,
    VERSION_PAGE,
)
from monitoring.dashboards.panels import Dashboard, Query, heat, lines
from monitoring.dashboards.selectors import VERSION, quantile, rate, ratio


def traffic() -> Dashboard:
    """Return how many ask, and how long they wait."""
    of_version = ("model_name", "model_version")
    return Dashboard(
        "mlmon-traffic",
        "Latency and traffic",
        "How many requests there are, how long they take, and which of them fail.",
        (
            lines(
                "Requests by outcome",
                "success; error: our fault; rejected: the client's.",
                Query(rate("ml_prediction_requests_total", "status", matchers=(VERSION,)), "{{status}}"),
                unit="reqps",
            ),
            lines(
                "Requests by version",
                "Predict requests a second.",
                Query(
                    rate("ml_prediction_requests_total", *of_version, matchers=(VERSION,)),
                    "{{model_name}} {{model_version}}",
                ),
                unit="reqps",
                links=(VERSION_PAGE,),
            ),
            lines(
                "Failed requests",
                "Share of the requests that failed by our fault. The alert's limit is dashed.",
                Query(
                    ratio(
                        rate("ml_prediction_requests_total", *of_version, matchers=(VERSION, FAILED)),
                        rate("ml_prediction_requests_total", *of_version, matchers=(VERSION, ANSWERED)),
                    ),
                    "{{model_name}} {{model_version}}",
                ),
                unit="percentunit",
                limit=MOST_ERRORS,
                links=(VERSION_PAGE,),
            ),
            lines(
                "Latency",
                "Quantiles of the time from the decoded request to the prediction. The alert's limit on p95 is dashed.",
                *(
                    Query(
                        quantile(share, "ml_prediction_latency_seconds", *of_version, matchers=(VERSION,)),
                        f"{{{{model_name}}}} {{{{model_version}}}} p{100 * share:.0f}",
                    )
                    for share in (0.5, 0.95, 0.99)
                ),
                unit="s",
                limit=SLOW_SECONDS,
                links=(VERSION_PAGE,),
            ),
            heat(
                "How latency is spread",
                "Requests a second in each bucket of the histogram.",
                Query(rate("ml_prediction_latency_seconds_bucket", "le", matchers=(VERSION,))),
                unit="s",
            ),
            heat(
                "How batch size is spread",
                "Requests a second by their number of rows.",
                Query(rate("ml_batch_size_bucket", "le")),
                unit="none",
            ),
            lines(
                "Rows a second",
                "Predicted rows, by model.",
                Query(rate("ml_batch_size_sum"), "{{model_name}}"),
                unit="rps",
                links=(MODEL_PAGE,),
            ),
            lines(
                "Mean rows of a request",
                "How large the batches are that clients send.",
                Query(ratio(rate("ml_batch_size_sum"), rate("ml_batch_size_count")), "{{model_name}}"),
                unit="none",
                links=(MODEL_PAGE,),
            ),
        ),
        OF_VERSIONS,
        annotations=(INCIDENTS,),
    )
