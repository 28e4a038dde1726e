"""Whether mlmon does its work."""

from monitoring.dashboards.boards.common import GREEN_RED, OF_MACHINES, STALE_SECONDS
from monitoring.dashboards.panels import Dashboard, Query, figure, lines, yes_or_no
from monitoring.dashboards.selectors import of, rate, state


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
