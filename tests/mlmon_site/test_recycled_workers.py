"""Counters stay correct while workers end by TERM, HUP and KILL under load."""

import contextlib
import http.client
import itertools
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis

from tests.factories import uploaded_version
from tests.services.processes import await_condition
from tests.services.scraped_server import FLOWER, ScrapedServer, scraped_server

logger = logging.getLogger(__name__)

WORKERS = 3
CLIENTS = 4
PAUSE_SECONDS = (
    0.02  # between the requests of a client: about 100 requests per second, which leaves CPU for new workers
)
RECYCLED = 25
START_SECONDS = 60  # a worker usually starts in 2 to 5 s
FILES_OF_A_SLOT = 4  # its lock, counters, histograms, live gauges
SUCCESS = "ml_prediction_requests_total"


@dataclass
class Load:
    """What the clients and the scrapes have counted."""

    answered: list[int] = field(default_factory=lambda: [0] * CLIENTS)
    failed: list[int] = field(default_factory=lambda: [0] * CLIENTS)
    scraped: list[float] = field(default_factory=list)
    metrics_files: int = 0

    @property
    def answered_requests(self) -> int:
        return sum(self.answered)

    @property
    def failed_requests(self) -> int:
        return sum(self.failed)

    def told(self, counted: float) -> str:
        return (
            f"{self.answered_requests} answered, {self.failed_requests} failed, {counted:.0f} counted, "
            f"{len(self.scraped)} scrapes, {self.metrics_files} files"
        )


@contextlib.contextmanager
def load_on(server: ScrapedServer) -> Iterator[Load]:
    """Send predictions and scrape until the block ends."""
    seen, ended = Load(), threading.Event()

    def send(client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.web.port, timeout=20)
        while not ended.is_set():
            try:
                connection.request("POST", "/predict", FLOWER, {"Content-Type": "application/json"})
                response = connection.getresponse()
                assert b"prediction_id" in response.read()
                seen.answered[client] += 1
            except (OSError, http.client.HTTPException):
                seen.failed[client] += 1
                connection.close()
            time.sleep(PAUSE_SECONDS)
        connection.close()

    def scrape() -> None:
        while not ended.is_set():
            seen.scraped.append(successes(server))
            seen.metrics_files = max(seen.metrics_files, len(list(metrics_files(server))))
            time.sleep(0.2)

    threads = [threading.Thread(target=send, args=(client,)) for client in range(CLIENTS)]
    threads.append(threading.Thread(target=scrape))
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def successes(server: ScrapedServer) -> float:
    return sum(value for name, value in server.samples().items() if name.startswith(SUCCESS) and "success" in name)


def metrics_files(server: ScrapedServer) -> Iterator[Path]:
    return (server.web.folder / "metrics").iterdir()


def started(server: ScrapedServer) -> int:
    """Return how many workers have ever started."""
    return len(re.findall(r"Started worker-\d+$", (server.web.folder / "web.log").read_text(), re.MULTILINE))


def begun_at(pid: int) -> int:
    """Return the start time of a process in clock ticks since boot (proc(5)); process ids are reused."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def recycle(server: ScrapedServer, ended_by: signal.Signals) -> None:
    """End the oldest worker and wait until another one has replaced it."""
    before, oldest = started(server), min(server.web_workers(), key=begun_at)
    os.kill(oldest, ended_by)
    await_condition(lambda: started(server) > before, "no worker took its place", seconds=START_SECONDS)
    assert oldest not in server.web_workers()


def recycle_all(server: ScrapedServer) -> None:
    """Let the server replace all workers, one by one."""
    before, old = started(server), set(server.web_workers())
    server.web.process.send_signal(signal.SIGHUP)
    in_turn = WORKERS * START_SECONDS
    await_condition(lambda: started(server) == before + WORKERS, "HUP brought no new workers", seconds=in_turn)
    await_condition(lambda: not old & set(server.web_workers()), "HUP left old workers", seconds=START_SECONDS)


@pytest.mark.timeout(600)
def test_counters_never_decrease_and_end_at_the_number_of_responses(
    transactional_db: None, redis_client: redis.Redis, tmp_path: Path
) -> None:
    uploaded_version("classifier")
    with scraped_server(tmp_path, workers=WORKERS) as server:
        await_condition(lambda: started(server) == WORKERS, "not all workers serve", seconds=START_SECONDS)
        with load_on(server) as load:
            for _ in range(RECYCLED - WORKERS):
                recycle(server, signal.SIGTERM)
            recycle_all(server)
            unanswered = load.failed_requests
            recycle(server, signal.SIGKILL)
            predicted = load.answered_requests
            await_condition(lambda: load.answered_requests > predicted + 100, "the workers do not respond")
        unanswered = load.failed_requests - unanswered
        counted = successes(server)
    logger.info(load.told(counted))
    # A killed worker may have counted a request without responding: at most one per client.
    assert load.answered_requests <= counted <= load.answered_requests + min(unanswered, CLIENTS), load.told(counted)
    assert load.answered_requests > 1_000
    assert all(earlier <= later for earlier, later in itertools.pairwise(load.scraped)), load.scraped
    assert len(load.scraped) > RECYCLED
    assert load.metrics_files <= FILES_OF_A_SLOT * (WORKERS + 2), load.told(counted)
