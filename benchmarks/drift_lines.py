"""Where one drift check of ours spends its time, line by line: ``python -m benchmarks.drift_lines [--rows N]``."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.arrays import drawn
from benchmarks.report import seconds_text
from benchmarks.rivals import ours
from benchmarks.sampling import sampled

ROWS = 100_000
SECONDS = 10.0
MOST_LINES = 25
COMPARISON_FILE = "mlmon/comparison.py"


def main(arguments: Sequence[str] | None = None) -> None:
    """Sample the stack of one check after another."""
    parsed = _parser().parse_args(arguments)
    check = ours.prepare(drawn(parsed.rows))
    check()
    runs: list[float] = []
    samples = sampled(lambda: _repeat(check, parsed.seconds, runs), file=COMPARISON_FILE)
    lines = [f"{len(runs)} checks of {parsed.rows:,} x 100, {seconds_text(sum(runs) / len(runs))} each"]
    for title, counted in ((f"lines of {COMPARISON_FILE}", samples.within), ("innermost lines", samples.innermost)):
        lines += ["", title]
        lines += [f"{share:6.1%}  {line.text}" for share, line in samples.shares(counted, parsed.lines)]
    sys.stdout.write("\n".join(lines) + "\n")


def _repeat(check: Callable[[], Any], seconds: float, runs: list[float]) -> None:
    while sum(runs) < seconds:
        started = time.perf_counter()
        check()
        runs.append(time.perf_counter() - started)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift_lines", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="of reference and window (%(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="to look for (%(default)s)")
    parser.add_argument("--lines", type=int, default=MOST_LINES, help="to print (%(default)s)")
    return parser


if __name__ == "__main__":
    main()
