"""Counters of several real processes."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from prometheus_client import CollectorRegistry

from monitoring.metrics.collectors import WorkerCountsCollector
from monitoring.metrics.slots import reset_metrics

WORKER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from monitoring.metrics.slots import enable_multiprocess_metrics
    enable_multiprocess_metrics(Path(sys.argv[1]))
    from prometheus_client import Counter, Gauge
    counter = Counter("tested", "A counter.", ["name"])
    gauge = Gauge("held", "A gauge.", multiprocess_mode="livesum")
    counter.labels("a").inc(int(sys.argv[2]))
    gauge.set(int(sys.argv[2]))
    if "fork" in sys.argv:
        import os
        if os.fork() == 0:
            counter.labels("a").inc(1000)
            os._exit(0)
        os.wait()
    print("ready", flush=True)
    sys.stdin.read()
    """
)


def start(directory: Path, amount: int, *extra: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(directory), str(amount), *extra],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str], *, kill: bool = False) -> None:
    if kill:
        process.send_signal(signal.SIGKILL)
    process.communicate()


def value(directory: Path, name: str, labels: dict[str, str] | None = None) -> float | None:
    registry = CollectorRegistry()
    registry.register(WorkerCountsCollector(directory))
    return registry.get_sample_value(name, labels or {})


def total(directory: Path) -> float | None:
    return value(directory, "tested_total", {"name": "a"})


def test_counts_survive_their_processes_without_additional_files(tmp_path: Path) -> None:
    for turn in range(5):
        first, second = start(tmp_path, 1), start(tmp_path, 10)
        assert total(tmp_path) == 11 * (turn + 1)
        end(first, kill=turn % 2 == 0)
        end(second)
    assert total(tmp_path) == 55
    assert len(list(tmp_path.glob("counter_*.db"))) == 2


def test_a_forked_child_takes_another_slot(tmp_path: Path) -> None:
    process = start(tmp_path, 1, "fork")
    assert total(tmp_path) == 1001
    assert len(list(tmp_path.glob("counter_*.db"))) == 2
    end(process)


def test_gauges_of_a_dead_process_are_not_shown(tmp_path: Path) -> None:
    first, second = start(tmp_path, 3), start(tmp_path, 4)
    assert value(tmp_path, "held") == 7
    end(second, kill=True)
    assert value(tmp_path, "held") == 3
    assert total(tmp_path) == 7
    end(first)


def test_an_empty_file_does_not_hide_counts(tmp_path: Path) -> None:
    end(start(tmp_path, 3))
    for kind in ("counter", "histogram", "gauge_livesum"):
        (tmp_path / f"{kind}_1.db").touch()  # of a worker that was killed at its start
    first = start(tmp_path, 4)  # takes slot 0
    assert total(tmp_path) == 7
    second = start(tmp_path, 10)  # takes slot 1 and its empty file
    assert total(tmp_path) == 17
    assert value(tmp_path, "held") == 14
    end(first)
    end(second)


def test_a_reset_sets_counters_to_zero(tmp_path: Path) -> None:
    end(start(tmp_path, 3))
    reset_metrics(tmp_path)
    reset_metrics(tmp_path / "absent")
    assert total(tmp_path) is None
