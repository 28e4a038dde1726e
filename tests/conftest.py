"""The services of a test run: PostgreSQL and Redis for all of it, a worker and a web server where a test asks.

They are started before Django's settings load, which read the addresses from the environment, and are ended with the
run, also on Ctrl-C; a run that is killed takes them with it. Two runs on one machine share nothing.
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

from tests.services.postgresql import start_postgresql
from tests.services.processes import ServiceError
from tests.services.redis_server import start_redis

if TYPE_CHECKING:
    import redis

    from tests.services.web_server import WebServer

SOCKET_FOLDER_LIMIT = 80  # bytes; a unix socket's path holds 107, and the file's name comes after the folder
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
)
_run_ends = contextlib.ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    """Start the services and point Django at them (pytest-django sets Django up after this).

    Where tests run side by side (pytest-xdist), each process has services of its own, and the one that hands the tests
    out needs none.
    """
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
    """Put the files that take minutes first: at the end one process would be busy with them and the others idle."""
    items.sort(key=lambda item: LONG_FILES.index(item.path.name) if item.path.name in LONG_FILES else len(LONG_FILES))


def pytest_unconfigure() -> None:
    """End the services."""
    _run_ends.close()


def _start_services() -> None:
    folder = _temporary_folder()
    _run_ends.callback(shutil.rmtree, folder, ignore_errors=True)
    (folder / "postgresql").mkdir()
    postgresql = start_postgresql(folder / "postgresql")
    _run_ends.callback(postgresql.stop)
    redis_server = start_redis(folder)
    _run_ends.callback(redis_server.stop)
    _use(DATABASE_URL=postgresql.url, REDIS_URL=redis_server.url, MLMON_VAR_DIR=str(folder / "var"))


def _hash_passwords_fast() -> None:
    """Take few iterations, as each account costs half a second otherwise; a hash says how many a server has to take."""
    from django.contrib.auth.hashers import PBKDF2PasswordHasher

    PBKDF2PasswordHasher.iterations = 1_000


def _temporary_folder() -> Path:
    """Return a new folder with a short path, which the user that PostgreSQL runs as may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="mlmon-"))
    parents_open = all(parent.stat().st_mode & 0o001 for parent in folder.parents)
    if len(bytes(folder)) > SOCKET_FOLDER_LIMIT or not parents_open:
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="mlmon-", dir="/tmp"))
    folder.chmod(0o711)
    return folder


def _use(**variables: str) -> None:
    """Set the run's environment; what the caller's environment says about mlmon does not reach the tests."""
    for name in list(os.environ):
        if name.startswith(("MLMON_", "DATABASE_URL", "REDIS_URL", "PROMETHEUS_MULTIPROC_DIR")):
            del os.environ[name]
    os.environ.update(variables, DJANGO_SETTINGS_MODULE="mlmon_site.settings")


@pytest.fixture
def redis_client() -> "Iterator[redis.Redis]":
    """The process's Redis client, on an empty database."""
    from inference.redis_client import redis_client as client_of_process

    client = client_of_process()
    client.flushdb()
    yield client
    client.flushdb()


def environment_of_tests() -> dict[str, str]:
    """Return the environment of a process beside the tests that uses the test database."""
    from django.db import connection

    address = os.environ["DATABASE_URL"].replace("/postgres?", f"/{connection.settings_dict['NAME']}?")
    return {**os.environ, "DATABASE_URL": address}


@pytest.fixture
def celery_worker_process(
    transactional_db: None, redis_client: "redis.Redis", tmp_path: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A real Celery worker; what a test gives it must be committed, hence `transactional_db`."""
    from tests.services.celery_worker import celery_worker

    with celery_worker(environment_of_tests(), tmp_path) as process:
        yield process


@pytest.fixture
def web_server(transactional_db: None, redis_client: "redis.Redis", tmp_path: Path) -> "Iterator[WebServer]":
    """The real web server with two processes and metrics of its own."""
    from tests.services.web_server import running_web_server

    metrics = tmp_path / "metrics"
    metrics.mkdir()
    environment = {**environment_of_tests(), "MLMON_METRICS_DIR": str(metrics)}
    with running_web_server(environment, tmp_path) as server:
        yield server


@pytest.fixture(autouse=True)
def _fresh_serving() -> Iterator[None]:
    """Let each test load its own registry: a rolled back one may repeat a generation number."""
    from inference.serving import _serving_of_process, serving

    yield
    if _serving_of_process.cache_info().currsize:
        serving().stop()
        _serving_of_process.cache_clear()
