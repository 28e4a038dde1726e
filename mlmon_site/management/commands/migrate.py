"""``manage.py migrate``: Django's command, which refuses a database that it could only migrate halfway."""

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate

from mlmon_site.database import OutdatedDatabaseError, refuse_other_tables, refuse_outdated_database


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        try:
            refuse_outdated_database(options["database"])
            refuse_other_tables(options["database"])
        except OutdatedDatabaseError as error:
            raise CommandError(str(error)) from error
        super().handle(*args, **options)
