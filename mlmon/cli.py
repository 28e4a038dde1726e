"""The command line of the library: ``python -m mlmon compare``. ``manage.py drift_compare`` runs the same code."""

import json
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from shlex import quote
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from mlmon.criteria import Criteria, Thresholds
from mlmon.exceptions import MlmonError, ResultFileError
from mlmon.figures import plain_text
from mlmon.file_comparison import ColumnChoices, FileComparison, compare_files
from mlmon.report.html import report_page
from mlmon.report.json_body import comparison_body
from mlmon.report.terminal_table import table_lines
from mlmon.report.views import ResultView, Tone, prediction_view, result_view
from mlmon.results import ComparisonResult, VerdictStatus
from mlmon.tables import UNLIMITED, TableLimits
from mlmon.times import DateOrder
from mlmon.verdict import FEWEST_WINDOW_ROWS

QUIET, DRIFT, BAD_INPUT, NOT_COMPARED = 0, 1, 2, 4  # exit statuses; 3 is an unavailable database
STDOUT = "-"
Paint: TypeAlias = Callable[[Tone, str], str]  # returns the verdict in the colour of its tone

DESCRIPTION = (
    "Compare two files, CSV or Parquet, in the same way as mlmon compares a window with its reference: a score for\n"
    "each column, and one verdict that raises at most one false alarm in A comparisons, however many columns there\n"
    "are. Needs no registered model and no database. A verdict needs 1,000 reference rows and 500 current rows."
)
EPILOG = """
examples:
  Two Parquet files; every column is a feature:
    COMMAND january.parquet july.parquet

  A column with the model's predictions, and a column that orders the rows (needed to correct for bursts in time):
    COMMAND reference.csv current.csv --prediction late --time departed_at

  Numbers that are names, and two columns to leave out:
    COMMAND old.csv new.csv --categorical store_number --ignore row_id --ignore imported_at

  A page for people, and JSON for a program:
    COMMAND old.csv new.csv --html report.html --json figures.json
    COMMAND old.csv new.csv --json - | jq .verdict.status

  A lower threshold for one column, further windows of the latest 500 and 2,000 rows, and a larger budget:
    COMMAND old.csv new.csv --column-threshold price=0.1 --window 500 --window 2000 --budget 1000

  In a pipeline that stops if there is drift or a column cannot be compared:
    COMMAND old.csv new.csv --json drift.json && deploy

how columns are read:
  The reference decides. Numbers are compared as numbers, even whole numbers with few values; strings, booleans and
  Parquet dictionaries as categories; CSV numbers with leading zeros (postal codes) as strings; times by hour and
  weekday only. Other spellings of a value (True for 1, 1.0 for 1) are the same value. Columns that identify or count
  rows are left out. Empty cells are missing; so are NA, NaN, null and None, except in columns of strings (--missing).

exit status:
  0  quiet: every column of the reference was compared or left out on purpose, and none drifted
  1  drift: --fail-on names it; by default an alarm of the verdict, or without a complete verdict a score above its
     threshold
  2  bad input: a file cannot be read, a column is missing, an option is invalid, or nothing could be compared
  4  not compared: a column or the predictions could not be compared, and no drift was found; --ignore COLUMN accepts
     it, and --fail-on never turns 1 and 4 into 0
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``python -m mlmon`` and return its exit status."""
    parser = ArgumentParser("python -m mlmon", description="Compare data with reference data.")
    compare = parser.add_subparsers(dest="command", required=True, metavar="command").add_parser(
        "compare",
        help="compare two files",
        description=DESCRIPTION,
        epilog=EPILOG.replace("COMMAND", "python -m mlmon compare"),
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_compare_arguments(compare)
    options = vars(parser.parse_args(arguments))
    try:
        return run_compare(options, UNLIMITED, write=lambda text: print(text.removesuffix("\n")))
    except MlmonError as error:
        print(f"error: {plain_text(str(error))}", file=sys.stderr)
    except OSError as error:
        print(f"error: stdout: {error.strerror}.", file=sys.stderr)
    return BAD_INPUT


def run_compare(
    options: Mapping[str, Any],
    limits: TableLimits,
    *,
    write: Callable[[str], Any],
    paint: Paint = lambda tone, text: text,
) -> int:
    """Compare two files, print and write the result, and return the exit status.

    Parameters
    ----------
    options
        By name, as `add_compare_arguments` defines them.
    limits
        For each file.
    write
        Prints lines; adds a line break at the end if there is none.
    paint
        Colours the verdict.

    Raises
    ------
    MlmonError
        The files cannot be compared, or nothing in them.
    OSError
        stdout cannot be written.
    """
    choices = ColumnChoices(
        prediction=options["prediction"],
        time=options["time"],
        ignored=frozenset(options["ignore"]),
        categorical=frozenset(options["categorical"]),
        zone=options["zone"],
        missing=frozenset(options["missing"]),
        date_orders=dict(options["date_format"]),
        encoding=options["encoding"],
    )
    thresholds = Thresholds(options["threshold"], options["prediction_threshold"], dict(options["column_threshold"]))
    criteria = Criteria(
        thresholds=thresholds,
        false_alarm_budget=options["budget"],
        extra_window_rows=tuple(options["window"]),
        monitors_joint_distribution=options["joint"],
    )
    comparison = compare_files(options["reference"], options["current"], choices, criteria, limits)
    longer = [rows for rows in criteria.extra_window_rows if rows > comparison.result.n_current]
    notes = (f"--window {rows}: not compared, as the current file has fewer rows." for rows in longer)
    comparison = replace(comparison, notes=(*comparison.notes, *notes))
    body = json.dumps(_json_body(comparison), indent=2, allow_nan=False)
    if options["json"] == STDOUT:
        write(body)
    else:
        _print(comparison, write, paint)
    if options["json"] and options["json"] != STDOUT:
        _write_file("--json", options["json"], f"{body}\n")
    if options["html"]:
        _write_file("--html", options["html"], report_page(comparison))
    result, fail_on = comparison.result, options["fail_on"]
    if fail_on == "never":
        return QUIET
    status = result.verdict.status
    if status is VerdictStatus.ALARM or (
        result.is_drifted and (fail_on == "drift" or status is not VerdictStatus.QUIET)
    ):
        return DRIFT
    return NOT_COMPARED if result.coverage.not_compared else QUIET


def add_compare_arguments(parser: ArgumentParser) -> None:
    """Define the arguments of a comparison of two files."""
    add = parser.add_argument
    columns: dict[str, Any] = {"action": "append", "default": [], "metavar": "COLUMN"}
    add("reference", type=Path, help="the rows to compare with, best ten times as many")
    add("current", type=Path, help="the rows to check, compared as one window")
    add("--prediction", default="", metavar="COLUMN", help="the model's predictions: classes or numbers")
    add("--time", default="", metavar="COLUMN", help="orders the rows (default: the order of the files)")
    add("--ignore", **columns, help="a column to leave out; may be repeated")
    add("--categorical", **columns, help="a column of numbers that are names; may be repeated")
    add(
        "--missing",
        action="append",
        default=[],
        metavar="VALUE",
        help="a string that means a missing value in every column, such as NA; may be repeated",
    )
    add(
        "--date-format",
        type=_date_format,
        action="append",
        default=[],
        metavar="[COLUMN=]FORMAT",
        help="the order of dates, if the values do not show it: dd/mm/yyyy or mm/dd/yyyy; may be repeated",
    )
    add("--encoding", default="", help="of CSV files, e.g. cp1252 (default: UTF-8, or UTF-16 with a byte order mark)")
    add(
        "--zone",
        type=_zone,
        default="",
        help="the time zone for times with a zone, e.g. Europe/Berlin (default: their own)",
    )
    add(
        "--budget",
        type=_budget,
        default=10_000,
        metavar="A",
        help="the verdict raises at most one false alarm in A comparisons (default: %(default)s)",
    )
    add(
        "--window",
        type=_window_rows,
        action="append",
        default=[],
        metavar="ROWS",
        help="the verdict also compares the latest ROWS rows alone; may be repeated",
    )
    add("--threshold", type=_share, default=0.15, metavar="T", help="for the columns' scores (default: %(default)s)")
    add(
        "--column-threshold",
        type=_column_threshold,
        action="append",
        default=[],
        metavar="COLUMN=T",
        help="for one column's score; may be repeated",
    )
    add(
        "--prediction-threshold",
        type=_share,
        default=0.1,
        metavar="T",
        help="for the predictions' Jensen-Shannon divergence, natural logarithm (default: %(default)s)",
    )
    add("--joint", action="store_true", help="also train a classifier to tell the files apart; for information only")
    add("--json", type=_result_file, metavar="FILE", help="write the result in the format of the HTTP API; - is stdout")
    add("--html", type=_result_file, metavar="FILE", help="write a page with charts, all in one file")
    add(
        "--fail-on",
        choices=["alarm", "drift", "never"],
        default="alarm",
        help="what sets exit status 1: alarm (default) is an alarm of the verdict, or without a complete verdict a "
        "score above its threshold; drift is either of them; never also sets 0 instead of 4",
    )


def _write_file(option: str, path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ResultFileError(f"{option}: {path}: {error.strerror}.") from error


def _print(comparison: FileComparison, write: Callable[[str], Any], paint: Paint) -> None:
    result, view = comparison.result, result_view(comparison.result)
    write(paint(view.tone, plain_text(view.verdict)))
    for line in _not_compared_lines(result, view):
        write(line)
    for badge in view.badges:
        write(f"\n{badge}" if badge is view.badges[0] and view.not_compared else badge)
    write(f"\n{result.n_current:,} rows against {result.n_reference:,} rows of reference.\n\n")
    write("\n".join(table_lines(view.features)))
    if comparison.has_predictions:
        prediction = prediction_view(result.prediction)
        figures = ", ".join(f"{figure.name} {figure.value}" for figure in prediction.figures)
        change = f"; {prediction.what}" if prediction.what else ""
        write("\n" + plain_text(f"Predictions: {prediction.tag.text}{change} ({figures})."))
    for sentence in (*view.together, *comparison.notes, " ".join(comparison.formats)):
        write(plain_text(sentence))
    if view.left_out:
        write("\nLeft out on purpose:")
        for each in view.left_out:
            write(plain_text(f"  {each.name}: {each.reason}. {each.detail}"))


def _not_compared_lines(result: ComparisonResult, view: ResultView) -> Iterator[str]:
    """Yield what could not be compared, why, and what to do; nothing if everything was compared."""
    if not view.not_compared:
        return
    yield "\nNot compared:"
    for each in view.not_compared:
        yield plain_text(f"  {each.name}: {each.reason}. {each.detail} {each.advice}")
    names = {feature.name for feature in result.features}
    options = " ".join(f"--ignore {quote(each.name)}" for each in view.not_compared if each.name in names)
    if options:
        yield plain_text(f"  To accept this, leave them out: {options}")


def _json_body(comparison: FileComparison) -> dict[str, Any]:
    members = comparison_body(comparison.result)
    return {
        "reference": {"file": comparison.reference_name, "rows": comparison.result.n_reference},
        "current": {"file": comparison.current_name, "rows": comparison.result.n_current},
        "summary": members["verdict"]["sentence"],
        **members,
        "prediction_drift": members["prediction_drift"] if comparison.has_predictions else None,
        "formats": {
            "reference": asdict(comparison.reference_format),
            "current": asdict(comparison.current_format),
        },
        "date_formats": dict(comparison.date_orders),
        "notes": list(comparison.notes),
    }


def _zone(text: str) -> str:
    times: Any = pa.array([0], pa.timestamp("us", text or "UTC"))
    try:
        pc.local_timestamp(times)
    except pa.ArrowInvalid:
        raise ArgumentTypeError(f"there is no time zone {text!r} on this machine") from None
    return text


def _result_file(text: str) -> str:
    """Return the name of a file if its folder exists: a comparison may take minutes before it is written."""
    if text != STDOUT and Path(text).is_dir():
        raise ArgumentTypeError(f"{text}: Is a directory")
    if not Path(text).parent.is_dir():
        raise ArgumentTypeError(f"{text}: there is no folder {Path(text).parent}")
    return text


def _budget(text: str) -> int:
    return _whole_number(text, 1, "such as 10000")


def _window_rows(text: str) -> int:
    return _whole_number(text, FEWEST_WINDOW_ROWS, "the fewest rows of a verdict")


def _whole_number(text: str, smallest: int, hint: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < smallest:
        raise ArgumentTypeError(f"expected a whole number from {smallest}, {hint}")
    return number


def _column_threshold(text: str) -> tuple[str, float]:
    name, _, threshold = text.rpartition("=")
    if not name:
        raise ArgumentTypeError("expected a column and a number, such as price=0.1")
    return name, _share(threshold)


def _date_format(text: str) -> tuple[str, DateOrder]:
    name, _, order = text.rpartition("=")
    parts = re.split("[-/.]", order.lower())
    for each in DateOrder:
        if parts == each.split("/"):
            return name, each
    raise ArgumentTypeError("expected dd/mm/yyyy or mm/dd/yyyy, after COLUMN= for one column")


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ArgumentTypeError("expected a number from 0 to 1, such as 0.15")
    return share
