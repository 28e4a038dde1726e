"""``manage.py register_model``: register the name of a model."""

from typing import Any

from django.core.management.base import CommandParser

from accounts.actors import command
from accounts.management.terminal import TeachingCommand, add_json_option
from models_registry.services.versions import register_model

EXAMPLES = """
examples:
  The name is used in URLs and metric labels and cannot be changed later:
    manage.py register_model credit

  With a description for people:
    manage.py register_model credit-eu --description "Will a loan be paid back? Owner: the risk team." --json

  With the time zone whose hours and weekdays its traffic follows:
    manage.py register_model credit-us --time-zone America/New_York

Next: upload_version. It also registers new names; this command is for models with a description.

exit status:
  0  registered
  1  the name is taken or malformed: use at most 63 lower-case letters, digits, '.', '_' and '-'; or there is no such
     time zone
  2  an option is invalid
  3  the database is unavailable
"""


class Command(TeachingCommand):
    help = "Register a model, so that versions can be uploaded. The audit trail records who did it."
    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="name of the model")
        parser.add_argument("--description", default="", help="free text, shown in the admin and by the API")
        parser.add_argument(
            "--time-zone", default="UTC", metavar="NAME", help="IANA name of its hours and weekdays (default: UTC)"
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        model = register_model(
            name=options["model"],
            description=options["description"],
            time_zone=options["time_zone"],
            user=command("register_model"),
        )
        body = {
            "name": model.name,
            "description": model.description,
            "time_zone": model.time_zone,
            "created_at": model.created_at,
        }
        self.write_result(body, [f"{model.name} is registered."], as_json=options["json"])
