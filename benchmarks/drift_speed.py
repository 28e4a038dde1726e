"""How long one drift check takes beside other ways to do it, on the same arrays in the same run.

``python -m benchmarks.drift_speed [--json FILE]``; docs/benchmarks.md says what each side computes.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.arrays import CATEGORICAL_FEATURES, NUMERIC_FEATURES, SEED, drawn
from benchmarks.environments import Environments, RivalUnavailableError, default_folder
from benchmarks.machine import library_versions, machine
from benchmarks.memory import PeakMemory
from benchmarks.report import bytes_text, progress, seconds_text, table, write_json
from benchmarks.rivals import DEFAULT_RIVALS, OURS, RIVALS, Rival
from benchmarks.timing import PairedTimes, paired
from benchmarks.worker import Worker

SIZES = (10_000, 100_000)
PAIRS = 15
BUDGET_SECONDS = 15.0  # for the pairs of one rival at one size; never fewer than three pairs
ESTIMATE = "About seven minutes with every rival at both sizes, and a minute or two more when they are installed first."


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ours beside one rival at one size.

    Attributes
    ----------
    largest_difference
        Of the KS statistics of all numeric features; None where the rival gives none.
    """

    times: PairedTimes
    largest_difference: float | None


@dataclass(slots=True)
class SizeFigures:
    """What was found at one size, by side."""

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
    """What a run is asked for."""

    sizes: Sequence[int]
    rivals: Sequence[Rival]
    pairs: int
    budget_seconds: float
    environments: Environments


def measure(options: Options) -> list[SizeFigures]:
    """Return the figures at every size."""
    with tempfile.TemporaryDirectory(prefix="mlmon-benchmark-") as folder:
        return [_measure_size(rows, options, Path(folder)) for rows in options.sizes]


def figures_of(sizes: Sequence[SizeFigures], *, seconds: float) -> dict[str, Any]:
    """Return the figures as they are written: ratios are ours divided by theirs, medians of pairs."""
    return {
        "ratios": {size.label: {name: one.times.ratio.median for name, one in _by_rival(size)} for size in sizes},
        "required": {rival.name: rival.required_ratio for rival in RIVALS.values() if rival.required_ratio},
        "ratio_spread": {
            size.label: {name: asdict(one.times.ratio) for name, one in _by_rival(size)} for size in sizes
        },
        "cpu_ratios": {
            size.label: {name: one.times.cpu_ratio.median for name, one in _by_rival(size)} for size in sizes
        },
        "seconds": {size.label: _seconds(size) for size in sizes},
        "pairs": {size.label: {name: len(one.times.pairs) for name, one in _by_rival(size)} for size in sizes},
        "ks_difference": {
            size.label: {name: one.largest_difference for name, one in _by_rival(size)} for size in sizes
        },
        "peak_memory_bytes": {size.label: _memory(size, "added_bytes") for size in sizes},
        "process_memory_bytes": {size.label: _memory(size, "total_bytes") for size in sizes},
        "unavailable": {name: reason for size in sizes for name, reason in size.unavailable.items()},
        "computes": {rival.name: rival.computes for rival in RIVALS.values()},
        "machine": machine(),
        "libraries": library_versions("numpy", "scipy", "pyarrow"),
        "seed": SEED,
        "run_seconds": round(seconds, 1),
    }


def text_of(size: SizeFigures) -> str:
    """Return the figures of one size as a table."""
    headers = [
        "against",
        "ratio",
        "quartiles",
        "required",
        "CPU ratio",
        "ours",
        "theirs",
        "pairs",
        "peak memory",
        "KS off by",
    ]
    rows = [_row(name, one, size) for name, one in _by_rival(size)]
    rows += [[name, "-", reason, *[""] * 7] for name, reason in size.unavailable.items()]
    ours = size.memory.get("ours")
    peak = (
        f"\nPeak memory of one check of ours, above what the data take: {bytes_text(ours.added_bytes)}" if ours else ""
    )
    return f"{size.rows:,} x {NUMERIC_FEATURES + CATEGORICAL_FEATURES}\n{table(headers, rows)}{peak}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parsed = _parser().parse_args(arguments)
    options = Options(
        sizes=parsed.sizes,
        rivals=[RIVALS[name] for name in parsed.rivals],
        pairs=parsed.repeats,
        budget_seconds=parsed.budget,
        environments=Environments(parsed.environments),
    )
    progress(ESTIMATE)
    started = time.monotonic()
    sizes = measure(options)
    figures = figures_of(sizes, seconds=time.monotonic() - started)
    sys.stdout.write("\n\n".join(text_of(size) for size in sizes) + f"\n\n{_legend(options)}\n")
    write_json(parsed.json, figures)


def _measure_size(rows: int, options: Options, folder: Path) -> SizeFigures:
    size = SizeFigures(rows)
    arrays = folder / str(rows)
    arrays.mkdir()
    drawn(rows).save(arrays)
    with Worker(OURS, arrays, python=Path(sys.executable), log=arrays / "ours.log") as ours:
        ours.run()
        size.memory["ours"] = ours.peak_memory()
        for rival in options.rivals:
            progress(f"{size.label}: {rival.name} …")
            try:
                _measure_rival(size, ours, rival, arrays, options)
            except RivalUnavailableError as error:
                size.unavailable[rival.name] = str(error)
    return size


def _measure_rival(size: SizeFigures, ours: Worker, rival: Rival, arrays: Path, options: Options) -> None:
    python = _python_for(rival, options.environments)
    with Worker(rival.module, arrays, python=python, log=arrays / f"{rival.name}.log") as theirs:
        times = paired(ours.run, theirs.run, pairs=options.pairs, budget_seconds=options.budget_seconds)
        size.comparisons[rival.name] = Comparison(times, _largest_difference(ours.answers(), theirs.answers()))
        size.memory[rival.name] = theirs.peak_memory()


def _python_for(rival: Rival, environments: Environments) -> Path:
    if rival.requirements_file is None:
        return Path(sys.executable)
    return environments.python_with(rival.requirements_file)


def _largest_difference(ours: Mapping[str, float], theirs: Mapping[str, float]) -> float | None:
    return max((abs(ours[name] - value) for name, value in theirs.items()), default=None)


def _by_rival(size: SizeFigures) -> list[tuple[str, Comparison]]:
    return list(size.comparisons.items())


def _seconds(size: SizeFigures) -> dict[str, dict[str, float]]:
    return {
        name: {"ours": one.times.ours_seconds.median, "theirs": one.times.theirs_seconds.median}
        for name, one in _by_rival(size)
    }


def _memory(size: SizeFigures, field_name: str) -> dict[str, int]:
    return {name: getattr(peak, field_name) for name, peak in size.memory.items()}


def _row(name: str, one: Comparison, size: SizeFigures) -> list[str]:
    ratio, required = one.times.ratio, RIVALS[name].required_ratio
    verdict = "" if required is None else f"<= {required:g}: {'met' if ratio.median <= required else 'missed'}"
    return [
        name,
        f"{ratio.median:.3g}",
        f"{ratio.lower_quartile:.3g} to {ratio.upper_quartile:.3g}",
        verdict,
        f"{one.times.cpu_ratio.median:.3g}",
        seconds_text(one.times.ours_seconds.median),
        seconds_text(one.times.theirs_seconds.median),
        str(len(one.times.pairs)),
        bytes_text(size.memory[name].added_bytes) if name in size.memory else "",
        "" if one.largest_difference is None else f"{one.largest_difference:.1g}",
    ]


def _legend(options: Options) -> str:
    lines = ["Ratios are ours divided by theirs, medians of pairs run side by side. Computed for each feature:"]
    lines.append("  ours: KS, chi-squared, PSI, JS, Wasserstein, the verdict, the predictions")
    return "\n".join(lines + [f"  {rival.name}: {rival.computes}" for rival in options.rivals])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift_speed", description=__doc__, epilog=ESTIMATE)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="ROWS", help="of reference and window")
    parser.add_argument(
        "--rivals", nargs="+", choices=RIVALS, default=DEFAULT_RIVALS, metavar="NAME", help=", ".join(RIVALS)
    )
    parser.add_argument(
        "--repeats", type=int, default=PAIRS, metavar="PAIRS", help="at most so many pairs (%(default)s)"
    )
    parser.add_argument(
        "--budget",
        type=float,
        default=BUDGET_SECONDS,
        metavar="SECONDS",
        help="of pairs per rival and size (%(default)s)",
    )
    parser.add_argument(
        "--environments",
        type=Path,
        default=default_folder(),
        metavar="DIR",
        help="where rivals are installed (%(default)s)",
    )
    return parser


if __name__ == "__main__":
    main()
