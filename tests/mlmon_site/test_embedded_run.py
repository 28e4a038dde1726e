"""The embedded run on SQLite and Valkey, as a new user starts it."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from inference.stream import rows_seen
from mlmon_site.valkey import answers
from tests.mlmon_site.test_settings import PRODUCTION, PROJECT
from tests.services.embedded_run import EmbeddedRun, Process, embedded_run, kill, start_embedded_run
from tests.services.processes import await_condition, child_pids, is_alive

pytestmark = pytest.mark.timeout(240)

IRIS_FEATURES = 4


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRun]:
    """A run with the demo, shared by the tests that leave it healthy."""
    with embedded_run(tmp_path_factory.mktemp("embedded") / "var") as run:
        yield run


def test_the_first_minutes_of_a_new_user(running: EmbeddedRun) -> None:
    """The README's steps: a hundred predictions, metrics of both processes, a drift check started by beat."""
    assert {running.predict() for _ in range(100)} == {200}

    counted = running.samples("ml_prediction_requests_total")
    assert sum(value for labels, value in counted if labels["status"] == "success") == 100

    def scores() -> list[str]:
        return [labels["feature_name"] for labels, _ in running.samples("ml_feature_drift_score")]

    await_condition(lambda: len(set(scores())) == IRIS_FEATURES, "not every feature has a score", seconds=60)

    status, answer = running.request("GET", "/drift")
    assert status == 200, answer
    features = json.loads(answer)["feature_drift"]
    assert len(features) == IRIS_FEATURES
    assert "reference_mean" in json.dumps(features)


def test_the_banner_shows_urls_login_and_first_steps(running: EmbeddedRun) -> None:
    base = f"http://localhost:{running.port}"
    for expected in (f"{base}/admin/", f"{base}/api/docs", f"{base}/metrics", f"{base}/drift", "manage.py replay"):
        assert expected in running.said


def test_the_password_is_shown_once_and_readable_by_its_owner_only(running: EmbeddedRun) -> None:
    path = running.folder / "admin_password"
    assert f"admin / {path.read_text()} " in running.said
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_only_the_owner_can_connect_to_valkey(running: EmbeddedRun) -> None:
    path = running.folder / "valkey.sock"
    assert answers(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_the_web_server_is_bound_to_the_loopback_interface(running: EmbeddedRun) -> None:
    listening = Path("/proc/net/tcp").read_text().splitlines()
    addresses = {line.split()[1] for line in listening if line.split()[1].endswith(f":{running.port:04X}")}
    bound = {line.split()[1] for line in listening if line.split()[3] == "0A"} & addresses
    assert bound == {f"0100007F:{running.port:04X}"}  # 127.0.0.1 in /proc


@pytest.mark.parametrize("word", ["worker", "beat", "mlmon_site.server", "unixsocket"])
def test_a_killed_program_is_restarted(word: str, running: EmbeddedRun) -> None:
    victim = _await_program(running, word)
    kill(victim)

    def predicts() -> bool:
        try:
            return running.predict() == 200
        except OSError:
            return False

    await_condition(lambda: not is_alive(victim.pid), "the killed process is still alive", seconds=5)
    _await_program(running, word)
    await_condition(predicts, seconds=20)
    if word == "beat":
        log = running.folder / "log" / "worker.log"
        await_condition(
            lambda: "DatabaseScheduler" in log.read_text().partition("Beat ended with status -9. Restarting it.")[2],
            "beat was not restarted with the schedules of the database",
            seconds=20,
        )
    else:
        assert "was killed by SIGKILL. Restarting in 0.5 s" in running.said


def test_beat_ends_with_its_worker_and_starts_with_the_next(running: EmbeddedRun) -> None:
    before = _await_program(running, "beat")
    kill(running.program("worker"))
    await_condition(lambda: not is_alive(before.pid), "the old beat is still alive", seconds=5)
    assert _await_program(running, "beat").parent_pid == running.program("worker").pid


def test_the_supervisor_has_loaded_no_package(running: EmbeddedRun) -> None:
    """Its process prepared the database with Django, and would keep that memory."""
    mapped = Path(f"/proc/{running.process.pid}/maps").read_text()
    assert "libpython" in mapped or "bin/python" in mapped
    assert "site-packages" not in mapped
    assert "sqlite" not in mapped


def dirty_kilobytes(pid: int) -> tuple[int, int]:
    """Return how much memory a process has written or would write that it shares with others, and that it has alone."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in rollup.splitlines()[1:]}
    return kilobytes["Shared_Dirty"], kilobytes["Private_Dirty"]


@pytest.mark.parametrize("word", ["mlmon_site.server", "worker"])
def test_the_processes_of_a_program_share_what_it_has_loaded(word: str, running: EmbeddedRun) -> None:
    """Most of what the first process has loaded is the same memory in those that it forked."""
    main = _await_program(running, word)
    forked = await_condition(lambda: child_pids(main.pid)[1:] and child_pids(main.pid), seconds=20)
    loaded = sum(dirty_kilobytes(main.pid))
    for pid in forked:
        shared, _ = dirty_kilobytes(pid)
        assert shared > 0.75 * loaded
        assert shared > 50_000


def test_a_killed_web_process_is_replaced_while_the_other_serves(running: EmbeddedRun) -> None:
    def both_answer() -> bool:
        latest = (running.folder / "log" / "web.log").read_text().rsplit("Starting granian", 1)[-1]
        return "Started worker-1" in latest and "Started worker-2" in latest

    await_condition(both_answer, seconds=20)
    victim, other = running.web_processes()
    kill(victim)
    # The kernel closes the sockets of a process before its end is visible.
    await_condition(lambda: not is_alive(victim.pid), "the process is still alive")
    assert {running.predict() for _ in range(20)} == {200}

    def is_replaced() -> bool:
        pids = {process.pid for process in running.web_processes()}
        return other.pid in pids and victim.pid not in pids and len(pids) == 2

    await_condition(is_replaced, seconds=20)
    await_condition(lambda: running.predict() == 200, seconds=10)


def test_a_second_run_in_the_folder_is_refused(running: EmbeddedRun) -> None:
    second = start_embedded_run(running.folder)
    assert second.process.wait(20) == 1
    assert (
        f"mlmon is already running here (process {running.process.pid}, http://localhost:{running.port})" in second.said
    )


def test_a_port_in_use_is_reported_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = start_embedded_run(tmp_path / "var", port=port)
        assert run.process.wait(20) == 1
    assert f"Port {port} is in use. Choose another one: make run PORT={port + 1}" in run.said
    assert "Traceback" not in run.said
    assert not (tmp_path / "var" / "mlmon.sqlite3").exists()
    assert run.processes() == []


def test_run_is_refused_in_production(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "manage.py", "run"],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"], "MLMON_VAR_DIR": str(tmp_path), **PRODUCTION},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "In production, start the web server" in result.stderr


def test_every_ending_leaves_no_process_and_keeps_the_data(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    with embedded_run(folder) as first:
        assert {first.predict() for _ in range(10)} == {200}
        assert first.ended_by(signal.SIGTERM) == 128 + signal.SIGTERM
        _assert_nothing_left(first)

    password = (folder / "admin_password").read_text()
    with embedded_run(folder) as second:
        assert password not in second.said
        assert "admin_password" in second.said
        assert _rows_seen(second) == 10  # captured by the first run, kept by Valkey
        second.process.kill()
        second.process.wait(5)
        await_condition(lambda: second.processes() == [], seconds=10)

    with embedded_run(folder) as third:
        assert third.predict() == 200
        assert third.ended_by(signal.SIGINT) == 128 + signal.SIGINT
        _assert_nothing_left(third)


def _await_program(run: EmbeddedRun, word: str) -> Process:
    """Return the process of a program, which may be about to start."""

    def started() -> Process | None:
        try:
            return run.program(word)
        except ValueError:
            return None

    return await_condition(started, f"{word} has not been started", seconds=20)


def _assert_nothing_left(run: EmbeddedRun) -> None:
    assert run.processes() == []
    assert not (run.folder / "run.lock").exists()
    assert not (run.folder / "valkey.sock").exists()
    assert "Traceback" not in run.said


def _rows_seen(run: EmbeddedRun) -> int:
    with redis.Redis(unix_socket_path=str(run.folder / "valkey.sock")) as client:
        return sum(rows_seen(client, range(1, 10)).values())
