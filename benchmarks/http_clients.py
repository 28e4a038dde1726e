"""Keep-alive HTTP clients on an event loop, for loads that wrk cannot make."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

HOST = "127.0.0.1"
TIMEOUT_SECONDS = 10.0


def request_bytes(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return a POST request of HTTP/1.1."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {HOST}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


@dataclass(slots=True)
class Outcomes:
    """Latencies of the successful requests, and the number of the others."""

    latencies_seconds: list[float] = field(default_factory=list)
    failures: int = 0

    @property
    def requests(self) -> int:
        """The number of all requests."""
        return len(self.latencies_seconds) + self.failures

    def latency_ms(self, percentage: float) -> float | None:
        """Return a percentile of the latencies; None if no request succeeded."""
        if not self.latencies_seconds:
            return None
        return 1000 * float(np.percentile(self.latencies_seconds, percentage))


class KeepAliveClient:
    """One connection, opened again after a failure."""

    def __init__(self, port: int, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._port = port
        self._timeout_seconds = timeout_seconds
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: bytes, outcomes: Outcomes, *, due: float) -> None:
        """Send a request and add its outcome. The latency starts at `due`, a time of ``time.perf_counter``."""
        status = 0
        try:
            async with asyncio.timeout(self._timeout_seconds):
                status = await self._exchange(request)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            self.close()
        if status == 200:
            outcomes.latencies_seconds.append(time.perf_counter() - due)
        else:
            outcomes.failures += 1

    def close(self) -> None:
        """Close the connection. The next request opens it again."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _exchange(self, request: bytes) -> int:
        if self._streams is None:
            self._streams = await asyncio.open_connection(HOST, self._port)
        reader, writer = self._streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        await reader.readexactly(int(headers.get("content-length", "")))  # each prediction has it
        if headers.get("connection", "").lower() == "close":
            self.close()
        return int(first.split()[1])


async def paced(port: int, requests: list[bytes], *, per_second: float, seconds: float, connections: int) -> Outcomes:
    """Send requests at a fixed rate, whether the ones before have a response or not.

    A request whose turn comes while all connections are busy waits, and its latency includes the wait.
    """
    outcomes = Outcomes()
    clients = [KeepAliveClient(port) for _ in range(connections)]
    count = round(per_second * seconds)
    started = time.perf_counter()
    turns = iter(range(count))

    async def run(client: KeepAliveClient) -> None:
        for turn in turns:
            due = started + turn / per_second
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await client.send(requests[turn % len(requests)], outcomes, due=due)
        client.close()

    await asyncio.gather(*(run(client) for client in clients))
    return outcomes
