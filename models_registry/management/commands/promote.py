"""``manage.py promote``: give one version all of its model's traffic."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.actors import command
from accounts.management.terminal import ExitStatus, TeachingCommand, add_json_option
from models_registry.models import Stage
from models_registry.selectors import consequences_of_stage, version_named
from models_registry.services.versions import promote

EXAMPLES = """
examples:
  Show what would change:
    manage.py promote credit 1.1.0 --dry-run

  All traffic to 1.1.0; the version that had it goes to staging:
    manage.py promote credit 1.1.0

  Roll back:
    manage.py promote credit 1.0.0

  In a pipeline, only if no version has a problem:
    manage.py models credit --check && manage.py promote credit 1.1.0 --json

exit status:
  0  the version has all of the traffic (with --dry-run: it could have)
  1  refused: the version is archived
  2  an option is invalid, or the model or version does not exist
  3  the database is unavailable
"""


class Command(TeachingCommand):
    help = (
        "Give a version all of its model's traffic, and show what that changes. Running servers follow within about a\n"
        "second, without dropping a request. The audit trail records it."
    )
    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="name of the model")
        parser.add_argument("model_version", metavar="version", help="its version, e.g. 1.1.0")
        parser.add_argument("--dry-run", action="store_true", help="only show what would change")
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        version = version_named(options["model"], options["model_version"])
        if version.stage == Stage.ARCHIVED:
            raise CommandError(
                f"{version} is archived, which is final. Upload it as a new version.", returncode=ExitStatus.FOUND
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
