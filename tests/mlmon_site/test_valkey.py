"""The embedded server: its data outlasts kill -9, and a full one refuses rather than forgets."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from mlmon_site.processes import bound_command
from mlmon_site.valkey import answers, end_left_over, server_command
from tests.services.embedded_run import eventually
from tests.services.processes import stop_group


@pytest.fixture
def socket_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mlmon-") as folder:  # short enough for a socket
        yield Path(folder) / "valkey.sock"


@contextlib.contextmanager
def _server(socket_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = server_command(socket_path=socket_path, data_folder=socket_path.parent)
    process = subprocess.Popen(bound_command(command), stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        assert eventually(lambda: answers(socket_path), seconds=10)
        yield process
    finally:
        stop_group(process)


def test_a_killed_servers_data_is_there_at_the_next_start(socket_path: Path) -> None:
    with _server(socket_path) as process, redis.Redis(unix_socket_path=str(socket_path)) as client:
        client.xadd("stream", {"b": b"\x00\xff"})
        client.waitaof(1, 0, 5000)
        process.kill()
    assert socket_path.exists()  # left by the killed one, and no hindrance
    with _server(socket_path), redis.Redis(unix_socket_path=str(socket_path)) as client:
        assert client.xlen("stream") == 1


def test_a_full_server_refuses_and_forgets_nothing(socket_path: Path) -> None:
    with _server(socket_path), redis.Redis(unix_socket_path=str(socket_path)) as client:
        settings = client.config_get("maxmemory*")
    assert settings["maxmemory-policy"] == "noeviction"
    assert int(settings["maxmemory"]) == 512 * 2**20


def test_a_server_without_run_is_ended(socket_path: Path) -> None:
    with _server(socket_path) as process:
        end_left_over(socket_path)
        assert process.wait(5) == 0
    assert not answers(socket_path)


def test_no_server_is_no_error(socket_path: Path) -> None:
    assert not answers(socket_path)
    end_left_over(socket_path)
