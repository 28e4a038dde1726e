"""Whether one worker checks all models of a fleet within a minute.

``python -m benchmarks.fleet [--json FILE]`` starts PostgreSQL and Redis, registers the models, fills their live
windows, starts a real Celery worker and sends the drift tick as beat does. docs/benchmarks.md has the details.
"""

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.report import argument_parser, conditions, progress, seconds_text, write_json
from benchmarks.sampling import Samples, report_lines, sampled
from benchmarks.services import own_services

MODELS, FEATURES, WINDOW_ROWS, REFERENCE_ROWS = 1_000, 20, 1_000, 10_000
REQUIRED_SECONDS = 60
SAMPLED_CHECKS = 100
CHECKS_FILE = "drift/services/checks.py"
MOST_LINES = 12
DURATION = "Takes half a minute to register a thousand models, then about a minute for the checks."


@dataclass(frozen=True, slots=True)
class Run:
    """What the worker did.

    Attributes
    ----------
    seconds
        From the first tick until every model was checked, or until the time limit.
    task_seconds
        Duration of each task, from the worker's log.
    check_seconds
        Duration of each check, as stored with it, without reading and writing.
    """

    models: int
    checked: int
    failed: int
    seconds: float
    ticks: int
    task_seconds: list[float]
    check_seconds: list[float]

    @property
    def is_complete(self) -> bool:
        """Whether all models were checked and no check failed."""
        return self.checked == self.models and not self.failed


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argument_parser("fleet", __doc__, DURATION)
    parser.add_argument("--models", type=int, default=MODELS, help="%(default)s")
    parser.add_argument("--features", type=int, default=FEATURES, help="of each model (%(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="of the worker (%(default)s)")
    parser.add_argument("--window-rows", type=int, default=WINDOW_ROWS, help="in each live window (%(default)s)")
    parser.add_argument("--reference-rows", type=int, default=REFERENCE_ROWS, help="of each model (%(default)s)")
    parsed = parser.parse_args(arguments)
    progress(DURATION)
    with own_services() as folder:
        from benchmarks import fleet_models

        progress(f"Registering {parsed.models:,} models …")
        versions = fleet_models.create_fleet(parsed.models, parsed.features, parsed.reference_rows, parsed.window_rows)
        run = fleet_models.run_worker(versions, folder, processes=parsed.processes)
        again = versions[:SAMPLED_CHECKS]
        progress(f"Sampling {len(again)} further checks …")
        fleet_models.add_windows(again, parsed.features, parsed.window_rows)
        samples = sampled(lambda: fleet_models.check_all(again), file=CHECKS_FILE)
    sys.stdout.write(text_of(run, samples))
    write_json(parsed.json, figures_of(run, samples, vars(parsed)))


def figures_of(run: Run, samples: Samples, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results for the JSON file."""
    return {
        **{name: options[name] for name in ("models", "features", "window_rows", "reference_rows", "processes")},
        "seconds": run.seconds,
        "required_seconds": REQUIRED_SECONDS,
        "is_complete": run.is_complete,
        "checked": run.checked,
        "failed": run.failed,
        "ticks": run.ticks,
        "task_seconds": _spread(run.task_seconds),
        "check_seconds": _spread(run.check_seconds),
        "lines_of_the_check": samples.report(samples.within, MOST_LINES),
        "lines": samples.report(samples.innermost, MOST_LINES),
        **conditions("celery", "django", "numpy", "psycopg", "pyarrow", "redis", "scipy"),
    }


def text_of(run: Run, samples: Samples) -> str:
    """Return the results for a person."""
    task, check = _spread(run.task_seconds), _spread(run.check_seconds)
    verdict = "met" if run.is_complete and run.seconds <= REQUIRED_SECONDS else "missed"
    lines = [
        f"{run.checked:,} of {run.models:,} models checked by one worker in {run.seconds:.1f} s "
        f"(at most {REQUIRED_SECONDS} s: {verdict}); {run.failed} failed",
        f"a task: median {seconds_text(task['median'])}, 95th percentile {seconds_text(task['p95'])}, "
        f"total {seconds_text(task['sum'])}",
        f"its comparison: median {seconds_text(check['median'])}, 95th percentile {seconds_text(check['p95'])}",
        f"\nTime of a check by line of {CHECKS_FILE}:",
        *report_lines(samples.report(samples.within, MOST_LINES)),
        "\nTime of a check by innermost line of our code:",
        *report_lines(samples.report(samples.innermost, MOST_LINES)),
    ]
    return "\n".join(lines) + "\n"


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    if len(seconds) < 2:
        return {"median": sum(seconds), "p95": sum(seconds), "sum": sum(seconds)}
    return {
        "median": statistics.median(seconds),
        "p95": statistics.quantiles(seconds, n=20, method="inclusive")[-1],
        "sum": sum(seconds),
    }


if __name__ == "__main__":
    main()
