"""``manage.py drift_compare``: two files, compared as the platform compares a window with its reference."""

import json
import sys
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from accounts.management.terminal import ExitStatus, TeachingCommand
from mlmon.exceptions import ComparisonInputError
from mlmon.figures import plain_text
from mlmon.file_comparison import ColumnChoices, FileComparison, compare_files
from mlmon.report.html import report_page
from mlmon.report.json_body import comparison_body
from mlmon.report.terminal_table import table_lines
from mlmon.report.views import prediction_view, result_view
from mlmon.results import ComparisonResult, Criteria, Thresholds, VerdictStatus
from mlmon.sentences import verdict_sentence
from mlmon.tables import TableLimits
from mlmon.verdict import FEWEST_WINDOW_ROWS as SMALLEST_VERDICT_WINDOW

STDOUT = "-"
EXAMPLES = """
examples:
  Two Parquet files; every column is a feature:
    manage.py drift_compare january.parquet july.parquet

  A column with the model's answers, and one that orders the rows (bursts in time are then made up for):
    manage.py drift_compare reference.csv current.csv --prediction late --time departed_at

  A number that is a name, and two columns that say nothing about the data:
    manage.py drift_compare old.csv new.csv --categorical store_number --ignore row_id --ignore imported_at

  A page to send around; the figures for a program:
    manage.py drift_compare old.csv new.csv --html report.html --json figures.json
    manage.py drift_compare old.csv new.csv --json - | jq .verdict.status

  Stricter for one column; the verdict looks at the newest 500 and 2,000 rows too, and may cry wolf once in 1,000:
    manage.py drift_compare old.csv new.csv --column-threshold price=0.1 --window 500 --window 2000 --budget 1000

  In a pipeline, which the exit status stops when there is drift:
    manage.py drift_compare old.csv new.csv --json drift.json && deploy

how columns are read:
  numbers as numbers, also whole ones with few values; texts, booleans and Parquet dictionaries as levels; numbers of
  CSV that start with a zero (postal codes) as texts; of a time its hour and its weekday, never the time itself;
  texts that name single rows, and whole numbers that count the rows, are not compared. What the reference holds
  decides; empty cells, NA, NaN, null and None are missing.

exit status:
  0  quiet: nothing found of what --fail-on names
  1  drift: what --fail-on names, by default the verdict's alarm, or without a verdict a score above its threshold
  2  bad input: a file cannot be read, a column is not there, or an option makes no sense
"""


class Command(TeachingCommand):
    help = (
        "Compare two files, CSV or Parquet, as mlmon compares a window with its reference: scores and thresholds, and\n"
        "one verdict that raises at most one false alarm in so many comparisons, however many columns there are.\n"
        "Needs no model in the registry and no database. A verdict needs 1,000 reference rows and 500 current ones."
    )
    epilog = EXAMPLES
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("reference", type=Path, help="the rows to compare with, best ten times as many")
        parser.add_argument("current", type=Path, help="the rows in question, compared as one window")
        parser.add_argument(
            "--prediction", default="", metavar="COLUMN", help="the model's answers: classes or numbers"
        )
        parser.add_argument("--time", default="", metavar="COLUMN", help="orders the rows (default: the files' order)")
        _add_columns(parser, "--ignore", "not looked at; may be given several times")
        _add_columns(parser, "--categorical", "a number that is a name; may be given several times")
        parser.add_argument(
            "--zone",
            default="",
            help="whose hours to take of times with a zone, e.g. Europe/Berlin (default: their own)",
        )
        parser.add_argument(
            "--budget",
            type=_budget,
            default=10_000,
            metavar="A",
            help="the verdict raises at most one false alarm in A comparisons (default: %(default)s)",
        )
        parser.add_argument(
            "--window",
            type=_window_rows,
            action="append",
            default=[],
            metavar="ROWS",
            help="the verdict looks at the newest ROWS rows too, beside all of them; may be given several times",
        )
        _add_thresholds(parser)
        parser.add_argument(
            "--joint",
            action="store_true",
            help="train a classifier to tell the rows of both files apart too: about a second; for information only",
        )
        parser.add_argument("--json", metavar="FILE", help="the figures, in the shape of the HTTP API; - is stdout")
        parser.add_argument("--html", type=Path, metavar="FILE", help="a page with pictures, all in one file")
        parser.add_argument(
            "--fail-on",
            choices=["alarm", "drift", "never"],
            default="alarm",
            help="what ends with status 1: alarm (default) is the verdict's alarm, or without a verdict a score above "
            "its threshold; drift is either of them",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        comparison = self._compared(options)
        if options["json"] != STDOUT:
            self._print(comparison)
        try:
            self._write(comparison, options)
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}.", returncode=ExitStatus.WRONG_USAGE) from error
        if _is_found(comparison.result, options["fail_on"]):
            sys.exit(ExitStatus.FOUND)

    def _compared(self, options: dict[str, Any]) -> FileComparison:
        choices = ColumnChoices(
            prediction=options["prediction"],
            time=options["time"],
            ignored=frozenset(options["ignore"]),
            categorical=frozenset(options["categorical"]),
            zone=options["zone"],
        )
        criteria = Criteria(
            thresholds=Thresholds(
                options["threshold"], options["prediction_threshold"], dict(options["column_threshold"])
            ),
            false_alarm_budget=options["budget"],
            extra_window_rows=tuple(options["window"]),
            monitors_correlation=True,
            monitors_joint_distribution=options["joint"],
        )
        limits = TableLimits(file_bytes=settings.MLMON_MAX_REFERENCE_BYTES, rows=settings.MLMON_MAX_REFERENCE_ROWS)
        try:
            return compare_files(options["reference"], options["current"], choices, criteria, limits)
        except ComparisonInputError as error:
            raise CommandError(plain_text(str(error)), returncode=ExitStatus.WRONG_USAGE) from error

    def _print(self, comparison: FileComparison) -> None:
        result = comparison.result
        view = result_view(result)
        style = {"alarm": self.style.ERROR, "warning": self.style.WARNING, "good": self.style.SUCCESS}
        self.stdout.write(style.get(view.tone, str)(plain_text(view.verdict)))
        for badge in view.badges:
            self.stdout.write(badge)
        self.stdout.write(f"\n{result.n_current:,} rows against {result.n_reference:,} rows of reference.\n\n")
        self.stdout.write("\n".join(table_lines(view.features)))
        if comparison.has_predictions:
            self.stdout.write(f"\n{_prediction_line(comparison)}")
        for sentence in (*view.together, *comparison.notes):
            self.stdout.write(plain_text(sentence))

    def _write(self, comparison: FileComparison, options: dict[str, Any]) -> None:
        if options["json"]:
            body = json.dumps(_body(comparison), indent=2, allow_nan=False)
            if options["json"] == STDOUT:
                self.stdout.write(body)
            else:
                Path(options["json"]).write_text(f"{body}\n")
        if options["html"]:
            options["html"].write_text(report_page(comparison))


def _add_columns(parser: CommandParser, option: str, description: str) -> None:
    parser.add_argument(option, action="append", default=[], metavar="COLUMN", help=description)


def _add_thresholds(parser: CommandParser) -> None:
    parser.add_argument(
        "--threshold", type=_share, default=0.15, metavar="T", help="of the columns' scores (default: %(default)s)"
    )
    parser.add_argument(
        "--column-threshold",
        type=_column_threshold,
        action="append",
        default=[],
        metavar="COLUMN=T",
        help="of one column's score; may be given several times",
    )
    parser.add_argument(
        "--prediction-threshold",
        type=_share,
        default=0.1,
        metavar="T",
        help="of the predictions' Jensen-Shannon divergence, natural logarithm (default: %(default)s)",
    )


def _budget(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError("a whole number from 1 on, such as 10000")
    return int(text)


def _window_rows(text: str) -> int:
    if not text.isdecimal() or int(text) < SMALLEST_VERDICT_WINDOW:
        raise ArgumentTypeError(f"a whole number from {SMALLEST_VERDICT_WINDOW} on: a verdict needs so many rows")
    return int(text)


def _column_threshold(text: str) -> tuple[str, float]:
    name, _, threshold = text.rpartition("=")
    if not name:
        raise ArgumentTypeError("a column and a number, such as price=0.1")
    return name, _share(threshold)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ArgumentTypeError("a number from 0 to 1, such as 0.15")
    return share


def _is_found(result: ComparisonResult, fail_on: str) -> bool:
    if fail_on == "never":
        return False
    has_verdict = result.verdict.status in (VerdictStatus.ALARM, VerdictStatus.QUIET)
    is_above = result.is_drifted and (fail_on == "drift" or not has_verdict)
    return is_above or result.verdict.status is VerdictStatus.ALARM


def _prediction_line(comparison: FileComparison) -> str:
    view = prediction_view(comparison.result.prediction)
    figures = ", ".join(f"{figure.name} {figure.value}" for figure in view.figures)
    return plain_text(f"Predictions: {view.tag.text}{f'; {view.what}' if view.what else ''} ({figures}).")


def _body(comparison: FileComparison) -> dict[str, Any]:
    members = comparison_body(comparison.result)
    return {
        "reference": {"file": comparison.reference_name, "rows": comparison.result.n_reference},
        "current": {"file": comparison.current_name, "rows": comparison.result.n_current},
        "summary": verdict_sentence(comparison.result),
        **members,
        "prediction_drift": members["prediction_drift"] if comparison.has_predictions else None,
        "notes": list(comparison.notes),
    }
