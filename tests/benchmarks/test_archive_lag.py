"""The benchmark of the archive under a steady load, with a short load."""

import argparse
import json
from pathlib import Path

import pytest
import redis
from pytest_django.fixtures import Settings

from benchmarks.archive_lag import Run, Sample, figures_of, run_worker, steady_load, text_of
from tests.conftest import environment_of_tests


@pytest.mark.django_db(transaction=True)
def test_a_worker_archives_all_of_a_short_load(
    redis_client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.MLMON_ARCHIVE_TICK_SECONDS = 1
    monkeypatch.setenv("DATABASE_URL", environment_of_tests()["DATABASE_URL"])
    run = run_worker(tmp_path, argparse.Namespace(rows_per_second=2_000, features=5, seconds=1.0))
    assert run.end.archived == run.end.appended
    assert 1_000 <= run.end.appended <= 2_200
    assert run.rows_lost == 0
    assert len(run.task_seconds) >= 1


def test_the_load_keeps_its_rate_and_ends_when_all_rows_are_archived() -> None:
    """An archive that takes everything at each tick is at most one tick behind."""
    waiting: list[int] = []
    archived = [0]

    def tick() -> None:
        archived[0] += sum(waiting)
        waiting.clear()

    samples, end = steady_load(
        append=lambda rows, number: waiting.append(rows),
        archived=lambda: archived[0],
        tick=tick,
        tick_seconds=0.5,
        rows_per_second=4_000,
        seconds=1.6,
    )
    assert end.lag_rows == 0
    assert 6_000 <= end.appended <= 6_600
    assert 0 < max(sample.lag_rows for sample in samples) <= 4_000


def test_the_figures_show_an_archive_that_falls_behind() -> None:
    """By hand: of 100 rows a second, 60 are archived, so the lag grows by 40 rows a second."""
    samples = [Sample(float(second), 100 * second, 60 * second) for second in range(1, 10)]
    run = Run(samples, end=Sample(18.0, 900, 900), rows_lost=0, task_seconds=[4.5, 4.5])
    figures = figures_of(run, tick_seconds=10)
    assert figures["longest_lag_rows_by_third"] == [120, 240, 360]
    assert figures["rows_per_second"] == pytest.approx(100)
    assert figures["longest_lag_seconds"] == pytest.approx(3.6)
    assert figures["drain_seconds"] == pytest.approx(9)
    assert figures["busy_share"] == pytest.approx(0.5)
    assert json.loads(json.dumps(figures)) == figures
    assert "At most 360 rows (3.6 s) behind" in text_of(figures)
