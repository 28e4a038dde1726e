"""How often a rule gives a false alarm, and how soon it detects a change.

``python -m benchmarks.false_alarms [--streams N] [--only WORD ...] [--json FILE]`` runs the shipped check on simulated
streams: quiet ones with 200 overlapping checks, and ones in which something changes. docs/benchmarks.md describes them.
"""

import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.false_alarm_checks import Outcome, Rule, lower_bound, outcome_of
from benchmarks.false_alarm_rivals import RIVALS, rival_shares
from benchmarks.false_alarm_streams import CHANGED, QUIET
from benchmarks.report import argument_parser, conditions, progress, table, write_json
from benchmarks.worker import default_environments

SEED = 20_261_130
STREAMS = 20
DURATION = "Takes about half an hour with 20 streams on two cores."


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argument_parser("false_alarms", __doc__, DURATION)
    parser.add_argument(
        "--streams", type=int, default=STREAMS, metavar="N", help="of most kinds (default: %(default)s)"
    )
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="only kinds whose name contains a word")
    parser.add_argument("--processes", type=int, metavar="N", help="(default: one a core)")
    parser.add_argument(
        "--rivals",
        nargs="*",
        choices=RIVALS,
        metavar="NAME",
        help=f"also run these on three kinds (all if no name is given): {', '.join(RIVALS)}",
    )
    parser.add_argument(
        "--environments",
        type=Path,
        default=default_environments(),
        metavar="DIR",
        help="where the rivals are installed (%(default)s)",
    )
    parsed = parser.parse_args(arguments)
    progress(DURATION)
    started = time.monotonic()
    figures = figures_of(simulated(parsed.streams, parsed.only, parsed.processes))
    if parsed.rivals is not None:
        figures["rivals"] = rival_shares(parsed.rivals or list(RIVALS), parsed.environments)
    figures["seconds"] = round(time.monotonic() - started, 1)
    sys.stdout.write(text_of(figures))
    write_json(parsed.json, figures)


def simulated(streams: int, only: Sequence[str] = ("",), processes: int | None = None) -> dict[str, list[Outcome]]:
    """Return the outcomes of each kind of stream whose name contains one of the words.

    Parameters
    ----------
    streams
        Of a kind of weight 1; the others have as many times their weight, at least 1.
    processes
        By default one for each core.
    """
    # One process a core needs no threads for the products of small matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    tasks = [
        (name, SEED + number)
        for name, stream in {**QUIET, **CHANGED}.items()
        if any(word in name for word in only)
        for number in range(max(1, round(streams * stream.weight)))
    ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    outcomes: dict[str, list[Outcome]] = {name: [] for name, _ in tasks}
    with ProcessPoolExecutor(processes or cores, mp_context=get_context("spawn")) as pool:
        for (name, seed), outcome in zip(tasks, pool.map(outcome_of, *zip(*tasks, strict=True)), strict=True):
            if seed == SEED:
                progress(name)
            outcomes[name].append(outcome)
    return outcomes


def figures_of(outcomes: Mapping[str, Sequence[Outcome]]) -> dict[str, Any]:
    """Return the results for the JSON file."""
    quiet = {name: found for name, found in outcomes.items() if name in QUIET}
    changed = {name: found for name, found in outcomes.items() if name in CHANGED}

    def by_rule(
        kinds: Mapping[str, Sequence[Outcome]], value: Callable[[Sequence[int | None]], float | None]
    ) -> dict[str, dict[str, float | None]]:
        return {rule: {name: value([each.alarms[rule] for each in of]) for name, of in kinds.items()} for rule in Rule}

    return {
        "false_alarms_in_200_checks": by_rule(quiet, _share),
        "lower_bounds": by_rule(quiet, lambda found: lower_bound(sum(row is not None for row in found), len(found))),
        "standard_errors": by_rule(outcomes, _standard_error),
        "median_delay_rows": by_rule(changed, _median_delay),
        "seen": by_rule(changed, _share),
        "insufficient": {name: statistics.fmean(each.insufficient for each in of) for name, of in outcomes.items()},
        "alarmed": {name: dict(Counter(one for each in of for one in each.alarmed)) for name, of in outcomes.items()},
        "streams": {name: len(found) for name, found in outcomes.items()},
        **conditions("numpy", "pyarrow", "scipy"),
    }


def _share(alarms: Sequence[int | None]) -> float:
    return sum(rows is not None for rows in alarms) / len(alarms)


def _standard_error(alarms: Sequence[int | None]) -> float:
    """Return the standard error of the share. If it is 0 or 1, assume half a stream that differs from the others."""
    streams = len(alarms)
    share = min(max(_share(alarms), 0.5 / streams), 1 - 0.5 / streams)
    return float((share * (1 - share) / streams) ** 0.5)


def _median_delay(alarms: Sequence[int | None]) -> float | None:
    """Return the median over all streams, or None if the change was not seen in half of them."""
    median = statistics.median(float("inf") if rows is None else rows for rows in alarms)
    return None if median == float("inf") else median


def text_of(figures: Mapping[str, Any]) -> str:
    """Return the results for a person."""
    shares, bounds, errors = (
        figures[name] for name in ("false_alarms_in_200_checks", "lower_bounds", "standard_errors")
    )
    others = [rule for rule in Rule if rule is not Rule.MLMON]
    quiet = [
        [
            name,
            f"{figures['streams'][name]}",
            f"{share:.3f} ± {errors[Rule.MLMON][name]:.3f}",
            f"{bounds[Rule.MLMON][name]:.3f}",
            f"{figures['insufficient'][name]:.2f}",
            *(f"{shares[rule][name]:.2f}" for rule in others),
            _alarmed_text(figures["alarmed"][name]),
        ]
        for name, share in shares[Rule.MLMON].items()
    ]
    delays, seen = figures["median_delay_rows"], figures["seen"]
    changed = [
        [
            name,
            f"{figures['streams'][name]}",
            *(
                f"{'missed' if delays[rule][name] is None else f'{delays[rule][name]:,.0f}'} ({seen[rule][name]:.2f})"
                for rule in Rule
            ),
            _alarmed_text(figures["alarmed"][name]),
        ]
        for name in delays[Rule.MLMON]
    ]
    parts = []
    if quiet:
        headings = ["quiet stream", "streams", "mlmon", "lower bound", "insufficient", *others, "mlmon's first alarms"]
        parts += ["Streams with a false alarm in 200 overlapping checks (± standard error)", table(headings, quiet)]
    if changed:
        headings = ["change", "streams", *Rule, "mlmon's first alarms"]
        parts += ["Median rows from a change to the alarm (share of streams with one)", table(headings, changed)]
    if "rivals" in figures:
        rows = []
        for name, found in figures["rivals"].items():
            if isinstance(found, str):
                rows.append([name, found, "", ""])
                continue
            rows += [[name, kind, rule, f"{share:.2f}"] for kind, of in found.items() for rule, share in of.items()]
        headings = ["library", "quiet stream", "an alarm is", "streams with an alarm"]
        parts += ["Streams with a false alarm in 20 disjoint checks, with the defaults", table(headings, rows)]
    return "\n\n".join([*parts, f"{figures['seconds']:,.0f} s.\n"])


def _alarmed_text(found: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(found.items(), key=lambda each: -each[1])[:3])


if __name__ == "__main__":
    main()
