"""Whether the URL of KServe's payload logger responds at once under load, and what becomes of the events.

``python -m benchmarks.kserve_events [--json FILE]`` starts PostgreSQL, Redis and the real web server with two
processes. It sends events at a fixed rate, requests and their responses, as the loggers of several pods do: over kept
connections, a response soon after its request or before it. docs/benchmarks.md has the details.
"""

import asyncio
import contextlib
import os
import random
import sys
import time
import uuid
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import orjson

from benchmarks.report import argument_parser, conditions, progress, seconds_text, table, write_json
from benchmarks.services import own_services

EVENTS_PER_SECOND, SECONDS, CONNECTIONS = 2_000, 60.0, 32
MODEL, NAMESPACE = "iris", "team-a"
PATH = "/api/v1/kserve/events"
ANSWER_SECONDS = 0.02  # from a request to its response
REVERSED_SHARE = 0.05  # responses that are sent before their requests
LONGEST_SETTLING_SECONDS = 60.0
DURATION = "Takes a little more than a minute."
EXAMPLES = 200  # different bodies
WARM_UP_EVENTS = 400


@dataclass(slots=True)
class Load:
    """What the client measured.

    Attributes
    ----------
    response_seconds
        From sending an event to the status of its response.
    late_seconds
        How much later than planned each event was sent: the client's own delay.
    statuses
        Number of responses by status.
    """

    response_seconds: list[float] = field(default_factory=list)
    late_seconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)


class _Connection(asyncio.Protocol):
    """A kept connection with one request at a time."""

    def __init__(self, load: Load, idle: "asyncio.Queue[_Connection]") -> None:
        self._load = load
        self._idle = idle
        self._sent_at = 0.0
        self._received = b""
        self._is_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, message: bytes) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(message)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(b"\r\n\r\n"):  # a response of this URL has no body
            return
        self._load.response_seconds.append(time.perf_counter() - self._sent_at)
        status = int(self._received[9:12])
        self._load.statuses[status] = self._load.statuses.get(status, 0) + 1
        self._received = b""
        self._idle.put_nowait(self)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._is_closed:
            self._load.statuses[0] = self._load.statuses.get(0, 0) + 1

    def close(self) -> None:
        self._is_closed = True
        self._transport.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argument_parser("kserve_events", __doc__, DURATION)
    parser.add_argument("--events-per-second", type=int, default=EVENTS_PER_SECOND, help="%(default)s")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="duration of the load (%(default)s)")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="%(default)s")
    parsed = parser.parse_args(arguments)
    progress(DURATION)
    with own_services() as folder:
        figures = run_load(folder, parsed)
    sys.stdout.write(text_of(figures))
    write_json(parsed.json, {**figures, **conditions("granian", "redis")})


def run_load(folder: Path, options: Namespace) -> dict[str, Any]:
    """Send the events to a server whose log is in `folder`, and return the figures. Django must be set up."""
    from inference import stream
    from tests.services.web_server import running_web_server

    version_id = _registered_version()
    metrics = folder / "metrics"
    metrics.mkdir()
    with running_web_server({**os.environ, "MLMON_METRICS_DIR": str(metrics)}, folder, workers=2) as server:
        warm_up = Namespace(**{**vars(options), "events_per_second": WARM_UP_EVENTS // 2, "seconds": 2.0})
        _, warmed = asyncio.run(_send_events(server.port, warm_up, seed=0))  # the first capture loads libraries
        _settled_outcomes(server.url, warmed)
        before = _cpu_seconds(server.process.pid)
        load, sent = asyncio.run(_send_events(server.port, options, seed=1))
        ended_at = time.monotonic()
        outcomes = _settled_outcomes(server.url, warmed + sent)
        settling_seconds = time.monotonic() - ended_at
        cpu_seconds = _cpu_seconds(server.process.pid) - before
        rows = stream.rows_seen(stream.redis_client(), [version_id])[version_id]
    response_ms = 1000 * np.array(load.response_seconds)
    return {
        "events_per_second": options.events_per_second,
        "seconds": options.seconds,
        "connections": options.connections,
        "events_sent": sent,
        "warm_up_events": warmed,
        "statuses": {str(status): count for status, count in sorted(load.statuses.items())},
        "response_ms": {
            "p50": float(np.quantile(response_ms, 0.5)),
            "p99": float(np.quantile(response_ms, 0.99)),
            "p99.9": float(np.quantile(response_ms, 0.999)),
            "maximum": float(response_ms.max()),
        },
        "client_late_ms_p99": float(1000 * np.quantile(load.late_seconds, 0.99)),
        "cpu_ms_per_event": 1000 * cpu_seconds / sent,
        "outcomes": outcomes,
        "rows_captured": rows,
        "settling_seconds": settling_seconds,
    }


def text_of(figures: Mapping[str, Any]) -> str:
    """Return the figures as text."""
    response = [[name, seconds_text(value / 1000)] for name, value in figures["response_ms"].items()]
    counts = [
        ["sent", f"{figures['events_sent']:,}"],
        ["before, to warm up", f"{figures['warm_up_events']:,}"],
        *([f"status {status}", f"{count:,}"] for status, count in figures["statuses"].items()),
        *([name, f"{count:,.0f}"] for name, count in figures["outcomes"].items()),
    ]
    return "\n".join(
        (
            f"{figures['events_per_second']:,} events a second for {figures['seconds']:g} s, "
            f"{figures['connections']} connections, 2 web processes",
            table(["response time", ""], response),
            f"the client sent 99 % of the events less than {figures['client_late_ms_p99']:.3g} ms late",
            f"the web processes used {figures['cpu_ms_per_event']:.3g} ms of CPU time for each event",
            table(["events", ""], counts),
            f"{figures['rows_captured']:,} rows in the live window, {figures['settling_seconds']:.2g} s after the end",
            "",
        )
    )


def _registered_version() -> int:
    from models_registry.services.external_versions import register_external_version
    from models_registry.services.versions import promote, register_model

    names = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    document = {
        "task": "classification",
        "classes": ["setosa", "versicolor", "virginica"],
        "features": [{"name": name, "type": "number"} for name in names],
    }
    version = register_external_version(model=register_model(name=MODEL), version="1.0.0", document=document)
    promote(version=version)
    return version.pk


async def _send_events(port: int, options: Namespace, *, seed: int) -> tuple[Load, int]:
    load = Load()
    idle: asyncio.Queue[_Connection] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    connections: list[_Connection] = []
    for _ in range(options.connections):
        _, connection = await loop.create_connection(lambda: _Connection(load, idle), "127.0.0.1", port)
        connections.append(connection)
        idle.put_nowait(connection)
    sent = 0
    start = time.perf_counter() + 0.5
    count = int(options.events_per_second * options.seconds)
    for message in _messages(count, options.events_per_second, seed):
        due = start + sent / options.events_per_second
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        connection = await idle.get()
        load.late_seconds.append(max(0.0, time.perf_counter() - due))
        connection.send(message)
        sent += 1
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while sum(load.statuses.values()) < sent:
                await asyncio.sleep(0.01)
    for connection in connections:
        connection.close()
    await asyncio.sleep(0)  # the loop closes the sockets
    return load, sent


def _messages(count: int, events_per_second: int, seed: int) -> Iterator[bytes]:
    """Yield HTTP requests: requests and responses of pairs, some of them in reverse order."""
    rng = random.Random(seed)  # noqa: S311 -- the same events in each run
    bodies = list(_bodies(rng))
    lag = max(1, int(ANSWER_SECONDS * events_per_second / 2))
    waiting: list[tuple[str, bytes, str]] = []
    for _ in range(count // 2):
        request, response = rng.choice(bodies)
        event_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        halves = [("request", request, event_id), ("response", response, event_id)]
        if rng.random() < REVERSED_SHARE:
            halves.reverse()
        yield _message(*halves[0])
        waiting.append(halves[1])
        if len(waiting) > lag:
            yield _message(*waiting.pop(0))
    for half in waiting:
        yield _message(*half)


def _bodies(rng: random.Random) -> Iterator[tuple[bytes, bytes]]:
    """Yield bodies of requests and responses, in protocol v1 and v2."""
    for number in range(EXAMPLES):
        row = [round(rng.uniform(0.1, 8), 1) for _ in range(4)]
        chances = [rng.random() for _ in range(3)]
        chances = [chance / sum(chances) for chance in chances]
        if number % 2:
            yield orjson.dumps({"instances": [row]}), orjson.dumps({"predictions": [chances]})
        else:
            tensor = {"shape": [1, 4], "datatype": "FP64", "data": row}
            scores = {"name": "probabilities", "shape": [1, 3], "datatype": "FP64", "data": chances}
            yield (
                orjson.dumps({"inputs": [{"name": "input-0", **tensor}]}),
                orjson.dumps({"model_name": MODEL, "outputs": [scores]}),
            )


def _message(half: str, body: bytes, event_id: str) -> bytes:
    now = time.time_ns()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)) + f".{now % 10**9:09d}Z"
    headers = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"Ce-Specversion: 1.0\r\nCe-Id: {event_id}\r\nCe-Type: org.kubeflow.serving.inference.{half}\r\n"
        f"Ce-Source: iris-predictor-0\r\nCe-Time: {stamp}\r\nCe-Namespace: {NAMESPACE}\r\nCe-Component: predictor\r\n"
        f"Ce-Inferenceservicename: {MODEL}\r\nCe-Endpoint: \r\nCe-Metadata: {{}}\r\n\r\n"
    )
    return headers.encode() + body


def _settled_outcomes(url: str, sent: int) -> dict[str, float]:
    """Return the outcomes of the events once all are counted, or at the time limit; and how many were received."""
    deadline = time.monotonic() + LONGEST_SETTLING_SECONDS
    while True:
        outcomes = _outcomes(url)
        if sum(count for name, count in outcomes.items() if name != "received") >= sent or time.monotonic() > deadline:
            return outcomes
        time.sleep(0.2)


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time of the server's web processes."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ticks = [Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[11:13] for child in children]
    return sum(int(tick) for both in ticks for tick in both) / os.sysconf("SC_CLK_TCK")


def _outcomes(url: str) -> dict[str, float]:
    import urllib.request

    from prometheus_client.parser import text_string_to_metric_families

    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:  # noqa: S310 -- the server of this run
        text = response.read().decode()
    outcomes: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "ml_kserve_events_received_total":
                outcomes["received"] = sample.value
            elif sample.name == "ml_kserve_events_total" and sample.value:
                name = sample.labels["outcome"]
                outcomes[name] = outcomes.get(name, 0) + sample.value
    return outcomes


if __name__ == "__main__":
    main()
