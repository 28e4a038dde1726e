"""Deadlines expire in time, can be lifted, and work after a fork."""

import subprocess
import sys
import threading
import time

from models_registry.onnx_session import deadline


def test_a_deadline_expires_in_time() -> None:
    passed = threading.Event()
    start = time.monotonic()
    limit = deadline(0.1, passed.set)
    assert passed.wait(5)
    assert 0.1 <= time.monotonic() - start < 3
    assert limit.has_passed
    limit.lift()


def test_a_shorter_deadline_overtakes_a_longer_one() -> None:
    first = threading.Event()
    long = deadline(30, lambda: None)
    short = deadline(0.05, first.set)
    assert first.wait(5)
    assert short.has_passed
    assert not long.has_passed
    long.lift()


def test_a_lifted_deadline_never_expires() -> None:
    passed = threading.Event()
    limit = deadline(0.05, passed.set)
    limit.lift()
    assert not passed.wait(0.2)
    assert not limit.has_passed


def test_one_thread_serves_all_deadlines() -> None:
    limits = [deadline(30, lambda: None) for _ in range(50)]
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("prediction-watchdog") == 1
    for limit in limits:
        limit.lift()


def test_a_forked_child_starts_its_own_watchdog() -> None:
    # In a separate process, because newer Pythons warn when a process with threads, such as pytest's, forks.
    script = """
import os, threading
from models_registry.onnx_session import deadline
deadline(60, lambda: None)
child = os.fork()
if child == 0:
    passed = threading.Event()
    deadline(0.05, passed.set)
    os._exit(0 if passed.wait(5) else 1)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", script], timeout=30).returncode == 0
