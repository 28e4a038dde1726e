"""``manage.py upload_version``: upload an ONNX file, as in the admin."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.core.management.base import CommandError, CommandParser

from accounts.actors import command
from accounts.management.terminal import ExitStatus, TeachingCommand, add_json_option, demand_file
from mlmon.figures import plain_text
from mlmon.schema import TaskType
from models_registry.exceptions import UndeclaredOutputError
from models_registry.models import Model, ModelVersion
from models_registry.schema import Declaration, ScoreKind
from models_registry.services.versions import promote, upload_version

EXAMPLES = """
examples:
  A first version; it is stored in staging, and the model is registered:
    manage.py upload_version credit 1.0.0 credit.onnx

  Feature names in the order of the inputs, if the file lacks them; and all traffic:
    manage.py upload_version credit 1.1.0 credit.onnx --features income,age,region --promote

  What a graph does not contain: which features may be missing, and which numbers are categories:
    manage.py upload_version credit 1.1.1 credit.onnx --features income,age,region --optional income,age

  A network with its weights in a second file (the default of torch.onnx.export), or both as a zip archive:
    manage.py upload_version credit 1.3.0 credit.onnx credit.onnx.data

  What the graph does not prove: one number for each row is the probability of the second class:
    manage.py upload_version credit 1.4.0 credit.onnx --task classification --scores probabilities --classes no,yes

  Refuse the file if it does not predict what the framework predicted:
    manage.py upload_version credit 1.5.0 credit.onnx --check predicted.csv

  In a pipeline, with a note; print its digest:
    manage.py upload_version credit 1.2.0 credit.onnx --notes "trained on May 2026" --json | jq -r .artefact_sha256

Next: reference data (upload_reference), then promote, unless --promote was given.

exit status:
  0  the version is stored
  1  the file was refused, or the model already has this version; nothing is stored
  2  an option is invalid, or the file does not exist
  3  the database is unavailable
"""


class Command(TeachingCommand):
    help = (
        "Inspect an ONNX file and store it as a new version of a model; a new model is registered.\n"
        "The file is loaded in a sandboxed process with limits. Schema and classes are read from the graph."
    )
    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="name of the model")
        parser.add_argument("version", help="semantic version, e.g. 1.0.0")
        parser.add_argument(
            "file", type=Path, nargs="+", help="the ONNX file and its data files, or a zip archive of them"
        )
        parser.add_argument(
            "--features", default="", help="feature names in the order of the inputs, separated by commas"
        )
        parser.add_argument("--optional", default="", help="features that may be missing, separated by commas")
        parser.add_argument(
            "--categorical", default="", help="numeric features that are categories, separated by commas"
        )
        parser.add_argument("--task", type=TaskType, choices=list(TaskType), help="what the model predicts")
        parser.add_argument(
            "--scores", type=ScoreKind, choices=list(ScoreKind), help="what the scores of a classifier are"
        )
        parser.add_argument("--classes", default="", help="classes in the order of the scores, separated by commas")
        parser.add_argument(
            "--check",
            type=Path,
            help="CSV or Parquet file with the framework's own predictions (columns: the features, prediction; "
            "if wanted probability, probability_CLASS, score)",
        )
        parser.add_argument("--notes", default="", help="free text, shown in the admin")
        parser.add_argument("--promote", action="store_true", help="give it all of the model's traffic")
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        paths = [demand_file(path) for path in options["file"]]
        check = demand_file(options["check"]) if options["check"] else None
        actor, name = command("upload_version"), options["model"]
        with ExitStack() as opened:
            files = [File(opened.enter_context(path.open("rb")), name=path.name) for path in paths]
            try:
                version = upload_version(
                    model=Model.objects.filter(name=name).first() or name,
                    version=options["version"],
                    files=files,
                    feature_names=_names(options["features"]) or None,
                    optional=_names(options["optional"]),
                    categorical=_names(options["categorical"]),
                    declared=Declaration(options["task"], options["scores"], tuple(_names(options["classes"]))),
                    check=File(opened.enter_context(check.open("rb"))) if check else None,
                    notes=options["notes"],
                    user=actor,
                )
            except UndeclaredOutputError as error:
                advice = error.advice("State", "--task {task}", "--scores {scores}")
                raise CommandError(plain_text(f"{error.question} {advice}"), returncode=ExitStatus.FOUND) from error
        if options["promote"]:
            promote(version=version, user=actor)
        lines = [f"{version}: {version.stage}, {version.task_type}, sha256 {version.artefact_sha256}"]
        if version.classes:
            lines.append(f"  classes: {', '.join(version.classes)}")
        lines += [f"  {remark}" for remark in version.remarks]
        for feature in version.features.all():
            missing = "" if feature.is_required else ", may be missing"
            lines.append(f"  {feature.name}: {feature.kind} ({feature.tensor_type}){missing}")
        self.write_result(_body(version), lines, as_json=options["json"])


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _body(version: ModelVersion) -> dict[str, Any]:
    return {
        "model_name": version.model.name,
        "model_version": version.version,
        "stage": version.stage,
        "task_type": version.task_type,
        "classes": version.classes,
        "score_kind": version.score_kind or None,
        "remarks": version.remarks,
        "features": [
            {
                "name": feature.name,
                "kind": feature.kind,
                "tensor_type": feature.tensor_type,
                "is_required": feature.is_required,
            }
            for feature in version.features.all()
        ],
        "artefact_sha256": version.artefact_sha256,
    }
