"""The common part of all benchmarks: options, progress, tables and the JSON file with the machine."""

import argparse
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

UNLIMITED_WIDTH = 10_000


def argument_parser(name: str, description: str | None, duration: str = "") -> argparse.ArgumentParser:
    """Return a parser for ``python -m benchmarks.NAME`` with the option ``--json``."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description, epilog=duration)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    return parser


def progress(text: str) -> None:
    """Print what happens now on standard error, so that standard output holds only the results."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a text table: the first column aligned to the left, the others to the right."""
    drawn = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for index, heading in enumerate(headings):
        drawn.add_column(heading, justify="right" if index else "left")
    for row in rows:
        drawn.add_row(*row)
    console = Console(width=UNLIMITED_WIDTH, no_color=True, markup=False, highlight=False)
    with console.capture() as capture:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def seconds_text(seconds: float) -> str:
    """Return a duration with three significant digits."""
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s"


def bytes_text(size: int) -> str:
    """Return a size in MiB."""
    return f"{size / 2**20:,.0f} MiB"


def write_json(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Write the results to `path`, if there is one."""
    if path is not None:
        path.write_text(json.dumps(figures, indent=2, allow_nan=False) + "\n")


def conditions(*libraries: str) -> dict[str, dict[str, str | int]]:
    """Return the machine and the versions of these libraries, for the JSON file."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    return {
        "machine": {
            "processor": processor,
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(),
        },
        "libraries": {name: importlib.metadata.version(name) for name in libraries},
    }
