"""On which lines a drift check spends its time: ``python -m benchmarks.drift_lines [--rows N] [--json FILE]``."""

import sys
import time
from collections.abc import Sequence

from benchmarks.arrays import drawn
from benchmarks.competitors import shipped_check
from benchmarks.report import argument_parser, conditions, seconds_text, write_json
from benchmarks.sampling import report_lines, sampled

ROWS = 100_000
SECONDS = 10.0
MOST_LINES = 25
COMPARISON_FILE = "mlmon/comparison.py"


def main(arguments: Sequence[str] | None = None) -> None:
    """Repeat a check and sample its stack."""
    parser = argument_parser("drift_lines", __doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="of reference and window (%(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="duration of the run (%(default)s)")
    parser.add_argument("--lines", type=int, default=MOST_LINES, help="number of lines to print (%(default)s)")
    parsed = parser.parse_args(arguments)
    check = shipped_check.SIDE.prepare(drawn(parsed.rows))
    check()
    runs: list[float] = []

    def repeat() -> None:
        while sum(runs) < parsed.seconds:
            started = time.perf_counter()
            check()
            runs.append(time.perf_counter() - started)

    samples = sampled(repeat, file=COMPARISON_FILE)
    figures = {
        "rows": parsed.rows,
        "checks": len(runs),
        "mean_seconds": sum(runs) / len(runs),
        "lines_of_the_comparison": samples.report(samples.within, parsed.lines),
        "lines": samples.report(samples.innermost, parsed.lines),
        **conditions("numpy", "scipy", "pyarrow"),
    }
    lines = [
        f"{len(runs)} checks of {parsed.rows:,} x 100, {seconds_text(sum(runs) / len(runs))} each",
        f"\nLines of {COMPARISON_FILE}",
        *report_lines(samples.report(samples.within, parsed.lines)),
        "\nInnermost lines",
        *report_lines(samples.report(samples.innermost, parsed.lines)),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    write_json(parsed.json, figures)


if __name__ == "__main__":
    main()
