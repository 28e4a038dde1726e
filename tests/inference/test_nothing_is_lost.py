"""20,000 predictions over HTTP while workers, web processes, Redis and PostgreSQL are killed or stopped."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.inference.killed_stack import Received, WebKill, account
from tests.services.debian_programs import program

PROJECT = Path(__file__).resolve().parent.parent.parent
PREDICTIONS = 20_000
KILLS = 3  # of the worker, and of a web process


@pytest.fixture(scope="module")
def figures() -> Any:
    """The results of one run."""
    program("postgres")
    command = [sys.executable, "-m", "tests.inference.killed_stack", "--predictions", str(PREDICTIONS)]
    done = subprocess.run(
        command, cwd=PROJECT, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-20_000:]
    print(done.stdout)  # noqa: T201 -- shown if a test fails
    return json.loads(done.stdout)


@pytest.mark.timeout(400)
def test_every_acknowledged_prediction_is_archived_once(figures: Any) -> None:
    """Except those that a killed web process made within its last flush interval."""
    assert figures["acknowledged"] >= PREDICTIONS
    assert figures["archived_twice"] == []
    assert figures["missing_unexplained"] == []
    lost_in_kills = sum(kill["lost"] for kill in figures["web_kills"])
    assert figures["missing"] == lost_in_kills
    assert figures["acknowledged_and_archived"] == figures["acknowledged"] - lost_in_kills
    assert figures["dropped"] == figures["rows_lost"] == 0
    assert figures["streams"] == 1


@pytest.mark.timeout(400)
def test_a_killed_web_process_loses_very_few_predictions(figures: Any) -> None:
    """Each kill loses less than 1 %: about one flush interval, and the run has hundreds of them."""
    assert max(kill["lost"] for kill in figures["web_kills"]) < figures["acknowledged"] / 100


@pytest.mark.timeout(400)
def test_the_archive_contains_only_predictions_of_the_clients(figures: Any) -> None:
    """All other archived ids have lost responses, at most one for each failed request."""
    assert figures["archived"] == figures["acknowledged_and_archived"] + figures["archived_unacknowledged"]
    assert figures["archived_unacknowledged"] <= sum(figures["failed"].values())


@pytest.mark.timeout(400)
def test_the_run_had_kills_and_outages(figures: Any) -> None:
    """Workers were killed while they held the lock, web processes while they predicted; predictions never stopped."""
    assert figures["worker_kills"] == len(figures["web_kills"]) == KILLS
    assert figures["worker_kills_with_the_lock"] >= 1
    assert all(kill["predicted"] > 0 for kill in figures["web_kills"])
    assert figures["predicted_without_redis"] > 0
    assert figures["predicted_without_postgresql"] > 0


def _id(milliseconds: int, number: int = 0) -> str:
    return f"{milliseconds:012x}7000800000000000{number:04x}"


def test_the_account_explains_only_what_a_kill_can_have_lost() -> None:
    """Four are missing: made too early, by a living process, shortly before the kill, and after it."""
    kill = WebKill(pid=7, sent_ms=100_000.0, dead_ms=100_005.0)
    early, others, explained, late = _id(98_000), _id(99_950, 1), _id(99_950, 2), _id(100_010)
    kept, twice, unknown = _id(50_000), _id(60_000), _id(70_000)
    pids = {early: 7, others: 8, explained: 7, late: 7, kept: 7, twice: 8}
    figures = account(Received(pids=pids, failed={"ConnectionResetError": 1}), [kept, twice, twice, unknown], [kill])
    assert figures["missing_unexplained"] == sorted([early, others, late])
    assert figures["web_kills"] == [{"pid": 7, "predicted": 4, "lost": 1, "oldest_lost_ms": 50.0}]
    assert figures["archived_twice"] == [twice]
    assert figures["archived_unacknowledged"] == 1
    assert (figures["acknowledged"], figures["acknowledged_and_archived"], figures["archived"]) == (6, 2, 4)
