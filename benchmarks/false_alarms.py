"""How often a rule cries wolf, and how soon it sees a shift.

``python -m benchmarks.false_alarms [--json FILE]`` runs the shipped check over simulated streams: references of 10,000
rows, a window of 1,000 rows that moves on by 100, features that are numbers (70 %) or have five levels, independent of
each other. docs/benchmarks.md has the details.
"""

import argparse
import math
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.progress import track

from benchmarks.false_alarm_streams import SEVERAL_WINDOWS, Case, Rule, Shift, first_alarms
from benchmarks.machine import library_versions, machine
from benchmarks.report import progress, table, write_json

DELAY_FEATURES = 10
FEATURES = (1, 10, 100)
AUTOCORRELATIONS = (0.5, 0.8)
MOST_FALSE_ALARMS, MOST_AUTOCORRELATED, MOST_DELAY_ROWS = 0.03, 0.05, 800
STREAMS = {1: 1_200, 10: 400, 100: 60}
AUTOCORRELATED_STREAMS, DELAY_STREAMS = 120, 100
SEED = 20_261_123
ESTIMATE = "Eight to ten minutes on two cores."


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the streams of one case gave.

    Attributes
    ----------
    alarms
        By rule: for each stream the rows that had passed at the first alarm, None without one.
    """

    alarms: Mapping[Rule, Sequence[int | None]]

    def share(self, rule: Rule) -> float:
        """Return the share of streams with an alarm."""
        found = self.alarms[rule]
        return sum(rows is not None for rows in found) / len(found)

    def error(self, rule: Rule) -> float:
        """Return the share's standard error from the number of streams; of one stream where none or all had one."""
        streams = len(self.alarms[rule])
        share = min(max(self.share(rule), 1 / streams), 1 - 1 / streams)
        return math.sqrt(share * (1 - share) / streams)

    def median_delay(self, rule: Rule) -> float | None:
        """Return the median of the delays; None where most streams had no alarm."""
        delays = [math.inf if rows is None else rows for rows in self.alarms[rule]]
        median = statistics.median(delays)
        return median if math.isfinite(median) else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parsed = _parser().parse_args(arguments)
    progress(ESTIMATE)
    started = time.monotonic()
    outcomes = simulated(cases(parsed.scale))
    figures = figures_of(outcomes) | {"seconds": round(time.monotonic() - started, 1)}
    sys.stdout.write(text_of(figures))
    write_json(parsed.json, figures)


def cases(scale: float) -> dict[str, tuple[Case, int]]:
    """Return each case with its number of streams, `scale` times the usual one."""
    wanted = {f"features {count}": (Case(count), STREAMS[count]) for count in FEATURES}
    for rho in AUTOCORRELATIONS:
        wanted[f"autocorrelation {rho}"] = Case(DELAY_FEATURES, rho), AUTOCORRELATED_STREAMS
    for shift in Shift:
        wanted[f"one window {shift}"] = Case(DELAY_FEATURES, shift=shift), DELAY_STREAMS
        several = Case(DELAY_FEATURES, shift=shift, extra_window_rows=SEVERAL_WINDOWS)
        wanted[f"several windows {shift}"] = several, DELAY_STREAMS
    return {name: (case, max(2, round(scale * streams))) for name, (case, streams) in wanted.items()}


def simulated(wanted: Mapping[str, tuple[Case, int]], *, workers: int | None = None) -> dict[str, Outcome]:
    """Return what the streams of each case gave, on all cores."""
    count = workers or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    outcomes = {}
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        for name, (case, streams) in wanted.items():
            seeds = range(SEED, SEED + streams)
            found = pool.map(first_alarms, [case] * streams, seeds, chunksize=max(1, streams // 50))
            alarms = list(track(found, total=streams, description=name, transient=True))
            outcomes[name] = Outcome({rule: [each[rule] for each in alarms] for rule in Rule})
    return outcomes


def figures_of(outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """Return the figures as they are written."""
    return {
        "false_alarms_in_200_checks": _shares(outcomes, "features", FEATURES),
        "autocorrelated": _shares(outcomes, "autocorrelation", AUTOCORRELATIONS),
        "median_delay_rows": _delays(outcomes, "one window"),
        "median_delay_rows_with_several_windows": _delays(outcomes, "several windows"),
        "standard_errors": {
            "false_alarms_in_200_checks": _errors(outcomes, "features", FEATURES),
            "autocorrelated": _errors(outcomes, "autocorrelation", AUTOCORRELATIONS),
        },
        "streams": {name: len(outcome.alarms[Rule.MLMON]) for name, outcome in outcomes.items()},
        "required": {
            "false_alarms_in_200_checks": MOST_FALSE_ALARMS,
            "autocorrelated": MOST_AUTOCORRELATED,
            "median_delay_rows": MOST_DELAY_ROWS,
        },
        "machine": machine(),
        "libraries": library_versions("numpy", "pyarrow", "scipy"),
    }


def text_of(figures: Mapping[str, Any]) -> str:
    """Return the figures for a person."""
    sections = [
        _section(
            "Streams with a false alarm in 200 overlapping checks, by number of features",
            figures,
            FEATURES,
            "false_alarms_in_200_checks",
        ),
        _section("The same with 10 features that follow AR(1), by rho", figures, AUTOCORRELATIONS, "autocorrelated"),
        "Median rows from a shift in one of 10 features to the alarm (a rule that cries wolf is early by chance)\n"
        + table(
            ["rule", *Shift],
            [
                *([rule, *_delay_cells(figures["median_delay_rows"][rule])] for rule in Rule),
                [
                    "mlmon, windows of 500, 700 and 1,000",
                    *_delay_cells(figures["median_delay_rows_with_several_windows"][Rule.MLMON]),
                ],
            ],
        ),
        f"Required of mlmon: at most {MOST_FALSE_ALARMS}, {MOST_AUTOCORRELATED} and {MOST_DELAY_ROWS} rows. "
        f"{figures['seconds']:.0f} s.",
    ]
    return "\n\n".join(sections) + "\n"


def _section(title: str, figures: Mapping[str, Any], keys: Sequence[float], name: str) -> str:
    shares, errors = figures[name], figures["standard_errors"][name]
    rows = [[rule, *(f"{shares[rule][f'{key}']:.3f} ± {errors[rule][f'{key}']:.3f}" for key in keys)] for rule in Rule]
    return f"{title} (± standard error of the simulation)\n" + table(["rule", *map(str, keys)], rows)


def _shares(outcomes: Mapping[str, Outcome], kind: str, keys: Sequence[float]) -> dict[str, dict[str, float]]:
    return {rule: {f"{key}": outcomes[f"{kind} {key}"].share(rule) for key in keys} for rule in Rule}


def _errors(outcomes: Mapping[str, Outcome], kind: str, keys: Sequence[float]) -> dict[str, dict[str, float]]:
    return {rule: {f"{key}": outcomes[f"{kind} {key}"].error(rule) for key in keys} for rule in Rule}


def _delays(outcomes: Mapping[str, Outcome], kind: str) -> dict[str, dict[str, float | None]]:
    return {rule: {shift: outcomes[f"{kind} {shift}"].median_delay(rule) for shift in Shift} for rule in Rule}


def _delay_cells(delays: Mapping[str, float | None]) -> list[str]:
    return ["missed" if delays[shift] is None else f"{delays[shift]:.0f}" for shift in Shift]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.false_alarms", description=__doc__, epilog=ESTIMATE)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--scale", type=float, default=1.0, help="times as many streams as usual (%(default)s)")
    return parser


if __name__ == "__main__":
    main()
