"""Clients that send predict requests over HTTP until they are stopped."""

import contextlib
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]


def post(port: int, path: str, body: Any) -> tuple[int, Any]:
    """Return the status and the body of the response to a request."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.load(response)


def predict(port: int, model: str, rows: Rows) -> tuple[int, Any]:
    """Return the status and the body of the response to a predict request."""
    return post(port, f"/api/v1/models/{model}/predict", {"rows": rows.tolist()})


@contextlib.contextmanager
def traffic(port: int, model: str, make_rows: Callable[[], Any], *, pause: float, clients: int = 1) -> Iterator[None]:
    """Send requests for `model` until the block ends, `pause` seconds apart for each client.

    `make_rows` returns an array, or a list of rows as JSON has them.
    """
    ended = threading.Event()

    def send() -> None:
        while not ended.wait(pause):
            made = make_rows()
            body = {"rows": made.tolist() if isinstance(made, np.ndarray) else made}
            with contextlib.suppress(OSError, http.client.HTTPException):  # the server may stop meanwhile
                post(port, f"/api/v1/models/{model}/predict", body)

    threads = [threading.Thread(target=send) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
