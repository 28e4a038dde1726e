"""``manage.py register_version``: register a version that another server serves, as in the admin."""

import json
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

import orjson
from django.core.files.base import File
from django.core.management.base import CommandError, CommandParser

from accounts.actors import command
from accounts.management.terminal import ExitStatus, TeachingCommand, add_json_option, demand_file
from mlmon.csv_files import encoding_named
from mlmon.exceptions import ReferenceFileError
from mlmon.figures import plain_text
from mlmon.schema import TaskType
from models_registry.models import Model
from models_registry.schema_document import document_of_schema
from models_registry.schema_inference import InferredSchema, SchemaChoices
from models_registry.services.external_versions import register_external_version, schema_of_upload
from models_registry.services.versions import promote

FILE_OPTIONS = ("task", "prediction_column", "label_column", "time", "encoding", "missing")
EXAMPLES = """
examples:
  Read a first schema from reference data. It is printed, and nothing is stored; notes go to stderr:
    manage.py register_version credit 2.0.0 --infer holdout.csv > schema.json

  With the columns of the predictions and of the ground truth, if they have other names than prediction and actual:
    manage.py register_version credit 2.0.0 --infer holdout.csv --prediction-column paid --label-column was_paid

  Check the schema, correct it, and register the version. It is stored in staging, and a new model is registered:
    manage.py register_version credit 2.0.0 --schema schema.json

  In a pipeline, with a note; its observations are then those of requests that name no version:
    manage.py register_version credit 2.1.0 --schema schema.json --notes "trained on May 2026" --promote --json

A schema:
  {"task": "classification", "classes": ["no", "yes"], "features": [
    {"name": "income", "type": "number", "required": true}, {"name": "region", "type": "category"}]}
The tasks are classification, regression and anomaly; the types number, integer, boolean and category. A number that is
compared as a category has "kind": "categorical". Features are required unless they say otherwise.

Next: reference data (upload_reference), then promote, unless --promote was given. The server that serves the version
sends its predictions to POST /api/v1/models/MODEL/observations.

exit status:
  0  the version is stored; with --infer: the schema is printed
  1  refused: the schema or the file is invalid, or the model already has this version; nothing is stored
  2  an option is invalid, or the file does not exist
  3  the database is unavailable
"""


class Command(TeachingCommand):
    help = (
        "Register a version of a model that another server serves, so that it is monitored here: with its schema, and\n"
        "without a file of the model. mlmon cannot predict with it."
    )
    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="name of the model")
        parser.add_argument("model_version", metavar="version", help="semantic version, e.g. 2.0.0")
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("--schema", type=Path, metavar="FILE", help="JSON file with the schema")
        source.add_argument(
            "--infer", type=Path, metavar="FILE", help="only print the schema that a CSV or Parquet file suggests"
        )
        parser.add_argument("--notes", default="", help="free text, shown in the admin")
        parser.add_argument("--promote", action="store_true", help="make it the only version in production")
        of_file = parser.add_argument_group("with --infer")
        of_file.add_argument(
            "--task", type=TaskType, choices=list(TaskType), help="what the model predicts (default: by the values)"
        )
        of_file.add_argument(
            "--prediction-column",
            default="",
            metavar="COLUMN",
            help="column with the predictions (default: detected by its name)",
        )
        of_file.add_argument(
            "--label-column",
            default="",
            metavar="COLUMN",
            help="column with the ground truth (default: detected by its name)",
        )
        of_file.add_argument(
            "--time", default="", metavar="COLUMN", help="column with Unix times (default: others are detected)"
        )
        of_file.add_argument("--encoding", type=_encoding, default="", help="of a CSV file (default: UTF-8)")
        of_file.add_argument(
            "--missing", action="append", default=[], metavar="VALUE", help="a string that is missing; may be repeated"
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        if options["infer"]:
            if options["notes"] or options["promote"]:
                raise CommandError(
                    "--infer stores nothing: leave out --notes and --promote.", returncode=ExitStatus.WRONG_USAGE
                )
            self._show(_inferred(options), as_json=options["json"])
            return
        if given := next((name for name in FILE_OPTIONS if options[name]), None):
            raise CommandError(
                f"--{given.replace('_', '-')} is an option of --infer.", returncode=ExitStatus.WRONG_USAGE
            )
        path, name, actor = demand_file(options["schema"]), options["model"], command("register_version")
        try:
            document = orjson.loads(path.read_bytes())
        except orjson.JSONDecodeError as error:
            raise CommandError(f"{path} is not valid JSON: {error}.", returncode=ExitStatus.FOUND) from error
        version = register_external_version(
            model=Model.objects.filter(name=name).first() or name,
            version=options["model_version"],
            document=document,
            notes=options["notes"],
            user=actor,
        )
        if options["promote"]:
            promote(version=version, user=actor)
        schema = document_of_schema(version.schema())
        body = {
            "model_name": version.model.name,
            "model_version": version.version,
            "stage": version.stage,
            "is_served_here": False,
            "schema": schema,
        }
        lines = [f"{version}: {version.stage}, {version.task_type}, served elsewhere"]
        lines += [f"  classes: {', '.join(version.classes)}"] if version.classes else []
        for feature in schema["features"]:
            kind = f", {feature['kind']}" if "kind" in feature else ""
            missing = "" if feature["required"] else ", may be missing"
            lines.append(f"  {feature['name']}: {feature['type']}{kind}{missing}")
        self.write_result(body, [plain_text(line) for line in lines], as_json=options["json"])

    def _show(self, inferred: InferredSchema, *, as_json: bool) -> None:
        """Print the schema to stdout; without --json nothing else, so that it can be a file."""
        if not as_json:
            lines = ["These columns are no features:"] if inferred.left_out else ["Every column is a feature."]
            lines += [f"  {one.column}: {one.reason}" for one in inferred.left_out]
            lines += [*inferred.notes, "Nothing is stored. Check the schema, then register the version with --schema."]
            for line in lines:
                self.stderr.write(plain_text(line), str)  # not in the colour of errors
        left_out = [{"column": one.column, "reason": one.reason} for one in inferred.left_out]
        body = {"schema": inferred.document, "left_out": left_out, "notes": inferred.notes}
        text = json.dumps(inferred.document, indent=2, ensure_ascii=False)
        self.write_result(body, [text], as_json=as_json)


def _inferred(options: dict[str, Any]) -> InferredSchema:
    choices = SchemaChoices(
        task=options["task"],
        prediction_column=options["prediction_column"],
        label_column=options["label_column"],
        time_column=options["time"],
        encoding=options["encoding"],
        missing=frozenset(options["missing"]),
    )
    with demand_file(options["infer"]).open("rb") as content:
        return schema_of_upload(file=File(content), choices=choices)


def _encoding(name: str) -> str:
    try:
        return encoding_named(name) if name else ""
    except ReferenceFileError as error:
        raise ArgumentTypeError(str(error)) from error
