"""The benchmark with slow clients in a tiny setting: a real server with short limits."""

import asyncio
import json
from pathlib import Path

import pytest

from benchmarks.slow_clients import CLOSED, RESET, STILL_OPEN, Phase, figures_of, measure, run_slow_clients, text_of
from tests.services.embedded_run import embedded_run

LIMITS = {"MLMON_BODY_TIMEOUT_SECONDS": "2", "MLMON_HEADER_TIMEOUT_SECONDS": "2"}


@pytest.mark.timeout(240)  # it starts all of mlmon
def test_slow_clients_are_ended_and_the_others_are_served(tmp_path: Path) -> None:
    with embedded_run(tmp_path / "var", variables=LIMITS) as run:
        phases = measure(run.port, [(6, "body"), (3, "headers")], seconds=2, grace_seconds=10)
    assert [one.slow_clients for one in phases] == [0, 6, 0, 3, 0]
    assert all(one.requests >= 50 and one.failures == 0 for one in phases)
    bodies, headers = phases[1], phases[3]
    assert set(bodies.endings) == {"408"}
    assert sum(bodies.endings.values()) >= 6
    # A client gets "reset" if its next byte was on its way when the server closed the connection.
    assert set(headers.endings) <= {CLOSED, RESET, "408"}
    assert sum(headers.endings.values()) >= 3
    for phase in (bodies, headers):
        assert phase.longest_seconds is not None
        assert 1.5 < phase.longest_seconds < 9
    written = figures_of(phases)
    assert json.loads(json.dumps(written)) == written


def test_a_server_that_waits_for_ever_leaves_its_clients_open() -> None:
    received: list[bytes] = []

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            received.append(await reader.readuntil(b"\r\n\r\n"))
            while await reader.read(1):
                received.append(b"1")
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def run() -> list[str]:
        server = await asyncio.start_server(wait, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            endings = await asyncio.to_thread(run_slow_clients, port, 2, "body", 0.5, 2.0)
        return [one.ending for one in endings]

    assert asyncio.run(run()) == [STILL_OPEN, STILL_OPEN]
    heads = [one for one in received if one != b"1"]
    assert len(heads) == 2
    assert all(b"Content-Length: 200\r\n" in head for head in heads)
    assert 4 <= received.count(b"1") <= 8  # two clients, a byte a second, for two and a half seconds


def test_the_table_says_how_they_ended() -> None:
    phase = Phase(5, "body", 100, 2, None, None, {"408": 4, RESET: 1}, 10.04)
    (row,) = [line for line in text_of([phase]).splitlines() if line.startswith("5, body")]
    assert "408: 4, reset: 1" in row
    assert row.endswith("10.0 s")
