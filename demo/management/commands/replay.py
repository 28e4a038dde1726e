"""``manage.py replay``: flights of the demo's year, sent through the predict API of a running server."""

import argparse
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from rich.table import Table

from accounts.management.terminal import ExitStatus, TeachingCommand, add_json_option, progress_bar, table, whole_number
from demo.client import Client, ReplayError
from demo.drift_by_period import DriftByPeriod
from demo.extract import Flight, read_flights
from demo.outcomes import OutcomeSender
from demo.replay import Replay

EXTRACT = "flight-delay-year.parquet"
LATER_MONTHS = tuple(range(4, 13))
REFERENCE_MONTHS = (1, 2, 3)
SCORES_SHOWN = 3
MOST_ROWS = 1_000_000  # more than a year has
EXAMPLES = """
examples:
  The months after those of the training data, in about three minutes, with a table by month at the end:
    manage.py replay

  Months of the training data, shuffled, which must cause no alarm:
    manage.py replay --shuffle

  April to July as fast as the server predicts, with the result as JSON:
    manage.py replay --months 4-7 --speed max --json

  Another server, with a token of the scope "all", and predictions only:
    manage.py replay --url http://mlmon.example:8000 --token mlmon_... --no-watch --no-feedback --limit 1000

exit status:
  0    all rows were predicted
  1    the server is unavailable or refuses a request, or rows failed
  2    an option is invalid
  130  interrupted
"""


class Command(TeachingCommand):
    help = (
        "Send flights of 2013 to the demo's model flight-delay through the HTTP API of a running server, in the order\n"
        "of their scheduled departures, with their outcomes an hour later, and show drift and performance by month.\n"
        "With --shuffle: flights of January to March that the model was not trained on, in random order, which do not\n"
        "drift."
    )
    epilog = EXAMPLES
    requires_system_checks: list[str] = []  # a client; the server may be on another machine

    def add_arguments(self, parser: CommandParser) -> None:
        row_count = partial(whole_number, largest=MOST_ROWS)
        parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server (default: %(default)s)")
        parser.add_argument(
            "--token", default="", help="API token with the scopes predict and read, if the server requires one"
        )
        parser.add_argument("--months", type=months, help="e.g. 4-12 or 6,9 (default: 4-12; with --shuffle 1-3)")
        parser.add_argument("--shuffle", action="store_true", help="random order instead of chronological order")
        parser.add_argument("--seed", type=int, default=0, help="seed of --shuffle (default: %(default)s)")
        parser.add_argument("--limit", type=row_count, help="maximum number of rows")
        parser.add_argument(
            "--speed", type=speed, default=200.0, help="rows per second, or max (default: 200, about 3 minutes)"
        )
        parser.add_argument("--batch", type=row_count, default=25, help="rows in a request (default: %(default)s)")
        parser.add_argument(
            "--watch",
            action=argparse.BooleanOptionalAction,
            default=True,
            help="read the drift scores during the replay and show them by month (default: on)",
        )
        parser.add_argument(
            "--watch-rows",
            type=row_count,
            default=500,
            help="rows between two reads of the scores (default: 500)",
        )
        parser.add_argument(
            "--feedback",
            action=argparse.BooleanOptionalAction,
            default=True,
            help="send the outcome of each flight later, and show the model's performance by month (default: on)",
        )
        parser.add_argument(
            "--feedback-delay",
            type=hours,
            default=timedelta(hours=1),
            metavar="HOURS",
            help="from the scheduled departure of a flight to its outcome, in the time of the flights (default: 1)",
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        flights = _flights(options)
        try:
            with closing(Client(options["url"], token=options["token"])) as client:
                client.check_server()
                replay = Replay(
                    client,
                    flights,
                    batch_rows=options["batch"],
                    rows_per_second=options["speed"],
                    drift=DriftByPeriod() if options["watch"] else None,
                    drift_rows=options["watch_rows"],
                    outcomes=OutcomeSender(client, options["feedback_delay"]) if options["feedback"] else None,
                )
                with progress_bar(total=len(flights), options=options) as show_progress:
                    replay.run(show_progress)
        except ReplayError as error:
            raise CommandError(str(error)) from error
        summary = replay.summary()
        self.write_result(summary, _report(summary, shows_drift=options["watch"]), as_json=options["json"])
        if replay.error:
            status = ExitStatus.INTERRUPTED if replay.is_interrupted else ExitStatus.FOUND
            raise CommandError(replay.error, returncode=status)


def _flights(options: Mapping[str, Any]) -> list[Flight]:
    path = Path(settings.BASE_DIR) / "demo" / EXTRACT
    if not path.is_file():
        raise CommandError(f"{path} is missing. Create it with `python -m demo.train`.")
    shuffle: bool = options["shuffle"]
    return read_flights(
        path,
        months=options["months"] or (REFERENCE_MONTHS if shuffle else LATER_MONTHS),
        limit=options["limit"],
        shuffle_seed=options["seed"] if shuffle else None,
    )


def _report(summary: Mapping[str, Any], *, shows_drift: bool) -> list[str | Table]:
    """Return the summary as lines and tables for a person."""
    parts: list[str | Table] = [
        f"{summary['rows_sent']:,} rows sent in {summary['duration_seconds']:.1f} s "
        f"({summary['rows_per_second']:,.0f} rows/s), {summary['rows_failed']} failed, {summary['retries']} retries."
    ]
    if summary["mean_request_ms"] is not None:
        parts.append(
            f"A request took {summary['mean_request_ms']:.1f} ms on average, "
            f"{summary['mean_server_latency_ms']:.1f} ms of it in the server."
        )
    if summary["drift"]:
        parts += ["\nDrift of flight-delay. Each window counts for the month of its last row:\n"]
        parts += [drift_table(summary["drift"])]
    elif shows_drift:
        parts.append("These rows did not fill a drift window. Send more rows.")
    if shows_drift:
        parts.append("\nIncidents, the latest first:\n")
        parts += [_incident_line(incident) for incident in summary["incidents"]] or ["none"]
    if summary["performance"]:
        parts += ["\nPerformance, measured with the outcomes and estimated without them:\n"]
        parts += [_performance_table(summary["performance"])]
    if summary["estimate_errors"]:
        estimated, no_change = summary["estimate_errors"]
        parts.append(
            f"Mean absolute error of the estimated accuracy: {estimated:.4f}; of assuming the reference's accuracy: "
            f"{no_change:.4f}."
        )
    return parts


def drift_table(periods: list[dict[str, Any]]) -> Table:
    """Return a table of the periods with their drifted features and highest scores."""
    rows = []
    for period in periods:
        drifted = ", ".join(f"{name} {windows}" for name, windows in period["drifted_windows"].items())
        scores = [f"{name} {score:.3f}" for name, score in period["highest_scores"].items()]
        score, drifted_windows = period["highest_prediction_js_divergence"], period["drifted_prediction_windows"]
        predictions = "" if score is None else f"{score:.3f}"
        if drifted_windows:
            predictions += f" (drifted in {drifted_windows})"
        windows = str(period["windows"])
        rows.append((period["period"], windows, drifted or "none", ", ".join(scores[:SCORES_SHOWN]), predictions))
    headings = ("period", "windows", "drifted in (windows)", "highest scores", "predictions")
    return table(headings, rows, numbers=("windows",))


def _performance_table(periods: list[dict[str, Any]]) -> Table:
    columns = {
        "accuracy": "accuracy",
        "estimated accuracy": "estimated_accuracy",
        "F1": "f1_score",
        "ROC AUC": "roc_auc",
        "estimated ROC AUC": "estimated_roc_auc",
    }
    rows = []
    for period in periods:
        values = [period[name] for name in columns.values()]
        cells = ["none" if value is None else f"{value:.3f}" for value in values]
        rows.append((period["period"], f"{period['labelled_rows']:,}", *cells))
    headings = ("period", "labels", *columns)
    return table(headings, rows, numbers=headings[1:])


def _incident_line(incident: Mapping[str, Any]) -> str:
    strongest = incident["hypotheses"][0]
    until = f"until {incident['closed_at']:.19}" if incident["closed_at"] else "still open"
    return (
        f"{', '.join(incident['features'])}: since {incident['opened_at']:.19}, {until}, alarms: "
        f"{incident['alarms']}; strongest p = {strongest['p_value']:.1g}: {strongest['sentence']}"
    )


def months(text: str) -> tuple[int, ...]:
    """Return the months in a string such as ``4-12`` or ``1,3,6-8``."""
    chosen: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        try:
            chosen.update(range(int(first), int(last if dash else first) + 1))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of months such as 4-12 or 6,9") from None
    if not chosen or not chosen <= set(range(1, 13)):
        raise argparse.ArgumentTypeError(f"{text!r} must contain months from 1 to 12, in ascending order")
    return tuple(sorted(chosen))


def hours(text: str) -> timedelta:
    """Return a number of hours, 0 or more, as a duration."""
    try:
        duration = timedelta(hours=float(text))
    except (ValueError, OverflowError):
        duration = timedelta(-1)
    if duration < timedelta(0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hours, 0 or more")
    return duration


def speed(text: str) -> float | None:
    """Return a number of rows per second, or None for ``max``."""
    if text == "max":
        return None
    try:
        rows_per_second = float(text)
    except ValueError:
        rows_per_second = 0.0
    if not 0.0 < rows_per_second < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of rows per second nor max")
    return rows_per_second
