"""``manage.py demo_rollout``: an automatic rollback and a promotion of the demo's model on a running server."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from rich.table import Table

from accounts.actors import command
from accounts.management.terminal import ExitStatus, TeachingCommand, add_json_option, table
from accounts.models import TokenScope
from accounts.services.tokens import create_token, revoke_token
from demo.client import Client, ReplayError
from demo.extract import read_flights
from demo.management.commands.replay import EXTRACT, REFERENCE_MONTHS
from demo.rollouts import CHALLENGERS, RolloutDemo
from inference.serving import REFRESH_SECONDS

TOKEN_LIFETIME = timedelta(minutes=30)
EXAMPLES = """
examples:
  On the server that `make run` has started, in about two minutes:
    manage.py demo_rollout

  On another server, with a token of the scope "all":
    manage.py demo_rollout --url http://mlmon.example:8000 --token mlmon_...

exit status:
  0    the broken version was rolled back, the better one was promoted
  1    the server is unavailable or refuses a request, or a rollout ended otherwise
  2    an option is invalid
  3    the database is unavailable, in which a token is created without --token
  130  interrupted
"""


class Command(TeachingCommand):
    help = (
        "Roll out two further versions of the demo's model flight-delay through the HTTP API of a running server: one\n"
        "with two features exchanged, which a guardrail rolls back, and a better one, which is promoted. Flights of\n"
        "January to March are sent meanwhile, with their outcomes. Afterwards 1.0.0 has all of the traffic again, and\n"
        "both versions stay in staging."
    )
    epilog = EXAMPLES
    requires_system_checks: list[str] = []  # a client; the server may be on another machine

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server (default: %(default)s)")
        parser.add_argument(
            "--token", default="", help='API token of the scope "all" (default: one that is revoked at the end)'
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        folder = Path(settings.BASE_DIR) / "demo"
        flights = read_flights(folder / EXTRACT, months=REFERENCE_MONTHS, limit=None, shuffle_seed=0)
        try:
            with closing(Client(options["url"])) as client:
                client.check_server()
            with _token(options["token"]) as token, closing(Client(options["url"], token=token)) as client:
                ended = RolloutDemo(client, folder, flights, self._say(is_quiet=options["json"])).run()
        except ReplayError as error:
            raise CommandError(str(error)) from error
        self.write_result({"rollouts": ended}, ["", _table(ended)], as_json=options["json"])
        for challenger, rollout in zip(CHALLENGERS, ended, strict=True):
            if rollout["state"] != challenger.expected:
                message = f"{challenger.version} was expected to be {challenger.expected}, but is {rollout['state']}."
                raise CommandError(message, returncode=ExitStatus.FOUND)

    def _say(self, *, is_quiet: bool) -> Callable[[str], None]:
        def say(line: str) -> None:
            if not is_quiet:
                self.stdout.write(line)
                self.stdout.flush()  # a pipe would show it at the end only

        return say


@contextmanager
def _token(given: str) -> Iterator[str]:
    """Yield the token that is given, or one that lives as long as the demo."""
    if given:
        yield given
        return
    now = timezone.now()
    user = command("demo_rollout")
    name = f"demo-rollout-{now:%Y%m%d-%H%M%S}"
    row, token = create_token(name=name, scope=TokenScope.ALL, expires_at=now + TOKEN_LIFETIME, user=user)
    time.sleep(2 * REFRESH_SECONDS)  # until each web process has read it
    try:
        yield token
    finally:
        revoke_token(token=row, user=user)


def _table(rollouts: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for rollout in rollouts:
        for one in rollout["guardrails"]:
            rows.append(
                (
                    rollout["challenger"],
                    rollout["state"].replace("_", " "),
                    one["measure"].replace("_", " "),
                    f"{one['challenger_events']:,} of {one['challenger_units']:,}",
                    f"{one['champion_events']:,} of {one['champion_units']:,}",
                    f"{one['log10_evidence']:.2f}",
                    f"{one['log10_limit']:.2f}",
                )
            )
    headings = ("challenger", "ended as", "guardrail", "challenger's events", "champion's events", "log10", "limit")
    return table(headings, rows, numbers=headings[3:])
