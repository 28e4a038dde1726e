"""A database of an earlier mlmon is refused by every program that would use it, and nothing in it is changed."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.mlmon_site.test_settings import PROJECT
from tests.services.processes import free_port

PROGRAMS = {
    "migrate": ["manage.py", "migrate"],
    "run": ["manage.py", "run", "--port", "{port}"],
    "web server": ["-m", "mlmon_site.server", "--port", "{port}"],
    "worker": ["-m", "celery", "-A", "mlmon_site.celery", "worker", "--pool", "solo"],
    "beat": ["-m", "celery", "-A", "mlmon_site.celery", "beat"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A ``var/`` whose database has the migrations of November 2026."""
    folder = tmp_path / "var"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "mlmon.sqlite3")) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE django_migrations (id INTEGER PRIMARY KEY, app TEXT, name TEXT, applied TEXT)")
        for app, name in [("auth", "0001_initial"), ("drift", "0001_initial"), ("drift", "0002_verdicts")]:
            database.execute("INSERT INTO django_migrations (app, name, applied) VALUES (?, ?, '')", (app, name))
        database.commit()
    return folder


@pytest.fixture
def migrated(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The database of a folder that `migrate` has set up."""
    folder = tmp_path / "var"
    assert _ended("migrate", folder).returncode == 0
    with closing(sqlite3.connect(folder / "mlmon.sqlite3")) as database:
        yield database


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_database_of_an_earlier_mlmon_is_refused_with_advice(name: str, folder: Path) -> None:
    before = (folder / "mlmon.sqlite3").read_bytes()

    ended = _ended(name, folder)

    assert ended.returncode == 1, ended.stderr
    assert "drift 0002_verdicts, which no longer exists" in ended.stderr
    assert f"mv {folder} {folder}-before" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert (folder / "mlmon.sqlite3").read_bytes() == before


def test_the_advice_works(folder: Path) -> None:
    folder.rename(f"{folder}-before")
    ended = _ended("migrate", folder)
    assert ended.returncode == 0, ended.stderr


def test_a_database_whose_migration_was_rewritten_is_refused(migrated: sqlite3.Connection, tmp_path: Path) -> None:
    migrated.execute("ALTER TABLE drift_driftpolicy RENAME COLUMN window_rows TO length")
    migrated.commit()

    ended = _ended("migrate", tmp_path / "var")

    assert ended.returncode == 1
    assert "it has no column drift_driftpolicy.window_rows" in ended.stderr


def test_a_database_of_this_mlmon_is_migrated_again(migrated: sqlite3.Connection, tmp_path: Path) -> None:
    ended = _ended("migrate", tmp_path / "var")
    assert ended.returncode == 0, ended.stderr
    assert "No migrations to apply." in ended.stdout


def _ended(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [part.format(port=free_port()) for part in PROGRAMS[name]]
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=PROJECT,
        env={**environment, "MLMON_VAR_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
    )
