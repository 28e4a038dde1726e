"""False alarms and delays of the alert ModelPerformanceDrop.

``python -m benchmarks.performance_drop [--streams N] [--only WORD] [--json FILE]`` simulates the errors of a model with
90 % accuracy: N quiet streams of each kind with 200 overlapping judgements, and N streams in which the errors become
more frequent or larger.
"""

import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, TypeAlias

import numpy as np
from scipy.signal import lfilter
from scipy.special import ndtr

from benchmarks.false_alarm_checks import lower_bound
from benchmarks.report import argument_parser, conditions, progress, table, write_json
from mlmon.detection.performance import LONG_WINDOW, DropStatus, error_baseline, judge_performance

DURATION = "Takes about eight minutes with 200 streams on two cores."
SEED = 20_261_130
BASELINE_ROWS = 10_000
FIRST_LABELS = 1_000  # the baseline without a labelled reference
WINDOW_ROWS = 1_000
STEP_ROWS = 100
CHECKS = 200
BUDGET = 10_000
Generator: TypeAlias = np.random.Generator


@dataclass(frozen=True, slots=True)
class Stream:
    """A kind of stream.

    Attributes
    ----------
    error_rate
        Share of wrong predictions after the change; None for a regression.
    growth
        Factor of a regression's errors after the change.
    rho
        Autocorrelation of the normal numbers that the errors are made from.
    baseline_rows
        Length of the baseline.
    """

    error_rate: float | None = 0.1
    growth: float = 1.0
    rho: float = 0.0
    baseline_rows: int = BASELINE_ROWS


QUIET = {
    "accuracy .9": Stream(),
    "accuracy .9, first 1,000 labels": Stream(baseline_rows=FIRST_LABELS),
    "accuracy .9, AR .5": Stream(rho=0.5),
    "accuracy .9, AR .9": Stream(rho=0.9),
    "accuracy .9, AR .9, first 1,000 labels": Stream(rho=0.9, baseline_rows=FIRST_LABELS),
    "regression": Stream(error_rate=None),
    "regression, AR .9": Stream(error_rate=None, rho=0.9),
}
CHANGED = {
    "accuracy .9 to .85": Stream(error_rate=0.15),
    "accuracy .9 to .8": Stream(error_rate=0.2),
    "accuracy .9 to .88": Stream(error_rate=0.12),
    "accuracy .9 to .85, first 1,000 labels": Stream(error_rate=0.15, baseline_rows=FIRST_LABELS),
    "accuracy .9 to .8, first 1,000 labels": Stream(error_rate=0.2, baseline_rows=FIRST_LABELS),
    "regression, errors x 1.2": Stream(error_rate=None, growth=1.2),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The labels from the change to the first alarm, None without one, and the share of judgements without a result."""

    labels: int | None
    insufficient: float


def outcome_of(stream: Stream, seed: int, checks: int = CHECKS) -> Outcome:
    """Return when the first alarm comes in one stream, after 5,000 labels without a change."""
    m, is_share = stream.baseline_rows, stream.error_rate is not None
    rng = np.random.default_rng([seed, 19])
    rows = m + LONG_WINDOW + STEP_ROWS * checks
    noise = rng.normal(size=rows + 5_000) * np.sqrt(1 - stream.rho**2)
    normal = lfilter([1], [1, -stream.rho], noise)[5_000:]
    begins = m + LONG_WINDOW
    if stream.error_rate is not None:
        limits = np.where(np.arange(rows) < begins, 0.1, stream.error_rate)
        errors = (ndtr(normal) < limits).astype(np.float64)
    else:
        errors = np.abs(normal) * np.where(np.arange(rows) < begins, 1.0, stream.growth)
    baseline = error_baseline("the reference", errors[:m], is_share=is_share, window_rows=WINDOW_ROWS)
    insufficient, first = 0, None
    for check in range(1, checks + 1):
        end = begins + STEP_ROWS * check
        latest = errors[end - LONG_WINDOW : end]
        found = judge_performance(baseline, latest, window_rows=WINDOW_ROWS, false_alarm_budget=BUDGET)
        insufficient += found.status == DropStatus.INSUFFICIENT_DATA
        if found.status == DropStatus.DROP:
            first = STEP_ROWS * check
            break
    return Outcome(first, insufficient / check)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argument_parser("performance_drop", __doc__, DURATION)
    parser.add_argument("--streams", type=int, default=200, metavar="N", help="of each kind (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="WORD", help="only the kinds whose name contains this")
    parsed = parser.parse_args(arguments)
    started = time.monotonic()
    outcomes = {}
    seeds = range(SEED, SEED + parsed.streams)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for name, stream in {**QUIET, **CHANGED}.items():
            if parsed.only in name:
                progress(name)
                outcomes[name] = list(pool.map(outcome_of, [stream] * parsed.streams, seeds))
    figures = figures_of(outcomes) | {"seconds": round(time.monotonic() - started, 1)}
    sys.stdout.write(text_of(figures))
    write_json(parsed.json, figures)


def figures_of(outcomes: Mapping[str, Sequence[Outcome]]) -> dict[str, Any]:
    """Return the results for the JSON file."""
    alarms = {name: sum(each.labels is not None for each in found) for name, found in outcomes.items()}
    streams = {name: len(found) for name, found in outcomes.items()}
    delays = {
        name: [each.labels for each in found if each.labels is not None]
        for name, found in outcomes.items()
        if name in CHANGED
    }
    return {
        "false_alarms_in_200_checks": {name: alarms[name] / streams[name] for name in outcomes if name in QUIET},
        "lower_bounds": {name: lower_bound(alarms[name], streams[name]) for name in outcomes if name in QUIET},
        "insufficient": {name: statistics.fmean(each.insufficient for each in outcomes[name]) for name in outcomes},
        "median_delay_labels": {name: statistics.median(found) if found else None for name, found in delays.items()},
        "seen": {name: len(found) / streams[name] for name, found in delays.items()},
        "streams": streams,
        **conditions("numpy", "scipy"),
    }


def text_of(figures: Mapping[str, Any]) -> str:
    """Return the results for a person."""
    quiet = [
        [name, f"{share:.4f}", f"{figures['lower_bounds'][name]:.4f}", f"{figures['insufficient'][name]:.2f}"]
        for name, share in figures["false_alarms_in_200_checks"].items()
    ]
    changed = [
        [
            name,
            "never" if delay is None else f"{delay:,.0f}",
            f"{figures['seen'][name]:.2f}",
            f"{figures['insufficient'][name]:.2f}",
        ]
        for name, delay in figures["median_delay_labels"].items()
    ]
    return (
        f"{table(['quiet stream', 'false alarms in 200 checks', 'lower 95 % bound', 'insufficient'], quiet)}\n\n"
        f"{table(['change', 'median delay (labels)', 'seen', 'insufficient'], changed)}\n"
    )


if __name__ == "__main__":
    main()
