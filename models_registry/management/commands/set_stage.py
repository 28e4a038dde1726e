"""``manage.py set_stage``: move a version to production, shadow, staging or the archive."""

from functools import partial
from typing import Any

from django.core.management.base import CommandParser

from accounts.actors import command
from accounts.management.terminal import TeachingCommand, add_json_option, whole_number
from models_registry.models import LARGEST_WEIGHT, Stage
from models_registry.selectors import version_named
from models_registry.services.versions import set_stage

EXAMPLES = """
examples:
  A challenger that receives a copy of every request and whose predictions are only stored:
    manage.py set_stage credit 1.1.0 shadow

  A canary beside the version with weight 100: about one request in twenty:
    manage.py set_stage credit 1.1.0 production --weight 5

  Without traffic; or archived, which is final:
    manage.py set_stage credit 1.0.0 staging
    manage.py set_stage credit 1.0.0 archived --json

To give one version all the traffic, use promote.

exit status:
  0  the version is in that stage
  1  refused: the version is archived, or the weight is for another stage than production
  2  an option is invalid, or the model or version does not exist
  3  the database is unavailable
"""


class Command(TeachingCommand):
    help = "Move one version to another stage; other versions keep theirs. The audit trail records it."
    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="name of the model")
        parser.add_argument("model_version", metavar="version", help="its version, e.g. 1.0.0")
        parser.add_argument("stage", choices=Stage.values, help="the new stage")
        parser.add_argument(
            "--weight",
            type=partial(whole_number, largest=LARGEST_WEIGHT),
            help="its traffic, relative to the others in production (default: 100)",
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        version = version_named(options["model"], options["model_version"])
        set_stage(
            version=version,
            stage=Stage(options["stage"]),
            traffic_weight=options["weight"],
            user=command("set_stage"),
        )
        body = {
            "model_name": version.model.name,
            "model_version": version.version,
            "stage": version.stage,
            "traffic_weight": version.traffic_weight,
        }
        weight = f", weight {version.traffic_weight}" if version.traffic_weight else ""
        self.write_result(body, [f"{version}: {version.stage}{weight}"], as_json=options["json"])
