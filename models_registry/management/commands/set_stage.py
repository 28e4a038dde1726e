"""``manage.py set_stage``: a version to production, shadow, staging or the archive, from a terminal."""

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandParser

from accounts.actors import command
from accounts.management.terminal import TeachingCommand, add_json_option
from models_registry.models import ModelVersion, Stage
from models_registry.selectors import version_named
from models_registry.services.versions import set_stage

LARGEST_WEIGHT = 32_767  # what the column holds
EXAMPLES = """
examples:
  A challenger gets a copy of every request, and its answers reach nobody:
    manage.py set_stage credit 1.1.0 shadow

  A canary beside the version with weight 100: one request in twenty or so:
    manage.py set_stage credit 1.1.0 production --weight 5

  Out of traffic, with a way back; out of use for good:
    manage.py set_stage credit 1.0.0 staging
    manage.py set_stage credit 1.0.0 archived --json

To give one version all the traffic use promote.

exit status:
  0  the version is in that stage
  1  refused: an archived version stays archived, and only production takes a weight
  2  an option makes no sense, or there is no such model or version
  3  the database does not answer
"""


class Command(TeachingCommand):
    help = "Move one version to another stage; the others stay where they are. It stands in the audit trail."
    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="name of the model")
        parser.add_argument("model_version", metavar="version", help="its version, e.g. 1.0.0")
        parser.add_argument("stage", choices=Stage.values, help="where it goes")
        parser.add_argument(
            "--weight", type=_weight, help="of its traffic, against the others in production (default: 100)"
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
        self.write_result(_body(version), [_line(version)], as_json=options["json"])


def _body(version: ModelVersion) -> dict[str, Any]:
    return {
        "model_name": version.model.name,
        "model_version": version.version,
        "stage": version.stage,
        "traffic_weight": version.traffic_weight,
    }


def _line(version: ModelVersion) -> str:
    weight = f", weight {version.traffic_weight}" if version.traffic_weight else ""
    return f"{version}: {version.stage}{weight}"


def _weight(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= LARGEST_WEIGHT):
        raise ArgumentTypeError(f"a whole number from 1 to {LARGEST_WEIGHT}")
    return int(text)
