"""The web server and the Celery worker as processes, and how they end."""

import contextlib
import http.client
import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from mlmon_site.celery import app
from tests.conftest import environment_of_tests
from tests.services.processes import PROJECT, await_condition, child_pids, is_alive
from tests.services.web_server import WebServer


def _get(server: WebServer, path: str) -> tuple[int, http.client.HTTPMessage]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status, response.headers


def test_the_server_uses_the_test_database(web_server: WebServer) -> None:
    status, headers = _get(web_server, "/readyz")
    assert status == 200
    assert headers["X-Request-ID"]
    assert len(child_pids(web_server.process.pid)) == 2


def test_a_worker_loads_no_large_library_at_start() -> None:
    large = ("scipy.stats", "sklearn", "pandas")  # 40, 85 and 35 MB, a second of time together
    code = f"import sys, mlmon_site.wsgi; print([name for name in {large} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment_of_tests(),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "[]\n"


def test_the_main_process_loads_nothing_that_a_fork_breaks(tmp_path: Path) -> None:
    """No thread and no connection. Metrics without labels have a value before the fork, and are counted after it."""
    code = (
        "import os, threading\n"
        "from mlmon_site import rsgi, urls\n"
        "from django.conf import settings\n"
        "from django.db import connections\n"
        "from inference.metrics import KSERVE_RECEIVED\n"
        "from prometheus_client import CollectorRegistry\n"
        "from prometheus_client.multiprocess import MultiProcessCollector\n"
        "print([thread.name for thread in threading.enumerate()])\n"
        "print([each.connection for each in connections.all(initialized_only=True)])\n"
        "for _ in range(2):\n"
        "    if not os.fork():\n"
        "        KSERVE_RECEIVED.inc(3)\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "registry = CollectorRegistry()\n"
        "MultiProcessCollector(registry, str(settings.MLMON_METRICS_DIR))\n"
        "print(registry.get_sample_value('ml_kserve_events_received_total'))\n"
    )
    environment = {**environment_of_tests(), "MLMON_METRICS_DIR": str(tmp_path / "metrics")}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=PROJECT, capture_output=True, text=True, check=True
    )
    threads, found, counted = result.stdout.splitlines()
    assert threads == "['MainThread']"
    assert set(found.strip("[]").split(", ")) <= {"None", ""}
    assert counted == "6.0"


@pytest.mark.parametrize("module", ["mlmon_site.wsgi", "mlmon_site.celery"])
def test_matrix_products_use_one_thread(module: str) -> None:
    code = (
        f"import {module}, scipy.linalg, threadpoolctl\n"
        "print([each['num_threads'] for each in threadpoolctl.threadpool_info() if each['internal_api'] == 'openblas'])"
    )
    environment = {name: value for name, value in environment_of_tests().items() if name != "OPENBLAS_NUM_THREADS"}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert set(result.stdout.strip("[]\n").split(", ")) == {"1"}


def test_term_ends_the_server_and_its_processes(web_server: WebServer) -> None:
    workers = child_pids(web_server.process.pid)
    web_server.process.send_signal(signal.SIGTERM)
    assert web_server.process.wait(10) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert "Traceback" not in (web_server.folder / "web.log").read_text()


def test_the_workers_of_a_killed_main_process_end(web_server: WebServer) -> None:
    workers = child_pids(web_server.process.pid)
    assert len(workers) == 2
    web_server.process.kill()
    web_server.process.wait(5)
    await_condition(lambda: not any(is_alive(pid) for pid in workers), seconds=30)


def test_a_hanging_request_leaves_no_orphan(web_server: WebServer) -> None:
    workers = child_pids(web_server.process.pid)
    with psycopg.connect(environment_of_tests()["DATABASE_URL"]) as holder:
        holder.execute("LOCK TABLE models_registry_model IN ACCESS EXCLUSIVE MODE")
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", web_server.port, timeout=60)) as connection:
            connection.request("GET", "/api/v1/models")
            await_condition(lambda: _somebody_waits_for_a_lock(holder), seconds=30)
            web_server.process.kill()
            web_server.process.wait(5)
            await_condition(lambda: not any(is_alive(pid) for pid in workers), seconds=30)
        holder.rollback()


def test_the_pool_of_a_killed_worker_ends(celery_worker_process: "subprocess.Popen[bytes]") -> None:
    main = celery_worker_process.pid
    pool = child_pids(main)
    assert pool
    os.kill(main, signal.SIGKILL)
    celery_worker_process.wait(5)
    await_condition(lambda: not any(is_alive(pid) for pid in pool), seconds=3)


@pytest.mark.usefixtures("celery_worker_process")
def test_the_worker_knows_the_periodic_tasks() -> None:
    answers = app.control.inspect(timeout=2).registered()
    assert answers
    (known,) = answers.values()
    assert {entry["task"] for entry in app.conf.beat_schedule.values()} <= set(known)


def _somebody_waits_for_a_lock(connection: psycopg.Connection) -> bool:
    row = connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
    return row is not None and row[0] > 0
