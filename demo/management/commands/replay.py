"""``manage.py replay``: flights of the demo's year through the predict API of a running server."""

import argparse
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from statistics import fmean
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from rich.table import Table

from accounts.management.terminal import ExitStatus, TeachingCommand, add_json_option, progress_bar
from demo.drift_watch import DriftWatch, drift_table
from demo.label_feed import LabelFeed, LabelledPeriod, estimate_errors, performance_report
from demo.replay import Client, Flight, RefusedError, ReplayError, SentBatch, Tally, read_flights, send

EXTRACT = "flight-delay-year.parquet"
LATER_MONTHS = tuple(range(4, 13))
REFERENCE_MONTHS = (1, 2, 3)
FLUSH_SECONDS = 1.0  # the server records what it answered a moment later
EXAMPLES = """
examples:
  The months after those the model learned from, in about three minutes; a table by month at the end:
    manage.py replay

  The other way round: the months it learned from, shuffled, which must stay quiet:
    manage.py replay --shuffle

  As fast as the server answers, April to July, the summary for a program:
    manage.py replay --months 4-7 --speed max --json

  A server elsewhere, with a token of the scope "all", only predictions:
    manage.py replay --url http://mlmon.example:8000 --token mlmon_... --no-watch --no-feedback --limit 1000

exit status:
  0    all rows were sent and answered
  1    the server does not answer, refuses, or rows failed
  2    an option makes no sense
  130  interrupted
"""


class Command(TeachingCommand):
    help = (
        "Send flights of 2013 to the demo's model flight-delay through the HTTP API of a running server, in the order\n"
        "of their scheduled departures, with their outcomes an hour later, and show how drift and performance move.\n"
        "With --shuffle: flights of January to March that the model has not learned from, in random order, which is\n"
        "no drift at all."
    )
    epilog = EXAMPLES
    requires_system_checks: list[str] = []  # a client: the server may be on another machine

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server (default: %(default)s)")
        parser.add_argument("--token", default="", help="API token with the scopes predict and read, if one is needed")
        parser.add_argument("--months", type=months, help="e.g. 4-12 or 6,9 (default: 4-12; with --shuffle 1-3)")
        parser.add_argument("--shuffle", action="store_true", help="random order instead of the order of time")
        parser.add_argument("--seed", type=int, default=0, help="of --shuffle (default: %(default)s)")
        parser.add_argument("--limit", type=positive, help="send so many rows at most")
        parser.add_argument(
            "--speed", type=speed, default=200.0, help="rows per second, or max (default: 200, about 3 minutes in all)"
        )
        parser.add_argument("--batch", type=positive, default=25, help="rows in a request (default: %(default)s)")
        parser.add_argument(
            "--watch",
            action=argparse.BooleanOptionalAction,
            default=True,
            help="read the drift scores meanwhile and show them by month (default: on)",
        )
        parser.add_argument(
            "--watch-rows", type=positive, default=500, help="read them each time so many rows were sent (default: 500)"
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
            help="from a flight's scheduled departure to its outcome, in the time of the flights (default: 1)",
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        flights = _flights(options)
        try:
            with closing(Client(options["url"], token=options["token"])) as client:
                client.demand_server()
                replay = _Replay(client, flights, options)
                replay.run()
        except ReplayError as error:
            raise CommandError(str(error)) from error
        parts = [] if options["json"] else replay.report()
        self.write_result(replay.summary(), parts, as_json=options["json"])
        if replay.error:
            raise CommandError(
                replay.error, returncode=ExitStatus.INTERRUPTED if replay.is_interrupted else ExitStatus.FOUND
            )


class _Replay:
    """One run: sending, watching, and what came of it."""

    def __init__(self, client: Client, flights: Sequence[Flight], options: dict[str, Any]) -> None:
        self.client, self.flights, self.options = client, flights, options
        self.watch = DriftWatch() if options["watch"] else None
        self.incidents: list[dict[str, Any]] = []
        self.labels = LabelFeed(client, options["feedback_delay"]) if options["feedback"] else None
        self.performance: list[LabelledPeriod] = []
        self.tally = Tally()
        self.error = ""
        self.is_interrupted = False
        self.duration_seconds = 0.0

    def run(self) -> None:
        """Send everything; what stops it is in `error`."""
        try:
            self._send()
            time.sleep(FLUSH_SECONDS)
            self._look_once_more()
            self._measure()
        except KeyboardInterrupt:
            self.error, self.is_interrupted = "Interrupted.", True
        except ReplayError as error:
            self.error = f"Stopped after {self.tally.rows:,} rows. {error}"
        if self.tally.failed_rows and not self.error:
            self.error = f"{self.tally.failed_rows:,} rows failed. {self.tally.last_error}"

    def _send(self) -> None:
        unwatched_rows = 0
        started_at = time.monotonic()
        batches = send(
            self.client,
            self.flights,
            batch_rows=self.options["batch"],
            rows_per_second=self.options["speed"],
            tally=self.tally,
        )
        sent = 0
        with progress_bar(total=len(self.flights), options=self.options) as show_progress:
            for batch in batches:
                sent += len(batch.flights)
                self.duration_seconds = time.monotonic() - started_at
                self._note(batch)
                unwatched_rows += len(batch.flights)
                if unwatched_rows >= self.options["watch_rows"]:
                    unwatched_rows = 0
                    self._look()
                show_progress(sent, f"{batch.flights[-1].day:%d %b %Y}{self._drifted()}")

    def _note(self, batch: SentBatch) -> None:
        if self.watch is not None and batch.answer is not None:
            self.watch.note_batch(batch.answer.prediction_ids[0], batch.flights[-1].heading)
        if self.labels is not None and batch.answer is not None:
            self.labels.note_batch(batch.flights, batch.answer.prediction_ids)

    def _measure(self) -> None:
        if self.labels is None:
            return
        self.labels.finish()
        try:
            self.performance = self.labels.periods()
        except RefusedError as error:
            raise ReplayError(f"The performance cannot be read: {error} Leave it out with --no-feedback.") from error

    def _look_once_more(self) -> None:
        if self.watch is not None:
            self._look()
            self.incidents = self.client.incidents()

    def _look(self) -> None:
        if self.watch is None:
            return
        try:
            self.watch.add(self.client.drift())
        except RefusedError as error:
            raise ReplayError(f"The drift scores cannot be read: {error} Leave them out with --no-watch.") from error

    def _drifted(self) -> str:
        names = self.watch.newest_report.get("drifted_features") if self.watch is not None else None
        return f", drifted: {', '.join(names)}" if names else ""

    def summary(self) -> dict[str, Any]:
        """Return what was done as JSON-ready values."""
        requests = self.tally.request_seconds
        return {
            "rows_sent": self.tally.rows,
            "rows_failed": self.tally.failed_rows,
            "retries": self.tally.retries,
            "duration_seconds": round(self.duration_seconds, 3),
            "rows_per_second": round(self.tally.rows / max(self.duration_seconds, 1e-9), 1),
            "mean_request_ms": round(1000 * fmean(requests), 3) if requests else None,
            "mean_server_latency_ms": round(fmean(self.tally.latency_ms), 3) if requests else None,
            "error": self.error,
            "drift": [period.summary() for period in self.watch.periods] if self.watch is not None else [],
            "incidents": self.incidents,
            "labels": dict(self.labels.outcomes) if self.labels is not None else {},
            "performance": [period.summary() for period in self.performance],
            "estimate_errors": estimate_errors(self.performance),
        }

    def report(self) -> list[str | Table]:
        """Return the summary as lines and tables for a person."""
        summary = self.summary()
        parts: list[str | Table] = [
            f"{summary['rows_sent']:,} rows sent in {summary['duration_seconds']:.1f} s "
            f"({summary['rows_per_second']:,.0f} rows/s), {summary['rows_failed']} failed, "
            f"{summary['retries']} retries."
        ]
        if summary["mean_request_ms"] is not None:
            parts.append(
                f"A request took {summary['mean_request_ms']:.1f} ms on average, "
                f"{summary['mean_server_latency_ms']:.1f} ms of it in the server."
            )
        if self.watch is not None and self.watch.periods:
            parts.append("\nDrift of flight-delay. Each window counts for the month of its last row:\n")
            parts.append(drift_table(self.watch.periods))
        elif self.watch is not None:
            parts.append("These rows did not fill a drift window. Send more of them.")
        if self.watch is not None:
            parts.append("\nIncidents, the latest first:\n")
            parts.append("\n".join(map(_incident_line, self.incidents)) or "none")
        if self.performance:
            parts.append("\nPerformance by the outcomes, and as estimated without them:\n")
            parts += performance_report(self.performance)
        return parts


def _incident_line(incident: dict[str, Any]) -> str:
    strongest = incident["hypotheses"][0]
    until = f"until {incident['closed_at']:.19}" if incident["closed_at"] else "still open"
    return (
        f"{', '.join(incident['features'])}: since {incident['opened_at']:.19}, {until}, alarms: "
        f"{incident['alarms']}; strongest p = {strongest['p_value']:.1g}, w = {strongest['effect']:.2f}"
    )


def months(text: str) -> tuple[int, ...]:
    """Read months such as ``4-12`` or ``1,3,6-8``."""
    chosen: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        try:
            chosen.update(range(int(first), int(last if dash else first) + 1))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no list of months such as 4-12 or 6,9") from None
    if not chosen or not chosen <= set(range(1, 13)):
        raise argparse.ArgumentTypeError(f"{text!r}: months go from 1 to 12, the earlier first")
    return tuple(sorted(chosen))


def positive(text: str) -> int:
    """Read a whole number above 0."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def hours(text: str) -> timedelta:
    """Read a time span in hours, 0 or more."""
    try:
        span = timedelta(hours=float(text))
    except (ValueError, OverflowError):
        span = timedelta(-1)
    if span < timedelta(0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of hours, 0 or more")
    return span


def speed(text: str) -> float | None:
    """Read rows per second; ``max`` is None, no bound."""
    if text == "max":
        return None
    try:
        rows_per_second = float(text)
    except ValueError:
        rows_per_second = 0.0
    if not 0.0 < rows_per_second < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number of rows per second nor max")
    return rows_per_second


def _flights(options: dict[str, Any]) -> list[Flight]:
    path = Path(settings.BASE_DIR) / "demo" / EXTRACT
    if not path.is_file():
        raise CommandError(f"The extract {path.name} is missing: python -m demo.train makes it.")
    shuffle: bool = options["shuffle"]
    return read_flights(
        path,
        months=options["months"] or (REFERENCE_MONTHS if shuffle else LATER_MONTHS),
        limit=options["limit"],
        shuffle_seed=options["seed"] if shuffle else None,
    )
