"""What the machines give."""

from monitoring.dashboards.boards.common import MODEL_PAGE, OF_MACHINES
from monitoring.dashboards.panels import Dashboard, Query, lines
from monitoring.dashboards.selectors import of, rate


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
