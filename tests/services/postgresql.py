"""A PostgreSQL server for a test run: a cluster in a temporary folder, with a Unix socket there."""

import os
import pwd
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mlmon_site.processes import die_with_parent
from tests.services.debian_programs import program
from tests.services.processes import ServiceError, await_start, stop_group

ROLE = "mlmon"
# As in production: a commit is on the disk when it returns.
DURABLE = {"listen_addresses": "", "max_connections": "100"}
# The database is deleted with the run, so nothing has to reach the disk.
FORGETFUL = {**DURABLE, "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server.

    Attributes
    ----------
    url
        The address in django-environ's spelling, for ``DATABASE_URL``.
    """

    url: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Stop it at once, even with open connections."""
        stop_group(self.process, signal.SIGINT)  # PostgreSQL's "fast" shutdown


def start_postgresql(folder: Path, *, settings: Mapping[str, str] = FORGETFUL) -> PostgresServer:
    """Start the cluster in `folder`, and create it first if the folder is empty. The path must fit a Unix socket."""
    binaries = Path(program("postgres")).resolve().parent
    identity = _server_identity(folder)
    data = folder / "data"
    if not data.exists():
        _make_cluster(binaries, data, identity)
    command = [str(binaries / "postgres"), "-D", str(data), "-k", str(folder)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    with (folder / "postgresql.log").open("ab") as log:
        # Not `start_process`: PostgreSQL's user may not be able to read the launcher that it uses.
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=partial(die_with_parent, signal.SIGQUIT),  # noqa: PLW1509 -- the run has no thread yet
            **identity,
        )
    await_start(process, "PostgreSQL", partial(_accepts, binaries, folder), seconds=30)
    return PostgresServer(url=server_url(folder), process=process)


def server_url(folder: Path) -> str:
    """Return the address of the server whose socket is in `folder`, in django-environ's spelling."""
    return f"postgres://{ROLE}@/postgres?host={folder}"


def _server_identity(folder: Path) -> dict[str, Any]:
    """Return the user for `Popen`. PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    user = _unprivileged_user()
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _unprivileged_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ServiceError("PostgreSQL does not run as root, and there is no user postgres or nobody.")


def _make_cluster(binaries: Path, data: Path, identity: dict[str, Any]) -> None:
    options = ["--username", ROLE, "--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync"]
    command = [str(binaries / "initdb"), "-D", str(data), *options]
    made = subprocess.run(command, cwd=data.parent, capture_output=True, text=True, check=False, **identity)
    if made.returncode != 0:
        raise ServiceError(f"initdb failed:\n{made.stdout}{made.stderr}")


def _accepts(binaries: Path, folder: Path) -> bool:
    command = [str(binaries / "pg_isready"), "-q", "-h", str(folder), "-U", ROLE, "-d", "postgres"]
    return subprocess.run(command, check=False).returncode == 0
