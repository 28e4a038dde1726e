"""How long reading a reference from CSV and Parquet takes, compared with pyarrow alone and with pandas.

``python -m benchmarks.file_read [--json FILE]`` writes the same rows to both. docs/benchmarks.md has the details.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from benchmarks.memory import MemoryMeter, PeakMemory, in_new_process
from benchmarks.report import argument_parser, bytes_text, conditions, progress, seconds_text, table, write_json
from benchmarks.timing import PairedTimes, paired_calls, spread_text
from mlmon.schema import Feature, FeatureKind, TensorType
from mlmon.tables import UNLIMITED, ReferenceTable

ROWS = 1_000_000
SEED = 17
PAIRS = 9
BUDGET_SECONDS = 60.0
MISSING_SHARE = 0.03  # in every second column
DURATION = "Takes about two minutes."
FORMATS = ("csv", "parquet")
REQUIRED = {("csv", "pyarrow"): 2.0, ("csv", "pandas"): 0.8, ("parquet", "pyarrow"): None, ("parquet", "pandas"): None}


@dataclass(frozen=True, slots=True)
class Results:
    """Results of the benchmark, by format and side."""

    rows: int
    file_bytes: Mapping[str, int]
    times: Mapping[tuple[str, str], PairedTimes]
    memory: Mapping[tuple[str, str], PeakMemory]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argument_parser("file_read", __doc__, DURATION)
    parser.add_argument("--rows", type=int, default=ROWS, help="of the reference (%(default)s)")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="at most, for each comparison (%(default)s)")
    parsed = parser.parse_args(arguments)
    progress(DURATION)
    with tempfile.TemporaryDirectory() as folder:
        progress(f"Writing {parsed.rows:,} x 20 …")
        write_files(parsed.rows, Path(folder))
        results = measured(parsed.rows, Path(folder), pairs=parsed.pairs)
    sys.stdout.write(text_of(results))
    write_json(parsed.json, figures_of(results))


def write_files(rows: int, folder: Path) -> None:
    """Write a reference of 5 integer, 8 float, 4 string and 3 Boolean columns in both formats."""
    rng = np.random.default_rng(SEED)
    columns: dict[str, Any] = {f"integer_{index}": rng.integers(0, 10 ** (index + 2), rows) for index in range(5)}
    for index in range(8):
        values = rng.normal(size=rows) * 10**index
        columns[f"float_{index}"] = values.round(3) if index < 4 else values
    for index, count in enumerate((3, 5, 200, 5000)):
        names = np.array([f"category {name}" for name in range(count)])
        columns[f"string_{index}"] = names[rng.integers(0, count, rows)]
    for index in range(3):
        columns[f"boolean_{index}"] = rng.random(rows) < 0.3
    reference = pa.table(
        {
            name: pa.array(values, mask=rng.random(rows) < MISSING_SHARE if place % 2 else None)
            for place, (name, values) in enumerate(columns.items())
        }
    )
    pq.write_table(reference, folder / "reference.parquet")
    # As pandas writes it: without quotation marks around strings.
    pyarrow.csv.write_csv(
        reference, folder / "reference.csv", pyarrow.csv.WriteOptions(include_header=True, quoting_style="none")
    )


def features() -> list[Feature]:
    """Return the columns as features of a model: the Booleans are 1 and 0 in a tensor of floats."""
    types = {"integer": TensorType.INT64, "float": TensorType.FLOAT32, "string": TensorType.STRING}
    counts = {"integer": 5, "float": 8, "string": 4, "boolean": 3}
    return [
        Feature(f"{kind}_{index}", FeatureKind.NUMERIC, False, "x", 0, types.get(kind, TensorType.FLOAT32))
        for kind, count in counts.items()
        for index in range(count)
    ]


def read_ours(path: Path) -> list[Any]:
    """Read a file through the shipped reader into the columns that a model is given."""
    return [batch.columns for batch in ReferenceTable(path, features(), UNLIMITED).batches()]


def read_pyarrow(path: Path) -> Any:
    """Read a file with pyarrow's default settings."""
    return pyarrow.csv.read_csv(path) if path.suffix == ".csv" else pq.read_table(path)


def read_pandas(path: Path) -> Any:
    """Read a file with pandas' default settings."""
    import pandas as pd

    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


SIDES: Mapping[str, Callable[[Path], Any]] = {"ours": read_ours, "pyarrow": read_pyarrow, "pandas": read_pandas}


def measured(rows: int, folder: Path, *, pairs: int = PAIRS) -> Results:
    """Return our times in pairs with those of each other side, and the peak memory of all three."""
    paths = {kind: folder / f"reference.{kind}" for kind in FORMATS}
    times, memory = {}, {}
    for kind, path in paths.items():
        for name, read in SIDES.items():
            read(path)  # imports and the first use of the file
            memory[kind, name] = in_new_process(peak_memory, name, path)
        for name in ("pyarrow", "pandas"):
            progress(f"{kind}: ours and {name} …")
            times[kind, name] = paired_calls(
                lambda path=path: read_ours(path),  # type: ignore[misc]
                lambda read=SIDES[name], path=path: read(path),  # type: ignore[misc]
                pairs=pairs,
                budget_seconds=BUDGET_SECONDS,
            )
    sizes = {kind: path.stat().st_size for kind, path in paths.items()}
    return Results(rows=rows, file_bytes=sizes, times=times, memory=memory)


def peak_memory(name: str, path: Path) -> PeakMemory:
    """Return the peak memory of reading a file, in a process that imported the library before."""
    __import__("pandas" if name == "pandas" else "pyarrow")
    meter = MemoryMeter()
    result = SIDES[name](path)
    peak = meter.peak()
    del result
    return peak


def figures_of(results: Results) -> dict[str, Any]:
    """Return the results for the JSON file."""
    figures: dict[str, Any] = {key: {kind: {} for kind in FORMATS} for key in ("ratios", "ratio_spread", "cpu_ratios")}
    figures |= {"required": {}, "seconds": {}, "pairs": {}, "peak_memory_bytes": {}}
    for (kind, name), times in results.times.items():
        figures["ratios"][kind][name] = times.ratio.median
        figures["ratio_spread"][kind][name] = asdict(times.ratio)
        figures["cpu_ratios"][kind][name] = times.cpu_ratio.median
        figures["required"].setdefault(kind, {})[name] = REQUIRED[kind, name]
        figures["seconds"].setdefault(kind, {})[name] = {
            "ours": times.ours_seconds.median,
            "theirs": times.theirs_seconds.median,
        }
        figures["pairs"].setdefault(kind, {})[name] = len(times.pairs)
    for (kind, name), peak in results.memory.items():
        figures["peak_memory_bytes"].setdefault(kind, {})[name] = peak.added_bytes
    return {
        **figures,
        "rows": results.rows,
        "file_bytes": dict(results.file_bytes),
        "seed": SEED,
        **conditions("numpy", "pandas", "pyarrow"),
    }


def text_of(results: Results) -> str:
    """Return the results as a text table."""
    headings = ("file", "against", "ratio", "quartiles", "required", "CPU ratio", "ours", "theirs", "pairs")
    rows = []
    for (kind, name), times in results.times.items():
        required = REQUIRED[kind, name]
        verdict = (
            "" if required is None else f"<= {required:g}: {'met' if times.ratio.median <= required else 'missed'}"
        )
        rows.append(
            [
                kind,
                name,
                f"{times.ratio.median:.3g}",
                spread_text(times.ratio),
                verdict,
                f"{times.cpu_ratio.median:.3g}",
                seconds_text(times.ours_seconds.median),
                seconds_text(times.theirs_seconds.median),
                str(len(times.pairs)),
            ]
        )
    peaks = [
        [kind, *(bytes_text(results.memory[kind, name].added_bytes) for name in SIDES), bytes_text(size)]
        for kind, size in results.file_bytes.items()
    ]
    return (
        f"{results.rows:,} x 20\n{table(headings, rows)}\n"
        f"Peak memory of one read\n{table(('file', *SIDES, 'size of the file'), peaks)}\n"
    )


if __name__ == "__main__":
    main()
