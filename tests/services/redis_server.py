"""A Redis server for a test run, on a free port of the loopback interface."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import redis

from mlmon_site.valkey import server_binary
from tests.services.debian_programs import MissingProgramError, program
from tests.services.processes import ServiceError, await_start, free_port, start_process, stop_group

ATTEMPTS = 5
FORGETS = ("--save", "", "--appendonly", "no")
KEEPS = ("--save", "", "--appendonly", "yes")


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A running server.

    Attributes
    ----------
    url
        The address, for ``REDIS_URL``.
    """

    url: str
    port: int
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        stop_group(self.process)


def start_redis(folder: Path, *, persistence: Sequence[str] = FORGETS) -> RedisServer:
    """Start a server on a free port. Its log, and its data if it `KEEPS` them, are in `folder`."""
    binary = _binary()
    for _ in range(ATTEMPTS):
        try:
            return _start(binary, free_port(), folder, persistence)
        except ServiceError as error:  # another process may have taken the port
            failure = error
    raise failure


def start_redis_again(folder: Path, port: int) -> RedisServer:
    """Start a stopped server that `KEEPS` its data again, at its former address."""
    return _start(_binary(), port, folder, KEEPS)


def _binary() -> str:
    """Return the path of Redis, or of the embedded Valkey if Redis is not installed."""
    try:
        return program("redis-server")
    except MissingProgramError:
        return str(server_binary())


def _start(binary: str, port: int, folder: Path, persistence: Sequence[str]) -> RedisServer:
    command = [binary, "--bind", "127.0.0.1", "--port", str(port), *persistence]
    process = start_process(command, folder / "redis.log", folder=folder)

    def answers() -> bool:
        with redis.Redis(port=port, socket_connect_timeout=1, socket_timeout=1) as client:
            try:
                return bool(client.info("server")["process_id"] == process.pid)  # not the server of another run
            except redis.RedisError:
                return False

    try:
        await_start(process, "Redis", answers, seconds=10)
    except ServiceError:
        stop_group(process)
        raise
    return RedisServer(url=f"redis://127.0.0.1:{port}/0", port=port, process=process)
