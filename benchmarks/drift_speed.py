"""How long a drift check takes, compared with other implementations on the same arrays in the same run.

``python -m benchmarks.drift_speed [--json FILE]``; docs/benchmarks.md describes what each side computes.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.arrays import CATEGORICAL_FEATURES, NUMERIC_FEATURES, SEED, drawn
from benchmarks.competitors import COMPETITORS, DEFAULT_COMPETITORS, OUR_SIDE, Competitor
from benchmarks.memory import PeakMemory
from benchmarks.report import argument_parser, bytes_text, conditions, progress, seconds_text, table, write_json
from benchmarks.timing import PairedTimes, paired, spread_text
from benchmarks.worker import CompetitorUnavailableError, Worker, default_environments, python_with

SIZES = (10_000, 100_000)
PAIRS = 15
BUDGET_SECONDS = 15.0  # for the pairs of one competitor at one size; never fewer than three pairs
DURATION = "Takes about seven minutes, and one or two more to install the competitors first."


@dataclass(frozen=True, slots=True)
class Comparison:
    """Our side and one competitor at one size.

    Attributes
    ----------
    largest_difference
        Between the KS statistics of both sides over all numeric features; None if the competitor has none.
    """

    times: PairedTimes
    largest_difference: float | None


@dataclass(slots=True)
class SizeResults:
    """Results at one size, by name of the side."""

    rows: int
    comparisons: dict[str, Comparison] = field(default_factory=dict)
    memory: dict[str, PeakMemory] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Rows x features."""
        return f"{self.rows}x{NUMERIC_FEATURES + CATEGORICAL_FEATURES}"


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a run."""

    sizes: Sequence[int]
    competitors: Sequence[Competitor]
    pairs: int
    budget_seconds: float
    environments: Path


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argument_parser("drift_speed", __doc__, DURATION)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="ROWS", help="of reference and window")
    parser.add_argument(
        "--competitors",
        nargs="+",
        choices=COMPETITORS,
        default=DEFAULT_COMPETITORS,
        metavar="NAME",
        help=", ".join(COMPETITORS),
    )
    parser.add_argument("--pairs", type=int, default=PAIRS, help="at most, for each competitor and size (%(default)s)")
    parser.add_argument(
        "--budget",
        type=float,
        default=BUDGET_SECONDS,
        metavar="SECONDS",
        help="for the pairs of each competitor and size (%(default)s)",
    )
    parser.add_argument(
        "--environments",
        type=Path,
        default=default_environments(),
        metavar="DIR",
        help="where competitors are installed (%(default)s)",
    )
    parsed = parser.parse_args(arguments)
    options = Options(
        sizes=parsed.sizes,
        competitors=[COMPETITORS[name] for name in parsed.competitors],
        pairs=parsed.pairs,
        budget_seconds=parsed.budget,
        environments=parsed.environments,
    )
    progress(DURATION)
    started = time.monotonic()
    sizes = measure(options)
    figures = figures_of(sizes, seconds=time.monotonic() - started)
    computes = "\n".join(f"  {competitor.name}: {competitor.computes}" for competitor in options.competitors)
    sys.stdout.write(
        "\n\n".join(text_of(size) for size in sizes)
        + "\n\nRatios are our time divided by theirs, medians of alternating pairs. Computed for each feature:\n"
        f"  ours: KS, chi-squared, PSI, JS, Wasserstein, the verdict, the predictions\n{computes}\n"
    )
    write_json(parsed.json, figures)


def measure(options: Options) -> list[SizeResults]:
    """Return the results at every size."""
    sizes = [SizeResults(rows) for rows in options.sizes]
    with tempfile.TemporaryDirectory(prefix="mlmon-benchmark-") as folder:
        for size in sizes:
            arrays = Path(folder) / str(size.rows)
            arrays.mkdir()
            drawn(size.rows).save(arrays)
            with Worker(OUR_SIDE, arrays, python=Path(sys.executable), log=arrays / "ours.log") as ours:
                ours.run()
                size.memory["ours"] = ours.peak_memory()
                for competitor in options.competitors:
                    progress(f"{size.label}: {competitor.name} …")
                    try:
                        _measure_competitor(size, ours, competitor, arrays, options)
                    except CompetitorUnavailableError as error:
                        size.unavailable[competitor.name] = str(error)
    return sizes


def _measure_competitor(
    size: SizeResults, ours: Worker, competitor: Competitor, arrays: Path, options: Options
) -> None:
    python = python_with(competitor.requirements, options.environments)
    with Worker(competitor.side, arrays, python=python, log=arrays / f"{competitor.name}.log") as theirs:
        times = paired(ours.run, theirs.run, pairs=options.pairs, budget_seconds=options.budget_seconds)
        our_statistics, their_statistics = ours.ks_statistics(), theirs.ks_statistics()
        differences = [abs(our_statistics[name] - value) for name, value in their_statistics.items()]
        size.comparisons[competitor.name] = Comparison(times, max(differences, default=None))
        size.memory[competitor.name] = theirs.peak_memory()


def figures_of(sizes: Sequence[SizeResults], *, seconds: float) -> dict[str, Any]:
    """Return the results for the JSON file. Ratios are our time divided by theirs, medians of pairs."""

    def by_size(value: Callable[[Comparison], Any]) -> dict[str, Any]:
        return {size.label: {name: value(one) for name, one in size.comparisons.items()} for size in sizes}

    def memory(field_name: str) -> dict[str, Any]:
        return {size.label: {name: getattr(peak, field_name) for name, peak in size.memory.items()} for size in sizes}

    return {
        "ratios": by_size(lambda one: one.times.ratio.median),
        "required": {one.name: one.required_ratio for one in COMPETITORS.values() if one.required_ratio},
        "ratio_spread": by_size(lambda one: asdict(one.times.ratio)),
        "cpu_ratios": by_size(lambda one: one.times.cpu_ratio.median),
        "seconds": by_size(
            lambda one: {"ours": one.times.ours_seconds.median, "theirs": one.times.theirs_seconds.median}
        ),
        "pairs": by_size(lambda one: len(one.times.pairs)),
        "ks_difference": by_size(lambda one: one.largest_difference),
        "peak_memory_bytes": memory("added_bytes"),
        "process_memory_bytes": memory("total_bytes"),
        "unavailable": {name: reason for size in sizes for name, reason in size.unavailable.items()},
        "computes": {competitor.name: competitor.computes for competitor in COMPETITORS.values()},
        **conditions("numpy", "scipy", "pyarrow"),
        "seed": SEED,
        "run_seconds": round(seconds, 1),
    }


def text_of(size: SizeResults) -> str:
    """Return the results of one size as a table."""
    headings = (
        "compared with",
        "ratio",
        "quartiles",
        "required",
        "CPU ratio",
        "ours",
        "theirs",
        "pairs",
        "peak memory",
        "KS off by",
    )
    rows = []
    for name, one in size.comparisons.items():
        ratio, required = one.times.ratio, COMPETITORS[name].required_ratio
        verdict = "" if required is None else f"<= {required:g}: {'met' if ratio.median <= required else 'missed'}"
        rows.append(
            [
                name,
                f"{ratio.median:.3g}",
                spread_text(ratio),
                verdict,
                f"{one.times.cpu_ratio.median:.3g}",
                seconds_text(one.times.ours_seconds.median),
                seconds_text(one.times.theirs_seconds.median),
                str(len(one.times.pairs)),
                bytes_text(size.memory[name].added_bytes) if name in size.memory else "",
                "" if one.largest_difference is None else f"{one.largest_difference:.1g}",
            ]
        )
    rows += [[name, "-", reason, *[""] * 7] for name, reason in size.unavailable.items()]
    text = f"{size.rows:,} x {NUMERIC_FEATURES + CATEGORICAL_FEATURES}\n{table(headings, rows)}"
    if "ours" in size.memory:
        text += f"\nPeak memory of one of our checks, without the data: {bytes_text(size.memory['ours'].added_bytes)}"
    return text


if __name__ == "__main__":
    main()
