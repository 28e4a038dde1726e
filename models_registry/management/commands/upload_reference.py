"""``manage.py upload_reference``: what the admin's upload does, from a terminal, waiting for the profile."""

from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.core.management.base import CommandError, CommandParser

from accounts.actors import command
from accounts.management.terminal import ExitStatus, TeachingCommand, add_json_option, demand_file, progress_bar
from mlmon.figures import plain_text, short_number_text
from models_registry.models import ReferenceDataset, ReferenceStatus
from models_registry.reference_report import ColumnReport, feature_reports, prediction_report
from models_registry.selectors import load_profile, version_named
from models_registry.services.references import profile_reference, upload_reference

EXAMPLES = """
examples:
  Rows that the model learned from, or better that it was tested on; a column for each feature, by its name:
    manage.py upload_reference credit 1.0.0 training-sample.parquet

  The column with the ground truth, by which accuracy is measured and estimated:
    manage.py upload_reference credit 1.0.0 holdout.csv --label-column defaulted

  What came of it, for a program:
    manage.py upload_reference credit 1.0.0 holdout.csv --json | jq .rows

Other columns are ignored, and named in the report. The reference that was in force before stays in the admin.

exit status:
  0    profiled and in force
  1    the file was refused; the reason names the column and the row where it can
  2    an option makes no sense, or there is no such model, version or file
  3    the database does not answer
  130  interrupted
"""


class Command(TeachingCommand):
    help = (
        "Profile a CSV or Parquet file and put it in force as the reference data of a version: what drift checks\n"
        "compare its newest predictions with. The model answers every row once: its answers are compared too."
    )
    epilog = EXAMPLES

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
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        reference = self._profiled(options)
        if reference.status != ReferenceStatus.READY:
            raise CommandError(plain_text(reference.error_message), returncode=ExitStatus.FOUND)
        as_json: bool = options["json"]
        self.write_result(_body(reference), [] if as_json else _report_lines(reference), as_json=as_json)

    def _profiled(self, options: dict[str, Any]) -> ReferenceDataset:
        version = version_named(options["model"], options["model_version"])
        path = demand_file(options["file"])
        with path.open("rb") as content:
            reference = upload_reference(
                version=version,
                file=File(content),
                filename=path.name,
                label_column=options["label_column"],
                user=command("upload_reference"),
                enqueue=False,
            )
        with progress_bar(total=100, unit="%", as_json=options["json"]) as bar:

            def show(step: str, percent: int) -> None:
                bar.set_description_str(step)
                bar.update(percent - bar.n)

            reference = profile_reference(reference_id=reference.pk, on_progress=show)
            if reference.status == ReferenceStatus.READY:
                show("done", 100)
        return reference


def _body(reference: ReferenceDataset) -> dict[str, Any]:
    return {
        "id": reference.pk,
        "rows": reference.rows,
        "label_column": reference.label_column,
        "labelled_rows": reference.labelled_rows,
        "labels_note": reference.labels_note,
        "ignored_columns": reference.ignored_columns,
    }


def _report_lines(reference: ReferenceDataset) -> list[str]:
    profile = load_profile(reference)
    lines = [f"{reference.version}: {reference.rows:,} rows are its reference now."]
    lines += [f"  {report.name}: {_described(report)}" for report in feature_reports(profile)]
    lines.append(f"  predictions: {_described(prediction_report(profile))}")
    if reference.label_column:
        lines.append(f"  ground truth: {reference.label_column}, {reference.labelled_rows:,} rows")
    else:
        lines.append(f"  ground truth: none. {reference.labels_note}")
    if reference.ignored_columns:
        lines.append(f"  ignored columns: {', '.join(reference.ignored_columns)}")
    return [plain_text(line) for line in lines]


def _described(report: ColumnReport) -> str:
    missing = f", {report.n_missing} missing" if report.n_missing else ""
    if report.numbers is not None:
        numbers = report.numbers
        figures = (numbers.minimum, numbers.maximum, numbers.mean, numbers.std)
        lowest, highest, mean, std = (short_number_text(figure) for figure in figures)
        return f"{lowest} to {highest}, mean {mean}, std {std}{missing}"
    levels = ", ".join(f"{level.name} {level.percent:.1f} %" for level in report.levels)
    more = f" and {report.n_more_levels} more" if report.n_more_levels else ""
    return f"{levels}{more}{missing}"
