"""A client of mlmon's HTTP API that repeats requests while the server is unavailable. It does not need Django."""

import http.client
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import orjson

MODEL_NAME = "flight-delay"
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
# The server is busy, starting or restarting. Repeating a request does not help with any other status.
TEMPORARY_STATUS = frozenset({429, 502, 503, 504})
ADVICE = {
    401: "Set an API token with --token (manage.py create_token creates one).",
    403: "The token needs the scopes predict and, for drift scores, read; for rollouts all.",
    404: "Run manage.py load_demo there if the demo is not loaded.",
}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ReplayError(Exception):
    """The replay cannot start or continue."""


class RefusedError(ReplayError):
    """The server refused a request."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"HTTP {status}: {detail} {ADVICE.get(status, '')}".rstrip())
        self.status = status


@dataclass(frozen=True, slots=True)
class Predictions:
    """The ids of the predictions of one request, and the latency that the server measured."""

    ids: tuple[str, ...]
    latency_ms: float


class Client:
    """A connection to a server, opened again after errors for at most `patience_seconds`.

    Attributes
    ----------
    retries
        Number of repeated requests.
    """

    def __init__(
        self, url: str, *, token: str = "", patience_seconds: float = 30.0, timeout_seconds: float = 30.0
    ) -> None:
        self._url = urlsplit(url.rstrip("/"))
        try:
            is_valid = self._url.scheme in ("http", "https") and bool(self._url.hostname) and self._url.port != 0
        except ValueError:  # the port is not a number
            is_valid = False
        if not is_valid or self._url.query or self._url.fragment:
            raise ReplayError(
                f"--url: {url!r} is not the address of a server. Use an address such as http://127.0.0.1:8000."
            )
        self._headers: dict[str, str] = {}
        if not (token.isascii() and token.isprintable()):
            raise ReplayError("--token: a token has no line breaks or other special characters.")
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._patience_seconds = patience_seconds
        self._timeout_seconds = timeout_seconds
        self._connection: http.client.HTTPConnection | None = None
        self.retries = 0

    def close(self) -> None:
        """Close the connection. The next request opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def check_server(self) -> None:
        """Raise ReplayError, without retries, unless an mlmon server responds."""
        address = self._url.geturl()
        try:
            status, _ = self._exchange("GET", "/healthz", None, "application/json")
        except (OSError, http.client.HTTPException) as error:
            raise ReplayError(
                f"No server responds at {address} ({_reason(error)}). Start one with `make run`, or set its address "
                "with --url."
            ) from error
        if status != http.client.OK:
            raise ReplayError(f"{address}/healthz returned HTTP {status}. Is it an mlmon server?")

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> Predictions:
        """Return the predictions for some rows; see `call` for the errors."""
        body = self.call("POST", f"/api/v1/models/{MODEL_NAME}/predict", {"rows": list(rows)})
        ids = tuple(prediction["prediction_id"] for prediction in body["predictions"])
        if len(ids) != len(rows):
            raise ReplayError(f"The server returned {len(ids)} predictions for {len(rows)} rows.")
        return Predictions(ids, body["latency_ms"])

    def drift(self) -> dict[str, Any]:
        """Return the latest drift report of the model."""
        return self.call("GET", f"/api/v1/models/{MODEL_NAME}/drift")

    def upload(self, path: str, fields: Mapping[str, str], files: Mapping[str, tuple[str, bytes]]) -> dict[str, Any]:
        """Post a form with files, each with its name and content, as `call` does."""
        boundary = uuid.uuid4().hex
        parts = [(f'name="{name}"', value.encode()) for name, value in fields.items()]
        parts += [(f'name="{name}"; filename="{file}"', content) for name, (file, content) in files.items()]
        body = b"".join(
            f"--{boundary}\r\nContent-Disposition: form-data; {about}\r\n\r\n".encode() + content + b"\r\n"
            for about, content in parts
        )
        return self._call(
            "POST", path, body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
        )

    def call(self, method: str, path: str, payload: object = None) -> dict[str, Any]:
        """Return the JSON object that the server returns.

        Raises
        ------
        RefusedError
            The server refuses the request, or it is busy for `patience_seconds`.
        ReplayError
            The server is unavailable for `patience_seconds`, or does not return a JSON object.
        """
        return self._call(method, path, None if payload is None else orjson.dumps(payload), "application/json")

    def _call(self, method: str, path: str, body: bytes | None, content_type: str) -> dict[str, Any]:
        deadline = time.monotonic() + self._patience_seconds
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            error: ReplayError
            try:
                status, content = self._exchange(method, path, body, content_type)
            except (OSError, http.client.HTTPException) as failure:
                self.close()
                error = ReplayError(f"{path} was unavailable for {self._patience_seconds:g} s ({_reason(failure)}).")
            else:
                try:
                    response = orjson.loads(content)
                except orjson.JSONDecodeError:
                    response = None
                if not http.client.OK <= status < http.client.MULTIPLE_CHOICES:
                    detail = response.get("detail") if isinstance(response, dict) else None
                    error = RefusedError(status, str(detail or "no reason given."))
                    if status not in TEMPORARY_STATUS:
                        raise error
                elif isinstance(response, dict):
                    return response
                else:
                    raise ReplayError(f"{path} did not return a JSON object. Is this an mlmon server?")
            if time.monotonic() + pause_seconds > deadline:
                raise error
            self.retries += 1
            time.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)

    def _exchange(self, method: str, path: str, body: bytes | None, content_type: str) -> tuple[int, bytes]:
        """Return the status and the body of one response."""
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
            self._connection = kind(self._url.hostname or "", self._url.port, timeout=self._timeout_seconds)
        headers = {**self._headers, "Content-Type": content_type}
        self._connection.request(method, self._url.path + path, body, headers)
        response = self._connection.getresponse()
        return response.status, response.read()


def time_of_id(prediction_id: str) -> datetime:
    """Return the time in a UUID of version 7, including the fraction of its milliseconds (RFC 9562, method 3)."""
    number = uuid.UUID(prediction_id).int
    milliseconds, fraction = number >> 80, (number >> 64) & 0xFFF
    return EPOCH + timedelta(milliseconds=milliseconds, microseconds=fraction * 1000 // 4096)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
