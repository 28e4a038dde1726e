"""Loading observations as columns: from the live stream and from the archive, beside one JSONB row per prediction.

``python -m benchmarks.window_read [--json FILE]`` starts a PostgreSQL and a Redis of its own, puts the same rows in all
places and reads them back in pairs. docs/benchmarks.md has the details.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import library_versions, machine
from benchmarks.memory import PeakMemory
from benchmarks.report import bytes_text, progress, seconds_text, table, write_json
from benchmarks.services import own_services
from benchmarks.timing import PairedTimes, paired, timed
from tests.services.postgresql import DURABLE

PROJECT = Path(__file__).resolve().parent.parent
STREAM_ROWS, STREAM_FEATURES = 100_000, 100
ARCHIVE_ROWS, ARCHIVE_FEATURES = 1_000_000, 20
ENTRY_ROWS = 500  # what a flush packs, ten in a second, at the 5,000 observations a second that are asked for
PAIRS = 7
BUDGET_SECONDS = 60.0
REQUIRED_STREAM_RATIO = 0.03
REQUIRED_ARCHIVED_PER_SECOND = 5_000
ESTIMATE = "About five minutes, most of them for writing and reading the JSONB rows."


@dataclass(frozen=True, slots=True)
class Reading:
    """One of our readers beside the JSONB rows."""

    name: str
    rows: int
    features: int
    times: PairedTimes
    ours: PeakMemory
    theirs: PeakMemory

    @property
    def label(self) -> str:
        """Rows x features."""
        return f"{self.rows}x{self.features}"


@dataclass(frozen=True, slots=True)
class Figures:
    """What was found.

    Attributes
    ----------
    archived_per_second
        Observations that were archived, a second, while nothing else was done: by the service that the task calls, in
        one process, with every commit on the disk. `benchmarks.archive_lag` has the real worker.
    archive_bytes, jsonb_bytes
        On disk, with indexes, of the archive's rows.
    """

    stream: Reading
    archive: Reading
    archived_per_second: float
    archive_bytes: int
    jsonb_bytes: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parsed = _parser().parse_args(arguments)
    progress(ESTIMATE)
    started = time.monotonic()
    with own_services(postgresql_settings=DURABLE):
        figures = measured(parsed)
    sys.stdout.write(text_of(figures))
    asked = {name: value for name, value in vars(parsed).items() if name != "json"}
    write_json(parsed.json, {**figures_of(figures), "asked": asked, "run_seconds": time.monotonic() - started})


def measured(asked: argparse.Namespace) -> Figures:
    """Return the figures; Django is set up and its database is empty."""
    # Only now: the settings read the addresses of the services when they load.
    from benchmarks import window_readers as readers

    progress(f"Archiving {asked.archive_rows:,} x {asked.archive_features} …")
    archived = readers.new_version("archived")
    seconds = readers.fill_archive(archived, asked.archive_rows, asked.archive_features, entry_rows=asked.entry_rows)
    progress("Writing the same as JSONB rows …")
    readers.fill_jsonb(archived, asked.archive_rows, asked.archive_features)
    on_disk = readers.bytes_on_disk()
    archive = _reading("archive", archived, asked.archive_rows, asked.archive_features, asked)
    progress(f"Writing {asked.stream_rows:,} x {asked.stream_features} to the stream and as JSONB rows …")
    streamed = readers.new_version("streamed")
    readers.fill_stream(streamed, asked.stream_rows, asked.stream_features, entry_rows=asked.entry_rows)
    readers.fill_jsonb(streamed, asked.stream_rows, asked.stream_features)
    return Figures(
        stream=_reading("stream", streamed, asked.stream_rows, asked.stream_features, asked),
        archive=archive,
        archived_per_second=asked.archive_rows / seconds,
        archive_bytes=on_disk["archive"],
        jsonb_bytes=on_disk["jsonb"],
    )


def figures_of(figures: Figures) -> dict[str, Any]:
    """Return the figures as they are written: ratios are ours divided by theirs, medians of pairs."""
    readings = (figures.stream, figures.archive)
    return {
        "ratios": {f"{one.name}_vs_jsonb": one.times.ratio.median for one in readings},
        "required": {"stream_vs_jsonb": REQUIRED_STREAM_RATIO, "archived_per_second": REQUIRED_ARCHIVED_PER_SECOND},
        "ratio_spread": {f"{one.name}_vs_jsonb": asdict(one.times.ratio) for one in readings},
        "sizes": {one.name: one.label for one in readings},
        "seconds": {
            one.name: {"ours": one.times.ours_seconds.median, "jsonb": one.times.theirs_seconds.median}
            for one in readings
        },
        "pairs": {one.name: len(one.times.pairs) for one in readings},
        "peak_memory_bytes": {
            one.name: {"ours": one.ours.added_bytes, "jsonb": one.theirs.added_bytes} for one in readings
        },
        "archived_per_second": figures.archived_per_second,
        "disk_bytes": {"archive": figures.archive_bytes, "jsonb": figures.jsonb_bytes},
        "machine": machine(),
        "libraries": library_versions("numpy", "orjson", "psycopg", "pyarrow", "redis"),
    }


def text_of(figures: Figures) -> str:
    """Return the figures for a person."""
    headers = ["from", "rows x features", "ratio", "quartiles", "ours", "JSONB", "pairs", "peak memory", "JSONB's"]
    required = f"<= {REQUIRED_STREAM_RATIO:g}"
    is_met = figures.stream.times.ratio.median <= REQUIRED_STREAM_RATIO
    per_row = figures.archive_bytes / figures.archive.rows
    lines = [
        table(headers, [_row(figures.stream), _row(figures.archive)]),
        f"Required of the stream: {required}: {'met' if is_met else 'missed'}",
        f"One process archived {figures.archived_per_second:,.0f} observations a second "
        f"(at least {REQUIRED_ARCHIVED_PER_SECOND:,}).",
        f"A million predictions of {figures.archive.features} features take {bytes_text(int(per_row * 10**6))} in the "
        f"archive; as JSONB rows {figures.jsonb_bytes / figures.archive_bytes:.1f} times as much.",
    ]
    return "\n".join(lines) + "\n"


def _reading(name: str, version_id: int, rows: int, features: int, asked: argparse.Namespace) -> Reading:
    from benchmarks.window_readers import READERS

    progress(f"Reading from {name} and JSONB rows …")
    arguments = (version_id, features, rows)
    times = paired(
        lambda: timed(lambda: READERS[name](*arguments))[0],
        lambda: timed(lambda: READERS["jsonb"](*arguments))[0],
        pairs=asked.repeats,
        budget_seconds=asked.budget,
    )
    return Reading(name, rows, features, times, ours=_peak(name, *arguments), theirs=_peak("jsonb", *arguments))


def _peak(reader: str, *arguments: int) -> PeakMemory:
    command = [sys.executable, "-m", "benchmarks.window_peak", reader, *map(str, arguments)]
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, check=True)
    answer: Mapping[str, int] = json.loads(done.stdout)
    return PeakMemory(**answer)


def _row(one: Reading) -> list[str]:
    ratio = one.times.ratio
    return [
        one.name,
        f"{one.rows:,} x {one.features}",
        f"{ratio.median:.3g}",
        f"{ratio.lower_quartile:.3g} to {ratio.upper_quartile:.3g}",
        seconds_text(one.times.ours_seconds.median),
        seconds_text(one.times.theirs_seconds.median),
        str(len(one.times.pairs)),
        bytes_text(one.ours.added_bytes),
        bytes_text(one.theirs.added_bytes),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.window_read", description=__doc__, epilog=ESTIMATE)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--stream-rows", type=int, default=STREAM_ROWS, help="%(default)s")
    parser.add_argument("--stream-features", type=int, default=STREAM_FEATURES, help="%(default)s")
    parser.add_argument("--archive-rows", type=int, default=ARCHIVE_ROWS, help="%(default)s")
    parser.add_argument("--archive-features", type=int, default=ARCHIVE_FEATURES, help="%(default)s")
    parser.add_argument("--entry-rows", type=int, default=ENTRY_ROWS, help="of a stream's entry (%(default)s)")
    parser.add_argument(
        "--repeats", type=int, default=PAIRS, metavar="PAIRS", help="at most so many pairs (%(default)s)"
    )
    parser.add_argument(
        "--budget", type=float, default=BUDGET_SECONDS, metavar="SECONDS", help="of pairs per size (%(default)s)"
    )
    return parser


if __name__ == "__main__":
    main()
