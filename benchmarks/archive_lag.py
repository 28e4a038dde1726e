"""Whether the archive keeps up with a steady load: how far it is behind, and how busy its worker is.

``python -m benchmarks.archive_lag [--json FILE]`` starts PostgreSQL (commits are written to disk before they return),
Redis and one real Celery worker, appends observations at a fixed rate like the flushes of two web processes, and sends
the archive tick as beat does. docs/benchmarks.md has the details.
"""

import os
import re
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import argument_parser, conditions, progress, seconds_text, write_json
from benchmarks.services import own_services
from tests.services.postgresql import DURABLE

ROWS_PER_SECOND, FEATURES, SECONDS = 5_000, 20, 60
ENTRIES_PER_SECOND = 20  # two web processes flush every 100 ms
SAMPLES_PER_SECOND = 4
LONGEST_DRAIN_SECONDS = 60.0
PAUSE_SECONDS = 0.005
DURATION = "Takes a little more than a minute."
_SUCCEEDED = re.compile(r"Task inference\.tasks\.archive_observations\[[^]]*\] succeeded in ([0-9.e-]+)s")


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows appended and archived, some seconds after the start."""

    seconds: float
    appended: int
    archived: int

    @property
    def lag_rows(self) -> int:
        """Rows that are only in the stream."""
        return self.appended - self.archived


@dataclass(frozen=True, slots=True)
class Run:
    """What the worker did.

    Attributes
    ----------
    samples
        Taken while rows were appended.
    end
        Taken when all rows were archived, or at the time limit.
    rows_lost
        As counted by the archive.
    task_seconds
        Duration of each task, from the worker's log.
    """

    samples: Sequence[Sample]
    end: Sample
    rows_lost: int
    task_seconds: Sequence[float]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argument_parser("archive_lag", __doc__, DURATION)
    parser.add_argument("--rows-per-second", type=int, default=ROWS_PER_SECOND, help="%(default)s")
    parser.add_argument("--features", type=int, default=FEATURES, help="%(default)s")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="duration of the load (%(default)s)")
    parsed = parser.parse_args(arguments)
    progress(DURATION)
    with own_services(postgresql_settings=DURABLE) as folder:
        from django.conf import settings

        run = run_worker(folder, parsed)
        figures = figures_of(run, tick_seconds=float(settings.MLMON_ARCHIVE_TICK_SECONDS))
    sys.stdout.write(text_of(figures))
    write_json(parsed.json, {**figures, "features": parsed.features})


def run_worker(folder: Path, options: Namespace) -> Run:
    """Run the load against one worker whose log is in `folder`. Django must be set up."""
    from django.conf import settings

    from benchmarks.window_readers import new_version, observations
    from inference.observations import append_observations
    from inference.selectors import archive_position
    from inference.stream import redis_client
    from mlmon_site.celery import app
    from tests.services.celery_worker import celery_worker

    version_id = new_version("steady")
    entry: Any = settings.CELERY_BEAT_SCHEDULE["archive-tick"]

    def append(rows: int, number: int) -> None:
        table = observations(rows, options.features, seed=number)
        append_observations(redis_client(), version_id, table, max_entries=settings.MLMON_STREAM_ROWS)

    def archived() -> int:
        position = archive_position(version_id)
        return position.rows_archived if position else 0

    with celery_worker(os.environ, folder):
        samples, end = steady_load(
            append=append,
            archived=archived,
            tick=lambda: app.send_task(entry["task"], **entry["options"]),
            tick_seconds=float(settings.MLMON_ARCHIVE_TICK_SECONDS),
            rows_per_second=options.rows_per_second,
            seconds=options.seconds,
        )
    position = archive_position(version_id)
    found = _SUCCEEDED.findall((folder / "worker.log").read_text())
    return Run(samples, end, position.rows_lost if position else 0, [float(one) for one in found])


def steady_load(
    *,
    append: Callable[[int, int], object],
    archived: Callable[[], int],
    tick: Callable[[], object],
    tick_seconds: float,
    rows_per_second: int,
    seconds: float,
) -> tuple[list[Sample], Sample]:
    """Append at a fixed rate and tick; afterwards only tick until all rows are archived, at most for a minute.

    Parameters
    ----------
    append
        Appends an entry. Its arguments are the number of rows and the number of the entry.
    archived
        Returns how many rows are archived.
    tick
        Called every `tick_seconds`.

    Returns
    -------
    tuple of list of Sample and Sample
        Samples during the load, and the last one.
    """
    rows = max(1, rows_per_second // ENTRIES_PER_SECOND)
    started, ticks, appended = time.monotonic(), 0, 0
    samples: list[Sample] = []
    while True:
        elapsed = time.monotonic() - started
        if elapsed >= ticks * tick_seconds:
            tick()
            ticks += 1
        if elapsed >= len(samples) / SAMPLES_PER_SECOND:
            samples.append(Sample(elapsed, appended, archived()))
        is_over = elapsed >= seconds
        if is_over and (samples[-1].lag_rows == 0 or elapsed >= seconds + LONGEST_DRAIN_SECONDS):
            return [one for one in samples if one.seconds < seconds], samples[-1]
        if not is_over and appended <= elapsed * rows_per_second:
            append(rows, appended // rows)
            appended += rows
        else:
            time.sleep(PAUSE_SECONDS)


def figures_of(run: Run, *, tick_seconds: float) -> dict[str, Any]:
    """Return the results for the JSON file."""
    last = run.samples[-1]
    third = len(run.samples) // 3
    lags = [sample.lag_rows for sample in run.samples]
    return {
        "rows_per_second": last.appended / last.seconds,
        "seconds": last.seconds,
        "appended": run.end.appended,
        "archived": run.end.archived,
        "rows_lost": run.rows_lost,
        "tick_seconds": tick_seconds,
        "longest_lag_rows": max(lags),
        # The lag grows from third to third if the archive cannot keep up.
        "longest_lag_rows_by_third": [max(lags[start : start + third]) for start in (0, third, 2 * third)],
        "longest_lag_seconds": max(lags) / (last.appended / last.seconds),
        "drain_seconds": run.end.seconds - last.seconds,
        "task_seconds": list(run.task_seconds),
        "busy_share": sum(run.task_seconds) / run.end.seconds,
        **conditions("numpy", "psycopg", "pyarrow", "redis"),
    }


def text_of(figures: dict[str, Any]) -> str:
    """Return the results for a person."""
    thirds = ", ".join(f"{rows:,}" for rows in figures["longest_lag_rows_by_third"])
    lines = [
        f"{figures['appended']:,} observations, {figures['rows_per_second']:,.0f} a second for "
        f"{figures['seconds']:.0f} s; archived {figures['archived']:,}, lost {figures['rows_lost']:,}.",
        f"At most {figures['longest_lag_rows']:,} rows ({seconds_text(figures['longest_lag_seconds'])}) behind, "
        f"with a tick every {figures['tick_seconds']:.0f} s; in the thirds of the run: {thirds}.",
        f"The worker was busy {figures['busy_share']:.1%} of the time. The last row was archived "
        f"{seconds_text(figures['drain_seconds'])} after the end of the load.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
