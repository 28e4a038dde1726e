"""Replays flights through the predict API of a running server, and collects what the server reports about them."""

import http.client
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from statistics import fmean
from typing import Any

from demo.client import MODEL_NAME, Client, Predictions, RefusedError, ReplayError
from demo.drift_by_period import DriftByPeriod
from demo.extract import Flight
from demo.outcomes import OutcomeSender, estimate_errors

CAPTURE_SECONDS = 1.0  # the server captures predictions a moment after it returns them


class Replay:
    """One replay of some flights.

    Parameters
    ----------
    batch_rows
        Rows of a request.
    rows_per_second
        Maximum speed; None sends the next batch as soon as the server returns.
    drift, drift_rows
        Collects drift reports, read every `drift_rows` rows; None reads none.
    outcomes
        Sends the outcomes and reads the performance; None does neither.

    Attributes
    ----------
    error
        What stopped the replay, or how many rows failed; empty after a complete replay.
    """

    def __init__(
        self,
        client: Client,
        flights: Sequence[Flight],
        *,
        batch_rows: int,
        rows_per_second: float | None,
        drift: DriftByPeriod | None,
        drift_rows: int,
        outcomes: OutcomeSender | None,
    ) -> None:
        self._client, self._flights = client, flights
        self._batch_rows, self._rows_per_second = batch_rows, rows_per_second
        self._drift, self._drift_rows, self._outcomes = drift, drift_rows, outcomes
        self._rows = self._failed_rows = 0
        self._request_seconds: list[float] = []
        self._latency_ms: list[float] = []
        self._duration_seconds = 0.0
        self._incidents: list[dict[str, Any]] = []
        self._performance: list[dict[str, Any]] = []
        self.error = ""
        self.is_interrupted = False

    def run(self, show_progress: Callable[[float, str], None]) -> None:
        """Send all flights and read the reports; `show_progress` gets the number of rows and a text."""
        try:
            self._send_flights(show_progress)
            time.sleep(CAPTURE_SECONDS)
            if self._drift is not None:
                self._read_drift(self._drift)
                self._incidents = self._client.call("GET", f"/api/v1/models/{MODEL_NAME}/incidents")["incidents"]
            if self._outcomes is not None:
                self._outcomes.finish()
                try:
                    self._performance = self._outcomes.performance()
                except RefusedError as error:
                    raise ReplayError(f"Cannot read the performance. {error} Or use --no-feedback.") from error
        except KeyboardInterrupt:
            self.error, self.is_interrupted = "Interrupted.", True
        except ReplayError as error:
            self.error = f"Stopped after {self._rows:,} rows. {error}"

    def _send_flights(self, show_progress: Callable[[float, str], None]) -> None:
        started_at = time.monotonic()
        sent = read_at = 0
        for batch in self._batches():
            if self._rows_per_second is not None:
                time.sleep(max(0.0, started_at + sent / self._rows_per_second - time.monotonic()))
            predictions = self._predict(batch)
            sent += len(batch)
            self._duration_seconds = time.monotonic() - started_at
            if predictions is not None and self._drift is not None:
                self._drift.add_batch(predictions.ids[0], batch[-1].period)
            if predictions is not None and self._outcomes is not None:
                self._outcomes.add_batch(batch, predictions.ids)
            if self._drift is not None and sent - read_at >= self._drift_rows:
                read_at = sent
                self._read_drift(self._drift)
            drifted = self._drift.drifted_features if self._drift is not None else []
            text = f"{batch[-1].departs_at:%d %b %Y}" + (f", drifted: {', '.join(drifted)}" if drifted else "")
            show_progress(sent, text)

    def _batches(self) -> Iterator[list[Flight]]:
        """Yield the flights in batches; each batch belongs to one period."""
        for _, group in groupby(self._flights, key=lambda flight: flight.period):
            flights = list(group)
            for first in range(0, len(flights), self._batch_rows):
                yield flights[first : first + self._batch_rows]

    def _predict(self, batch: Sequence[Flight]) -> Predictions | None:
        """Return the predictions for a batch, or None after a server error, which is counted."""
        sent_at = time.monotonic()
        try:
            predictions = self._client.predict([flight.features for flight in batch])
        except RefusedError as error:
            if error.status != http.client.INTERNAL_SERVER_ERROR:
                raise
            self._failed_rows += len(batch)
            self.error = f"{self._failed_rows:,} rows failed. {error}"
            return None
        self._rows += len(batch)
        self._request_seconds.append(time.monotonic() - sent_at)
        self._latency_ms.append(predictions.latency_ms)
        return predictions

    def _read_drift(self, drift: DriftByPeriod) -> None:
        try:
            drift.add_report(self._client.drift())
        except RefusedError as error:
            raise ReplayError(f"Cannot read the drift scores. {error} Or use --no-watch.") from error

    def summary(self) -> dict[str, Any]:
        """Return the results as values for JSON."""
        requests = self._request_seconds
        return {
            "rows_sent": self._rows,
            "rows_failed": self._failed_rows,
            "retries": self._client.retries,
            "duration_seconds": round(self._duration_seconds, 3),
            "rows_per_second": round(self._rows / max(self._duration_seconds, 1e-9), 1),
            "mean_request_ms": round(1000 * fmean(requests), 3) if requests else None,
            "mean_server_latency_ms": round(fmean(self._latency_ms), 3) if requests else None,
            "error": self.error,
            "drift": [period.summary() for period in self._drift.periods.values()] if self._drift is not None else [],
            "incidents": self._incidents,
            "labels": dict(self._outcomes.statuses) if self._outcomes is not None else {},
            "performance": self._performance,
            "estimate_errors": estimate_errors(self._performance),
        }
