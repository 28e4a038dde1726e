"""``manage.py promote``: all of a model's traffic to one version, from a terminal."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.actors import command
from accounts.management.terminal import ExitStatus, TeachingCommand, add_json_option
from models_registry.models import Stage
from models_registry.selectors import consequences_of_stage, version_named
from models_registry.services.versions import promote

EXAMPLES = """
examples:
  What would change; nothing is done:
    manage.py promote credit 1.1.0 --dry-run

  All traffic to 1.1.0; the version that had it goes to staging, ready for a way back:
    manage.py promote credit 1.1.0

  The way back:
    manage.py promote credit 1.0.0

  In a pipeline, only where the new version has reference data and its file is there:
    manage.py models credit --check && manage.py promote credit 1.1.0 --json

exit status:
  0  the version has all of the traffic (with --dry-run: it could have)
  1  refused: an archived version stays archived
  2  an option makes no sense, or there is no such model or version
  3  the database does not answer
"""


class Command(TeachingCommand):
    help = (
        "Give a version all of its model's traffic, and say what that changes. Running servers follow within a second\n"
        "or so, without dropping a request. It stands in the audit trail."
    )
    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="name of the model")
        parser.add_argument("model_version", metavar="version", help="its version, e.g. 1.1.0")
        parser.add_argument("--dry-run", action="store_true", help="only say what would change")
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        version = version_named(options["model"], options["model_version"])
        if version.stage == Stage.ARCHIVED:
            raise CommandError(
                f"{version} is archived, which is final; upload it as a new version.", returncode=ExitStatus.FOUND
            )
        consequences = consequences_of_stage(version, Stage.PRODUCTION)
        if not options["dry_run"]:
            promote(version=version, user=command("promote"))
        body = {
            "model_name": version.model.name,
            "model_version": version.version,
            "stage": version.stage,
            "is_dry_run": options["dry_run"],
            "consequences": consequences,
        }
        self.write_result(body, consequences, as_json=options["json"])
