"""``manage.py create_token``: create an API token."""

from datetime import timedelta
from functools import partial
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from accounts.actors import command
from accounts.management.terminal import TeachingCommand, add_json_option, whole_number
from accounts.models import TokenScope
from accounts.services.tokens import create_token

LONGEST_DAYS = 36_500
EXAMPLES = """
examples:
  For an application that predicts and sends ground truth:
    manage.py create_token checkout --scope predict

  For a dashboard, which only reads; it expires after 90 days:
    manage.py create_token dashboard --scope read --days 90

  For a CI pipeline, which uploads and promotes versions (docs/ci.md):
    manage.py create_token ci --scope registry

  Into a file, for a program:
    manage.py create_token checkout-staging --json | jq -r .token > token

exit status:
  0  the token is printed; it is not shown again, because only its digest is stored
  1  a token with this name already exists, or the name is not allowed
  2  an option is invalid
  3  the database is unavailable
"""


class Command(TeachingCommand):
    help = (
        "Create an API token and print it once.\n"
        "Clients send it as `Authorization: Bearer mlmon_...`. The audit trail records who created it."
    )
    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="who or what will use it")
        parser.add_argument(
            "--scope",
            choices=TokenScope.values,
            default=TokenScope.PREDICT.value,
            help="calls that it allows (default: %(default)s)",
        )
        parser.add_argument(
            "--days", type=partial(whole_number, largest=LONGEST_DAYS), help="days until it expires (default: never)"
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["days"]
        row, token = create_token(
            name=options["name"],
            scope=options["scope"],
            expires_at=timezone.now() + timedelta(days=days) if days else None,
            user=command("create_token"),
        )
        body = {"name": row.name, "scope": row.scope, "expires_at": row.expires_at, "token": token}
        self.write_result(body, [token], as_json=options["json"])
