"""How much memory ``make run`` needs, and how soon it is ready.

``python -m benchmarks.run_memory [--json FILE]`` starts ``manage.py run`` in an empty folder and reads the proportional
set size of all of its processes when they have been idle, and after predictions and a drift check. Then it stops the
run and starts it again with its data. docs/benchmarks.md has the details.
"""

import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.process_memory import ProcessMemory, memory_of
from benchmarks.report import argument_parser, conditions, progress, seconds_text, table, write_json
from tests.services.embedded_run import EmbeddedRun, Process, embedded_run
from tests.services.processes import await_condition

IDLE_SECONDS = 20.0
PREDICTIONS = 200
CHECK_SECONDS = 90.0
REQUIRED_BYTES, REQUIRED_SECONDS = 500_000_000, 6.0
DURATION = "Takes about a minute and a half."
# The first pattern that a command line matches gives the process its name.
_NAMES = {
    "web": r"mlmon_site\.server\b",
    "worker": r"\bcelery\b",
    "valkey": r"\bunixsocket\b|valkey|redis-server",
    "supervisor": r"mlmon_site\.embedded_run\b",
}

Memory = Mapping[str, Sequence[ProcessMemory]]


@dataclass(frozen=True, slots=True)
class Results:
    """Results of the benchmark.

    Attributes
    ----------
    first_start_seconds
        From the start of the command in an empty folder until it reports that mlmon is running.
    second_start_seconds
        The same with the data of the first run.
    idle, used
        Memory of the processes by name, when the run has been idle and after predictions and a drift check.
    """

    first_start_seconds: float
    second_start_seconds: float
    idle: Memory
    used: Memory


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argument_parser("run_memory", __doc__, DURATION)
    parser.add_argument("--idle-seconds", type=float, default=IDLE_SECONDS, help="before each reading (%(default)g)")
    parser.add_argument("--predictions", type=int, default=PREDICTIONS, help="%(default)s")
    parsed = parser.parse_args(arguments)
    progress(DURATION)
    results = measured(idle_seconds=parsed.idle_seconds, predictions=parsed.predictions)
    sys.stdout.write(text_of(results))
    write_json(parsed.json, figures_of(results))


def measured(*, idle_seconds: float = IDLE_SECONDS, predictions: int = PREDICTIONS) -> Results:
    """Run mlmon twice in a temporary folder, and measure it."""
    with tempfile.TemporaryDirectory(prefix="mlmon-run-") as temporary:
        folder = Path(temporary) / "var"
        progress("Starting mlmon in an empty folder …")
        started = time.monotonic()
        with embedded_run(folder) as run:
            first = time.monotonic() - started
            progress(f"Waiting {idle_seconds:g} s …")
            time.sleep(idle_seconds)
            idle = memory_by_name(run)
            progress(f"Sending {predictions} predictions and waiting for a drift check …")
            for _ in range(predictions):
                if (status := run.predict()) != 200:
                    raise RuntimeError(f"A prediction was refused with status {status}.")
            await_condition(_has_drift(run), "there is no drift check", seconds=CHECK_SECONDS, pause=0.5)
            time.sleep(idle_seconds)
            used = memory_by_name(run)
        progress("Starting it again with its data …")
        started = time.monotonic()
        with embedded_run(folder):
            second = time.monotonic() - started
    return Results(first, second, idle, used)


def _has_drift(run: EmbeddedRun) -> Callable[[], bool]:
    return lambda: bool(run.samples("ml_feature_drift_score"))


def memory_by_name(run: EmbeddedRun) -> dict[str, list[ProcessMemory]]:
    """Return the memory of each process of `run`, the main process of a program first."""
    found: dict[str, list[ProcessMemory]] = {}
    for process in sorted(run.processes(), key=lambda one: one.pid):
        found.setdefault(_name(process), []).append(memory_of(process.pid))
    return found


def _name(process: Process) -> str:
    if process.name == "beat":  # its command line is that of the worker, which has forked it
        return process.name
    return next((name for name, pattern in _NAMES.items() if re.search(pattern, process.command)), process.command)


def total_bytes(memory: Memory) -> int:
    """Return the memory of all processes together."""
    return sum(process.pss_bytes for processes in memory.values() for process in processes)


def figures_of(results: Results) -> dict[str, Any]:
    """Return the results for the JSON file."""
    return {
        "first_start_seconds": results.first_start_seconds,
        "second_start_seconds": results.second_start_seconds,
        "required_seconds": REQUIRED_SECONDS,
        "idle_bytes": total_bytes(results.idle),
        "used_bytes": total_bytes(results.used),
        "required_bytes": REQUIRED_BYTES,
        **{
            f"{name}_processes": {
                program: [
                    {"pss": one.pss_bytes, "anonymous": one.anonymous_bytes, "rss": one.rss_bytes} for one in processes
                ]
                for program, processes in memory.items()
            }
            for name, memory in (("idle", results.idle), ("used", results.used))
        },
        **conditions("celery", "django", "granian", "numpy", "onnxruntime", "pyarrow", "scipy"),
    }


def text_of(results: Results) -> str:
    """Return the results for a person."""
    rows = [
        [f"{program}, process {number}" if len(processes) > 1 else program, *_sizes(processes[number - 1]), *used]
        for program, processes in results.idle.items()
        for number, used in enumerate(_rows_of(results.used.get(program, ()), len(processes)), start=1)
    ]
    rows += [
        [f"{program}, started later", "", "", *_sizes(process)]
        for program, processes in results.used.items()
        for process in processes[len(results.idle.get(program, ())) :]
    ]
    idle, used = total_bytes(results.idle), total_bytes(results.used)
    verdicts = [
        "met" if within else "missed"
        for within in (idle <= REQUIRED_BYTES, results.second_start_seconds < REQUIRED_SECONDS)
    ]
    headings = ["MB", "idle", "anonymous", "used", "anonymous"]
    return (
        f"{table(headings, rows)}\n\n"
        f"Idle: {_megabytes(idle)} MB (at most {_megabytes(REQUIRED_BYTES)} MB: {verdicts[0]}). "
        f"After predictions and a drift check: {_megabytes(used)} MB.\n"
        f"Ready after {seconds_text(results.first_start_seconds)} in an empty folder, after "
        f"{seconds_text(results.second_start_seconds)} with data (under {REQUIRED_SECONDS:g} s: {verdicts[1]}).\n"
    )


def _rows_of(processes: Sequence[ProcessMemory], count: int) -> list[list[str]]:
    return [_sizes(processes[index]) if index < len(processes) else ["", ""] for index in range(count)]


def _sizes(process: ProcessMemory) -> list[str]:
    return [_megabytes(process.pss_bytes), _megabytes(process.anonymous_bytes)]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f}"


if __name__ == "__main__":
    main()
