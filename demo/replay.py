"""Sending rows of the demo's year through the predict API of a running server: a client like any other, without Django.

Only features are sent; the outcomes follow later (`demo.label_feed`).
"""

import http.client
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

import numpy as np
import orjson
import pyarrow.parquet as pq

MODEL_NAME = "flight-delay"
FEATURES = (
    "carrier",
    "origin",
    "dest",
    "scheduled_hour",
    "distance",
    "seats",
    "plane_age",
    "wind_speed",
    "precip",
    "visib",
)
OUTCOMES = {True: "late", False: "on_time", None: None}
SHUFFLED = "shuffled"
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
# The server is busy, starting or restarting; anything else does not get better by asking again.
PASSING_STATUS = frozenset({429, 502, 503, 504})
ADVICE = {
    401: "Give an API token with --token (manage.py create_token makes one).",
    403: "The token may not do this; it needs the scopes predict and, for the drift scores, read.",
    404: "Is the demo loaded there? manage.py load_demo puts it into production.",
}


class ReplayError(Exception):
    """The replay cannot start or go on."""


class RefusedError(ReplayError):
    """The server answered, and said no."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(" ".join(part for part in (f"HTTP {status}: {detail}", ADVICE.get(status, "")) if part))
        self.status = status


@dataclass(frozen=True, slots=True)
class Flight:
    """One row of the extract: what the model gets, when it was, and under which heading it is reported.

    Attributes
    ----------
    outcome
        The class that turned out to be true; None where the flight never arrived.
    """

    features: Mapping[str, Any]
    departs_at: datetime
    heading: str
    outcome: str | None

    @property
    def day(self) -> date:
        return self.departs_at.date()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said to one batch: the ids, which also say when, and the time that it took."""

    prediction_ids: tuple[str, ...]
    latency_ms: float


@dataclass(frozen=True, slots=True)
class SentBatch:
    """Flights, and the answer to them; None where the server failed."""

    flights: Sequence[Flight]
    answer: Answer | None


@dataclass(slots=True)
class Tally:
    """What was sent so far.

    Attributes
    ----------
    rows, failed_rows
        Rows that were predicted, and rows whose batch was given up.
    request_seconds
        Of each request that was answered, with the network and the retries.
    latency_ms
        Of each, as the server measured it.
    """

    rows: int = 0
    failed_rows: int = 0
    retries: int = 0
    last_error: str = ""
    request_seconds: list[float] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)


def read_flights(path: Path, *, months: Sequence[int], limit: int | None, shuffle_seed: int | None) -> list[Flight]:
    """Return the flights of these months in the order of their scheduled departures, or shuffled.

    Parameters
    ----------
    path
        The extract, which is in that order.
    months
        1 to 12, by the calendar of New York.
    limit
        How many rows at most, from the first that would be sent.
    shuffle_seed
        The same seed gives the same order; None leaves the order as it is.
    """
    table = pq.read_table(path)
    rows = np.flatnonzero(np.isin(table["month"].to_numpy(), list(months)))
    if shuffle_seed is not None:
        rows = np.random.default_rng(shuffle_seed).permutation(rows)
    return [_flight(row, is_shuffled=shuffle_seed is not None) for row in table.take(rows[:limit]).to_pylist()]


def _flight(row: Mapping[str, Any], *, is_shuffled: bool) -> Flight:
    day = date(row["scheduled_departure"].year, row["month"], 1)
    return Flight(
        features={name: row[name] for name in FEATURES},
        departs_at=row["scheduled_departure"].replace(tzinfo=UTC),
        heading=SHUFFLED if is_shuffled else f"{day:%B}",
        outcome=OUTCOMES[row["late"]],
    )


class Client:
    """One connection to the server, kept open; a broken one is made anew for `patience_seconds`."""

    def __init__(
        self, url: str, *, token: str = "", patience_seconds: float = 30.0, timeout_seconds: float = 30.0
    ) -> None:
        self._url = _checked_url(url)
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._patience_seconds = patience_seconds
        self._timeout_seconds = timeout_seconds
        self._connection: http.client.HTTPConnection | None = None
        self.retries = 0

    def close(self) -> None:
        """Close the connection; the next call makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def demand_server(self) -> None:
        """Raise ReplayError at once where nothing answers at the address, or something that is not mlmon."""
        try:
            status, _ = self._exchange("GET", "/healthz", None)
        except (OSError, http.client.HTTPException) as error:
            raise ReplayError(
                f"No server answers at {self._url.geturl()} ({_named(error)}). Start one with `make run`, or say with "
                "--url where it is."
            ) from error
        if status != http.client.OK:
            raise ReplayError(f"{self._url.geturl()} answers /healthz with HTTP {status}: is that an mlmon server?")

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> Answer:
        """Return the server's answer to many rows.

        Raises
        ------
        RefusedError
            The server refuses the rows or the caller.
        ReplayError
            It did not answer in all that time.
        """
        body = self.call("POST", f"/api/v1/models/{MODEL_NAME}/predict", {"rows": list(rows)})
        answer = Answer(
            prediction_ids=tuple(prediction["prediction_id"] for prediction in body["predictions"]),
            latency_ms=body["latency_ms"],
        )
        if len(answer.prediction_ids) != len(rows):
            raise ReplayError(f"{len(rows)} rows were sent and {len(answer.prediction_ids)} predictions came back.")
        return answer

    def drift(self) -> dict[str, Any]:
        """Return the newest drift report of the model."""
        return self.call("GET", f"/api/v1/models/{MODEL_NAME}/drift", None)

    def incidents(self) -> list[dict[str, Any]]:
        """Return the model's newest drift incidents, the newest first."""
        found: list[dict[str, Any]] = self.call("GET", f"/api/v1/models/{MODEL_NAME}/incidents", None)["incidents"]
        return found

    def feedback(self, items: Sequence[Mapping[str, str]]) -> dict[str, Any]:
        """Send ground truth; return what became of each item."""
        return self.call("POST", "/api/v1/feedback", items)

    def performance(self, *, since: datetime, until: datetime) -> dict[str, Any]:
        """Return the model's performance in a span."""
        query = urlencode({"since": since.isoformat(), "until": until.isoformat(), "days": 0})
        return self.call("GET", f"/api/v1/models/{MODEL_NAME}/performance?{query}", None)

    def call(self, method: str, path: str, payload: object) -> dict[str, Any]:
        """Return the JSON object that the server answers, asking again while it is away or busy."""
        deadline = time.monotonic() + self._patience_seconds
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            trouble: Exception
            try:
                status, content = self._exchange(method, path, payload)
                if status == http.client.OK:
                    return _json_object(content)
                trouble = RefusedError(status, _detail(content))
                if status not in PASSING_STATUS:
                    raise trouble
            except (OSError, http.client.HTTPException) as error:
                self.close()
                trouble = ReplayError(f"No answer for {self._patience_seconds:g} s from {path} ({_named(error)}).")
            if time.monotonic() + pause_seconds > deadline:
                raise trouble
            self.retries += 1
            time.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)

    def _exchange(self, method: str, path: str, payload: object) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = self._connected()
        body = None if payload is None else orjson.dumps(payload)
        self._connection.request(method, self._url.path + path, body, self._headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def _connected(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
        return kind(self._url.hostname or "", self._url.port, timeout=self._timeout_seconds)


def send(
    client: Client, flights: Sequence[Flight], *, batch_rows: int, rows_per_second: float | None, tally: Tally
) -> Iterator[SentBatch]:
    """Send the flights batch by batch, not faster than asked for, and give each batch back when it is done.

    A batch has rows of one heading.

    Parameters
    ----------
    rows_per_second
        None is as fast as the server answers.
    tally
        Filled while sending, so that it holds what was done also when the caller stops early.

    Raises
    ------
    ReplayError
        The server refuses the rows or cannot be reached; a batch on which it fails (HTTP 500) is only counted.
    """
    started_at = time.monotonic()
    sent = 0
    for batch in _batches(flights, batch_rows):
        if rows_per_second is not None:
            time.sleep(max(0.0, started_at + sent / rows_per_second - time.monotonic()))
        answer = _predicted(client, batch, tally)
        tally.retries = client.retries
        sent += len(batch)
        yield SentBatch(batch, answer)


def _batches(flights: Sequence[Flight], batch_rows: int) -> Iterator[list[Flight]]:
    for _, same in groupby(flights, key=lambda flight: flight.heading):
        rows = list(same)
        yield from (rows[first : first + batch_rows] for first in range(0, len(rows), batch_rows))


def _predicted(client: Client, batch: Sequence[Flight], tally: Tally) -> Answer | None:
    sent_at = time.monotonic()
    try:
        answer = client.predict([flight.features for flight in batch])
    except RefusedError as error:
        if error.status != http.client.INTERNAL_SERVER_ERROR:
            raise
        tally.failed_rows += len(batch)
        tally.last_error = str(error)
        return None
    tally.rows += len(batch)
    tally.request_seconds.append(time.monotonic() - sent_at)
    tally.latency_ms.append(answer.latency_ms)
    return answer


def _checked_url(url: str) -> SplitResult:
    parts = urlsplit(url.rstrip("/"))
    try:
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        is_address = False
    if not is_address or parts.query or parts.fragment:
        raise ReplayError(f"{url!r} is no address of a server; one looks like http://127.0.0.1:8000.")
    return parts


def _json_object(content: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise ReplayError("The server's answer is no JSON object: is that an mlmon server?")
    return body


def _detail(content: bytes) -> str:
    try:
        return str(orjson.loads(content)["detail"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "no reason was given"


def _named(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
