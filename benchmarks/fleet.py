"""A fleet of models checked by one worker: does it keep up with its minute?

``python -m benchmarks.fleet [--json FILE]`` starts a PostgreSQL and a Redis of its own, registers the models, fills
their live windows, starts one real Celery worker and ticks as beat does. docs/benchmarks.md has the details.
"""

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.machine import library_versions, machine
from benchmarks.report import progress, seconds_text, write_json
from benchmarks.sampling import Samples, sampled
from benchmarks.services import own_services

if TYPE_CHECKING:
    from benchmarks.fleet_run import Run

MODELS, FEATURES, WINDOW_ROWS, REFERENCE_ROWS = 1_000, 20, 1_000, 10_000
REQUIRED_SECONDS = 60
SAMPLED_CHECKS = 100
CHECKS_FILE = "drift/services/checks.py"
MOST_LINES = 12
ESTIMATE = "Half a minute to put a thousand models in place, then about a minute of checks."


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parsed = _parser().parse_args(arguments)
    progress(ESTIMATE)
    with own_services() as folder:
        # Only now: the settings read the addresses of the services when they load.
        from benchmarks.fleet_models import observe_again, put_in_place
        from benchmarks.fleet_run import check_all, checked_by_a_worker

        progress(f"Registering {parsed.models:,} models …")
        versions = put_in_place(parsed.models, parsed.features, parsed.reference_rows, parsed.window_rows)
        run = checked_by_a_worker(versions, folder, processes=parsed.processes)
        again = versions[:SAMPLED_CHECKS]
        progress(f"Looking at {len(again)} further checks line by line …")
        observe_again(again, parsed.features, parsed.window_rows)
        samples = sampled(lambda: check_all(again), file=CHECKS_FILE)
    sys.stdout.write(text_of(run, samples))
    write_json(parsed.json, figures_of(run, samples, vars(parsed)))


def figures_of(run: "Run", samples: Samples, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures as they are written."""
    return {
        **{name: asked[name] for name in ("models", "features", "window_rows", "reference_rows", "processes")},
        "seconds": run.seconds,
        "required_seconds": REQUIRED_SECONDS,
        "is_complete": run.is_complete,
        "checked": run.checked,
        "failed": run.failed,
        "ticks": run.ticks,
        "task_seconds": _spread(run.task_seconds),
        "check_seconds": _spread(run.check_seconds),
        "lines_of_the_check": {line.text: share for share, line in samples.shares(samples.within, MOST_LINES)},
        "lines": {line.text: share for share, line in samples.shares(samples.innermost, MOST_LINES)},
        "machine": machine(),
        "libraries": library_versions("celery", "django", "numpy", "psycopg", "pyarrow", "redis", "scipy"),
    }


def text_of(run: "Run", samples: Samples) -> str:
    """Return the figures for a person."""
    task, check = _spread(run.task_seconds), _spread(run.check_seconds)
    verdict = "met" if run.is_complete and run.seconds <= REQUIRED_SECONDS else "missed"
    lines = [
        f"{run.checked:,} of {run.models:,} models checked by one worker in {run.seconds:.1f} s "
        f"(at most {REQUIRED_SECONDS} s: {verdict}); {run.failed} failed",
        f"a task: median {seconds_text(task['median'])}, 95th percentile {seconds_text(task['p95'])}, "
        f"all together {seconds_text(task['sum'])}",
        f"the comparison in it: median {seconds_text(check['median'])}, 95th percentile {seconds_text(check['p95'])}",
        f"\nWhere a check's time goes, by the lines of {CHECKS_FILE}:",
        *(f"{share:6.1%}  {line.text}" for share, line in samples.shares(samples.within, MOST_LINES)),
        "\nAnd by the innermost line of ours:",
        *(f"{share:6.1%}  {line.text}" for share, line in samples.shares(samples.innermost, MOST_LINES)),
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__, epilog=ESTIMATE)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--models", type=int, default=MODELS, help="%(default)s")
    parser.add_argument("--features", type=int, default=FEATURES, help="of each model (%(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="of the worker; `make run` has two (%(default)s)")
    parser.add_argument("--window-rows", type=int, default=WINDOW_ROWS, help="in each live window (%(default)s)")
    parser.add_argument("--reference-rows", type=int, default=REFERENCE_ROWS, help="of each model (%(default)s)")
    return parser


if __name__ == "__main__":
    main()
