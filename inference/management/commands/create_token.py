"""``manage.py create_token``: an API token from a terminal."""

from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from inference.models import TokenScope
from inference.services import create_token
from models_registry.actors import command


class Command(BaseCommand):
    help = "Make an API token and print it, this once. Example: manage.py create_token checkout --scope predict"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="who or what uses it")
        parser.add_argument("--scope", choices=TokenScope.values, default=TokenScope.PREDICT.value)
        parser.add_argument("--days", type=int, help="days until it expires (default: never)")

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["days"]
        try:
            _, token = create_token(
                name=options["name"],
                scope=options["scope"],
                expires_at=timezone.now() + timedelta(days=days) if days else None,
                user=command("create_token"),
            )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(token)
