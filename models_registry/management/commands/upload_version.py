"""``manage.py upload_version``: what the admin's upload does, from a terminal."""

from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.files.base import File
from django.core.management.base import BaseCommand, CommandError, CommandParser

from models_registry.actors import command
from models_registry.exceptions import ArtefactError
from models_registry.models import Model
from models_registry.services.versions import promote, register_model, upload_version


class Command(BaseCommand):
    help = (
        "Check an ONNX file and keep it as a new version of a model (the model is registered where it is new). "
        "Example: manage.py upload_version credit 1.0.0 credit.onnx --features income,age --promote"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="name of the model")
        parser.add_argument("version", help="semantic version, e.g. 1.0.0")
        parser.add_argument("file", type=Path, help="the ONNX file")
        parser.add_argument("--features", default="", help="feature names in the order of the inputs, with commas")
        parser.add_argument("--notes", default="")
        parser.add_argument("--promote", action="store_true", help="give it the model's traffic at once")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        if not path.is_file():
            raise CommandError(f"There is no file {path}.")
        actor, name = command("upload_version"), options["model"]
        try:
            model = Model.objects.filter(name=name).first() or register_model(name=name, user=actor)
            with path.open("rb") as content:
                version = upload_version(
                    model=model,
                    version=options["version"],
                    artefact=File(content),
                    feature_names=[name.strip() for name in options["features"].split(",") if name.strip()] or None,
                    notes=options["notes"],
                    user=actor,
                )
        except ArtefactError as error:
            raise CommandError(str(error)) from error
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        if options["promote"]:
            promote(version=version, user=actor)
        self.stdout.write(self.style.SUCCESS(f"{version}: {version.task_type}, sha256 {version.artefact_sha256}"))
        for feature in version.features.all():
            self.stdout.write(f"  {feature.name}: {feature.kind} ({feature.tensor_type})")
