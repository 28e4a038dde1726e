"""mlmon as in production, on its own servers, which can be stopped, killed and started again at any time."""

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

from tests.services.postgresql import PostgresServer, start_postgresql
from tests.services.processes import start_process, stop_group
from tests.services.redis_server import KEEPS, RedisServer, start_redis, start_redis_again
from tests.services.web_server import WebServer, running_web_server

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
        The folder of the servers' data and of all logs.
    variables
        Settings of this run. They override all others.
    programs
        The worker and beat, by these names, once they are started.
    """

    folder: Path
    postgresql: PostgresServer
    redis: RedisServer
    variables: Mapping[str, str]
    programs: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The environment that the settings read."""
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
        """Run the web server. It replaces killed processes."""
        with running_web_server(self.environment, self.folder, workers=processes) as server:
            yield server

    def start_program(self, name: str) -> None:
        """Start the worker or beat. It begins to work some seconds later."""
        log = self.folder / f"{name}.log"
        self.programs[name] = start_process(
            COMMANDS[name], log, environment=self.environment, death_signal=signal.SIGKILL
        )

    def kill_program(self, name: str) -> None:
        """Kill a program with its child processes (SIGKILL)."""
        process = self.programs[name]
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def has_ended(self, name: str) -> bool:
        """Return whether a program has ended."""
        return self.programs[name].poll() is not None

    def stop_redis(self) -> None:
        """Stop Redis as an operator does. It writes its data first."""
        self.redis.stop()

    def start_redis(self) -> None:
        """Start Redis again with its data, at its former address."""
        self.redis = start_redis_again(self.folder / "redis", self.redis.port)

    def stop_postgresql(self) -> None:
        """Stop PostgreSQL at once. Open transactions are rolled back."""
        self.postgresql.stop()

    def start_postgresql(self) -> None:
        """Start PostgreSQL again with its data, at its former address."""
        self.postgresql = start_postgresql(self.folder / "postgresql")

    def show_logs(self) -> None:
        """Write the end of every log to standard error."""
        for log in sorted(self.folder.rglob("*.log")):
            sys.stderr.write(f"--- {log.name}\n{log.read_text(errors='replace')[-LOG_CHARACTERS:]}\n")

    def stop(self) -> None:
        """Stop everything."""
        for process in self.programs.values():
            stop_group(process, signal.SIGKILL)
        self.redis.stop()
        self.postgresql.stop()


@contextlib.contextmanager
def production_stack(**variables: str) -> Iterator[ProductionStack]:
    """Run both servers with these settings, and let the Django of this process use them. Stop everything at the end.

    Django's settings must not be loaded before. Only the main thread may call this, because the servers end with the
    thread that started them.
    """
    folder = Path(tempfile.mkdtemp(prefix="mlmon-", dir="/tmp"))  # short enough for a Unix socket
    folder.chmod(0o711)
    with contextlib.ExitStack() as ends:
        ends.callback(shutil.rmtree, folder, ignore_errors=True)
        for name in ("postgresql", "redis", "var/static"):
            (folder / name).mkdir(parents=True)
        # If one does not start, the other one ends with this process.
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
