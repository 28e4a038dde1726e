"""False alarms and delays of the second edition of the verdict (`mlmon.detection`), which checks do not use yet.

``python -m benchmarks.detection_rule [--streams N] [--json FILE]`` simulates N streams of each kind: quiet ones with
200 overlapping checks, and ones in which one of ten features changes.
"""

import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from scipy.stats import beta

from benchmarks.detection_streams import CHANGED, QUIET, Outcome, outcome_of
from benchmarks.report import argument_parser, conditions, progress, table, write_json

DURATION = "Takes about four minutes with 20 streams on two cores."
SEED = 20_261_129


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argument_parser("detection_rule", __doc__, DURATION)
    parser.add_argument("--streams", type=int, default=20, metavar="N", help="of each kind (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="WORD", help="only the kinds whose name contains this")
    parsed = parser.parse_args(arguments)
    started = time.monotonic()
    outcomes = simulated(parsed.streams, parsed.only)
    figures = figures_of(outcomes) | {"seconds": round(time.monotonic() - started, 1)}
    sys.stdout.write(text_of(figures))
    write_json(parsed.json, figures)


def simulated(streams: int, only: str = "") -> dict[str, list[Outcome]]:
    """Return the outcomes of each kind of stream, computed on all cores."""
    outcomes = {}
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for name in (*QUIET, *CHANGED):
            if only in name:
                progress(name)
                outcomes[name] = list(pool.map(_outcome, [name] * streams, range(SEED, SEED + streams)))
    return outcomes


def _outcome(name: str, seed: int) -> Outcome:
    return outcome_of({**QUIET, **CHANGED}[name], seed)


def figures_of(outcomes: Mapping[str, Sequence[Outcome]]) -> dict[str, Any]:
    """Return the results for the JSON file."""
    quiet = {name: found for name, found in outcomes.items() if name in QUIET}
    changed = {name: found for name, found in outcomes.items() if name in CHANGED}
    alarms = {name: sum(each.rows is not None for each in found) for name, found in outcomes.items()}
    return {
        "false_alarms_in_200_checks": {name: alarms[name] / len(found) for name, found in quiet.items()},
        "lower_bounds": {name: lower_bound(alarms[name], len(found)) for name, found in quiet.items()},
        "insufficient": {name: statistics.fmean(each.insufficient for each in found) for name, found in quiet.items()},
        "median_delay_rows": {name: _median_delay(found) for name, found in changed.items()},
        "seen": {name: alarms[name] / len(found) for name, found in changed.items()},
        "streams": {name: len(found) for name, found in outcomes.items()},
        **conditions("numpy", "scipy"),
    }


def lower_bound(alarms: int, streams: int) -> float:
    """Return the lower 95 % bound of the share of streams with an alarm (Clopper and Pearson, 1934), one-sided."""
    return float(beta.ppf(0.05, alarms, streams - alarms + 1)) if alarms else 0.0


def _median_delay(found: Sequence[Outcome]) -> float | None:
    delays = [each.rows for each in found if each.rows is not None]
    return statistics.median(delays) if delays else None


def text_of(figures: Mapping[str, Any]) -> str:
    """Return the results for a person."""
    quiet = [
        [name, f"{share:.3f}", f"{figures['lower_bounds'][name]:.3f}", f"{figures['insufficient'][name]:.2f}"]
        for name, share in figures["false_alarms_in_200_checks"].items()
    ]
    changed = [
        [name, "never" if delay is None else f"{delay:,.0f}", f"{figures['seen'][name]:.2f}"]
        for name, delay in figures["median_delay_rows"].items()
    ]
    return (
        f"{table(['quiet stream', 'false alarms in 200 checks', 'lower 95 % bound', 'insufficient'], quiet)}\n\n"
        f"{table(['change', 'median delay (rows)', 'seen'], changed)}\n"
    )


if __name__ == "__main__":
    main()
