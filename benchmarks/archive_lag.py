"""Does the archive keep up with a steady load: how far is it behind, and how busy is its worker?

``python -m benchmarks.archive_lag [--json FILE]`` starts a PostgreSQL, whose commits are on the disk when they are
answered, a Redis and one real Celery worker, appends observations at a fixed rate as the flushes of two web processes
do, and ticks as beat does. docs/benchmarks.md has the details.
"""

import argparse
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import library_versions, machine
from benchmarks.report import progress, seconds_text, write_json
from benchmarks.services import own_services
from tests.services.postgresql import DURABLE

ROWS_PER_SECOND, FEATURES, SECONDS = 5_000, 20, 60
ENTRIES_PER_SECOND = 20  # a flush of each of two web processes every 100 ms
SAMPLES_PER_SECOND = 4
LONGEST_DRAIN_SECONDS = 60.0
PAUSE_SECONDS = 0.005
ESTIMATE = "A little more than a minute."
_SUCCEEDED = re.compile(r"Task inference\.tasks\.archive_observations\[[^]]*\] succeeded in ([0-9.e-]+)s")


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows appended and archived so many seconds after the beginning."""

    seconds: float
    appended: int
    archived: int

    @property
    def lag_rows(self) -> int:
        """Rows that are in the stream only."""
        return self.appended - self.archived


@dataclass(frozen=True, slots=True)
class Run:
    """What was seen.

    Attributes
    ----------
    samples
        While rows were appended.
    end
        When all were archived, or it was given up.
    rows_lost
        As the archive counts them.
    task_seconds
        What each run of the task took, as the worker says.
    """

    samples: Sequence[Sample]
    end: Sample
    rows_lost: int
    task_seconds: Sequence[float]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    asked = _parser().parse_args(arguments)
    progress(ESTIMATE)
    with own_services(postgresql_settings=DURABLE) as folder:
        run = archived_by_a_worker(folder, asked)
    figures = figures_of(run, tick_seconds=_tick_seconds())
    sys.stdout.write(text_of(figures))
    write_json(asked.json, {**figures, "features": asked.features})


def archived_by_a_worker(folder: Path, asked: argparse.Namespace) -> Run:
    """Return what one worker with one process did; Django is set up, and the worker's log goes to `folder`."""
    # Only now: the settings read the addresses of the services when they load.
    from benchmarks.window_readers import new_version
    from inference.selectors import archive_position
    from tests.services.celery_worker import celery_worker

    version_id = new_version("steady")
    with celery_worker(os.environ, folder):
        samples, end = steady_load(
            append=lambda rows, number: append(version_id, rows, asked.features, number),
            archived=lambda: archived_rows(version_id),
            tick=send_tick,
            tick_seconds=_tick_seconds(),
            rows_per_second=asked.rows_per_second,
            seconds=asked.seconds,
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
    """Append at a rate and tick, for so many seconds; then only tick, until everything is archived or for a minute.

    Parameters
    ----------
    append
        Appends so many rows; the other number tells the entries apart.
    archived
        Returns how many rows are archived.
    tick
        Called every `tick_seconds`.
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


def append(version_id: int, rows: int, features: int, number: int) -> None:
    """Append an entry to the version's stream."""
    from django.conf import settings

    from benchmarks.window_readers import observations
    from inference import stream
    from inference.redis_client import redis_client

    table = observations(rows, features, seed=number)
    stream.append(redis_client(), version_id, table, max_entries=settings.MLMON_STREAM_ROWS)


def archived_rows(version_id: int) -> int:
    """Return how many rows of the version are archived."""
    from inference.selectors import archive_position

    position = archive_position(version_id)
    return position.rows_archived if position else 0


def send_tick() -> None:
    """Send what beat sends."""
    from django.conf import settings

    from mlmon_site.celery import app

    entry: Any = settings.CELERY_BEAT_SCHEDULE["archive-tick"]
    app.send_task(entry["task"], **entry["options"])


def figures_of(run: Run, *, tick_seconds: float) -> dict[str, Any]:
    """Return the figures as they are written."""
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
        # Of the run's three thirds: where the archive falls behind they grow.
        "longest_lag_rows_by_third": [max(lags[start : start + third]) for start in (0, third, 2 * third)],
        "longest_lag_seconds": max(lags) / (last.appended / last.seconds),
        "drain_seconds": run.end.seconds - last.seconds,
        "task_seconds": list(run.task_seconds),
        "busy_share": sum(run.task_seconds) / run.end.seconds,
        "machine": machine(),
        "libraries": library_versions("numpy", "psycopg", "pyarrow", "redis"),
    }


def text_of(figures: dict[str, Any]) -> str:
    """Return the figures for a person."""
    thirds = ", ".join(f"{rows:,}" for rows in figures["longest_lag_rows_by_third"])
    lines = [
        f"{figures['appended']:,} observations, {figures['rows_per_second']:,.0f} a second for "
        f"{figures['seconds']:.0f} s; archived {figures['archived']:,}, lost {figures['rows_lost']:,}.",
        f"Behind by {figures['longest_lag_rows']:,} rows, {seconds_text(figures['longest_lag_seconds'])}, at the most, "
        f"with a tick every {figures['tick_seconds']:.0f} s; in the thirds of the run by {thirds}.",
        f"The worker was busy for {figures['busy_share']:.1%} of the time; the last row was archived "
        f"{seconds_text(figures['drain_seconds'])} after the load had ended.",
    ]
    return "\n".join(lines) + "\n"


def _tick_seconds() -> float:
    from django.conf import settings

    return float(settings.MLMON_ARCHIVE_TICK_SECONDS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.archive_lag", description=__doc__, epilog=ESTIMATE)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--rows-per-second", type=int, default=ROWS_PER_SECOND, help="%(default)s")
    parser.add_argument("--features", type=int, default=FEATURES, help="%(default)s")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of the load (%(default)s)")
    return parser


if __name__ == "__main__":
    main()
