"""The services of a test run: PostgreSQL and Redis for the whole run, a worker and a web server for tests that ask.

PostgreSQL and Redis start before Django loads its settings, because the settings read the addresses from the
environment. They stop with the run, also on Ctrl-C or when the run is killed. Two runs on one machine share nothing.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.services import not_run
from tests.services.debian_programs import MissingProgramError, is_ci, program
from tests.services.postgresql import server_url, start_postgresql
from tests.services.processes import ServiceError
from tests.services.redis_server import start_redis

if TYPE_CHECKING:
    import redis

    from tests.services.web_server import WebServer

SOCKET_FOLDER_LIMIT = 80  # bytes; the path of a Unix socket, with the file name, is limited to 107
LONG_FILES = (
    "test_story.py",
    "test_every_page.py",
    "test_recycled_workers.py",
    "test_whole_story.py",
    "test_permissions.py",
    "test_killed_workers.py",
    "test_embedded_run.py",
    "test_nothing_is_lost.py",
    "test_replay.py",
    "test_api_docs.py",
    "test_scrape_server.py",
    "test_cardinality.py",
    "test_delivery.py",
    "test_kserve.py",
)
_run_ends = contextlib.ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    """Start the services and point Django at them. pytest-django sets up Django after this.

    In a parallel run (pytest-xdist), each worker has its own services, and the controller needs none.
    """
    config.pluginmanager.register(not_run)
    if is_ci():
        _require_servers()
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        return
    if "DJANGO_SETTINGS_MODULE" in os.environ:
        pytest.exit(
            "Unset DJANGO_SETTINGS_MODULE: with it the settings load before the tests' services run.", returncode=1
        )
    try:
        _start_services()
    except ServiceError as error:
        _run_ends.close()
        pytest.exit(str(error), returncode=1)
    except BaseException:
        _run_ends.close()
        raise
    import django

    django.setup()
    _hash_passwords_fast()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files that take minutes first, so that no worker of a parallel run is left with one at the end."""
    items.sort(key=lambda item: LONG_FILES.index(item.path.name) if item.path.name in LONG_FILES else len(LONG_FILES))


def pytest_unconfigure() -> None:
    """Stop the services."""
    _run_ends.close()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Skip every test that uses the database if PostgreSQL is not installed."""
    program("postgres")


def _require_servers() -> None:
    try:
        program("postgres")
        program("redis-server")
    except MissingProgramError as error:
        pytest.exit(f"CI is set, so every test must run, but {error}.", returncode=1)


def _start_services() -> None:
    folder = _temporary_folder()
    _run_ends.callback(shutil.rmtree, folder, ignore_errors=True)
    (folder / "postgresql").mkdir()
    try:
        postgresql = start_postgresql(folder / "postgresql")
    except MissingProgramError:
        database_url = server_url(folder / "postgresql")  # no server listens: the tests that use it are skipped
    else:
        _run_ends.callback(postgresql.stop)
        database_url = postgresql.url
    redis_server = start_redis(folder)
    _run_ends.callback(redis_server.stop)
    _use(DATABASE_URL=database_url, REDIS_URL=redis_server.url, MLMON_VAR_DIR=str(folder / "var"))


def _hash_passwords_fast() -> None:
    """Hash passwords with few iterations; otherwise each account would cost half a second."""
    from django.contrib.auth.hashers import PBKDF2PasswordHasher

    PBKDF2PasswordHasher.iterations = 1_000


def _temporary_folder() -> Path:
    """Return a new folder with a short path that PostgreSQL's user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="mlmon-"))
    parents_open = all(parent.stat().st_mode & 0o001 for parent in folder.parents)
    if len(bytes(folder)) > SOCKET_FOLDER_LIMIT or not parents_open:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="mlmon-", dir="/tmp"))
    folder.chmod(0o711)
    return folder


def _use(**variables: str) -> None:
    """Set the environment of the run; the caller's own settings of mlmon do not reach the tests."""
    for name in list(os.environ):
        if name.startswith(("MLMON_", "DATABASE_URL", "REDIS_URL", "PROMETHEUS_MULTIPROC_DIR")):
            del os.environ[name]
    os.environ.update(variables, DJANGO_SETTINGS_MODULE="mlmon_site.settings")


@pytest.fixture
def redis_client() -> "Iterator[redis.Redis]":
    """The process's Redis client, on an empty database."""
    from inference.stream import redis_client as client_of_process

    client = client_of_process()
    client.flushdb()
    yield client
    client.flushdb()


def environment_of_tests() -> dict[str, str]:
    """Return the environment for a process that uses the test database."""
    from django.db import connection

    address = os.environ["DATABASE_URL"].replace("/postgres?", f"/{connection.settings_dict['NAME']}?")
    return {**os.environ, "DATABASE_URL": address}


@pytest.fixture
def celery_worker_process(
    transactional_db: None, redis_client: "redis.Redis", tmp_path: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A real Celery worker. Its tasks see committed data only, hence `transactional_db`."""
    from tests.services.celery_worker import celery_worker

    with celery_worker(environment_of_tests(), tmp_path) as process:
        yield process


@pytest.fixture
def web_server(transactional_db: None, redis_client: "redis.Redis", tmp_path: Path) -> "Iterator[WebServer]":
    """The real web server with two processes and its own metrics."""
    from tests.services.web_server import running_web_server

    metrics = tmp_path / "metrics"
    metrics.mkdir()
    environment = {**environment_of_tests(), "MLMON_METRICS_DIR": str(metrics)}
    with running_web_server(environment, tmp_path) as server:
        yield server


@pytest.fixture(autouse=True)
def _fresh_serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each test load its own registry: a rolled back one may repeat a generation number."""
    from inference.serving import Serving, stop_serving

    monkeypatch.setattr(Serving, "settles_at_once", True)  # so that tests can look at once
    yield
    stop_serving()
