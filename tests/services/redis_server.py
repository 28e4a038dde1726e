"""A Redis server for one test run, on a free port of the loopback interface."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import redis

from mlmon_site.processes import bound_command
from mlmon_site.valkey import server_binary
from tests.services.debian_programs import MissingProgramError, program
from tests.services.processes import ServiceError, free_port, stop_group, wait_until

ATTEMPTS = 5
FORGETS = ("--save", "", "--appendonly", "no")
KEEPS = ("--save", "", "--appendonly", "yes")


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A running server.

    Attributes
    ----------
    url
        Its address, for ``REDIS_URL``.
    """

    url: str
    port: int
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        stop_group(self.process)


def start_redis(folder: Path, *, persistence: Sequence[str] = FORGETS) -> RedisServer:
    """Start a server on a free port; `folder` takes its log, and its data where it `KEEPS` them."""
    binary = _binary()
    for _ in range(ATTEMPTS):
        try:
            return _start(binary, free_port(), folder, persistence)
        except ServiceError as error:  # somebody took the port in between
            failure = error
    raise failure


def start_redis_again(folder: Path, port: int) -> RedisServer:
    """Start a server that `KEEPS` its data on the address it had before it was stopped."""
    return _start(_binary(), port, folder, KEEPS)


def _binary() -> str:
    """Return the path of Redis, or of the embedded Valkey if Redis is not installed."""
    try:
        return program("redis-server")
    except MissingProgramError:
        return str(server_binary())


def _start(binary: str, port: int, folder: Path, persistence: Sequence[str]) -> RedisServer:
    command = [binary, "--bind", "127.0.0.1", "--port", str(port), *persistence]
    with (folder / "redis.log").open("ab") as log:
        process = subprocess.Popen(bound_command(command), cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until(partial(_answers, process, port), seconds=10, what="Redis", process=process)
    except ServiceError:
        stop_group(process)
        raise
    return RedisServer(url=f"redis://127.0.0.1:{port}/0", port=port, process=process)


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    with redis.Redis(port=port, socket_connect_timeout=1, socket_timeout=1) as client:
        try:
            return bool(client.info("server")["process_id"] == process.pid)  # and not another run's server
        except redis.RedisError:
            return False
