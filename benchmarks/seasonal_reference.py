"""False alarms and delays of seasonal comparisons (`Criteria.is_seasonal`), beside those of plain ones.

``python -m benchmarks.seasonal_reference [--streams N] [--only WORD ...] [--kind KIND] [--json FILE]`` runs the shipped
check on N simulated streams of each kind: quiet ones with 200 overlapping checks, and ones in which one of ten features
changes.
"""

import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.false_alarm_checks import lower_bound
from benchmarks.report import argument_parser, conditions, progress, table, write_json
from benchmarks.seasonal_streams import CHANGED, QUIET, Outcome, outcomes_of

DURATION = "Takes about forty minutes with 30 streams on one core."
SEED = 20_261_130
RULES = ("seasonal", "plain")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argument_parser("seasonal_reference", __doc__, DURATION)
    parser.add_argument("--streams", type=int, default=30, metavar="N", help="of each kind (default: %(default)s)")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="only kinds whose name contains a word")
    parser.add_argument("--kind", choices=("quiet", "changed", "all"), default="all", help="(default: %(default)s)")
    parsed = parser.parse_args(arguments)
    started = time.monotonic()
    outcomes = {}
    kinds = {"quiet": QUIET, "changed": CHANGED, "all": {**QUIET, **CHANGED}}[parsed.kind]
    for name, stream in kinds.items():
        if any(word in name for word in parsed.only):
            progress(name)
            outcomes[name] = [outcomes_of(stream, seed) for seed in range(SEED, SEED + parsed.streams)]
    figures = figures_of(outcomes) | {"seconds": round(time.monotonic() - started, 1)}
    sys.stdout.write(text_of(figures))
    write_json(parsed.json, figures)


def figures_of(outcomes: Mapping[str, Sequence[tuple[Outcome, Outcome]]]) -> dict[str, Any]:
    """Return the results for the JSON file: of each kind of stream and rule, seasonal and plain."""
    figures: dict[str, Any] = {"quiet": {}, "changed": {}}
    for name, found in outcomes.items():
        kind = "quiet" if name in QUIET else "changed"
        figures[kind][name] = {"streams": len(found)}
        for place, rule in enumerate(RULES):
            own = [each[place] for each in found]
            delays = [each.rows for each in own if each.rows is not None]
            figures[kind][name][rule] = {
                "alarms": len(delays) / len(own),
                "lower_bound": lower_bound(len(delays), len(own)),
                "median_delay_rows": statistics.median(delays) if delays else None,
                "insufficient": statistics.fmean(each.insufficient for each in own),
                "phi": statistics.median(each.phi for each in own),
                "seasonal": statistics.fmean(each.seasonal for each in own),
                "alarmed": dict(Counter(one for each in own for one in each.alarmed)),
            }
    return figures | conditions("numpy", "pyarrow", "scipy")


def text_of(figures: Mapping[str, Any]) -> str:
    """Return the results for a person; those without a seasonal reference are in brackets."""
    quiet, changed = [], []
    for name, found in figures["quiet"].items():
        by_phase, plain = found["seasonal"], found["plain"]
        quiet.append(
            [
                name,
                f"{by_phase['alarms']:.3f} ({plain['alarms']:.3f})",
                f"{by_phase['insufficient']:.2f} ({plain['insufficient']:.2f})",
                f"{by_phase['phi']:.1f} ({plain['phi']:.1f})",
                f"{by_phase['seasonal']:.2f}",
            ]
        )
    for name, found in figures["changed"].items():
        texts = []
        for rule in RULES:
            delay, seen = found[rule]["median_delay_rows"], found[rule]["alarms"]
            texts.append("never" if delay is None else f"{delay:,.0f}, {seen:.2f}")
        changed.append([name, texts[0], texts[1], f"{found['seasonal']['phi']:.1f} ({found['plain']['phi']:.1f})"])
    headings = ["quiet stream", "false alarms in 200 checks", "insufficient", "phi", "features by phase"]
    of_changes = ["change", "median delay (rows), seen", "without a season", "phi"]
    return f"{table(headings, quiet)}\n\n{table(of_changes, changed)}\n"


if __name__ == "__main__":
    main()
