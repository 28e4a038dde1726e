"""Resources and GPU; mlmon itself: what the machines use, and whether mlmon works."""

from grafana_foundation_sdk.models import units

from monitoring.dashboards.panels import (
    BY_MODEL,
    CHOOSE_INSTANCE,
    DASHED,
    MODEL_PAGE,
    dashboard,
    figure,
    lines,
    query,
    steps,
    yes_no,
)
from monitoring.dashboards.queries import INSTANCE, JOB_AGE_ALERT_SECONDS, gauge, rate, series

BY_PROCESS = "{{instance}} process {{slot}}"
BY_GPU = "{{instance}} GPU {{gpu_id}}"
NO_GPU = "Read with NVML. Empty on a machine without a GPU."
MODEL_MEMORY = f"sum by (instance, model_name) ({series('ml_model_memory_bytes', INSTANCE)})"
LAST_SUCCESS = gauge("ml_job_last_success_timestamp_seconds", "job_name", matchers=())

RESOURCES = dashboard(
    "mlmon-resources",
    "Resources and GPU",
    "Resources that the web processes and the GPUs of each machine use.",
    CHOOSE_INSTANCE,
    (
        lines("CPU time of the web processes", units.NoUnit)
        .description("In cores: 1 is one core that is always busy.")
        .with_target(query(rate("process_cpu_seconds_total", "instance", "slot", matchers=(INSTANCE,)), BY_PROCESS))
        .min(0),
        lines("Memory of the web processes", units.BytesIEC)
        .description("Resident memory.")
        .with_target(query(series("process_resident_memory_bytes", INSTANCE), BY_PROCESS))
        .min(0),
        lines("Memory by model", units.BytesIEC)
        .description("Memory of the loaded model versions in all web processes of an instance.")
        .with_target(query(MODEL_MEMORY, "{{instance}} {{model_name}}"))
        .min(0)
        .data_links([MODEL_PAGE]),
        lines("Open files", units.NoUnit)
        .description("Open files of each web process. The dashed line is the limit.")
        .with_target(query(series("process_open_fds", INSTANCE), BY_PROCESS))
        .with_target(query(f"min({series('process_max_fds', INSTANCE)})", "limit"))
        .override_by_query("B", DASHED)
        .min(0),
        lines("GPU utilization", units.Percent)
        .description(NO_GPU)
        .with_target(query(series("ml_gpu_utilization_percent", INSTANCE), BY_GPU))
        .min(0)
        .max(100),
        lines("GPU memory used", units.BytesIEC)
        .description(NO_GPU)
        .with_target(query(series("ml_gpu_memory_used_bytes", INSTANCE), BY_GPU))
        .min(0),
        lines("Uptime of the web processes", units.Seconds)
        .description("A line falls when its process restarts.")
        .with_target(query(f"time() - {series('process_start_time_seconds', INSTANCE)}", BY_PROCESS))
        .min(0)
        .span(24),
    ),
    shows_incidents=False,
)

MLMON_ITSELF = dashboard(
    "mlmon-itself",
    "mlmon itself",
    "Whether mlmon works: scrapes, jobs, capture of predictions and waiting tasks.",
    CHOOSE_INSTANCE,
    (
        figure("Instances up", units.NoUnit)
        .description("Targets that Prometheus can scrape.")
        .with_target(query(f"sum({series('up')})"))
        .thresholds(steps("red", (1, "green")))
        .span(6),
        figure("Database", units.NoUnit)
        .description("Without the database, the metrics of drift, performance and jobs are missing.")
        .with_target(query(f"min({series('ml_collector_success', INSTANCE)})"))
        .thresholds(steps("red", (1, "green")))
        .mappings([yes_no("up", "down", yes_color="green", no_color="red")])
        .span(6),
        figure("Waiting tasks", units.NoUnit)
        .description("Tasks in Celery's queue. If it stays long, start another worker.")
        .with_target(query(f"max({series('ml_task_queue_length', INSTANCE)})"))
        .thresholds(steps("green", (100, "orange"), (1000, "red")))
        .span(6),
        figure("Observations dropped", units.NoUnit)
        .description("In the last hour. Predictions continue, but drift checks see fewer rows.")
        .with_target(query(f"sum(increase({series('ml_capture_dropped_total', INSTANCE)}[1h]))"))
        .thresholds(steps("green", (1, "red")))
        .span(6),
        lines("Time since each job last succeeded", units.Seconds, alert_at=JOB_AGE_ALERT_SECONDS)
        .description("The dashed line is the threshold of the alerts for drift checks and the archive.")
        .with_target(query(f"time() - {LAST_SUCCESS}", "{{job_name}}"))
        .min(0),
        lines("Job duration", units.Seconds)
        .description("Duration of the latest run of each job.")
        .with_target(query(gauge("ml_job_duration_seconds", "job_name", matchers=()), "{{job_name}}"))
        .min(0),
        lines("Failed job runs", units.NoUnit)
        .description("Failed runs of each job per hour.")
        .with_target(query(f"max by (job_name) (increase({series('ml_job_failures_total')}[1h]))", "{{job_name}}"))
        .min(0),
        lines("Waiting tasks by queue", units.NoUnit)
        .description("Length of Celery's queue.")
        .with_target(query(gauge("ml_task_queue_length", "queue_name", matchers=(INSTANCE,)), "{{queue_name}}"))
        .min(0),
        lines("Observations waiting to be written", units.NoUnit)
        .description("Observations of each model that are not yet in the live window in Redis.")
        .with_target(query(f"sum by (model_name) ({series('ml_capture_pending', INSTANCE)})", BY_MODEL))
        .min(0),
        lines("Predictions not captured", units.ReadsPerSecond)
        .description(
            "Dropped because the queue was full, or sampled out because the capture policy stores only a share."
        )
        .with_target(query(rate("ml_capture_dropped_total", matchers=(INSTANCE,)), f"{BY_MODEL} dropped"))
        .with_target(query(rate("ml_capture_sampled_out_total", matchers=(INSTANCE,)), f"{BY_MODEL} sampled out"))
        .min(0),
        lines("Scrape duration", units.Seconds)
        .description("As measured by Prometheus.")
        .with_target(query(series("scrape_duration_seconds", INSTANCE), "{{instance}}"))
        .min(0),
        lines("Samples per scrape", units.NoUnit)
        .description("Number of samples that Prometheus stores.")
        .with_target(query(series("scrape_samples_post_metric_relabeling", INSTANCE), "{{instance}}"))
        .min(0),
    ),
    shows_incidents=False,
)
