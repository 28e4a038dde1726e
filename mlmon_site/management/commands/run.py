"""``manage.py run``: prepare the database, then start every part of mlmon on this machine."""

import os
import signal
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command, get_commands
from django.core.management.base import CommandError, CommandParser
from django.db import connections, transaction

from accounts.management.terminal import TeachingCommand, whole_number
from mlmon_site import valkey
from mlmon_site.database import OutdatedDatabaseError, refuse_outdated_database
from mlmon_site.embedded_run import HOST, Plan, become_supervisor
from mlmon_site.environment import kept_secret
from mlmon_site.ports import port_is_free, port_number
from mlmon_site.supervisor import AlreadyRunningError, Program, StopRequested, run_lock, stop_signals_raise

RUN_LOCK = "run.lock"  # in var/
USERNAME = "admin"
PASSWORD_FILE = "admin_password"  # noqa: S105 -- a file in var/, not a password
PASSWORD_BYTES = 12
MOST_WORKERS = 256
PORT_SECONDS = 2.0  # a killed run may still be ending

BANNER = """
mlmon is running, started in {seconds} s. Press Ctrl-C to stop it.

  Admin     {url}/admin/
  API       {url}/api/docs
  Drift     {url}/drift
  Metrics   {url}/metrics
  Login     {login}
  Logs      {logs}/

Three things to try, in another terminal:

  1. Predict a hundred times:
     for i in {{1..100}}; do curl -s -X POST {url}/predict -H "Content-Type: application/json" \\
       -d '{{"features": [0.1, 0.5, 0.3, 0.8]}}'; done
  2. Compare these rows with the reference data:
     curl -s {url}/drift
  3. Send a year of flights through the API and watch them drift:
     {python} manage.py replay{replay_options}
"""

EXAMPLES = """
examples:
  On http://localhost:8000, until Ctrl-C; the login is printed:
    manage.py run

  On another port, because 8000 is in use; with more web processes:
    manage.py run --port 8080
    manage.py run --port 8080 --workers 4

All data is in var/ (or MLMON_VAR_DIR): the database, models, reference data, logs and the password.
Only this machine can connect. In production, each part is started on its own: see docs/configuration.md.

exit status:
  1          it could not start: the port is in use, another run is active, or a part does not respond
  2          an option is invalid
  3          the database is unavailable
  128 + n    ended by signal n: 130 after Ctrl-C, 143 after TERM; all of its processes have ended too
"""


@dataclass(frozen=True, slots=True)
class Login:
    """An account that can log in.

    Attributes
    ----------
    new_password
        The password if the account was created by this call, else None: the database has only its hash.
    """

    username: str
    new_password: str | None


class Command(TeachingCommand):
    help = (
        "Start all of mlmon on this machine: database, demo, web server, worker, beat and an embedded Valkey.\n"
        "Nothing else needs to be set up. Ctrl-C stops all of it. The next run continues with the same data."
    )
    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--port", type=port_number, default=8000, help="port of the web server (default: %(default)s)"
        )
        workers = partial(whole_number, largest=MOST_WORKERS)
        parser.add_argument("--workers", type=workers, default=2, help="number of web processes (default: %(default)s)")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.IS_PRODUCTION:
            raise CommandError(
                "`run` is open to everyone on this machine. In production, start the web server "
                "(python -m mlmon_site.server), the worker and beat as separate processes."
            )
        port: int = options["port"]
        holder = f"process {os.getpid()}, http://localhost:{port}"
        try:
            with stop_signals_raise(), run_lock(settings.VAR_DIR / RUN_LOCK, holder=holder) as lock_descriptor:
                become_supervisor(self._plan(lock_descriptor, port=port, workers=options["workers"]))
        except AlreadyRunningError as error:
            raise CommandError(
                f"{error} Stop that run first: press Ctrl-C in its terminal, or kill its process."
            ) from error
        except StopRequested as stop:
            self._say("Stopped.")
            sys.exit(stop.exit_status)

    def _plan(self, lock_descriptor: int, *, port: int, workers: int) -> Plan:
        """Prepare everything that needs Django, and return what remains to be run."""
        started_at = time.monotonic()
        try:
            refuse_outdated_database()
        except OutdatedDatabaseError as error:
            raise CommandError(str(error)) from error
        deadline = time.monotonic() + PORT_SECONDS
        while not port_is_free(HOST, port):
            if time.monotonic() > deadline:
                raise CommandError(f"Port {port} is in use. Choose another one: make run PORT={port + 1}")
            time.sleep(0.2)
        logs = settings.VAR_DIR / "log"
        logs.mkdir(exist_ok=True)
        is_embedded = str(settings.REDIS_URL).startswith(f"unix://{settings.VALKEY_SOCKET}")
        valkey_program = _valkey_program(logs) if is_embedded else None
        login = self._prepare()
        return Plan(
            folder=settings.BASE_DIR,
            lock_path=settings.VAR_DIR / RUN_LOCK,
            lock_descriptor=lock_descriptor,
            valkey=valkey_program,
            valkey_socket=settings.VALKEY_SOCKET,
            programs=_programs(logs, port=port, workers=workers),
            port=port,
            banner=_banner(login, port=port),
            started_at=started_at,
        )

    def _prepare(self) -> Login:
        self._say("Preparing the database …")
        call_command("migrate", verbosity=0, interactive=False)
        if "load_demo" in get_commands():
            self._say("Loading the demo …")
            call_command("load_demo", stdout=self.stdout)
        login = ensure_login(password_path=settings.VAR_DIR / PASSWORD_FILE)
        connections.close_all()
        return login

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


@transaction.atomic
def ensure_login(*, password_path: Path) -> Login:
    """Return the first administrator's account; create it, with a random password in `password_path`, if missing."""
    users = get_user_model()._default_manager
    if users.filter(username=USERNAME).exists():
        return Login(USERNAME, new_password=None)
    password = kept_secret(password_path, random_bytes=PASSWORD_BYTES)
    get_user_model().objects.create_superuser(USERNAME, password=password)
    return Login(USERNAME, new_password=password)


def _valkey_program(logs: Path) -> Program:
    socket_path, data_folder = settings.VALKEY_SOCKET, settings.VAR_DIR / "valkey"
    data_folder.mkdir(exist_ok=True)
    # If the path of var/ is too long for a socket, this folder is in the temporary one, under a name others can guess.
    folder = socket_path.parent
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise CommandError(f"{folder} belongs to another user. Run as that user, or delete the folder.")
    valkey.end_left_over(socket_path)
    try:
        command = valkey.server_command(socket_path=socket_path, data_folder=data_folder)
    except valkey.EmbeddedServerMissingError as error:
        raise CommandError(str(error)) from error
    return Program("valkey", command, logs / "valkey.log", stop_seconds=2.0)


def _programs(logs: Path, *, port: int, workers: int) -> list[Program]:
    """Return the programs that run beside Valkey. They are stopped in reverse order, all in less than 10 s."""
    web = [sys.executable, "-m", "mlmon_site.server", "--host", HOST, "--port", str(port), "--workers", str(workers)]
    # With one process for tasks, and beat as another child of the worker: they share their parent's memory.
    worker = [sys.executable, "-m", "celery", "-A", "mlmon_site.celery", "worker", "--beat", "--concurrency", "1"]
    worker += ["--loglevel", "INFO", "--without-gossip", "--without-mingle"]
    return [
        # Longer than the server allows its workers, which flush their captured predictions.
        Program("web", web, logs / "web.log", stop_seconds=6.5),
        # An interrupted task is redelivered. TERM would wait for the task to end, so KILL is sent if the supervisor
        # dies.
        Program("worker", worker, logs / "worker.log", stop_seconds=2.0, death_signal=signal.SIGKILL),
    ]


def _banner(login: Login, *, port: int) -> str:
    """Return the banner, in which only ``{seconds}`` is left to be replaced."""
    return BANNER.format(
        seconds="{seconds}",
        url=f"http://localhost:{port}",
        login=_described(login),
        logs=_shown(settings.VAR_DIR / "log"),
        python=_shown(Path(sys.executable)),
        replay_options="" if port == 8000 else f" --url http://localhost:{port}",
    )


def _described(login: Login) -> str:
    path = settings.VAR_DIR / PASSWORD_FILE
    if login.new_password is not None:
        return f"{login.username} / {login.new_password}   (stored in {_shown(path)})"
    if path.exists():
        return f"{login.username}, with the password in {_shown(path)} unless you have changed it"
    return f"{login.username}, with the password that you have set"


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
