"""``manage.py run``: everything on this machine, with nothing set up."""

import contextlib
import http.client
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command, get_commands
from django.core.management.base import CommandError, CommandParser
from django.db import connections

from accounts.management.terminal import TeachingCommand
from mlmon_site import valkey
from mlmon_site.database import OutdatedDatabaseError, refuse_outdated_database
from mlmon_site.first_login import Login, ensure_login
from mlmon_site.ports import port_is_free, port_number
from mlmon_site.run_lock import AlreadyRunningError, run_lock
from mlmon_site.settings import valkey_socket
from mlmon_site.supervisor import Program, StopRequested, Supervisor, stop_signals_raise

HOST = "127.0.0.1"  # the API is open in this run, so nobody outside this machine may reach it
VALKEY_START_SECONDS = 60.0  # it reads its data first
WEB_START_SECONDS = 60.0
PORT_SECONDS = 2.0  # a run that was killed may still be ending

BANNER = """
mlmon runs, started in {seconds:.1f} s. Ctrl-C ends it.

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
  2. See how far these rows are from what the model learned from:
     curl -s {url}/drift
  3. Send a year of flights through the API and watch them drift:
     {python} manage.py replay{replay_options}
"""

EXAMPLES = """
examples:
  On http://localhost:8000, until Ctrl-C; the login is printed:
    manage.py run

  On another port, where another program has 8000; with more web processes:
    manage.py run --port 8080
    manage.py run --port 8080 --workers 4

What it keeps lies in var/ (MLMON_VAR_DIR moves it): the database, models, reference data, logs and the password.
It listens on this machine only. In production each part is started on its own: docs/configuration.md.

exit status:
  1          it could not start: the port is taken, another run is going, or a part of it does not answer
  2          an option makes no sense
  3          the database does not answer
  128 + n    ended by signal n: 130 after Ctrl-C, 143 after TERM; everything it started has ended too
"""


class Command(TeachingCommand):
    help = (
        "Start mlmon on this machine with nothing set up: database, demo, web server, worker, beat and an embedded\n"
        "Valkey. One Ctrl-C ends all of it. Run again, it goes on with what it has."
    )
    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--port", type=port_number, default=8000, help="port of the web server (default: %(default)s)"
        )
        parser.add_argument("--workers", type=int, default=2, help="number of web processes (default: %(default)s)")

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.IS_PRODUCTION:
            raise CommandError(
                "`run` is the embedded run, open to everyone on this machine. In production start the web server "
                "(python -m mlmon_site.server), the worker and beat each on its own."
            )
        port: int = options["port"]
        holder = f"process {os.getpid()}, http://localhost:{port}"
        try:
            with stop_signals_raise(), run_lock(settings.VAR_DIR / "run.lock", holder=holder):
                self._run(port=port, workers=options["workers"])
        except AlreadyRunningError as error:
            raise CommandError(f"{error} End that run first: Ctrl-C in its terminal, or kill its process.") from error
        except StopRequested as stop:
            self._say("Ended.")
            sys.exit(stop.exit_status)

    def _run(self, *, port: int, workers: int) -> None:
        started_at = time.monotonic()
        try:
            refuse_outdated_database()
        except OutdatedDatabaseError as error:
            raise CommandError(str(error)) from error
        _demand_port(port)
        logs = settings.VAR_DIR / "log"
        logs.mkdir(exist_ok=True)
        with self._supervised() as supervisor:
            if _needs_valkey():
                _start_valkey(supervisor, logs)
            login = self._prepare()
            for program in _programs(logs, port=port, workers=workers):
                supervisor.start(program)
            self._wait_for_web(supervisor, port)
            self._say_banner(login, port=port, seconds=time.monotonic() - started_at)
            supervisor.tend_for_ever()

    @contextlib.contextmanager
    def _supervised(self) -> Iterator[Supervisor]:
        supervisor = Supervisor(folder=settings.BASE_DIR, say=self._say)
        try:
            yield supervisor
        except StopRequested:
            self._say("\nEnding: beat, worker, web, Valkey …")
            raise
        finally:
            supervisor.stop()

    def _prepare(self) -> Login:
        self._say("Preparing the database …")
        call_command("migrate", verbosity=0, interactive=False)
        if "load_demo" in get_commands():
            self._say("Loading the demo …")
            call_command("load_demo", stdout=self.stdout)
        login = ensure_login(password_path=_password_path())
        connections.close_all()
        return login

    def _wait_for_web(self, supervisor: Supervisor, port: int) -> None:
        self._say("Starting web, worker and beat …")
        deadline = time.monotonic() + WEB_START_SECONDS
        while not _web_answers(port):
            supervisor.tend()
            if time.monotonic() > deadline:
                raise CommandError(
                    f"The web server does not answer: see {_shown(settings.VAR_DIR / 'log' / 'web.log')}"
                )
            time.sleep(0.1)

    def _say_banner(self, login: Login, *, port: int, seconds: float) -> None:
        self._say(
            BANNER.format(
                url=f"http://localhost:{port}",
                seconds=seconds,
                login=_described(login),
                logs=_shown(settings.VAR_DIR / "log"),
                python=_shown(Path(sys.executable)),
                replay_options="" if port == 8000 else f" --url http://localhost:{port}",
            )
        )

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def _demand_port(port: int) -> None:
    deadline = time.monotonic() + PORT_SECONDS
    while not port_is_free(HOST, port):
        if time.monotonic() > deadline:
            raise CommandError(f"Port {port} is taken by another program. Choose another one: make run PORT={port + 1}")
        time.sleep(0.2)


def _needs_valkey() -> bool:
    return str(settings.REDIS_URL).startswith(f"unix://{valkey_socket()}")


def _start_valkey(supervisor: Supervisor, logs: Path) -> None:
    socket_path, data_folder = valkey_socket(), settings.VAR_DIR / "valkey"
    data_folder.mkdir(exist_ok=True)
    _demand_own_folder(socket_path.parent)
    valkey.end_left_over(socket_path)
    try:
        command = valkey.server_command(socket_path=socket_path, data_folder=data_folder)
    except valkey.EmbeddedServerMissingError as error:
        raise CommandError(str(error)) from error
    supervisor.start(Program("valkey", command, logs / "valkey.log", stop_seconds=2.0))
    deadline = time.monotonic() + VALKEY_START_SECONDS
    while not valkey.answers(socket_path):
        supervisor.tend()
        if time.monotonic() > deadline:
            raise CommandError(f"Valkey does not answer: see {_shown(logs / 'valkey.log')}")
        time.sleep(0.02)


def _demand_own_folder(folder: Path) -> None:
    # Where var/ is too deep for a socket the folder lies in the machine's temporary one, under a name others can guess.
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise CommandError(f"{folder} belongs to another user: run as that user, or delete it.")


def _programs(logs: Path, *, port: int, workers: int) -> list[Program]:
    """Return what runs beside Valkey; it is ended from the last to the first, all of it in under 10 s."""
    celery = [sys.executable, "-m", "celery", "-A", "mlmon_site.celery"]
    web = [sys.executable, "-m", "mlmon_site.server", "--host", HOST, "--port", str(port), "--workers", str(workers)]
    worker = [*celery, "worker", "--concurrency", "2", "--loglevel", "INFO", "--without-gossip", "--without-mingle"]
    beat = [*celery, "beat", "--loglevel", "INFO"]
    return [
        # Longer than the server gives its own processes, which send on what they have captured.
        Program("web", web, logs / "web.log", stop_seconds=6.5),
        # A task that is cut off is taken up again by the next worker; TERM would wait for its end, so a killed
        # supervisor's worker gets KILL.
        Program("worker", worker, logs / "worker.log", stop_seconds=2.0, death_signal=signal.SIGKILL),
        Program("beat", beat, logs / "beat.log", stop_seconds=1.0),
    ]


def _web_answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _password_path() -> Path:
    return Path(settings.VAR_DIR / "admin_password")


def _described(login: Login) -> str:
    path = _password_path()
    if login.new_password is not None:
        return f"{login.username} / {login.new_password}   (kept in {_shown(path)})"
    if path.exists():
        return f"{login.username}, with the password in {_shown(path)}, unless you have changed it"
    return f"{login.username}, with the password that you gave it"


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
