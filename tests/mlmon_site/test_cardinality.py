"""Random requests create no series, and the scrape output is valid."""

import contextlib
import http.client
import json
import random
import string
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from models_registry.models import Stage
from models_registry.services.versions import set_stage
from tests.factories import uploaded_version
from tests.services.debian_programs import output_of
from tests.services.scraped_server import ScrapedServer, scraped_server

REQUESTS = 10_000
CLIENTS = 4
ALPHABET = string.ascii_letters + string.digits + "-_.~é中"
METHODS = ("POST", "POST", "POST", "GET", "PUT", "DELETE", "BREW")
FLOWER = [5.1, 3.5, 1.4, 0.2]


@pytest.fixture
def server(transactional_db: None, redis_client: redis.Redis, tmp_path: Path) -> Iterator[ScrapedServer]:
    uploaded_version("classifier")
    elsewhere = uploaded_version("elsewhere")
    set_stage(version=elsewhere, stage=Stage.PRODUCTION)
    with scraped_server(tmp_path, MLMON_LOG_LEVEL="ERROR") as running:
        yield running


class RandomClient:
    """Sends random, mostly invalid requests."""

    def __init__(self, port: int, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 -- not a secret
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

    def send(self, requests: int) -> list[int]:
        """Return the status of each response."""
        with contextlib.closing(self._connection):
            return [self._sent() for _ in range(requests)]

    def _sent(self) -> int:
        body = json.dumps(self._body()).encode()
        self._connection.request(self._random.choice(METHODS), self._path(), body, self._headers())
        response = self._connection.getresponse()
        response.read()
        return response.status

    def _path(self) -> str:
        name, version = self._quoted(), self._quoted()
        return self._random.choice(
            [
                "/predict",
                f"/{name}",
                f"/{name}/{version}?{name}={version}",
                f"/api/v1/models/{name}/predict",
                f"/api/v1/models/{name}/versions/{version}/predict",
                f"/api/v1/models/classifier/versions/{version}/predict",
                f"/api/v1/models/{name}/observations",
                "/api/v1/models/elsewhere/observations",
                "/api/v1/feedback",
                f"/api/v1/models/{name}/drift",
                f"/metrics?name[]={name}",
            ]
        )

    def _body(self) -> object:
        word = self._word()
        return self._random.choice(
            [
                {"features": FLOWER},
                {"features": {word: 1.0}},
                {"features": FLOWER, "prediction": word, "confidence": 0.5},
                {"rows": [{"features": FLOWER, "prediction": word}], "version": word},
                [{"prediction_id": word, "actual": word}],
                {word: word},
                word,
            ]
        )

    def _headers(self) -> dict[str, str]:
        ascii_word = self._word().encode("ascii", "replace").decode()
        return {
            "Content-Type": self._random.choice(["application/json"] * 4 + [f"text/{ascii_word}", ascii_word]),
            "X-Request-ID": ascii_word,
            "User-Agent": ascii_word,
            "Accept": self._random.choice(["*/*", "application/json", ascii_word]),
            f"X-{''.join(self._random.choices(string.ascii_letters, k=8))}": ascii_word,
        }

    def _word(self) -> str:
        return "".join(self._random.choices(ALPHABET, k=self._random.randint(1, 40)))

    def _quoted(self) -> str:
        return "".join(f"%{byte:02X}" for byte in self._word().encode())


@pytest.mark.timeout(300)
def test_ten_thousand_random_requests_add_no_series(server: ScrapedServer) -> None:
    _warm_up(server)
    before = series(server)
    with ThreadPoolExecutor(CLIENTS) as threads:
        clients = [RandomClient(server.web.port, seed) for seed in range(CLIENTS)]
        statuses = [
            status for sent in threads.map(lambda client: client.send(REQUESTS // CLIENTS), clients) for status in sent
        ]
    assert len(statuses) == REQUESTS
    assert not [status for status in statuses if status >= 500]
    assert len(set(statuses)) > 5, "the requests are less strange than they were meant to be"
    added = series(server) - before
    assert not added


def test_promtool_reports_no_problem_in_a_scrape(server: ScrapedServer) -> None:
    _warm_up(server)
    _, _, text = server.scrape()
    assert output_of("promtool", "check", "metrics", stdin=text) == ""


def _warm_up(server: ScrapedServer) -> None:
    """Create the series that appear with their first use: of an unknown model and of a rejected request."""
    server.predict(20)
    for path in ("/api/v1/models/none/predict", "/api/v1/models/classifier/versions/9/predict"):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.web.port, timeout=20)) as connection:
            connection.request("POST", path, b'{"features": [1]}', {"Content-Type": "application/json"})
            assert connection.getresponse().status == 404


def series(server: ScrapedServer) -> set[str]:
    return set(server.samples())
