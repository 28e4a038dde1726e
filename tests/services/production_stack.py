"""mlmon as in production, on servers of its own that can be stopped, killed and started again while it works."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlmon_site.processes import bound_command
from tests.services.postgresql import PostgresServer, start_postgresql
from tests.services.processes import stop_group
from tests.services.redis_server import KEEPS, RedisServer, start_redis, start_redis_again
from tests.services.web_server import WebServer, running_web_server

PROJECT = Path(__file__).resolve().parent.parent.parent
ARCHIVE_TICK_SECONDS = 1
LOG_CHARACTERS = 5_000
CELERY = [sys.executable, "-m", "celery", "-A", "mlmon_site.celery"]
COMMANDS = {
    "worker": [*CELERY, "worker", "--concurrency", "1", "--loglevel", "INFO", "--without-gossip", "--without-mingle"],
    "beat": [*CELERY, "beat", "--loglevel", "INFO"],
}


@dataclass(slots=True)
class ProductionStack:
    """PostgreSQL, a Redis that keeps its data, and the programs that run on them.

    Attributes
    ----------
    folder
        Where the servers' data and everybody's logs lie.
    variables
        Settings of this run, before all others.
    programs
        The worker and beat, by these names, once they were started.
    """

    folder: Path
    postgresql: PostgresServer
    redis: RedisServer
    variables: Mapping[str, str]
    programs: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What the settings read."""
        return {
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "mlmon_site.settings",
            "MLMON_ENVIRONMENT": "production",
            "MLMON_SECRET_KEY": "k" * 20 + "0123456789" * 4,
            "MLMON_ALLOWED_HOSTS": "127.0.0.1",
            "MLMON_HTTPS": "False",
            "MLMON_SCRAPE_PORT": "0",
            "MLMON_VAR_DIR": str(self.folder / "var"),
            "MLMON_ARCHIVE_TICK_SECONDS": str(ARCHIVE_TICK_SECONDS),
            "DATABASE_URL": self.postgresql.url,
            "REDIS_URL": self.redis.url,
            **self.variables,
        }

    @contextlib.contextmanager
    def web(self, *, processes: int) -> Iterator[WebServer]:
        """Run the web server; it starts killed processes anew by itself."""
        with running_web_server(self.environment, self.folder, workers=processes) as server:
            yield server

    def start_program(self, name: str) -> None:
        """Start the worker or beat; it is at work some seconds later."""
        command = bound_command(COMMANDS[name], death_signal=signal.SIGKILL)
        with (self.folder / f"{name}.log").open("ab") as log:
            self.programs[name] = subprocess.Popen(
                command, cwd=PROJECT, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill_program(self, name: str) -> None:
        """kill -9, with the processes it has forked."""
        process = self.programs[name]
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def has_ended(self, name: str) -> bool:
        """Return whether a program has ended by itself."""
        return self.programs[name].poll() is not None

    def stop_redis(self) -> None:
        """Stop it as an operator does: it writes its data first."""
        self.redis.stop()

    def start_redis(self) -> None:
        """Start it again, with the data and on the address that it had."""
        self.redis = start_redis_again(self.folder / "redis", self.redis.port)

    def stop_postgresql(self) -> None:
        """Stop it at once: open transactions are rolled back."""
        self.postgresql.stop()

    def start_postgresql(self) -> None:
        """Start it again, with the data and on the address that it had."""
        self.postgresql = start_postgresql(self.folder / "postgresql")

    def show_logs(self) -> None:
        """Write the end of every log to the standard error."""
        for log in sorted(self.folder.rglob("*.log")):
            sys.stderr.write(f"--- {log.name}\n{log.read_text(errors='replace')[-LOG_CHARACTERS:]}\n")

    def stop(self) -> None:
        """End everything."""
        for process in self.programs.values():
            stop_group(process, signal.SIGKILL)
        self.redis.stop()
        self.postgresql.stop()


@contextlib.contextmanager
def production_stack(**variables: str) -> Iterator[ProductionStack]:
    """Run both servers with these settings, let this process's Django use them too, and end everything with the block.

    Django's settings may not have been loaded before. To be called by the main thread: the servers end with the thread
    that has started them.
    """
    folder = Path(tempfile.mkdtemp(prefix="mlmon-", dir="/tmp"))  # short enough for a unix socket
    folder.chmod(0o711)
    with contextlib.ExitStack() as ends:
        ends.callback(shutil.rmtree, folder, ignore_errors=True)
        for name in ("postgresql", "redis", "var/static"):
            (folder / name).mkdir(parents=True)
        # Where one of them does not start, the other ends with this process.
        postgresql = start_postgresql(folder / "postgresql")
        stack = ProductionStack(folder, postgresql, start_redis(folder / "redis", persistence=KEEPS), variables)
        ends.callback(stack.stop)
        _set_django_up(stack)
        try:
            yield stack
        except BaseException:
            stack.show_logs()
            raise


def _set_django_up(stack: ProductionStack) -> None:
    os.environ.update(stack.environment)
    import django
    from django.core.management import call_command
    from django.db import connections

    django.setup()
    call_command("migrate", verbosity=0)
    connections.close_all()


def child_pids(pid: int) -> list[int]:
    """Return the processes that `pid` has started from its main thread."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
