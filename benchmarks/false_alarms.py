"""How often a rule gives a false alarm, and how soon it detects a shift.

``python -m benchmarks.false_alarms [--json FILE]`` runs the shipped check on simulated streams with references of
10,000 rows and a window of 1,000 rows that moves by 100. 70 % of the features are numeric, the others have five
categories, and all are independent. docs/benchmarks.md has the details.
"""

import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from rich.progress import track

from benchmarks.false_alarm_streams import EXTRA_WINDOWS, Case, Rule, Shift, first_alarms
from benchmarks.report import argument_parser, conditions, progress, table, write_json

DELAY_FEATURES = 10
FEATURES = (1, 10, 100)
AUTOCORRELATIONS = (0.5, 0.8)
MOST_FALSE_ALARMS, MOST_AUTOCORRELATED, MOST_DELAY_ROWS = 0.03, 0.05, 800
STREAMS = {1: 1_200, 10: 400, 100: 60}
AUTOCORRELATED_STREAMS, DELAY_STREAMS = 120, 100
SEED = 20_261_123
DURATION = "Takes eight to ten minutes on two cores."


@dataclass(frozen=True, slots=True)
class Outcome:
    """Results of the streams of one case.

    Attributes
    ----------
    alarms
        By rule and stream: the rows that had passed at the first alarm, or None without an alarm.
    """

    alarms: Mapping[Rule, Sequence[int | None]]

    def share(self, rule: Rule) -> float:
        """Return the share of streams with an alarm."""
        found = self.alarms[rule]
        return sum(rows is not None for rows in found) / len(found)

    def error(self, rule: Rule) -> float:
        """Return the standard error of the share. If it is 0 or 1, assume one stream that differs from the others."""
        streams = len(self.alarms[rule])
        share = min(max(self.share(rule), 1 / streams), 1 - 1 / streams)
        return math.sqrt(share * (1 - share) / streams)

    def median_delay(self, rule: Rule) -> float | None:
        """Return the median of the delays, or None if most streams had no alarm."""
        delays = [math.inf if rows is None else rows for rows in self.alarms[rule]]
        median = statistics.median(delays)
        return median if math.isfinite(median) else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argument_parser("false_alarms", __doc__, DURATION)
    parser.add_argument("--scale", type=float, default=1.0, help="factor for the number of streams (%(default)s)")
    parsed = parser.parse_args(arguments)
    progress(DURATION)
    started = time.monotonic()
    outcomes = simulated(cases(parsed.scale))
    figures = figures_of(outcomes) | {"seconds": round(time.monotonic() - started, 1)}
    sys.stdout.write(text_of(figures))
    write_json(parsed.json, figures)


def cases(scale: float) -> dict[str, tuple[Case, int]]:
    """Return each case with its number of streams, multiplied by `scale`."""
    wanted = {f"features {count}": (Case(count), STREAMS[count]) for count in FEATURES}
    for rho in AUTOCORRELATIONS:
        wanted[f"autocorrelation {rho}"] = Case(DELAY_FEATURES, rho), AUTOCORRELATED_STREAMS
    for shift in Shift:
        wanted[f"one window {shift}"] = Case(DELAY_FEATURES, shift=shift), DELAY_STREAMS
        several = Case(DELAY_FEATURES, shift=shift, extra_window_rows=EXTRA_WINDOWS)
        wanted[f"several windows {shift}"] = several, DELAY_STREAMS
    return {name: (case, max(2, round(scale * streams))) for name, (case, streams) in wanted.items()}


def simulated(wanted: Mapping[str, tuple[Case, int]], *, workers: int | None = None) -> dict[str, Outcome]:
    """Return the outcome of each case, computed on all cores."""
    count = workers or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    outcomes = {}
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        for name, (case, streams) in wanted.items():
            seeds = range(SEED, SEED + streams)
            found = pool.map(first_alarms, [case] * streams, seeds, chunksize=max(1, streams // 50))
            alarms = list(
                track(found, total=streams, description=name, transient=True, disable=not sys.stderr.isatty())
            )
            outcomes[name] = Outcome({rule: [each[rule] for each in alarms] for rule in Rule})
    return outcomes


def figures_of(outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """Return the results for the JSON file."""

    def by_rule(kind: str, keys: Sequence[object], value: Callable[[Outcome, Rule], float | None]) -> dict[str, Any]:
        return {rule: {f"{key}": value(outcomes[f"{kind} {key}"], rule) for key in keys} for rule in Rule}

    return {
        "false_alarms_in_200_checks": by_rule("features", FEATURES, Outcome.share),
        "autocorrelated": by_rule("autocorrelation", AUTOCORRELATIONS, Outcome.share),
        "median_delay_rows": by_rule("one window", list(Shift), Outcome.median_delay),
        "median_delay_rows_with_several_windows": by_rule("several windows", list(Shift), Outcome.median_delay),
        "standard_errors": {
            "false_alarms_in_200_checks": by_rule("features", FEATURES, Outcome.error),
            "autocorrelated": by_rule("autocorrelation", AUTOCORRELATIONS, Outcome.error),
        },
        "streams": {name: len(outcome.alarms[Rule.MLMON]) for name, outcome in outcomes.items()},
        "required": {
            "false_alarms_in_200_checks": MOST_FALSE_ALARMS,
            "autocorrelated": MOST_AUTOCORRELATED,
            "median_delay_rows": MOST_DELAY_ROWS,
        },
        **conditions("numpy", "pyarrow", "scipy"),
    }


def text_of(figures: Mapping[str, Any]) -> str:
    """Return the results for a person."""

    def shares_table(name: str) -> str:
        shares, errors = figures[name], figures["standard_errors"][name]
        rows = [
            [rule, *(f"{shares[rule][key]:.3f} ± {errors[rule][key]:.3f}" for key in shares[rule])] for rule in Rule
        ]
        return table(["rule", *shares[Rule.MLMON]], rows)

    def delay_row(name: str, delays: Mapping[str, float | None]) -> list[str]:
        return [name, *("missed" if delays[shift] is None else f"{delays[shift]:.0f}" for shift in Shift)]

    delays = [delay_row(rule, figures["median_delay_rows"][rule]) for rule in Rule]
    several = figures["median_delay_rows_with_several_windows"][Rule.MLMON]
    delays.append(delay_row("mlmon, windows of 500, 700 and 1,000", several))
    return (
        "Streams with a false alarm in 200 overlapping checks, by number of features (± standard error of the "
        f"simulation)\n{shares_table('false_alarms_in_200_checks')}\n\n"
        "The same with 10 features that follow AR(1), by rho (± standard error of the simulation)\n"
        f"{shares_table('autocorrelated')}\n\n"
        "Median rows from a shift in one of 10 features to the alarm (a rule with many false alarms is early by "
        f"chance)\n{table(['rule', *Shift], delays)}\n\n"
        f"Required of mlmon: at most {MOST_FALSE_ALARMS}, {MOST_AUTOCORRELATED} and {MOST_DELAY_ROWS} rows. "
        f"{figures['seconds']:.0f} s.\n"
    )


if __name__ == "__main__":
    main()
