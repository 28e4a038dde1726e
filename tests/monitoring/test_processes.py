"""Metrics of real processes by slot, and the length of a real queue."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from prometheus_client import CollectorRegistry
from pytest_django.fixtures import Settings

from monitoring.metrics.collectors import QUEUE, TaskQueueCollector, WebProcessCollector
from tests.services.processes import free_port

HOLDER = """
import sys
from pathlib import Path
from monitoring.metrics.slots import SlotLock
SlotLock(Path(sys.argv[1])).slot()
print("ready", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def holder(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process that holds the lowest free slot."""
    command = [sys.executable, "-c", HOLDER, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def registry(directory: Path) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(WebProcessCollector(directory))
    return made


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_each_process_is_shown_by_its_slot_until_it_ends(tmp_path: Path) -> None:
    with holder(tmp_path) as first, holder(tmp_path) as second:
        for slot, process in (("0", first), ("1", second)):
            shown = registry(tmp_path).get_sample_value("process_resident_memory_bytes", {"slot": slot})
            assert shown == pytest.approx(resident_bytes(process.pid), rel=0.05)
        first.kill()
        first.wait()
        assert registry(tmp_path).get_sample_value("process_open_fds", {"slot": "0"}) is None
        assert registry(tmp_path).get_sample_value("process_open_fds", {"slot": "1"}) is not None


def test_the_next_process_of_a_slot_replaces_the_last_one(tmp_path: Path) -> None:
    lock = tmp_path / "slot-0.lock"
    lock.write_text("99999999999")  # longer than the next process id
    with holder(tmp_path) as process:
        assert lock.read_text() == str(process.pid)


def test_the_queue_length_is_that_of_the_broker(redis_client: redis.Redis) -> None:
    made = CollectorRegistry()
    made.register(TaskQueueCollector())
    assert made.get_sample_value("ml_task_queue_length", {"queue_name": QUEUE}) == 0
    redis_client.rpush(QUEUE, "a", "b", "c")
    assert made.get_sample_value("ml_task_queue_length", {"queue_name": QUEUE}) == 3


def test_without_redis_there_is_no_queue_length(settings: Settings) -> None:
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    (family,) = TaskQueueCollector().collect()
    assert family.samples == []


def test_tasks_are_sent_to_that_queue() -> None:
    from mlmon_site.celery import app

    assert [queue.name for queue in app.amqp.queues.values()] == [QUEUE]
