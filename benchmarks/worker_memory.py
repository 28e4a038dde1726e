"""Whether the memory of a web worker stays the same over a million predictions.

``python -m benchmarks.worker_memory [--requests N] [--json FILE]`` starts ``manage.py run`` in an empty folder, sends
predictions over connections that stay open, and reads the memory of each web worker after every 50,000 responses.
docs/benchmarks.md has the details.
"""

import contextlib
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.process_memory import ProcessMemory, memory_of
from benchmarks.report import argument_parser, conditions, progress, seconds_text, table, write_json
from tests.services.embedded_run import EmbeddedRun, embedded_run
from tests.services.processes import await_condition

REQUESTS, INTERVAL, CONNECTIONS = 1_000_000, 50_000, 16
REQUIRED_BYTES_PER_REQUEST = 4.0  # 2 MB over the second half of a million requests
TIMEOUT_SECONDS = 30.0
POLL_SECONDS = 0.05
LONGEST_SECONDS = 3_600.0
DURATION = "Takes about ten minutes on two cores."
_BODY = b'{"features": [0.1, 0.5, 0.3, 0.8]}'
_REQUEST = (
    b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


@dataclass(frozen=True, slots=True)
class Sample:
    """The memory of each worker, by its pid, after some responses."""

    requests: int
    seconds: float
    workers: Mapping[int, ProcessMemory]


class Clients:
    """Threads that each send one request after the other over a connection of their own.

    Attributes
    ----------
    responses
        How many requests have been answered with status 200.
    failure
        Why a client has ended early, or "".
    """

    def __init__(self, port: int, *, connections: int = CONNECTIONS) -> None:
        self.failure = ""
        self._port = port
        self._counts = [0] * connections
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(index,)) for index in range(connections)]

    @property
    def responses(self) -> int:
        return sum(self._counts)

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _send(self, index: int) -> None:
        with contextlib.ExitStack() as stack:
            try:
                connection = stack.enter_context(
                    socket.create_connection(("127.0.0.1", self._port), timeout=TIMEOUT_SECONDS)
                )
                while not self._is_over.is_set():
                    connection.sendall(_REQUEST)
                    status = _read_response(connection)
                    if status != b"200":
                        raise ValueError(f"status {status.decode()}")
                    self._counts[index] += 1
            except (OSError, ValueError) as error:
                self.failure = str(error)


def _read_response(connection: socket.socket) -> bytes:
    """Read one response and return its status. Its length is in its header."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _received(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    missing = int(head.lower().partition(b"content-length:")[2].split()[0]) - len(body)
    while missing > 0:
        missing -= len(_received(connection))
    return head.split()[1]


def _received(connection: socket.socket) -> bytes:
    part = connection.recv(65_536)
    if not part:
        raise OSError("the server has closed the connection")
    return part


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argument_parser("worker_memory", __doc__, DURATION)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="%(default)s")
    parser.add_argument("--interval", type=int, default=INTERVAL, help="requests between two readings (%(default)s)")
    parsed = parser.parse_args(arguments)
    progress(DURATION)
    samples = measured(requests=parsed.requests, interval=parsed.interval)
    sys.stdout.write(text_of(samples))
    write_json(parsed.json, figures_of(samples))


def measured(*, requests: int = REQUESTS, interval: int = INTERVAL) -> list[Sample]:
    """Return the memory of the workers of a run before the first request and after each `interval` of responses."""
    with (
        tempfile.TemporaryDirectory(prefix="mlmon-workers-") as temporary,
        embedded_run(Path(temporary) / "var") as run,
    ):
        pids = await_condition(lambda: _pids(run, count=2), "not all workers have started", seconds=60)
        started = time.monotonic()
        samples = [_sample(pids, 0, 0.0)]
        with Clients(run.port) as clients:
            while (responses := clients.responses) < requests:
                seconds = time.monotonic() - started
                if clients.failure or seconds > LONGEST_SECONDS:
                    raise RuntimeError(f"A client has ended: {clients.failure or 'no time is left'}.")
                if responses >= samples[-1].requests + interval:
                    samples.append(_sample(pids, responses, seconds))
                    progress(f"{responses:,} requests, {responses / seconds:,.0f} a second")
                time.sleep(POLL_SECONDS)
        samples.append(_sample(pids, clients.responses, time.monotonic() - started))
        if _pids(run, count=2) != pids:
            raise RuntimeError("A worker was replaced during the measurement.")
        return samples


def _pids(run: EmbeddedRun, *, count: int) -> list[int]:
    pids = sorted(process.pid for process in run.web_processes())
    return pids if len(pids) == count else []


def _sample(pids: Sequence[int], requests: int, seconds: float) -> Sample:
    return Sample(requests, seconds, {pid: memory_of(pid) for pid in pids})


def bytes_per_request(samples: Sequence[Sample], pid: int) -> float:
    """Return the slope of a worker's resident memory over the second half of the requests, by least squares."""
    half = [sample for sample in samples if sample.requests >= samples[-1].requests / 2]
    if len(half) < 2:
        raise ValueError("The second half has fewer than two readings. Send more requests, or read more often.")
    slope, _ = statistics.linear_regression(
        [sample.requests for sample in half], [sample.workers[pid].rss_bytes for sample in half]
    )
    return slope


def figures_of(samples: Sequence[Sample]) -> dict[str, Any]:
    """Return the results for the JSON file."""
    pids = list(samples[0].workers)
    return {
        "requests": samples[-1].requests,
        "seconds": samples[-1].seconds,
        "bytes_per_request": [bytes_per_request(samples, pid) for pid in pids],
        "required_bytes_per_request": REQUIRED_BYTES_PER_REQUEST,
        "samples": [
            {
                "requests": sample.requests,
                "rss": [sample.workers[pid].rss_bytes for pid in pids],
                "pss": [sample.workers[pid].pss_bytes for pid in pids],
                "anonymous": [sample.workers[pid].anonymous_bytes for pid in pids],
            }
            for sample in samples
        ],
        **conditions("django", "granian", "numpy", "onnxruntime", "pyarrow"),
    }


def text_of(samples: Sequence[Sample]) -> str:
    """Return the results for a person."""
    pids = list(samples[0].workers)
    headings = ["requests", *(f"{kind} {number}" for number in range(1, len(pids) + 1) for kind in ("RSS", "PSS"))]
    rows = [
        [
            f"{sample.requests:,}",
            *(
                f"{size / 1e6:,.1f}"
                for pid in pids
                for size in (sample.workers[pid].rss_bytes, sample.workers[pid].pss_bytes)
            ),
        ]
        for sample in samples
    ]
    slopes = [bytes_per_request(samples, pid) for pid in pids]
    verdict = "met" if max(slopes) <= REQUIRED_BYTES_PER_REQUEST else "missed"
    last = samples[-1]
    return (
        f"Memory of each worker in MB\n{table(headings, rows)}\n\n"
        f"{last.requests:,} predictions in {seconds_text(last.seconds)}, {last.requests / last.seconds:,.0f} a second. "
        f"In the second half, RSS grew by {', '.join(f'{slope:.2f}' for slope in slopes)} bytes per request of all "
        f"workers together (at most {REQUIRED_BYTES_PER_REQUEST:g}: {verdict}).\n"
    )


if __name__ == "__main__":
    main()
