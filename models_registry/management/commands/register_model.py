"""``manage.py register_model``: a name under which versions will answer."""

from typing import Any

from django.core.management.base import CommandParser

from accounts.actors import command
from accounts.management.terminal import TeachingCommand, add_json_option
from models_registry.services.versions import register_model

EXAMPLES = """
examples:
  The name is used in addresses and metric labels and cannot be changed later:
    manage.py register_model credit

  With what people should know of it:
    manage.py register_model credit-eu --description "Will a loan be paid back? Owner: the risk team." --json

What is next: upload_version. It registers a new name by itself; this command is for those that get a description.

exit status:
  0  registered
  1  the name is taken or malformed: lower-case letters, digits, '.', '_' and '-', 63 at most
  2  an option makes no sense
  3  the database does not answer
"""


class Command(TeachingCommand):
    help = "Register a model by its name, so that versions can be uploaded; who did it stands in the audit trail."
    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="name of the model")
        parser.add_argument("--description", default="", help="free text, shown in the admin and by the API")
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        model = register_model(
            name=options["model"], description=options["description"], user=command("register_model")
        )
        body = {"name": model.name, "description": model.description, "created_at": model.created_at}
        self.write_result(body, [f"{model.name} is registered."], as_json=options["json"])
