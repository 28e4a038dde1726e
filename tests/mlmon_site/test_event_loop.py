"""The web server's limits: slow, large and many requests, slow models, and stops under load."""

import contextlib
import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mlmon.schema import TaskType
from tests.conftest import environment_of_tests
from tests.factories import uploaded_version
from tests.models_registry.onnx_models import slow_row_model
from tests.services.processes import await_condition, child_pids
from tests.services.web_server import WebServer, running_web_server

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("redis_client")]

FLOWER = json.dumps({"features": [5.1, 3.5, 1.4, 0.2]}).encode()
SLOW_ROWS = json.dumps({"rows": [[1.0]] * 10}).encode()
PREDICT = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
ServerOf = Callable[..., contextlib.AbstractContextManager[WebServer]]


@pytest.fixture
def server_with(tmp_path: Path) -> ServerOf:
    """Returns a server with these settings."""

    @contextlib.contextmanager
    def run(*, workers: int = 1, **variables: Any) -> Iterator[WebServer]:
        (tmp_path / "metrics").mkdir(exist_ok=True)
        environment = environment_of_tests() | {"MLMON_METRICS_DIR": str(tmp_path / "metrics")}
        environment |= {name: str(value) for name, value in variables.items()}
        with running_web_server(environment, tmp_path, workers=workers) as server:
            yield server

    return run


@pytest.fixture
def classifier(transactional_db: None) -> None:
    uploaded_version("classifier")


def connected(server: WebServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def received(connection: socket.socket) -> bytes:
    """Return everything that the server sends until it closes the connection."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(2**16):
            parts.append(part)
    return b"".join(parts)


def response_on(connection: socket.socket) -> tuple[int, Any]:
    """Return the status and the decoded body of one response."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, json.loads(response.read())


def posted(server: WebServer, path: str, body: Any, **headers: str) -> tuple[int, Any, http.client.HTTPMessage]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("POST", path, body, {"Content-Type": "application/json"} | headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read()), response.headers


def check_slow_bodies(server: WebServer) -> None:
    for path in (b"/predict", b"/api/v1/models/classifier/observations", b"/api/v1/feedback"):
        with connected(server) as slow:
            slow.sendall(PREDICT.replace(b"/predict", path) + b"Content-Length: 100\r\n\r\n{")
            status, problem = response_on(slow)
            assert status == 408
            assert problem["title"] == "Request Timeout"
            assert "send it within 1 s, or faster than 48.8281 KiB/s" in problem["detail"]
            assert slow.recv(1) == b""  # the connection is closed


def check_slow_headers(server: WebServer) -> None:
    for begin in (b"", b"POST /predict HTTP/1.1\r\nHost: local"):
        with connected(server) as slow:
            slow.sendall(begin)
            assert b"200" not in received(slow)


def check_idle_connections(server: WebServer) -> None:
    with connected(server) as connection:
        connection.sendall(PREDICT + b"Content-Length: %d\r\n\r\n" % len(FLOWER) + FLOWER)
        assert response_on(connection)[0] == 200
        assert received(connection) == b""  # it is closed after the time for headers


def check_slow_uploads(server: WebServer) -> None:
    """A large body may take longer than a small one, if it comes fast enough."""
    body = FLOWER.ljust(300_000)
    with connected(server) as upload:
        upload.sendall(PREDICT + b"Content-Length: %d\r\n\r\n" % len(body))
        for begin in range(0, len(body), 30_000):  # 100 kB a second, for three seconds
            upload.sendall(body[begin : begin + 30_000])
            time.sleep(0.3)
        assert response_on(upload)[0] == 200


def check_chunked_bodies(server: WebServer) -> None:
    status, body, _ = posted(server, "/predict", iter([FLOWER[:10], FLOWER[10:]]))
    assert (status, body["prediction"]) == (200, "setosa")


def check_large_bodies(server: WebServer) -> None:
    large = b"x" * 5_000_000
    for body in (large, iter([large])):
        status, problem, _ = posted(server, "/predict", body)
        assert status == 413
        assert problem["detail"] == "The body is larger than this server accepts: 400,000 bytes."
    with connected(server) as connection:  # this client asks before it sends the body
        connection.sendall(PREDICT + b"Content-Length: 500000\r\nExpect: 100-continue\r\n\r\n")
        assert response_on(connection)[0] == 413


@pytest.mark.timeout(300)
def test_bodies_and_headers_have_limits(classifier: None, server_with: ServerOf) -> None:
    limits = {
        "MLMON_BODY_TIMEOUT_SECONDS": 1,
        "MLMON_BODY_MIN_BYTES_PER_SECOND": 50_000,
        "MLMON_HEADER_TIMEOUT_SECONDS": 1,
        "MLMON_MAX_BODY_BYTES": 400_000,
    }
    checks = (
        check_slow_bodies,
        check_slow_headers,
        check_idle_connections,
        check_slow_uploads,
        check_chunked_bodies,
        check_large_bodies,
    )
    with server_with(**limits) as server, ThreadPoolExecutor(len(checks)) as clients:
        for one in [clients.submit(check, server) for check in checks]:
            one.result()
        assert posted(server, "/predict", FLOWER)[0] == 200


@pytest.mark.timeout(300)
def test_many_slow_clients_delay_nobody(classifier: None, server_with: ServerOf) -> None:
    """200 clients that send one byte, with one process: with a thread for each of them, nobody could predict."""
    with server_with(MLMON_BODY_TIMEOUT_SECONDS=5) as server, contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connected(server)) for _ in range(200)]
        for connection in slow:
            connection.sendall(PREDICT + b"Content-Length: 100\r\n\r\n{")
        for _ in range(50):
            status, _, _ = posted(server, "/predict", FLOWER)
            assert status == 200
        assert {response_on(connection)[0] for connection in slow} == {408}


def test_an_address_has_a_limit_of_open_requests(classifier: None, server_with: ServerOf) -> None:
    limits = {"MLMON_MAX_REQUESTS_PER_ADDRESS": 2, "MLMON_TRUSTED_PROXIES": "127.0.0.1"}
    with server_with(**limits) as server, contextlib.ExitStack() as stack:
        for _ in range(2):
            open_request = stack.enter_context(connected(server))
            open_request.sendall(PREDICT + b"X-Forwarded-For: 10.0.0.1\r\nContent-Length: 100\r\n\r\n{")
        time.sleep(0.2)
        status, problem, headers = posted(server, "/predict", FLOWER, **{"X-Forwarded-For": "10.0.0.1"})
        assert (status, headers["Retry-After"]) == (429, "2")
        assert problem["detail"].startswith("10.0.0.1 has 2 open requests already.")
        assert posted(server, "/predict", FLOWER, **{"X-Forwarded-For": "10.0.0.2"})[0] == 200


def test_a_slow_model_delays_no_other_and_refuses_more_than_its_queue(classifier: None, server_with: ServerOf) -> None:
    uploaded_version("slow", onnx=slow_row_model().SerializeToString(), features=["x"], task=TaskType.REGRESSION)
    limits = {"MLMON_MODEL_RUNS": 1, "MLMON_MODEL_QUEUE": 2}
    with server_with(**limits) as server, ThreadPoolExecutor(8) as clients:

        def request_slow_one(_: int) -> tuple[int, float]:
            begun = time.monotonic()
            status, _, headers = posted(server, "/api/v1/models/slow/predict", SLOW_ROWS)
            assert status == 200 or (status, headers["Retry-After"]) == (503, "2")
            return status, time.monotonic() - begun

        posted(server, "/predict", FLOWER)  # the first run of a model takes place in a thread
        slow = [clients.submit(request_slow_one, number) for number in range(8)]
        quick = 0
        while not all(one.done() for one in slow):
            assert posted(server, "/predict", FLOWER)[0] == 200
            quick += 1
        outcomes = [one.result() for one in slow]
        statuses = [status for status, _ in outcomes]
        assert statuses.count(200) >= 3
        assert statuses.count(503) >= 1
        assert quick > statuses.count(200)  # they were not delayed by one slow run each


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stop", ["whole server", "workers in turn"])
def test_no_request_fails_when_processes_stop(classifier: None, server_with: ServerOf, stop: str) -> None:
    """Clients with kept connections send requests without a pause.

    When a response says that the server closes the connection, they connect again, unless the whole server stops.
    """
    failed: list[str] = []
    predicted = 0
    ended = threading.Event()

    def send(port: int) -> None:
        nonlocal predicted
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            while not ended.is_set():
                try:
                    connection.request("POST", "/predict", FLOWER, {"Content-Type": "application/json"})
                    response = connection.getresponse()
                    response.read()
                    assert response.status == 200
                    predicted += 1
                    if stop == "whole server" and response.headers["Connection"] == "close":
                        return
                except (OSError, http.client.HTTPException) as error:
                    failed.append(repr(error))
                    connection.close()

    with server_with(workers=2) as server, ThreadPoolExecutor(4) as clients:
        sent = [clients.submit(send, server.port) for _ in range(4)]
        await_condition(lambda: predicted > 200, "no predictions")
        if stop == "whole server":
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(20) == 0
        else:
            before = set(child_pids(server.process.pid))
            server.process.send_signal(signal.SIGHUP)
            await_condition(lambda: not before & set(child_pids(server.process.pid)), "old workers stay", seconds=120)
            since = predicted
            await_condition(lambda: predicted > since + 200, "no predictions")
            ended.set()
        for one in sent:
            one.result()
    assert failed == []
    assert predicted > 200
