"""The benchmark of the embedded run's memory: what it reads, and what it writes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.process_memory import ProcessMemory, memory_of
from benchmarks.run_memory import Results, figures_of, measured, text_of

ALLOCATED = 64 * 2**20


def test_the_memory_of_a_process_is_what_it_has_written() -> None:
    """Oracle: the size of the allocation, and VmRSS of the same process."""
    code = f"kept = bytearray(b'x') * {ALLOCATED}; print('up', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = memory_of(process.pid)
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.kill()
    assert ALLOCATED < found.anonymous_bytes < ALLOCATED + 16 * 2**20
    assert found.anonymous_bytes < found.pss_bytes < found.rss_bytes
    resident = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))
    assert found.rss_bytes == pytest.approx(resident, rel=0.1)


@pytest.mark.timeout(300)
def test_every_process_of_a_run_is_measured() -> None:
    results = measured(idle_seconds=1)
    counts = {name: len(processes) for name, processes in results.used.items()}
    assert counts == {"supervisor": 1, "valkey": 1, "web": 3, "worker": 2, "beat": 1}
    written = figures_of(results)
    assert json.loads(json.dumps(written)) == written
    assert written["used_bytes"] == sum(
        process["pss"] for processes in written["used_processes"].values() for process in processes
    )


def test_a_requirement_that_is_not_met_is_reported_as_missed() -> None:
    small, large = ({"web": [ProcessMemory(size, size, size)]} for size in (400_000_000, 500_000_001))
    met = text_of(Results(first_start_seconds=9.0, second_start_seconds=5.9, idle=small, used=large))
    assert "Idle: 400 MB (at most 500 MB: met)" in met
    assert "5.9 s with data (under 6 s: met)" in met
    missed = text_of(Results(first_start_seconds=9.0, second_start_seconds=6.0, idle=large, used={}))
    assert "(at most 500 MB: missed)" in missed
    assert "6 s with data (under 6 s: missed)" in missed
