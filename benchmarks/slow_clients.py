"""Whether clients that send one byte a second slow down the others, and how mlmon ends their connections.

``python -m benchmarks.slow_clients [--json FILE]`` starts mlmon as `manage.py run` does and measures eight ordinary
clients, alternately without and with slow ones. docs/benchmarks.md has the details.
"""

import asyncio
import json
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.http_clients import HOST, KeepAliveClient, Outcomes, request_bytes
from benchmarks.report import argument_parser, conditions, progress, table, write_json
from tests.services.embedded_run import embedded_run

Sends = Literal["body", "headers"]

SLOW_BODIES, SLOW_HEADERS = (200, 500), 64
CLIENTS, SECONDS = 8, 20.0
PAUSE_SECONDS = 0.01  # of an ordinary client between two requests
WARM_UP_SECONDS = 3.0
CONNECT_SECONDS = 1.0
# After the measurement, slow clients have this long to be ended: longer than the server's limit of 10 s.
GRACE_SECONDS = 15.0
STILL_OPEN, CLOSED, RESET, REFUSED = "still open", "closed", "reset", "not connected"
DURATION = "Takes about four minutes."
BODY = json.dumps({"features": [0.1, 0.5, 0.3, 0.8]}).encode()
HEADERS = {"Content-Type": "application/json"}
SLOW_BODY = BODY.ljust(200)  # spaces behind a JSON document are valid
LONG_HEADER = {"X-Filler": "x" * 200}


@dataclass(frozen=True, slots=True)
class SlowEnding:
    """How the connection of a slow client ended, and when.

    Attributes
    ----------
    ending
        The status of the response, or ``closed``, ``reset``, ``not connected``, ``still open``.
    seconds
        From the first byte.
    """

    ending: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Phase:
    """One measurement of the ordinary clients.

    Attributes
    ----------
    sends
        What the slow clients send at one byte a second.
    endings
        Connections of slow clients, by how they ended. Each ended one was replaced until the measurement was over.
    longest_seconds
        The longest time until a connection ended; None without slow clients.
    """

    slow_clients: int
    sends: Sends
    requests: int
    failures: int
    p50_ms: float | None
    p99_ms: float | None
    endings: dict[str, int]
    longest_seconds: float | None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argument_parser("slow_clients", __doc__, DURATION)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each measurement (%(default)s)")
    parser.add_argument(
        "--bodies", type=int, nargs="*", default=SLOW_BODIES, metavar="N", help="clients with slow bodies (%(default)s)"
    )
    parser.add_argument(
        "--headers", type=int, nargs="*", default=[SLOW_HEADERS], metavar="N", help="with slow headers (%(default)s)"
    )
    parser.add_argument(
        "--grace", type=float, default=GRACE_SECONDS, help="seconds to wait for the slow ones to end (%(default)s)"
    )
    parsed = parser.parse_args(arguments)
    progress(DURATION)
    crowds: list[tuple[int, Sends]] = [(count, "body") for count in parsed.bodies]
    crowds += [(count, "headers") for count in parsed.headers]
    with (
        tempfile.TemporaryDirectory(prefix="mlmon-slow-", dir="/tmp") as folder,
        embedded_run(Path(folder) / "v") as run,
    ):
        phases = measure(run.port, crowds, seconds=parsed.seconds, grace_seconds=parsed.grace)
    sys.stdout.write(text_of(phases))
    write_json(parsed.json, figures_of(phases))


def measure(port: int, crowds: Sequence[tuple[int, Sends]], *, seconds: float, grace_seconds: float) -> list[Phase]:
    """Measure the ordinary clients beside each crowd of slow ones, and without any before, between and after."""
    asyncio.run(_ordinary_clients(port, WARM_UP_SECONDS))
    phases = [_phase(port, 0, "body", seconds=seconds, grace_seconds=grace_seconds)]
    for count, sends in crowds:
        phases.append(_phase(port, count, sends, seconds=seconds, grace_seconds=grace_seconds))
        phases.append(_phase(port, 0, "body", seconds=seconds, grace_seconds=grace_seconds))
    return phases


def _phase(port: int, count: int, sends: Sends, *, seconds: float, grace_seconds: float) -> Phase:
    progress(f"{count} slow clients ({sends}) …")
    # In a process of their own, because their work would delay the ordinary clients on the same event loop.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        slow = pool.submit(run_slow_clients, port, count, sends, seconds + CONNECT_SECONDS, grace_seconds)
        if count:
            time.sleep(CONNECT_SECONDS)
        outcomes = asyncio.run(_ordinary_clients(port, seconds))
        endings = slow.result()
    return Phase(
        slow_clients=count,
        sends=sends,
        requests=outcomes.requests,
        failures=outcomes.failures,
        p50_ms=outcomes.latency_ms(50),
        p99_ms=outcomes.latency_ms(99),
        endings=dict(Counter(one.ending for one in endings)),
        longest_seconds=max((one.seconds for one in endings), default=None),
    )


async def _ordinary_clients(port: int, seconds: float) -> Outcomes:
    """Predict with keep-alive clients for some time; each waits for its response, and pauses."""
    outcomes, request = Outcomes(), request_bytes("/predict", HEADERS, BODY)
    deadline = time.perf_counter() + seconds

    async def run() -> None:
        client = KeepAliveClient(port)
        while (due := time.perf_counter()) < deadline:
            await client.send(request, outcomes, due=due)
            await asyncio.sleep(PAUSE_SECONDS)
        client.close()

    await asyncio.gather(*(run() for _ in range(CLIENTS)))
    return outcomes


# --- slow clients, in a process of their own ------------------------------------------------------------------------


def run_slow_clients(port: int, count: int, sends: Sends, seconds: float, grace_seconds: float) -> list[SlowEnding]:
    """Keep `count` slow clients connected for some time; then wait until the server has ended them.

    Parameters
    ----------
    sends
        ``body``: the headers come at once, and the body at one byte a second. ``headers``: so do the headers.
    """
    return asyncio.run(_slow_clients(port, count, sends, seconds, grace_seconds))


async def _slow_clients(port: int, count: int, sends: Sends, seconds: float, grace_seconds: float) -> list[SlowEnding]:
    replaced_until = time.monotonic() + seconds
    ended_by = replaced_until + grace_seconds
    endings: list[SlowEnding] = []

    async def run() -> None:
        while True:
            endings.append(await _slow_client(port, sends, ended_by))
            if time.monotonic() >= replaced_until:
                return
            if endings[-1].ending == REFUSED:
                await asyncio.sleep(1)

    await asyncio.gather(*(run() for _ in range(count)))
    return endings


async def _slow_client(port: int, sends: Sends, ended_by: float) -> SlowEnding:
    """Send one request at one byte a second until the server responds or closes, or until `ended_by`."""
    started = time.monotonic()
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(HOST, port), 10)
    except (OSError, TimeoutError):
        return SlowEnding(REFUSED, time.monotonic() - started)
    request = request_bytes("/predict", HEADERS if sends == "body" else HEADERS | LONG_HEADER, SLOW_BODY)
    at_once = request.index(b"\r\n\r\n") + 4 if sends == "body" else 0
    sender = asyncio.ensure_future(_send_slowly(writer, request[:at_once], request[at_once:]))
    try:
        async with asyncio.timeout(max(0.0, ended_by - time.monotonic())):
            first_line = await reader.readline()
        ending = first_line.split()[1].decode() if first_line.startswith(b"HTTP/") else CLOSED
    except TimeoutError:
        ending = STILL_OPEN
    except OSError:
        ending = RESET
    finally:
        sender.cancel()
        writer.close()
    return SlowEnding(ending, time.monotonic() - started)


async def _send_slowly(writer: asyncio.StreamWriter, at_once: bytes, slowly: bytes) -> None:
    writer.write(at_once)
    for index in range(len(slowly)):
        writer.write(slowly[index : index + 1])
        await asyncio.sleep(1)


def figures_of(phases: Sequence[Phase]) -> dict[str, Any]:
    """Return the results for the JSON file."""
    return {"clients": CLIENTS, "phases": [asdict(phase) for phase in phases], **conditions("django", "granian")}


def text_of(phases: Sequence[Phase]) -> str:
    """Return the results for a person."""
    rows = []
    for phase in phases:
        latencies = ["-" if one is None else f"{one:,.3g}" for one in (phase.p50_ms, phase.p99_ms)]
        endings = ", ".join(f"{ending}: {count}" for ending, count in sorted(phase.endings.items()))
        longest = "" if phase.longest_seconds is None else f"{phase.longest_seconds:.1f} s"
        crowd = f"{phase.slow_clients}, {phase.sends}" if phase.slow_clients else "none"
        rows.append([crowd, f"{phase.requests:,}", f"{phase.failures:,}", *latencies, endings, longest])
    headings = ["slow clients", "requests", "failures", "p50 ms", "p99 ms", "how they ended", "at the latest"]
    return f"{CLIENTS} ordinary clients\n{table(headings, rows)}\n"


if __name__ == "__main__":
    main()
