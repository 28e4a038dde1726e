"""``manage.py models``: list the registry and its problems."""

import sys
from typing import Any

from django.core.management.base import CommandParser
from rich.table import Table

from accounts.management.terminal import ExitStatus, TeachingCommand, add_json_option, table
from models_registry.models import Model, ModelVersion
from models_registry.selectors import active_reference, model_named, version_problems

HEADINGS = ("model", "version", "stage", "weight", "task", "features", "reference rows", "health")
NO_MODEL = "There is no model yet. Upload one with upload_version, or load the demo with load_demo."
EXAMPLES = """
examples:
  All models, or one:
    manage.py models
    manage.py models credit

  The version in production, for a script:
    manage.py models credit --json | jq -r '.models[].versions[] | select(.stage == "production") | .version'

  In cron, exit with 1 if a version cannot predict or is not monitored:
    manage.py models --check

exit status:
  0  done
  1  with --check: a version that is not archived has a problem, shown in the table
  2  an option is invalid, or the model does not exist
  3  the database is unavailable
"""


class Command(TeachingCommand):
    help = (
        "List the models with their versions, stages, traffic weights, reference data and health: whether the ONNX\n"
        "file exists, and whether drift can be checked."
    )
    epilog = EXAMPLES
    requires_system_checks: list[str] = []  # so that 1 means a problem of a version, and to be fast

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", nargs="?", help="name of one model (default: all)")
        parser.add_argument("--check", action="store_true", help="exit with 1 if a version has a problem")
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        models = [model_named(options["model"])] if options["model"] else list(Model.objects.all())
        described = [_described(model) for model in models]
        parts: list[str | Table] = [NO_MODEL]
        if models:
            rows = [row for model in described for row in _rows(model)]
            parts = [table(HEADINGS, rows, numbers=("weight", "features", "reference rows"))]
        self.write_result({"models": described}, parts, as_json=options["json"])
        problems = [problem for model in described for version in model["versions"] for problem in version["problems"]]
        if options["check"] and problems:
            sys.exit(ExitStatus.FOUND)


def _described(model: Model) -> dict[str, Any]:
    versions = model.versions.order_by("-created_at").prefetch_related("features")
    return {
        "name": model.name,
        "description": model.description,
        "versions": [_described_version(version) for version in versions],
    }


def _described_version(version: ModelVersion) -> dict[str, Any]:
    reference = active_reference(version.pk)
    return {
        "version": version.version,
        "stage": version.stage,
        "traffic_weight": version.traffic_weight,
        "task_type": version.task_type,
        "is_served_here": version.is_served_here,
        "framework": version.framework,
        "features": [feature.name for feature in version.features.all()],
        "artefact_sha256": version.artefact_sha256 or None,
        "created_at": version.created_at,
        "reference": reference and {"filename": reference.original_filename, "rows": reference.rows},
        "problems": version_problems(version),
    }


def _rows(model: dict[str, Any]) -> list[tuple[str, ...]]:
    if not model["versions"]:
        return [(model["name"], "-", "-", "-", "-", "-", "-", "No version has been uploaded yet.")]
    return [
        (
            model["name"],
            version["version"],
            version["stage"],
            str(version["traffic_weight"] or "-"),
            version["task_type"],
            str(len(version["features"])),
            f"{version['reference']['rows']:,}" if version["reference"] else "-",
            " ".join(version["problems"]) or "ok",
        )
        for version in model["versions"]
    ]
