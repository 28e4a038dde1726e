"""The scrape server beside a real web server: workers blocked, database unavailable, process killed."""

import contextlib
import http.client
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families as text_families

from tests.conftest import environment_of_tests
from tests.factories import uploaded_version
from tests.services.processes import await_condition, free_port
from tests.services.scraped_server import ScrapedServer, scraped_server

FLOWER = b'{"features": [5.1, 3.5, 1.4, 0.2]}'


@pytest.fixture
def server(transactional_db: None, redis_client: redis.Redis, tmp_path: Path) -> Iterator[ScrapedServer]:
    uploaded_version("classifier")
    with scraped_server(tmp_path) as running:
        yield running


def test_a_scrape_works_while_every_worker_is_blocked(server: ScrapedServer) -> None:
    server.predict(30)
    for pid in server.web_workers():
        os.kill(pid, signal.SIGSTOP)
    try:
        samples = server.samples()
    finally:
        for pid in server.web_workers():
            os.kill(pid, signal.SIGCONT)
    name = "[('model_name', 'classifier'), ('model_version', '1.0.0'), ('status', 'success')]"
    assert samples[f"ml_prediction_requests_total{name}"] == 30
    assert samples["ml_collector_success[]"] == 1


def test_it_serves_the_metrics_of_the_web_port_in_both_formats(server: ScrapedServer) -> None:
    server.predict(5)
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.web.port, timeout=20)) as connection:
        connection.request("GET", "/metrics")
        web = connection.getresponse().read().decode()
    _, content_type, own = server.scrape()
    assert content_type.startswith("text/plain")
    assert {family.name for family in text_families(own)} == {family.name for family in text_families(web)}
    _, content_type, own = server.scrape(accept="application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert own.endswith("# EOF\n")
    assert server.scrape("/")[0] == 404


def test_a_killed_scrape_process_is_restarted_and_ends_with_the_server(server: ScrapedServer) -> None:
    killed = server.process()
    os.kill(killed, signal.SIGKILL)
    await_condition(server.answers, "the scrape port did not come back", seconds=60)
    again = server.process()
    assert again != killed
    server.web.process.send_signal(signal.SIGTERM)
    assert server.web.process.wait(20) == 0
    assert not Path(f"/proc/{again}").exists()


def test_a_query_that_hangs_is_left_out(server: ScrapedServer) -> None:
    """A table is locked, for example by a migration."""
    with psycopg.connect(environment_of_tests()["DATABASE_URL"]) as holder:
        holder.execute("LOCK TABLE models_registry_modelversion IN ACCESS EXCLUSIVE MODE")
        samples = server.samples()
        holder.rollback()
    assert samples["ml_collector_success[]"] == 0
    assert server.samples()["ml_collector_success[]"] == 1


def test_counters_are_served_while_the_database_is_unavailable(
    transactional_db: None, redis_client: redis.Redis, tmp_path: Path
) -> None:
    away = f"postgres://nobody@127.0.0.1:{free_port()}/none"
    with scraped_server(tmp_path, DATABASE_URL=away) as server:
        samples = server.samples()
    assert samples["ml_collector_success[]"] == 0
    assert not any(name.startswith("ml_model_info") for name in samples)
