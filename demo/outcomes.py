"""Outcomes of replayed flights: sent as ground truth some time after the flights, then the model's performance."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from demo.client import MODEL_NAME, Client, time_of_id
from demo.extract import Flight

ITEMS_PER_REQUEST = 1000
ITEMS_WORTH_A_REQUEST = 100


class OutcomeSender:
    """Sends the outcome of each flight after a delay, in the time of the flights.

    Attributes
    ----------
    statuses
        Number of outcomes by the status that the server returned.
    """

    def __init__(self, client: Client, delay: timedelta) -> None:
        self._client, self._delay = client, delay
        self.statuses: Counter[str] = Counter()
        self._waiting: deque[tuple[datetime, dict[str, str]]] = deque()
        self._unknown: list[dict[str, str]] = []
        self._first_ids: dict[str, str] = {}  # by period
        self._last_id = ""

    def add_batch(self, flights: Sequence[Flight], prediction_ids: Sequence[str]) -> None:
        """Add the outcomes of a batch, and send the outcomes that are due at the departure of its last flight."""
        self._first_ids.setdefault(flights[0].period, prediction_ids[0])
        self._last_id = prediction_ids[-1]
        for flight, prediction_id in zip(flights, prediction_ids, strict=True):
            if flight.outcome is not None:
                item = {"prediction_id": prediction_id, "actual": flight.outcome}
                self._waiting.append((flight.departs_at + self._delay, item))
        due = 0
        while due < len(self._waiting) and self._waiting[due][0] <= flights[-1].departs_at:
            due += 1
        if due >= ITEMS_WORTH_A_REQUEST:
            self._send([self._waiting.popleft()[1] for _ in range(due)])

    def finish(self) -> None:
        """Send all other outcomes, and again those whose prediction was unknown at first."""
        self._send([item for _, item in self._waiting])
        self._waiting.clear()
        unknown, self._unknown = self._unknown, []
        self._send(unknown)

    def performance(self) -> list[dict[str, Any]]:
        """Return the performance in each period as values for JSON, in the order of the flights."""
        starts = [time_of_id(prediction_id) for prediction_id in self._first_ids.values()]
        ends = [*starts[1:], time_of_id(self._last_id) + timedelta(minutes=1)] if starts else []
        periods = []
        for period, since, until in zip(self._first_ids, starts, ends, strict=True):
            query = urlencode({"since": since.isoformat(), "until": until.isoformat(), "days": 0})
            body = self._client.call("GET", f"/api/v1/models/{MODEL_NAME}/performance?{query}")
            span, reference = body["span"], body["reference"] or {}
            realised, estimated = span["realised"] or {}, span["estimated_of_labelled"] or {}
            periods.append(
                {
                    "period": period,
                    "labelled_rows": span["labelled_rows"],
                    "accuracy": realised.get("accuracy"),
                    "f1_score": realised.get("f1_score"),
                    "roc_auc": realised.get("roc_auc"),
                    "estimated_accuracy": estimated.get("accuracy"),
                    "estimated_roc_auc": estimated.get("roc_auc"),
                    "reference_accuracy": reference.get("accuracy"),
                }
            )
        return periods

    def _send(self, items: Sequence[dict[str, str]]) -> None:
        for first in range(0, len(items), ITEMS_PER_REQUEST):
            part = items[first : first + ITEMS_PER_REQUEST]
            results = self._client.call("POST", "/api/v1/feedback", part)["results"]
            for item, result in zip(part, results, strict=True):
                self.statuses[result["status"]] += 1
                if result["status"] == "unknown":
                    self._unknown.append(item)


def estimate_errors(periods: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """Return two mean absolute errors: of the estimated accuracy, and of assuming the accuracy of the reference.

    Periods without an estimated or realised accuracy do not count. Returns None if there are no others.
    """
    known = [row for row in periods if row["estimated_accuracy"] is not None and row["accuracy"] is not None]
    if not known:
        return None
    estimated = sum(abs(row["estimated_accuracy"] - row["accuracy"]) for row in known) / len(known)
    no_change = sum(abs(row["reference_accuracy"] - row["accuracy"]) for row in known) / len(known)
    return estimated, no_change
