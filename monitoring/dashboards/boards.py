"""The seven dashboards: what each shows, and why somebody would look."""

from monitoring.dashboards.panels import (
    Dashboard,
    Json,
    Link,
    Panel,
    Query,
    Variable,
    figure,
    heat,
    lines,
    states,
    table,
    yes_or_no,
)
from monitoring.dashboards.selectors import MODEL, VERSION, of, quantile, rate, ratio, state

TAG = "mlmon"
DATA_SOURCE_UID = "prometheus"
MLMON_URL = "http://localhost:8000"

JOB = Variable("job", "Job", "label_values(ml_collector_success, job)")
INSTANCE = Variable("instance", "Instance", 'label_values(ml_collector_success{job=~"$job"}, instance)')
MODEL_NAME = Variable("model_name", "Model", 'label_values(ml_model_info{job=~"$job"}, model_name)')
MODEL_VERSION = Variable(
    "model_version", "Version", 'label_values(ml_model_info{job=~"$job", model_name=~"$model_name"}, model_version)'
)
OF_MODELS = (JOB, MODEL_NAME)
OF_VERSIONS = (JOB, MODEL_NAME, MODEL_VERSION)
OF_MACHINES = (JOB, INSTANCE)

MODEL_PAGE = Link("Open in mlmon", "${mlmon_url}/go/models/${__field.labels.model_name}")
VERSION_PAGE = Link(
    "Open in mlmon", "${mlmon_url}/go/models/${__field.labels.model_name}/versions/${__field.labels.model_version}"
)
FEATURE_PAGE = Link(
    "What changed",
    "${mlmon_url}/go/models/${__field.labels.model_name}/drift?feature=${__field.labels.feature_name:percentencode}",
)
DRIFT_PAGE = Link("What changed", "${mlmon_url}/go/models/${__field.labels.model_name}/drift")

INCIDENTS = ("Open drift incident", f"{state('ml_drift_incident_open')} == 1")
FAILED = 'status="error"'
ANSWERED = 'status!="rejected"'
IN_PRODUCTION = 'stage="production"'
GREEN_RED = ((None, "green"), (1.0, "red"))

# The limits of the alerts (prometheus/rules/alerts.yml).
SLOW_SECONDS = 0.5
MOST_ERRORS = 0.05
LEAST_CONFIDENCE = 0.6
STALE_SECONDS = 600.0


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


def resources() -> Dashboard:
    """Return what the web processes and the GPUs use."""
    here = 'instance=~"$instance"'
    of_process = "{{instance}} process {{slot}}"
    return Dashboard(
        "mlmon-resources",
        "Resources and GPU",
        "What the web processes and the GPUs of each machine use.",
        (
            lines(
                "Processor time of the web processes",
                "In processors: 1 is one that is busy all the time.",
                Query(rate("process_cpu_seconds_total", "instance", "slot", matchers=(here,)), of_process),
                unit="none",
                minimum=0.0,
            ),
            lines(
                "Memory of the web processes",
                "Resident.",
                Query(of("process_resident_memory_bytes", here), of_process),
                unit="bytes",
                minimum=0.0,
            ),
            lines(
                "Memory by model",
                "What the loaded versions take, over all web processes of an instance.",
                Query(
                    f"sum by (instance, model_name) ({of('ml_model_memory_bytes', here)})",
                    "{{instance}} {{model_name}}",
                ),
                unit="bytes",
                minimum=0.0,
                links=(MODEL_PAGE,),
            ),
            lines(
                "Open files",
                "Of each web process, and how many it may have (dashed).",
                Query(of("process_open_fds", here), of_process),
                Query(f"min({of('process_max_fds', here)})", "limit", is_threshold=True),
                unit="none",
                minimum=0.0,
            ),
            lines(
                "GPU: share of the time in which it works",
                "By NVML; without a GPU there is nothing to see.",
                Query(of("ml_gpu_utilization_percent", here), "{{instance}} GPU {{gpu_id}}"),
                unit="percent",
                minimum=0.0,
                maximum=100.0,
            ),
            lines(
                "GPU: used memory",
                "By NVML; without a GPU there is nothing to see.",
                Query(of("ml_gpu_memory_used_bytes", here), "{{instance}} GPU {{gpu_id}}"),
                unit="bytes",
                minimum=0.0,
            ),
            lines(
                "How long the web processes have run",
                "A line that falls is a process that was started anew.",
                Query(f"time() - {of('process_start_time_seconds', here)}", of_process),
                unit="s",
                minimum=0.0,
                width=24,
            ),
        ),
        OF_MACHINES,
    )


def itself() -> Dashboard:
    """Return whether mlmon does its work."""
    here = 'instance=~"$instance"'
    return Dashboard(
        "mlmon-itself",
        "mlmon itself",
        "Whether mlmon does its work: scrapes, jobs, the capture of predictions, tasks that wait.",
        (
            figure(
                "Instances that answer",
                "Targets that Prometheus reaches.",
                Query('sum(up{job=~"$job"})'),
                unit="none",
                limits=((None, "red"), (1.0, "green")),
                width=6,
            ),
            figure(
                "Database",
                "0 where a scrape could not read it: drift, performance and job series are missing then.",
                Query(f"min({of('ml_collector_success', here)})"),
                unit="none",
                limits=((None, "red"), (1.0, "green")),
                mappings=(yes_or_no("answers", "does not answer", bad=False),),
                width=6,
            ),
            figure(
                "Tasks that wait",
                "In Celery's queue; many for long: start another worker.",
                Query(f"max({of('ml_task_queue_length', here)})"),
                unit="none",
                limits=((None, "green"), (100.0, "orange"), (1000.0, "red")),
                width=6,
            ),
            figure(
                "Observations dropped",
                "In the last hour; predictions go on, drift checks see less.",
                Query(f"sum(increase({of('ml_capture_dropped_total', here)}[1h]))"),
                unit="none",
                limits=GREEN_RED,
                width=6,
            ),
            lines(
                "Time since each job succeeded",
                "An alert fires for drift checks and the archive at the dashed line.",
                Query(
                    f"time() - {state('ml_job_last_success_timestamp_seconds', 'job_name', matchers=())}",
                    "{{job_name}}",
                ),
                unit="s",
                limit=STALE_SECONDS,
                minimum=0.0,
            ),
            lines(
                "How long the jobs take",
                "Duration of each job's last run.",
                Query(state("ml_job_duration_seconds", "job_name", matchers=()), "{{job_name}}"),
                unit="s",
                minimum=0.0,
            ),
            lines(
                "Runs that failed",
                "Of each job, an hour.",
                Query(
                    f"max by (job_name) (increase({of('ml_job_failures_total')}[1h]))",
                    "{{job_name}}",
                ),
                unit="none",
                minimum=0.0,
            ),
            lines(
                "Tasks that wait for a worker",
                "The length of Celery's queue.",
                Query(state("ml_task_queue_length", "queue_name", matchers=(here,)), "{{queue_name}}"),
                unit="none",
                minimum=0.0,
            ),
            lines(
                "Observations that wait to be written",
                "To the live window in Redis, by model.",
                Query(f"sum by (model_name) ({of('ml_capture_pending', here)})", "{{model_name}}"),
                unit="none",
                minimum=0.0,
            ),
            lines(
                "Predictions that are not remembered",
                "Dropped because the queue was full, and left out because the capture policy draws a share.",
                Query(rate("ml_capture_dropped_total", matchers=(here,)), "{{model_name}} dropped"),
                Query(rate("ml_capture_sampled_out_total", matchers=(here,)), "{{model_name}} left out"),
                unit="rps",
                minimum=0.0,
            ),
            lines(
                "How long a scrape takes",
                "As Prometheus measures it.",
                Query('scrape_duration_seconds{job=~"$job", instance=~"$instance"}', "{{instance}}"),
                unit="s",
                minimum=0.0,
            ),
            lines(
                "Series of a scrape",
                "How much Prometheus has to keep.",
                Query('scrape_samples_post_metric_relabeling{job=~"$job", instance=~"$instance"}', "{{instance}}"),
                unit="none",
                minimum=0.0,
            ),
        ),
        OF_MACHINES,
    )


ALL = (overview(), performance(), traffic(), drift(), confidence(), resources(), itself())
