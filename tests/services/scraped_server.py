"""The real web server with its scrape port."""

import contextlib
import http.client
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families as text_families

from tests.conftest import environment_of_tests
from tests.services.processes import await_condition, child_pids, free_port
from tests.services.web_server import WebServer, running_web_server

FLOWER = b'{"features": [5.1, 3.5, 1.4, 0.2]}'


class ScrapedServer:
    """A web server and its scrape port."""

    def __init__(self, web: WebServer, port: int) -> None:
        self.web = web
        self.port = port

    def scrape(self, path: str = "/metrics", accept: str = "") -> tuple[int, str, str]:
        """Return the status, the content type and the text."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request("GET", path, headers={"Accept": accept})
            response = connection.getresponse()
            return response.status, response.headers["Content-Type"], response.read().decode()

    def samples(self) -> dict[str, float]:
        status, _, text = self.scrape()
        assert status == 200
        found = [sample for family in text_families(text) for sample in family.samples]
        return {f"{sample.name}{sorted(sample.labels.items())}": sample.value for sample in found}

    def answers(self) -> bool:
        try:
            return self.scrape()[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def predict(self, times: int) -> None:
        for _ in range(times):
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.web.port, timeout=20)) as connection:
                connection.request("POST", "/predict", FLOWER, {"Content-Type": "application/json"})
                assert connection.getresponse().status == 200

    def process(self) -> int:
        """Return the id of the scrape process."""
        (pid,) = (pid for pid in _descendants(self.web.process.pid) if b"scrape_server" in _command_line(pid))
        return pid

    def web_workers(self) -> list[int]:
        """Return the ids of the processes that handle requests."""
        return [pid for pid in child_pids(self.web.process.pid) if b"mlmon_site.server" in _command_line(pid)]


@contextlib.contextmanager
def scraped_server(folder: Path, *, workers: int = 2, **variables: str) -> Iterator[ScrapedServer]:
    """Run the server on the test database."""
    port = free_port()
    (folder / "metrics").mkdir()
    own = {"MLMON_METRICS_DIR": str(folder / "metrics"), "MLMON_SCRAPE_PORT": str(port)}
    with running_web_server(environment_of_tests() | own | variables, folder, workers=workers) as web:
        server = ScrapedServer(web, port)
        await_condition(server.answers, "the scrape port does not respond", seconds=60)
        yield server


def _descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield int(child)
            yield from _descendants(int(child))


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""  # it has ended
