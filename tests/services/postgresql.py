"""A PostgreSQL server for one test run: its own cluster in a temporary folder, reached by a unix socket there."""

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
from tests.services.processes import ServiceError, stop_group, wait_until

ROLE = "mlmon"
# As in production: a commit is on the disk when it is answered.
DURABLE = {"listen_addresses": "", "max_connections": "100"}
# Nothing of a test's database outlives the run, so nothing has to reach the disk.
FORGETFUL = {**DURABLE, "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server.

    Attributes
    ----------
    url
        Its address in django-environ's spelling, for ``DATABASE_URL``.
    """

    url: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """End it at once, open connections or not."""
        stop_group(self.process, signal.SIGINT)  # PostgreSQL's "fast" shutdown


def start_postgresql(folder: Path, *, settings: Mapping[str, str] = FORGETFUL) -> PostgresServer:
    """Start the cluster in `folder` (short enough for a unix socket); make it first where the folder is empty."""
    binaries = Path(program("postgres")).resolve().parent
    identity = _server_identity(folder)
    data = folder / "data"
    if not data.exists():
        _make_cluster(binaries, data, identity)
    command = [str(binaries / "postgres"), "-D", str(data), "-k", str(folder)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    with (folder / "postgresql.log").open("ab") as log:
        # The user changes before `preexec_fn` runs; the launcher of mlmon_site.processes may be out of its reach.
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=partial(die_with_parent, signal.SIGQUIT),  # noqa: PLW1509 -- the run has no thread yet
            **identity,
        )
    wait_until(partial(_accepts, binaries, folder), seconds=30, what="PostgreSQL", process=process)
    return PostgresServer(url=server_url(folder), process=process)


def server_url(folder: Path) -> str:
    """Return the address of the server whose socket is in `folder`, in django-environ's spelling."""
    return f"postgres://{ROLE}@/postgres?host={folder}"


def _server_identity(folder: Path) -> dict[str, Any]:
    """Return the user for `Popen`: PostgreSQL refuses to run as root."""
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
