"""The ground truth of replayed flights: sent late, as in life, and what then is said of the model's performance."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from rich.table import Table

from accounts.management.terminal import table
from demo.drift_watch import time_of_id
from demo.replay import Client, Flight

ITEMS_PER_CALL = 1000
DUE_AT_ONCE = 100  # labels that are worth a call


@dataclass(frozen=True, slots=True)
class LabelledPeriod:
    """A model's performance on the flights of one heading, as the server measured it.

    Attributes
    ----------
    heading
        A month.
    labels
        How many of its flights have ground truth.
    report, reference
        The server's figures of that span, and those on the labelled reference.
    """

    heading: str
    labels: int
    report: Mapping[str, Any]
    reference: Mapping[str, Any] | None

    def summary(self) -> dict[str, Any]:
        """Return the figures as JSON-ready values."""
        realised, estimated = self.report["realised"] or {}, self.report["estimated_of_labelled"] or {}
        return {
            "period": self.heading,
            "labelled_rows": self.report["labelled_rows"],
            "accuracy": realised.get("accuracy"),
            "f1_score": realised.get("f1_score"),
            "roc_auc": realised.get("roc_auc"),
            "estimated_accuracy": estimated.get("accuracy"),
            "estimated_roc_auc": estimated.get("roc_auc"),
            "reference_accuracy": (self.reference or {}).get("accuracy"),
        }


@dataclass(slots=True)
class LabelFeed:
    """Sends the outcome of each flight after so much of the replay's own time.

    Attributes
    ----------
    delay
        From a flight's scheduled departure to its outcome.
    outcomes
        How many labels were answered how.
    """

    client: Client
    delay: timedelta
    outcomes: Counter[str] = field(default_factory=Counter)
    _waiting: deque[tuple[datetime, dict[str, str]]] = field(default_factory=deque)
    _unknown: list[dict[str, str]] = field(default_factory=list)
    _first_ids: dict[str, str] = field(default_factory=dict)
    _labels: Counter[str] = field(default_factory=Counter)
    _last_id: str = ""

    def note_batch(self, flights: Sequence[Flight], prediction_ids: Sequence[str]) -> None:
        """Take the outcomes of predicted flights, and send what is due by the last one's departure."""
        self._first_ids.setdefault(flights[0].heading, prediction_ids[0])
        self._last_id = prediction_ids[-1]
        for flight, prediction_id in zip(flights, prediction_ids, strict=True):
            if flight.outcome is not None:
                self._labels[flight.heading] += 1
                item = {"prediction_id": prediction_id, "actual": flight.outcome}
                self._waiting.append((flight.departs_at + self.delay, item))
        now = flights[-1].departs_at
        due = 0
        while due < len(self._waiting) and self._waiting[due][0] <= now:
            due += 1
        if due >= DUE_AT_ONCE:
            self._send([self._waiting.popleft()[1] for _ in range(due)])

    def finish(self) -> None:
        """Send the rest, and once more what was sent before its prediction could be found."""
        self._send([item for _, item in self._waiting])
        self._waiting.clear()
        unknown, self._unknown = self._unknown, []
        self._send(unknown)

    def periods(self) -> list[LabelledPeriod]:
        """Return the performance under each heading, in the order in which they were sent."""
        starts = [time_of_id(prediction_id) for prediction_id in self._first_ids.values()]
        ends = [*starts[1:], time_of_id(self._last_id) + timedelta(minutes=1)] if starts else []
        found = []
        for heading, since, until in zip(self._first_ids, starts, ends, strict=True):
            body = self.client.performance(since=since, until=until)
            found.append(LabelledPeriod(heading, self._labels[heading], body["span"], body["reference"]))
        return found

    def _send(self, items: Sequence[dict[str, str]]) -> None:
        for first in range(0, len(items), ITEMS_PER_CALL):
            part = items[first : first + ITEMS_PER_CALL]
            results = self.client.feedback(part)["results"]
            self.outcomes.update(result["status"] for result in results)
            self._unknown += [item for item, result in zip(part, results, strict=True) if result["status"] == "unknown"]


def estimate_errors(periods: Sequence[LabelledPeriod]) -> tuple[float, float] | None:
    """Return the mean absolute error of the estimated accuracy, and that of assuming the reference's; None without."""
    rows = [period.summary() for period in periods]
    known = [row for row in rows if row["estimated_accuracy"] is not None and row["accuracy"] is not None]
    if not known:
        return None
    estimated = sum(abs(row["estimated_accuracy"] - row["accuracy"]) for row in known) / len(known)
    no_change = sum(abs(row["reference_accuracy"] - row["accuracy"]) for row in known) / len(known)
    return estimated, no_change


def performance_report(periods: Sequence[LabelledPeriod]) -> list[str | Table]:
    """Return a table of each period's realised and estimated performance, and the error of the estimate."""
    columns = {
        "accuracy": "accuracy",
        "estimated accuracy": "estimated_accuracy",
        "F1": "f1_score",
        "ROC AUC": "roc_auc",
        "estimated ROC AUC": "estimated_roc_auc",
    }
    headings = ("period", "labels", *columns)
    rows = []
    for period in periods:
        row = period.summary()
        cells = [_cell(row[name]) for name in columns.values()]
        rows.append((period.heading, f"{row['labelled_rows']:,}", *cells))
    parts: list[str | Table] = [table(headings, rows, numbers=headings[1:])]
    if errors := estimate_errors(periods):
        parts.append(
            f"Mean absolute error of the estimated accuracy: {errors[0]:.4f}; of assuming that of the reference: "
            f"{errors[1]:.4f}."
        )
    return parts


def _cell(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
