"""How long it takes to read observations as columns, compared with one JSONB row per prediction.

``python -m benchmarks.window_read [--json FILE]`` starts PostgreSQL and Redis, stores the same rows in the live stream,
in the archive and as JSONB, and reads them in pairs. docs/benchmarks.md has the details.
"""

import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.memory import PeakMemory, in_new_process
from benchmarks.report import argument_parser, bytes_text, conditions, progress, seconds_text, table, write_json
from benchmarks.services import own_services
from benchmarks.timing import PairedTimes, paired_calls, spread_text
from tests.services.postgresql import DURABLE

STREAM_ROWS, STREAM_FEATURES = 100_000, 100
ARCHIVE_ROWS, ARCHIVE_FEATURES = 1_000_000, 20
ENTRY_ROWS = 500  # of one flush, with ten flushes and 5,000 observations a second
PAIRS = 7
BUDGET_SECONDS = 60.0
REQUIRED_STREAM_RATIO = 0.03
REQUIRED_ARCHIVED_PER_SECOND = 5_000
DURATION = "Takes about five minutes, most of them to write and read the JSONB rows."


@dataclass(frozen=True, slots=True)
class Reading:
    """One of our reads compared with the read of JSONB rows."""

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
class Results:
    """Results of the benchmark.

    Attributes
    ----------
    archived_per_second
        Observations that one process archives per second while it does nothing else, through the service that the
        task calls, with commits written to disk. `benchmarks.archive_lag` measures the real worker.
    archive_bytes, jsonb_bytes
        Disk space of the rows of the archive, with indexes.
    """

    stream: Reading
    archive: Reading
    archived_per_second: float
    archive_bytes: int
    jsonb_bytes: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argument_parser("window_read", __doc__, DURATION)
    parser.add_argument("--stream-rows", type=int, default=STREAM_ROWS, help="%(default)s")
    parser.add_argument("--stream-features", type=int, default=STREAM_FEATURES, help="%(default)s")
    parser.add_argument("--archive-rows", type=int, default=ARCHIVE_ROWS, help="%(default)s")
    parser.add_argument("--archive-features", type=int, default=ARCHIVE_FEATURES, help="%(default)s")
    parser.add_argument("--entry-rows", type=int, default=ENTRY_ROWS, help="of an entry in the stream (%(default)s)")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="at most, for each read (%(default)s)")
    parser.add_argument(
        "--budget",
        type=float,
        default=BUDGET_SECONDS,
        metavar="SECONDS",
        help="for the pairs of each read (%(default)s)",
    )
    parsed = parser.parse_args(arguments)
    progress(DURATION)
    started = time.monotonic()
    with own_services(postgresql_settings=DURABLE):
        results = measured(parsed)
    sys.stdout.write(text_of(results))
    options = {name: value for name, value in vars(parsed).items() if name != "json"}
    figures = {**figures_of(results), "options": options, "run_seconds": time.monotonic() - started}
    write_json(parsed.json, figures)


def measured(options: Namespace) -> Results:
    """Return the results. Django must be set up and its database empty."""
    from benchmarks import window_readers as readers

    def reading(name: str, version_id: int, rows: int, features: int) -> Reading:
        progress(f"Reading {name} and JSONB rows …")
        arguments = (version_id, features, rows)
        times = paired_calls(
            lambda: readers.READERS[name](*arguments),
            lambda: readers.READERS["jsonb"](*arguments),
            pairs=options.pairs,
            budget_seconds=options.budget,
        )
        ours, theirs = (in_new_process(readers.peak_of_reader, reader, *arguments) for reader in (name, "jsonb"))
        return Reading(name, rows, features, times, ours=ours, theirs=theirs)

    rows, features = options.archive_rows, options.archive_features
    progress(f"Archiving {rows:,} x {features} …")
    archived = readers.new_version("archived")
    seconds = readers.fill_archive(archived, rows, features, entry_rows=options.entry_rows)
    progress("Writing the same rows as JSONB …")
    readers.fill_jsonb(archived, rows, features)
    disk_bytes = readers.bytes_on_disk()
    archive = reading("archive", archived, rows, features)

    rows, features = options.stream_rows, options.stream_features
    progress(f"Writing {rows:,} x {features} to the stream and as JSONB rows …")
    streamed = readers.new_version("streamed")
    readers.fill_stream(streamed, rows, features, entry_rows=options.entry_rows)
    readers.fill_jsonb(streamed, rows, features)
    return Results(
        stream=reading("stream", streamed, rows, features),
        archive=archive,
        archived_per_second=options.archive_rows / seconds,
        archive_bytes=disk_bytes["archive"],
        jsonb_bytes=disk_bytes["jsonb"],
    )


def figures_of(results: Results) -> dict[str, Any]:
    """Return the results for the JSON file. Ratios are our time divided by theirs, medians of pairs."""
    readings = (results.stream, results.archive)
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
        "archived_per_second": results.archived_per_second,
        "disk_bytes": {"archive": results.archive_bytes, "jsonb": results.jsonb_bytes},
        **conditions("numpy", "orjson", "psycopg", "pyarrow", "redis"),
    }


def text_of(results: Results) -> str:
    """Return the results for a person."""
    headings = ["from", "rows x features", "ratio", "quartiles", "ours", "JSONB", "pairs", "peak memory", "JSONB's"]
    rows = [
        [
            one.name,
            f"{one.rows:,} x {one.features}",
            f"{one.times.ratio.median:.3g}",
            spread_text(one.times.ratio),
            seconds_text(one.times.ours_seconds.median),
            seconds_text(one.times.theirs_seconds.median),
            str(len(one.times.pairs)),
            bytes_text(one.ours.added_bytes),
            bytes_text(one.theirs.added_bytes),
        ]
        for one in (results.stream, results.archive)
    ]
    verdict = "met" if results.stream.times.ratio.median <= REQUIRED_STREAM_RATIO else "missed"
    bytes_per_row = results.archive_bytes / results.archive.rows
    lines = [
        table(headings, rows),
        f"Required of the stream: <= {REQUIRED_STREAM_RATIO:g}: {verdict}",
        f"One process archived {results.archived_per_second:,.0f} observations a second "
        f"(at least {REQUIRED_ARCHIVED_PER_SECOND:,}).",
        f"A million predictions of {results.archive.features} features take {bytes_text(int(bytes_per_row * 10**6))} "
        f"in the archive; as JSONB rows {results.jsonb_bytes / results.archive_bytes:.1f} times as much.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
