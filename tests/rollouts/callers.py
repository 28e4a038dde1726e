"""Clients that call a real web server during a rollout, some of them with labels."""

import contextlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.services.web_server import WebServer

LABEL_SECONDS = 1.0  # from a prediction to its label; the server captures predictions within a tenth of this


@dataclass(frozen=True, slots=True)
class Row:
    """The values of a request, and what they are labelled with later; "" without a label."""

    features: list[float]
    label: str = ""


class Callers:
    """Threads that predict without pause, and which version responded when.

    Parameters
    ----------
    row
        Returns the next row.

    Attributes
    ----------
    responses
        When each request was sent, and the version or the status of the response.
    """

    def __init__(self, server: WebServer, row: Callable[[], Row], *, model: str = "iris", threads: int = 3) -> None:
        self._url, self._model, self._row, self._threads = server.url, model, row, threads
        self._stopping = threading.Event()
        self.responses: list[tuple[float, str]] = []

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        """Call the server until the end of the block."""
        threads = [threading.Thread(target=self._send) for _ in range(self._threads)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join()

    def _send(self) -> None:
        labels: list[dict[str, str]] = []
        labels_sent = time.monotonic()
        while not self._stopping.is_set():
            sent, row = time.monotonic(), self._row()
            try:
                body = self._post(f"/api/v1/models/{self._model}/predict", {"features": row.features})
                self.responses.append((sent, body["model_version"]))
                if row.label:
                    labels.append({"prediction_id": body["prediction_id"], "actual": row.label})
                if labels and sent - labels_sent > LABEL_SECONDS:
                    self._post("/api/v1/feedback", labels)
                    labels, labels_sent = [], sent
            except urllib.error.HTTPError as error:
                self.responses.append((sent, str(error.code)))
                error.close()
            except (OSError, ValueError):
                time.sleep(0.02)  # its process was killed

    def _post(self, path: str, payload: object) -> Any:
        body = json.dumps(payload).encode()
        request = urllib.request.Request(self._url + path, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)
