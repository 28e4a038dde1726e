"""``manage.py upload_reference``: what the admin's upload does, from a terminal, waiting for the profile."""

import json
from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.core.management.base import BaseCommand, CommandError, CommandParser

from models_registry.actors import command
from models_registry.exceptions import ReferenceFileError
from models_registry.models import ModelVersion, ReferenceDataset, ReferenceStatus
from models_registry.reference_report import ColumnReport, feature_reports, prediction_report
from models_registry.selectors import load_profile
from models_registry.services.references import profile_reference, upload_reference


class Command(BaseCommand):
    help = (
        "Profile a CSV or Parquet file and put it in force as the reference data of a version. "
        "Example: manage.py upload_reference credit 1.0.0 training-sample.parquet"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="name of the model")
        parser.add_argument("model_version", metavar="version", help="its version, e.g. 1.0.0")
        parser.add_argument("file", type=Path, help="a column for each feature, by its name")
        parser.add_argument(
            "--label-column",
            default="",
            metavar="COLUMN",
            help="the ground truth (default: found by its name or its values, if there is one)",
        )
        parser.add_argument("--json", action="store_true", help="the result as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        reference = self._profiled(options)
        if reference.status != ReferenceStatus.READY:
            raise CommandError(reference.error_message)
        if options["json"]:
            self.stdout.write(
                json.dumps(
                    {
                        "id": reference.pk,
                        "rows": reference.rows,
                        "label_column": reference.label_column,
                        "labelled_rows": reference.labelled_rows,
                        "labels_note": reference.labels_note,
                        "ignored_columns": reference.ignored_columns,
                    }
                )
            )
        else:
            self._print_report(reference)

    def _profiled(self, options: dict[str, Any]) -> ReferenceDataset:
        model, version, path = options["model"], options["model_version"], options["file"]
        row = ModelVersion.objects.select_related("model").filter(model__name=model, version=version).first()
        if row is None:
            raise CommandError(f"There is no version {version} of a model {model!r}.")
        if not path.is_file():
            raise CommandError(f"There is no file {path}.")
        try:
            with path.open("rb") as content:
                reference = upload_reference(
                    version=row,
                    file=File(content),
                    filename=path.name,
                    label_column=options["label_column"],
                    user=command("upload_reference"),
                    enqueue=False,
                )
        except ReferenceFileError as error:
            raise CommandError(str(error)) from error
        return profile_reference(reference_id=reference.pk)

    def _print_report(self, reference: ReferenceDataset) -> None:
        profile = load_profile(reference)
        self.stdout.write(self.style.SUCCESS(f"{reference.version}: {reference.rows:,} rows are its reference now."))
        for report in feature_reports(profile):
            self.stdout.write(f"  {report.name}: {_described(report)}")
        self.stdout.write(f"  predictions: {_described(prediction_report(profile))}")
        if reference.label_column:
            self.stdout.write(f"  ground truth: {reference.label_column}, {reference.labelled_rows:,} rows")
        else:
            self.stdout.write(f"  ground truth: none. {reference.labels_note}")
        if reference.ignored_columns:
            self.stdout.write(f"  ignored columns: {', '.join(reference.ignored_columns)}")


def _described(report: ColumnReport) -> str:
    missing = f", {report.n_missing} missing" if report.n_missing else ""
    if report.numbers is not None:
        numbers = report.numbers
        return (
            f"{numbers.minimum:.4g} to {numbers.maximum:.4g}, mean {numbers.mean:.4g}, std {numbers.std:.4g}{missing}"
        )
    levels = ", ".join(f"{level.name} {level.percent:.1f} %" for level in report.levels)
    more = f" and {report.n_more_levels} more" if report.n_more_levels else ""
    return f"{levels}{more}{missing}"
