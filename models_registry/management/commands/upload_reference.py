"""``manage.py upload_reference``: upload reference data, as in the admin, and wait for the profile."""

from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.core.management.base import CommandError, CommandParser

from accounts.actors import command
from accounts.management.terminal import ExitStatus, TeachingCommand, add_json_option, demand_file, progress_bar
from mlmon.csv_files import encoding_named
from mlmon.exceptions import ReferenceFileError
from mlmon.figures import plain_text, short_number_text
from models_registry.models import ReferenceDataset, ReferenceStatus
from models_registry.reference_report import ColumnReport, reports_of, times_text
from models_registry.selectors import load_profile, version_named
from models_registry.services.references import profile_reference, upload_reference

EXAMPLES = """
examples:
  Rows from training, or better from testing, with a column for each feature:
    manage.py upload_reference credit 1.0.0 training-sample.parquet

  With the column of the ground truth, to measure and estimate accuracy:
    manage.py upload_reference credit 1.0.0 holdout.csv --label-column defaulted

  With the column of the times, so that the rows are put in their order (--time is needed for Unix times only, or if
  the column is not named timestamp, time, date or the like):
    manage.py upload_reference credit 1.0.0 holdout.csv --time applied_on

  A CSV file that is not UTF-8, such as one that Excel saved in western Europe:
    manage.py upload_reference credit 1.0.0 holdout.csv --encoding cp1252

  Of a version that is served elsewhere, with its own predictions for the rows (--prediction-column is needed if their
  column is not named prediction, predicted or the like); columns confidence or probability_CLASS have probabilities:
    manage.py upload_reference credit 2.0.0 holdout.csv --prediction-column paid

  The result, for a program:
    manage.py upload_reference credit 1.0.0 holdout.csv --json | jq .rows

Other columns are ignored and listed in the report. The previous reference stays in the admin.

exit status:
  0    profiled and active
  1    the file was refused; the reason names the column and the row if possible
  2    an option is invalid, or the model, version or file does not exist
  3    the database is unavailable
  130  interrupted
"""


class Command(TeachingCommand):
    help = (
        "Profile a CSV or Parquet file and activate it as the reference data of a version, with which drift checks\n"
        "compare its latest predictions. The model predicts every row once, as predictions are compared too. Of a\n"
        "version that is served elsewhere, the file has the predictions."
    )
    epilog = EXAMPLES

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", help="name of the model")
        parser.add_argument("model_version", metavar="version", help="its version, e.g. 1.0.0")
        parser.add_argument("file", type=Path, help="CSV (or .csv.gz) or Parquet, with a column for each feature")
        parser.add_argument(
            "--label-column",
            default="",
            metavar="COLUMN",
            help="column with the ground truth (default: detected by its name or its values)",
        )
        parser.add_argument(
            "--prediction-column",
            default="",
            metavar="COLUMN",
            help="column with the predictions of a version that is served elsewhere (default: detected by its name)",
        )
        parser.add_argument(
            "--time",
            default="",
            metavar="COLUMN",
            help="column with the time of each row (default: detected by its name, or its type in Parquet)",
        )
        parser.add_argument(
            "--encoding",
            type=_encoding,
            default="",
            help="of a CSV file, e.g. cp1252 (default: UTF-8, or UTF-16 with a byte order mark)",
        )
        parser.add_argument(
            "--missing",
            action="append",
            default=[],
            metavar="VALUE",
            help="a further string that is missing in a CSV file, e.g. --missing NA --missing=-999; may be repeated",
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        version = version_named(options["model"], options["model_version"])
        path = demand_file(options["file"])
        with path.open("rb") as content:
            reference = upload_reference(
                version=version,
                file=File(content),
                filename=path.name,
                label_column=options["label_column"],
                prediction_column=options["prediction_column"],
                time_column=options["time"],
                encoding=options["encoding"],
                missing_values=options["missing"],
                user=command("upload_reference"),
                enqueue=False,
            )
        with progress_bar(total=100, options=options) as show_progress:
            reference = profile_reference(
                reference_id=reference.pk, on_progress=lambda step, percent: show_progress(percent, step)
            )
            show_progress(100, reference.status)
        if reference.status != ReferenceStatus.READY:
            raise CommandError(plain_text(reference.error_message), returncode=ExitStatus.FOUND)
        lines = [] if options["json"] else _report_lines(reference)
        names = (
            *("id", "rows", "label_column", "labelled_rows", "labels_note", "prediction_column", "predictions_note"),
            *("time_column", "timed_rows", "first_time", "last_time", "times_note", "ignored_columns", "notes"),
        )
        body = {name: getattr(reference, name) for name in names}
        self.write_result(body, lines, as_json=options["json"])


def _encoding(name: str) -> str:
    try:
        return encoding_named(name) if name else ""
    except ReferenceFileError as error:
        raise ArgumentTypeError(str(error)) from error


def _report_lines(reference: ReferenceDataset) -> list[str]:
    profile = load_profile(reference)
    features, prediction = reports_of(profile)
    lines = [f"{reference.version}: {reference.rows:,} rows are now its reference data."]
    lines += [f"  {report.name}: {_described(report)}" for report in features]
    if reference.version.is_served_here:
        lines.append(f"  predictions: {_described(prediction)}")
    elif reference.prediction_column:
        lines.append(f"  predictions: column {reference.prediction_column}, {_described(prediction)}")
    lines += [f"  predictions: {reference.predictions_note}"] if reference.predictions_note else []
    if reference.label_column:
        lines.append(f"  ground truth: {reference.label_column}, {reference.labelled_rows:,} rows")
    else:
        lines.append(f"  ground truth: none. {reference.labels_note}")
    lines.append(f"  times: {times_text(reference, profile)}")
    if reference.ignored_columns:
        lines.append(f"  ignored columns: {', '.join(reference.ignored_columns)}")
    lines += [f"  {plain_text(note)}" for note in reference.notes]
    return [plain_text(line) for line in lines]


def _described(report: ColumnReport) -> str:
    missing = f", {report.n_missing} missing" if report.n_missing else ""
    if report.numbers is not None:
        numbers = report.numbers
        figures = (numbers.minimum, numbers.maximum, numbers.mean, numbers.std)
        lowest, highest, mean, std = (short_number_text(figure) for figure in figures)
        return f"{lowest} to {highest}, mean {mean}, std {std}{missing}"
    categories = ", ".join(f"{category.name} {category.percent:.1f} %" for category in report.categories)
    more = f" and {report.n_more_categories} more" if report.n_more_categories else ""
    return f"{categories}{more}{missing}"
