"""Real processes: which ones end together, and what runs when they end."""

import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlmon_site.ports import port_is_free
from mlmon_site.processes import bound_command
from mlmon_site.supervisor import AlreadyRunningError, run_lock
from tests.services.processes import free_port

PROJECT = Path(__file__).resolve().parent.parent.parent
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_bound_command_runs_unchanged() -> None:
    result = subprocess.run(bound_command(_python("print('a b')")), capture_output=True, text=True, check=True)
    assert result.stdout == "a b\n"


@on_linux
def test_a_command_whose_parent_has_died_does_not_start() -> None:
    command = bound_command(_python("print('started')"))
    command[command.index("--parent") + 1] = "1"
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (-signal.SIGTERM, "")


def test_the_action_runs_once_at_a_normal_exit() -> None:
    code = "from mlmon_site.processes import at_process_end; at_process_end(lambda: print('flushed', flush=True))"
    result = subprocess.run(_python(code), cwd=PROJECT, capture_output=True, text=True, check=True)
    assert result.stdout == "flushed\n"


def test_the_action_runs_once_at_the_exit_of_a_forked_process() -> None:
    """granian forks its workers with multiprocessing, which skips `atexit`."""
    code = (
        "import multiprocessing, os\n"
        "from mlmon_site.processes import at_process_end\n"
        "def work(): at_process_end(lambda: os.write(1, b'flushed\\n'))\n"
        "process = multiprocessing.get_context('fork').Process(target=work); process.start(); process.join()"
    )
    result = subprocess.run(_python(code), cwd=PROJECT, capture_output=True, text=True, check=True)
    assert result.stdout == "flushed\n"
    assert "fork" in multiprocessing.get_all_start_methods()


@pytest.mark.parametrize("platform", [pytest.param("linux", marks=on_linux), "darwin"])
def test_an_orphan_that_never_runs_python_again_is_killed(platform: str) -> None:
    """TERM's handler waits in C with the interpreter lock held, as in granian's issue 875."""
    code = (
        "import ctypes, os, signal, sys\n"
        f"sys.platform = {platform!r}\n"
        "from mlmon_site.processes import end_when_orphaned\n"
        "parent = os.getpid()\n"
        "if os.fork():\n"
        "    signal.pause()\n"
        "signal.signal(signal.SIGTERM, lambda *_: ctypes.PyDLL(None).sleep(60))\n"
        "end_when_orphaned(parent, within_seconds=0.5)\n"
        "print('watches', flush=True)\n"
        "signal.pause()"
    )
    with subprocess.Popen(_python(code), cwd=PROJECT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"watches\n"
        process.kill()
        killed_at = time.monotonic()
        assert process.stdout.read() == b""  # the end of the orphan's output shows its own end
    assert 0.5 <= time.monotonic() - killed_at < 30


def test_a_signal_that_arrives_just_before_a_wait_is_handled() -> None:
    """A signal to another thread does not wake the main thread, like one that arrives just before the wait."""
    code = (
        "import os, signal, sys, threading\n"
        "from mlmon_site.processes import wake_for_signals\n"
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(7))\n"
        "wake_for_signals(every_seconds=0.5)\n"
        "def send():\n"
        "    main = threading.main_thread().ident\n"
        "    while sys._current_frames()[main].f_code.co_name != 'wait':\n"
        "        pass\n"
        "    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)\n"
        "threading.Thread(target=send, daemon=True).start()\n"
        "threading.Event().wait()"
    )
    assert subprocess.run(_python(code), cwd=PROJECT, timeout=60, check=False).returncode == 7


def test_one_process_holds_the_lock_and_the_file_names_it(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with (
        run_lock(path, holder="process 17"),
        pytest.raises(AlreadyRunningError, match=r"already running here \(process 17\)"),
        run_lock(path, holder="process 18"),
    ):
        pass
    assert not path.exists()
    with run_lock(path, holder="process 19"):
        assert path.read_text() == "process 19"


def test_a_killed_holder_releases_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    code = (
        "import signal, sys; from pathlib import Path; from mlmon_site.supervisor import run_lock\n"
        "with run_lock(Path(sys.argv[1]), holder='x'): print('held', flush=True); signal.pause()"
    )
    with subprocess.Popen([*_python(code), str(path)], cwd=PROJECT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        process.kill()
    assert path.exists()  # the file remains, unlocked
    with run_lock(path, holder="next"):
        assert path.read_text() == "next"


@on_linux
def test_a_port_shared_by_so_reuseport_is_not_free() -> None:
    """granian binds with SO_REUSEPORT; a second server of the same user would silently share the port."""
    port = free_port()
    code = (
        "import signal, socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\n"
        "s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen(); print('bound', flush=True); signal.pause()"
    )
    assert port_is_free("127.0.0.1", port)
    with subprocess.Popen([*_python(code), str(port)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"bound\n"
        assert not port_is_free("127.0.0.1", port)
        process.kill()
    assert port_is_free("127.0.0.1", port)


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "8_000", "٨٠"])
def test_an_invalid_port_is_refused(port: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "mlmon_site.server", "--port", port],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "must be a whole number from 1 to 65535" in result.stderr or "expected one argument" in result.stderr


def test_the_launcher_starts_fast() -> None:
    started = time.monotonic()
    subprocess.run(bound_command(["true"]), check=True)
    assert time.monotonic() - started < 1
