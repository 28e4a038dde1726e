"""The load of the serving benchmark: what counts as an error, its rate, and the CPU time of a tree of processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.load import LoadError, Target, check_wrk, measured, tree_cpu_seconds, wait_until_quiet
from tests.benchmarks.http_stub import stub_server
from tests.services.debian_programs import program

BODIES = (b'{"features": [1]}', b'{"features": [2]}')
BURN = "import time\nwhile time.process_time() < 0.5: pass\n"
# A process that burns 0.5 s in a child that it waits for, and then in a child that lives on.
TREE = f"""
import subprocess, sys
burn = {BURN!r}
subprocess.run([sys.executable, "-c", burn], check=True)
child = subprocess.Popen([sys.executable, "-c", burn + "print('done', flush=True); input()"])
child.wait()
"""


def _target(port: int) -> Target:
    return Target(port, "/predict", {"Content-Type": "application/json"}, BODIES)


def test_every_status_but_200_is_an_error_of_wrk(tmp_path: Path) -> None:
    program("wrk")
    with stub_server([(200, b"{}"), (204, b""), (500, b"{}"), (200, b"{}")]) as (port, received):
        load = measured(_target(port), os.getpid(), seconds=1, folder=tmp_path)
    assert load.requests >= 20
    assert load.errors == pytest.approx(load.requests / 2, abs=16)  # a response for each connection may be missing
    assert set(received) == set(BODIES)
    assert load.p50_ms is not None
    assert load.p99_ms is not None
    assert 0 < load.p50_ms <= load.p99_ms < 1_000


def test_a_paced_load_keeps_its_rate(tmp_path: Path) -> None:
    with stub_server([(200, b"{}"), (200, b"{}"), (503, b"{}")]) as (port, received):
        load = measured(_target(port), os.getpid(), seconds=1, folder=tmp_path, per_second=60)
    assert (load.requests, load.errors, len(received)) == (60, 20, 60)
    assert 40 < load.per_second <= 62
    assert received.count(BODIES[0]) == received.count(BODIES[1]) == 30


def test_a_server_that_has_ended_is_no_result(tmp_path: Path) -> None:
    program("wrk")
    with stub_server([(200, b"{}")]) as (port, _):
        pass
    load = measured(_target(port), os.getpid(), seconds=0.1, folder=tmp_path, per_second=30)
    assert (load.requests, load.errors, load.p50_ms) == (3, 3, None)
    with pytest.raises(LoadError, match="wrk ended with status 1"):
        measured(_target(port), os.getpid(), seconds=1, folder=tmp_path)


def test_a_missing_wrk_is_reported_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LoadError, match="apt-get install wrk"):
        check_wrk()


def test_the_cpu_time_of_a_tree_has_living_and_ended_children() -> None:
    """Each child burns 0.5 s by its own clock; starting three interpreters takes some more."""
    with subprocess.Popen(
        [sys.executable, "-c", TREE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        seconds = tree_cpu_seconds(process.pid)
        process.communicate("\n")
    assert 0.95 < seconds < 2.5
    with pytest.raises(LoadError, match="has ended"):
        tree_cpu_seconds(process.pid)


def test_a_busy_tree_is_not_quiet() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            assert not wait_until_quiet([busy.pid], seconds=5, at_most=1.5)
        finally:
            busy.kill()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as idle:
        assert wait_until_quiet([idle.pid], seconds=0.5, at_most=20)
        idle.communicate(b"\n")
