"""``manage.py load_demo``: puts the demo's two models into production, with their reference data."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from accounts.management.terminal import ExitStatus, TeachingCommand, add_json_option
from demo.loading import DEMO_MODELS, load_demo_model
from models_registry.models import ReferenceStatus

EXAMPLES = """
examples:
  Both models, ready for POST /predict and for `manage.py replay`:
    manage.py load_demo

  The result as JSON; a second run changes nothing:
    manage.py load_demo --json
    manage.py load_demo --json | jq '.[].reference_rows'

exit status:
  0  both models are loaded
  1  the demo's files cannot be read, or a model or its reference data was refused
  2  an option is invalid
  3  the database is unavailable
"""


class Command(TeachingCommand):
    help = (
        "Put the demo's models classifier and flight-delay into production, with their reference data profiled.\n"
        "A second run adds only what is missing and keeps all changes that people made."
    )
    epilog = EXAMPLES
    # The checks import all apps, and this command runs at every start.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        folder = Path(settings.BASE_DIR) / "demo"
        try:
            loaded = [load_demo_model(demo, folder=folder) for demo in DEMO_MODELS]
        except OSError as error:
            raise CommandError(f"The demo's files cannot be read: {error}") from error
        lines = []
        for model in loaded:
            rows = f"{model.reference_rows:,} reference rows" if model.reference_rows else "reference not profiled yet"
            unchanged = "" if model.changed else " (unchanged)"
            lines.append(f"{model.name} {model.version}: {model.stage}, {rows}{unchanged}")
        self.write_result([asdict(model) for model in loaded], lines, as_json=options["json"])
        for model in loaded:
            if model.reference_status == ReferenceStatus.FAILED:
                raise CommandError(
                    f"The reference data of {model.name} could not be profiled: {model.error_message}",
                    returncode=ExitStatus.FOUND,
                )
