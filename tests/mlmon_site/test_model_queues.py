"""Where the runs of a model take place, and how many at a time."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from mlmon_site.model_queues import QUICK_SECONDS, ModelBusyError, ModelQueue

BODY = 100  # bytes


def queue(threads: ThreadPoolExecutor, *, runs: int = 1, waiting: int = 2, wait_seconds: float = 10) -> ModelQueue:
    return ModelQueue(threads, most_runs=runs, most_waiting=waiting, longest_wait_seconds=wait_seconds)


def compute(seconds: float) -> str:
    """Use the CPU for some time."""
    begun = time.thread_time()
    while time.thread_time() - begun < seconds:
        pass
    return threading.current_thread().name


def test_a_slow_model_leaves_the_event_loop_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("mlmon_site.model_queues.time.monotonic", lambda: now[0])
    with ThreadPoolExecutor(1, thread_name_prefix="model") as threads:
        runs = queue(threads)
        assert not runs.is_quick(None, BODY)  # nothing is known yet
        assert asyncio.run(runs.run_in_thread(None, BODY, partial(compute, 0))).startswith("model")
        assert runs.is_quick(None, BODY)
        assert runs.run_quick(None, BODY, partial(compute, 10 * QUICK_SECONDS)) == "MainThread"
        assert not runs.is_quick(None, BODY)
        now[0] += 100 * 10 * QUICK_SECONDS - 0.1
        assert not runs.is_quick(None, BODY)
        now[0] += 600
        assert runs.is_quick(None, BODY)


def test_versions_and_sizes_are_measured_apart() -> None:
    with ThreadPoolExecutor(1) as threads:
        runs = queue(threads)
        runs.run_quick(None, BODY, partial(compute, 0))
        assert runs.is_quick(None, BODY + 1)
        assert not runs.is_quick(None, 100 * BODY)
        assert not runs.is_quick("2.0.0", BODY)


def test_requests_wait_for_their_turn_and_further_ones_are_refused() -> None:
    release, order = threading.Event(), []

    def run(number: int) -> None:
        release.wait(10)
        order.append(number)

    async def send() -> None:
        requests = []
        for number in range(3):  # one runs, two wait
            requests.append(asyncio.create_task(runs.run_in_thread(None, BODY, partial(run, number))))
            await asyncio.sleep(0)
        with pytest.raises(ModelBusyError):
            await runs.run_in_thread(None, BODY, partial(run, 3))
        release.set()
        await asyncio.gather(*requests)
        await runs.run_in_thread(None, BODY, partial(run, 4))  # there is room again

    with ThreadPoolExecutor(4) as threads:
        runs = queue(threads)
        asyncio.run(send())
    assert order == [0, 1, 2, 4]


def test_nobody_waits_for_ever_and_a_failure_ends_its_turn() -> None:
    release = threading.Event()

    def fail() -> None:
        release.wait(10)
        raise ValueError("the model failed")

    async def send() -> None:
        failing = asyncio.create_task(runs.run_in_thread(None, BODY, fail))
        await asyncio.sleep(0)
        with pytest.raises(ModelBusyError):
            await runs.run_in_thread(None, BODY, fail)
        release.set()
        with pytest.raises(ValueError, match="the model failed"):
            await failing
        assert await runs.run_in_thread(None, BODY, lambda: "free again") == "free again"

    with ThreadPoolExecutor(4) as threads:
        runs = queue(threads, wait_seconds=0.05)
        asyncio.run(send())
