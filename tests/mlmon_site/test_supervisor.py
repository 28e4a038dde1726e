"""The supervisor with real processes."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlmon_site import supervisor as supervisor_module
from mlmon_site.supervisor import Program, StopRequested, Supervisor, stop_signals_raise
from tests.services.processes import PROJECT, await_condition, is_alive

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
PARENT = (
    "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()']); "
    "print('child', child.pid, flush=True); signal.pause()"
)


class Console:
    """Collects the messages of the supervisor."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def console() -> Console:
    return Console()


@pytest.fixture
def supervisor(console: Console) -> Iterator[Supervisor]:
    made = Supervisor(folder=PROJECT, say=console)
    yield made
    made.stop()


def _program(code: str, folder: Path, *, name: str = "program", stop_seconds: float = 5.0) -> Program:
    return Program(name, [sys.executable, "-c", code], folder / f"{name}.log", stop_seconds=stop_seconds)


def _tended(supervisor: Supervisor, console: Console, *, lines: int) -> bool:
    """Let the supervisor check its programs once, and return whether it has said so many lines."""
    supervisor.tend()
    return len(console.lines) >= lines


def _log_has(program: Program, pattern: str) -> bool:
    return re.search(pattern, program.log.read_text()) is not None


def test_a_program_that_ends_is_restarted_after_a_growing_pause(
    supervisor: Supervisor, console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "LONGEST_PAUSE_SECONDS", 1.0)
    supervisor.start(_program("raise SystemExit(3)", tmp_path))
    await_condition(lambda: _tended(supervisor, console, lines=6), seconds=10, pause=0.02)
    pauses = [line.split("Restarting in ")[1].split(" s")[0] for line in console.lines if "Restarting in" in line]
    assert pauses[:3] == ["0.5", "1", "1"]
    assert "program ended with status 3" in console.lines[0]


def test_the_pause_is_reset_after_a_long_run(
    supervisor: Supervisor, console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "HEALTHY_AFTER_SECONDS", 0.0)
    supervisor.start(_program("raise SystemExit(0)", tmp_path))
    await_condition(lambda: _tended(supervisor, console, lines=3), seconds=6)
    assert all("in 0.5 s" in line for line in console.lines if "Restarting" in line)


def test_a_program_that_ignores_term_is_killed_with_its_children(supervisor: Supervisor, tmp_path: Path) -> None:
    program = _program(STUBBORN.replace("signal.pause()", PARENT), tmp_path, stop_seconds=0.3)
    supervisor.start(program)
    await_condition(lambda: _log_has(program, r"child \d+"), seconds=5)
    child = int(re.findall(r"child (\d+)", program.log.read_text())[0])
    started = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - started < 3
    await_condition(lambda: not is_alive(child), seconds=2)


def test_programs_are_stopped_in_reverse_order(supervisor: Supervisor, tmp_path: Path) -> None:
    code = (
        "import signal, sys; from pathlib import Path\n"
        "def end(*_):\n    Path({log!r}).open('a').write({name!r} + ' '); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); print('up', flush=True); signal.pause()"
    )
    order = tmp_path / "order"
    programs = [_program(code.format(log=str(order), name=name), tmp_path, name=name) for name in ("a", "b", "c")]
    for program in programs:
        supervisor.start(program)
    await_condition(lambda: all(_log_has(program, "up") for program in programs), seconds=5)
    supervisor.stop()
    assert order.read_text().split() == ["c", "b", "a"]


def test_the_programs_of_a_killed_supervisor_end(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from mlmon_site.supervisor import Program, Supervisor\n"
        "supervisor = Supervisor(folder=Path.cwd(), say=print)\n"
        "supervisor.start(Program('p', [sys.executable, '-c', 'import os, signal; print(os.getpid(), flush=True); "
        f"signal.pause()'], Path({str(tmp_path / 'p.log')!r}), stop_seconds=1))\n"
        "import signal; signal.pause()"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT) as process:
        log = tmp_path / "p.log"
        await_condition(lambda: log.exists() and log.read_text().strip().isdigit(), seconds=10)
        pid = int(log.read_text())
        assert is_alive(pid)
        process.kill()
    await_condition(lambda: not is_alive(pid), seconds=2)


def _stop_twice(number: int) -> None:
    with stop_signals_raise():
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)  # the second signal does not interrupt the stop


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_signal_raises_once_with_the_exit_status(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(StopRequested) as caught:
        _stop_twice(number)
    assert caught.value.exit_status == 128 + number
    assert signal.getsignal(number) is before


def test_a_large_log_is_renamed_at_the_start(supervisor: Supervisor, tmp_path: Path) -> None:
    program = _program("print('up')", tmp_path)
    program.log.write_bytes(b"x" * (supervisor_module.ROTATE_LOG_AT_BYTES + 1))
    supervisor.start(program)
    await_condition(lambda: program.log.read_text() == "up\n", seconds=5)
    assert (tmp_path / "program.log.1").stat().st_size == supervisor_module.ROTATE_LOG_AT_BYTES + 1


def test_a_small_log_is_continued(supervisor: Supervisor, tmp_path: Path) -> None:
    program = _program("print('up')", tmp_path)
    program.log.write_text("line\n")
    supervisor.start(program)
    await_condition(lambda: program.log.read_text() == "line\nup\n", seconds=5)
    assert list(tmp_path.iterdir()) == [program.log]
