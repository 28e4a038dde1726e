"""The fleet benchmark with three models, checked in the process of the test."""

import json
import time

import pytest
import redis

from benchmarks import fleet
from benchmarks.fleet import Run
from benchmarks.fleet_models import check_all, create_fleet
from benchmarks.sampling import Samples, sampled
from drift.models import CheckStatus, DriftCheck
from drift.selectors import due_versions
from mlmon.values import category_name

OPTIONS = {"models": 3, "features": 6, "window_rows": 600, "reference_rows": 2_000, "processes": 1}


@pytest.mark.django_db
def test_every_model_of_the_fleet_is_due_and_is_checked(redis_client: redis.Redis) -> None:
    versions = create_fleet(3, features=6, reference_rows=2_000, window_rows=600)
    assert sorted(version.pk for version in due_versions()) == sorted(versions)

    check_all(versions)

    checks = DriftCheck.objects.order_by("version_id")
    assert [check.status for check in checks] == [CheckStatus.SUCCEEDED] * 3
    assert {(check.n_features, check.n_current, check.n_reference) for check in checks} == {(6, 600, 2_000)}
    # The first model of twenty has drifted by half a standard deviation in its first feature.
    assert [check.n_drifted_features for check in checks] == [1, 0, 0]
    assert due_versions() == []


def test_the_figures_show_whether_all_models_were_checked_in_time() -> None:
    run = Run(models=3, checked=3, failed=0, seconds=12.5, ticks=1, task_seconds=[0.1, 0.2, 0.4], check_seconds=[0.05])
    figures = json.loads(json.dumps(fleet.figures_of(run, Samples(), OPTIONS)))

    assert (figures["seconds"], figures["required_seconds"], figures["is_complete"]) == (12.5, 60, True)
    assert figures["models"] == 3
    # numpy.percentile([.1, .2, .4], 95) = .38
    assert figures["task_seconds"] == {"median": 0.2, "p95": pytest.approx(0.38), "sum": pytest.approx(0.7)}
    assert figures["check_seconds"]["median"] == 0.05
    assert "12.5 s (at most 60 s: met)" in fleet.text_of(run, Samples())


@pytest.mark.parametrize(
    "run",
    [
        Run(models=3, checked=2, failed=0, seconds=30, ticks=2, task_seconds=[0.1], check_seconds=[0.1]),
        Run(models=3, checked=3, failed=1, seconds=30, ticks=2, task_seconds=[0.1], check_seconds=[0.1]),
        Run(models=3, checked=3, failed=0, seconds=61, ticks=4, task_seconds=[0.1], check_seconds=[0.1]),
    ],
    ids=["one unchecked", "one failed", "too slow"],
)
def test_a_missed_target_is_reported(run: Run) -> None:
    assert "missed" in fleet.text_of(run, Samples())


def test_samples_count_for_lines_of_the_project() -> None:
    def work() -> None:
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            for value in range(200):
                category_name(value + 0.5)

    samples = sampled(work, file="mlmon/values.py")

    assert samples.total > 20
    assert {line.function for line in samples.innermost} == {"category_name"}
    assert samples.within == samples.innermost
    ((text, share),) = samples.report(samples.within, 1).items()
    assert 0 < share <= 1
    assert text.startswith("mlmon/values.py:")
