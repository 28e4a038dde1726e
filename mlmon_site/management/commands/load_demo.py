"""``manage.py load_demo``: the demo's two models in production, with their reference data."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from mlmon_site.demo_models import DEMO_MODELS, LoadedModel, load_demo_model
from models_registry.exceptions import ArtefactError, ReferenceFileError
from models_registry.models import ReferenceStatus


class Command(BaseCommand):
    help = (
        "Put the demo's models classifier and flight-delay into production, with their reference data profiled. "
        "Run again, it does only what is still to do, and leaves alone what was changed by hand."
    )
    # They import everything there is, and this command runs at every start.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="say what is there as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        folder = Path(settings.BASE_DIR) / "demo"
        try:
            loaded = [load_demo_model(demo, folder=folder) for demo in DEMO_MODELS]
        except OSError as error:
            raise CommandError(f"The demo's files cannot be read: {error}") from error
        except (ArtefactError, ReferenceFileError) as error:
            raise CommandError(str(error)) from error
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self._say(loaded, as_json=options["json"])
        for model in loaded:
            if model.reference_status == ReferenceStatus.FAILED:
                raise CommandError(f"The reference data of {model.name} could not be profiled: {model.error_message}")

    def _say(self, loaded: list[LoadedModel], *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps([asdict(model) for model in loaded], indent=2))
            return
        for model in loaded:
            rows = f"{model.reference_rows:,} reference rows" if model.reference_rows else "reference being profiled"
            was_there = "" if model.changed else " (was there)"
            self.stdout.write(f"{model.name} {model.version}: {model.stage}, {rows}{was_there}")
