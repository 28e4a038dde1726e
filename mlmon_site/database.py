"""Refuse a database of an mlmon from before its first release: its migrations were rewritten and cannot continue it.

After 1.0 migrations are only added, so nothing here will fire any more. ``python -m mlmon_site.database`` ends with
status 1 and the advice.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mlmon_site.settings")

from django.apps import AppConfig, apps
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper


class OutdatedDatabaseError(Exception):
    """The database was made by an earlier mlmon and cannot be migrated.

    Parameters
    ----------
    found
        What shows it, such as a migration that no longer exists.
    """

    def __init__(self, found: str) -> None:
        super().__init__(f"This database was made by an earlier mlmon and cannot be migrated: {found}. {_advice()}")


def refuse_outdated_database(using: str = DEFAULT_DB_ALIAS) -> None:
    """Raise if the database has applied migrations of ours that no longer exist.

    Needs the settings, but no app registry. A database that is empty or unavailable is not judged.

    Raises
    ------
    OutdatedDatabaseError
        Nothing was changed; the message says what to do.
    """
    connection = connections[using]
    if connection.vendor == "sqlite" and not Path(connection.settings_dict["NAME"]).exists():
        return  # connecting would create the file
    was_open = connection.connection is not None
    try:
        applied = _applied_migrations(connection)
    except DatabaseError:
        return
    finally:
        if not was_open:
            connection.close()
    for app, name in sorted(applied):
        folder = Path(settings.BASE_DIR) / app / "migrations"
        if folder.is_dir() and not (folder / f"{name}.py").is_file():
            raise OutdatedDatabaseError(f"it has the migration {app} {name}, which no longer exists")


def refuse_other_tables(using: str = DEFAULT_DB_ALIAS) -> None:
    """Raise if a migration of ours has been rewritten since it was applied: a table lacks columns of its model.

    Raises
    ------
    OutdatedDatabaseError
        Nothing was changed; the message says what to do.
    """
    connection = connections[using]
    applied = _applied_migrations(connection)
    own_apps = (config for config in apps.get_app_configs() if Path(config.path).parent == Path(settings.BASE_DIR))
    for config in own_apps:
        names = {path.stem for path in (Path(config.path) / "migrations").glob("[0-9]*.py")}
        if names and all((config.label, name) in applied for name in names):
            for missing in _missing_columns(connection, config):
                raise OutdatedDatabaseError(f"it has no {missing}")


def _applied_migrations(connection: BaseDatabaseWrapper) -> set[tuple[str, str]]:
    with connection.cursor() as cursor:  # Django's own reader of this table needs the app registry
        if "django_migrations" not in connection.introspection.table_names(cursor):
            return set()
        cursor.execute("SELECT app, name FROM django_migrations")
        return {(app, name) for app, name in cursor.fetchall()}


def _missing_columns(connection: BaseDatabaseWrapper, config: AppConfig) -> Iterator[str]:
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
        for model in config.get_models():
            table = model._meta.db_table
            if table not in tables:
                yield f"table {table}"
                continue
            found = {column.name for column in connection.introspection.get_table_description(cursor, table)}
            yield from (
                f"column {table}.{field.column}"
                for field in model._meta.concrete_fields
                if field.column is not None and field.column not in found
            )


def _advice() -> str:
    if settings.DATABASES[DEFAULT_DB_ALIAS]["ENGINE"].endswith("sqlite3"):
        folder = settings.VAR_DIR
        return (
            f"Nothing was changed. Move the folder aside and start again: mv {folder} {folder}-before. "
            "Then upload your models and reference data again."
        )
    return (
        "Nothing was changed. Create an empty database, point DATABASE_URL to it, empty Redis (redis-cli FLUSHDB), "
        "and run `manage.py migrate`. Then upload your models and reference data again."
    )


if __name__ == "__main__":
    try:
        refuse_outdated_database()
    except OutdatedDatabaseError as error:
        sys.exit(str(error))
