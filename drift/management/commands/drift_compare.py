"""``manage.py drift_compare``: two files, compared as the platform compares a window with its reference."""

import json
import sys
from argparse import ArgumentTypeError, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser, DjangoHelpFormatter

from drift.api.payloads import result_members
from drift.file_columns import ComparedFileError
from drift.file_comparison import ColumnChoices, FileComparison, compare_files
from drift.rendering.feature_views import feature_views, prediction_view, tone_of
from drift.rendering.html_report import html_report, together_sentences
from drift.rendering.terminal_table import plain_text, table_lines
from drift.results import Criteria, Thresholds, VerdictStatus
from drift.wording import BADGE_TEXTS, verdict_sentence
from models_registry.tabular import TableLimits

DRIFT_FOUND = 3  # 1 is bad input, 2 wrong usage
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

  In a pipeline that stops when the verdict is an alarm (exit status 3):
    manage.py drift_compare old.csv new.csv --fail-on alarm || exit 1

how columns are read:
  numbers as numbers, also whole ones with few values; texts, booleans and Parquet dictionaries as levels; numbers of
  CSV that start with a zero (postal codes) as texts; of a time its hour and its weekday, never the time itself;
  texts that name single rows, and whole numbers that count the rows, are not compared. What the reference holds
  decides; empty cells, NA, NaN, null and None are missing.

exit status:
  0  compared; nothing found of what --fail-on names
  1  a file cannot be read, or a column is not there
  2  the command was called in a wrong way
  3  found what --fail-on names
"""


class TeachingHelpFormatter(RawDescriptionHelpFormatter, DjangoHelpFormatter):
    """Keeps the lines of the examples as they are."""


class Command(BaseCommand):
    help = (
        "Compare two files, CSV or Parquet, as mlmon compares a window with its reference: scores and thresholds, and\n"
        "one verdict that raises at most one false alarm in so many comparisons, however many columns there are.\n"
        "Needs no model in the registry and no database. A verdict needs 1,000 reference rows and 500 current ones."
    )
    requires_system_checks: list[str] = []

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(
            prog_name, subcommand, formatter_class=TeachingHelpFormatter, epilog=EXAMPLES, **kwargs
        )

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
            "--threshold", type=_share, default=0.15, help="of the features' scores (default: %(default)s)"
        )
        parser.add_argument("--json", metavar="FILE", help="the figures, in the shape of the HTTP API; - is stdout")
        parser.add_argument("--html", type=Path, metavar="FILE", help="a page with pictures, all in one file")
        parser.add_argument(
            "--fail-on",
            choices=["alarm", "drift", "never"],
            default="never",
            help="exit with 3 for the verdict's alarm, or for it and any score above its threshold (default: never)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        comparison = self._compared(options)
        if options["json"] != STDOUT:
            self._print(comparison)
        try:
            self._write(comparison, options)
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}.") from error
        if _is_found(comparison, options["fail_on"]):
            sys.exit(DRIFT_FOUND)

    def _compared(self, options: dict[str, Any]) -> FileComparison:
        choices = ColumnChoices(
            prediction=options["prediction"],
            time=options["time"],
            ignored=frozenset(options["ignore"]),
            categorical=frozenset(options["categorical"]),
            zone=options["zone"],
        )
        criteria = Criteria(
            thresholds=Thresholds(feature=options["threshold"], prediction=0.1),
            false_alarm_budget=options["budget"],
            watches_correlation=True,
        )
        limits = TableLimits(file_bytes=settings.MLMON_MAX_REFERENCE_BYTES, rows=settings.MLMON_MAX_REFERENCE_ROWS)
        try:
            return compare_files(options["reference"], options["current"], choices, criteria, limits)
        except ComparedFileError as error:
            raise CommandError(plain_text(str(error))) from error

    def _print(self, comparison: FileComparison) -> None:
        result = comparison.result
        style = {"alarm": self.style.ERROR, "warning": self.style.WARNING, "good": self.style.SUCCESS}
        self.stdout.write(style.get(tone_of(result), str)(plain_text(verdict_sentence(result))))
        for badge in result.verdict.badges:
            self.stdout.write(BADGE_TEXTS[badge])
        self.stdout.write(f"\n{result.n_current:,} rows against {result.n_reference:,} rows of reference.\n\n")
        self.stdout.write("\n".join(table_lines(feature_views(result))))
        if comparison.has_predictions:
            self.stdout.write(f"\n{_prediction_line(comparison)}")
        for sentence in (*together_sentences(result), *comparison.notes):
            self.stdout.write(plain_text(sentence))

    def _write(self, comparison: FileComparison, options: dict[str, Any]) -> None:
        if options["json"]:
            body = json.dumps(_body(comparison), indent=2, allow_nan=False)
            if options["json"] == STDOUT:
                self.stdout.write(body)
            else:
                Path(options["json"]).write_text(f"{body}\n")
        if options["html"]:
            options["html"].write_text(html_report(comparison))


def _add_columns(parser: CommandParser, option: str, description: str) -> None:
    parser.add_argument(option, action="append", default=[], metavar="COLUMN", help=description)


def _budget(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError("a whole number from 1 on, such as 10000")
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ArgumentTypeError("a number from 0 to 1, such as 0.15")
    return share


def _is_found(comparison: FileComparison, fail_on: str) -> bool:
    is_alarm = comparison.result.verdict.status is VerdictStatus.ALARM
    return fail_on != "never" and (is_alarm or (fail_on == "drift" and comparison.result.is_drifted))


def _prediction_line(comparison: FileComparison) -> str:
    view = prediction_view(comparison.result.prediction)
    figures = ", ".join(f"{figure.name} {figure.value}" for figure in view.figures)
    return plain_text(f"Predictions: {view.tag.text}{f'; {view.what}' if view.what else ''} ({figures}).")


def _body(comparison: FileComparison) -> dict[str, Any]:
    members = result_members(comparison.result)
    return {
        "reference": {"file": comparison.reference.name, "rows": comparison.result.n_reference},
        "current": {"file": comparison.current.name, "rows": comparison.result.n_current},
        "summary": verdict_sentence(comparison.result),
        **members,
        "prediction_drift": members["prediction_drift"] if comparison.has_predictions else None,
        "notes": list(comparison.notes),
    }
