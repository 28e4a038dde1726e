"""Everything at once: 20,000 predictions over HTTP while workers, web processes, Redis and PostgreSQL go and come."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.inference.killed_stack import Answers, WebKill, account
from tests.services.debian_programs import program

PROJECT = Path(__file__).resolve().parent.parent.parent
PREDICTIONS = 20_000
KILLS = 3  # of the worker, and of a web process


@pytest.fixture(scope="module")
def figures() -> Any:
    """What became of the predictions of one run."""
    program("postgres")
    command = [sys.executable, "-m", "tests.inference.killed_stack", "--predictions", str(PREDICTIONS)]
    done = subprocess.run(
        command, cwd=PROJECT, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-20_000:]
    print(done.stdout)  # noqa: T201 -- shown where a test fails
    return json.loads(done.stdout)


@pytest.mark.timeout(400)
def test_every_acknowledged_prediction_is_archived_once(figures: Any) -> None:
    """But for those that a killed web process had answered within its last flush interval."""
    assert figures["acknowledged"] >= PREDICTIONS
    assert figures["archived_twice"] == []
    assert figures["missing_unexplained"] == []
    lost_in_kills = sum(kill["lost"] for kill in figures["web_kills"])
    assert figures["missing"] == lost_in_kills
    assert figures["acknowledged_and_archived"] == figures["acknowledged"] - lost_in_kills
    assert figures["dropped"] == figures["rows_lost"] == 0
    assert figures["streams"] == 1


@pytest.mark.timeout(400)
def test_a_killed_web_process_loses_next_to_nothing(figures: Any) -> None:
    """Each kill less than one in a hundred of all: about a flush interval's worth, and the run has hundreds of them."""
    assert max(kill["lost"] for kill in figures["web_kills"]) < figures["acknowledged"] / 100


@pytest.mark.timeout(400)
def test_what_is_archived_was_asked_for(figures: Any) -> None:
    """The archive has no id but the clients' and those whose answer was lost, at most one for each failed request."""
    assert figures["archived"] == figures["acknowledged_and_archived"] + figures["archived_unacknowledged"]
    assert figures["archived_unacknowledged"] <= sum(figures["failed"].values())


@pytest.mark.timeout(400)
def test_it_was_an_ordeal(figures: Any) -> None:
    """Workers died holding the archive's lock, processes while they answered, and predictions went on all the time."""
    assert figures["worker_kills"] == len(figures["web_kills"]) == KILLS
    assert figures["worker_kills_with_the_lock"] >= 1
    assert all(kill["answered"] > 0 for kill in figures["web_kills"])
    assert figures["answered_without_redis"] > 0
    assert figures["answered_without_postgresql"] > 0


def _id(milliseconds: int, number: int = 0) -> str:
    return f"{milliseconds:012x}7000800000000000{number:04x}"


def test_the_account_explains_only_what_a_kill_may_have_lost() -> None:
    """Four are missing: answered too early, by a process that lives, shortly before the kill, and after it."""
    kill = WebKill(pid=7, sent_ms=100_000.0, dead_ms=100_005.0)
    early, others, explained, late = _id(98_000), _id(99_950, 1), _id(99_950, 2), _id(100_010)
    kept, twice, unknown = _id(50_000), _id(60_000), _id(70_000)
    pids = {early: 7, others: 8, explained: 7, late: 7, kept: 7, twice: 8}
    told = account(Answers(pids=pids, failed={"ConnectionResetError": 1}), [kept, twice, twice, unknown], [kill])
    assert told["missing_unexplained"] == sorted([early, others, late])
    assert told["web_kills"] == [{"pid": 7, "answered": 4, "lost": 1, "oldest_lost_ms": 50.0}]
    assert told["archived_twice"] == [twice]
    assert told["archived_unacknowledged"] == 1
    assert (told["acknowledged"], told["acknowledged_and_archived"], told["archived"]) == (6, 2, 4)
