"""The embedded server: its data survive kill -9, and a full server refuses writes."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from mlmon_site.processes import bound_command
from mlmon_site.valkey import answers, end_left_over, server_command
from tests.services.processes import await_condition, stop_group


@pytest.fixture
def socket_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mlmon-") as folder:  # a short path, for the socket
        yield Path(folder) / "valkey.sock"


@contextlib.contextmanager
def _server(socket_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = server_command(socket_path=socket_path, data_folder=socket_path.parent)
    process = subprocess.Popen(bound_command(command), stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        await_condition(lambda: answers(socket_path), seconds=10)
        yield process
    finally:
        stop_group(process)


def test_the_data_of_a_killed_server_survive(socket_path: Path) -> None:
    with _server(socket_path) as process, redis.Redis(unix_socket_path=str(socket_path)) as client:
        client.xadd("stream", {"b": b"\x00\xff"})
        client.waitaof(1, 0, 5000)
        process.kill()
    assert socket_path.exists()  # left behind by the killed server
    with _server(socket_path), redis.Redis(unix_socket_path=str(socket_path)) as client:
        assert client.xlen("stream") == 1


def test_a_full_server_refuses_writes_and_drops_nothing(socket_path: Path) -> None:
    with _server(socket_path), redis.Redis(unix_socket_path=str(socket_path)) as client:
        settings = client.config_get("maxmemory*")
    assert settings["maxmemory-policy"] == "noeviction"
    assert int(settings["maxmemory"]) == 512 * 2**20


def test_a_leftover_server_is_stopped(socket_path: Path) -> None:
    with _server(socket_path) as process:
        end_left_over(socket_path)
        assert process.wait(5) == 0
    assert not answers(socket_path)


def test_stopping_a_missing_server_does_nothing(socket_path: Path) -> None:
    assert not answers(socket_path)
    end_left_over(socket_path)
