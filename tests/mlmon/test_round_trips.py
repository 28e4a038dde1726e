"""Random tables, written by pandas, Polars, pyarrow and csv: read back they are the same, and no column is lost.

More examples: HYPOTHESIS_EXAMPLES=10000 pytest tests/mlmon/test_round_trips.py
"""

import csv
import datetime
import os
import string
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlmon.column_pairs import ColumnChoices, ColumnPairs
from mlmon.criteria import Criteria, Thresholds
from mlmon.file_columns import read_table
from mlmon.file_comparison import compare_files
from mlmon.results import ComparisonResult, VerdictStatus
from mlmon.tables import UNLIMITED

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "150"))
CRITERIA = Criteria(thresholds=Thresholds(feature=0.15, prediction=0.1))
# No carriage return, which programs quote differently, no NUL, and no half of a surrogate pair.
CHARACTERS = st.characters(exclude_characters="\r\x00", exclude_categories=["Cs"])
SPELLINGS = [
    "",
    "NA",
    "None",
    "nan",
    "True",
    "false",
    "1",
    "1.0",
    "0",
    "007",
    "-3",
    "1e5",
    "inf",
    "a, b",
    'say "x"',
    " x ",
]
SPELLINGS += [
    "01/02/2026",
    "13/02/2026",
    "02/13/2026",
    "1.2.2026",
    "2026-01-01",
    "2026-01-01T10:00:00Z",
    "10:15",
    "N.A.",
]
TIMES = st.datetimes(datetime.datetime.fromisoformat("1900-01-01"), datetime.datetime.fromisoformat("2100-01-01"))
VALUES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "floats": (pa.float64(), st.floats(allow_nan=False) | st.sampled_from([0.1, 1.0, 2.5])),
    "few floats": (pa.float64(), st.sampled_from([1.0, 2.0, 2.5])),
    "integers": (pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.integers(-100, 100)),
    "booleans": (pa.bool_(), st.booleans()),
    "strings": (pa.string(), st.text(CHARACTERS, max_size=8)),
    "spellings": (pa.string(), st.sampled_from(SPELLINGS)),
    "stray strings": (
        pa.string(),
        st.floats(0, 9).map(str) | st.sampled_from([*map(str, range(9)), "N.A.", "NA", "x"]),
    ),
    "written dates": (pa.string(), st.sampled_from(["01/02/2026", "03/04/2026", "3/4/2026", "13/4/2026", "4/31/2026"])),
    "written booleans": (pa.string(), st.sampled_from(["True", "TRUE", "false", "1", "0.0", "maybe"])),
    "digits": (pa.string(), st.text(string.digits, min_size=1, max_size=4)),
    "times": (pa.timestamp("us"), TIMES),
    "utc": (pa.timestamp("us", "UTC"), TIMES.map(lambda time: time.replace(tzinfo=datetime.UTC))),
    "dates": (pa.date32(), TIMES.map(datetime.datetime.date)),
    "clock times": (pa.time64("us"), TIMES.map(datetime.datetime.time)),
    "empty": (pa.string(), st.none()),
}


@st.composite
def tables(draw: Any) -> pa.Table:
    """Return a table of some rows; its first column can always be compared."""
    rows = draw(st.integers(1, 12) | st.integers(30, 60))
    # CSV has no spaces around names.
    name = st.text(CHARACTERS, min_size=1, max_size=6).map(str.strip).filter(bool) | st.sampled_from("abc")
    names = draw(st.lists(name, max_size=4, unique=True))
    columns: dict[str, Any] = {"known": [(row + 1) % 2 for row in range(rows)]}
    for name in names:
        kind, values = VALUES[draw(st.sampled_from(list(VALUES)))]
        if draw(st.booleans()):
            values = values | st.none()
        if rows > 12:  # drawing every value of a long column takes Hypothesis too long
            pool = draw(st.lists(values, min_size=1, max_size=12))
            picks = np.random.default_rng(draw(st.integers(0, 99))).integers(0, len(pool), rows)
            columns[name] = pa.array([pool[pick] for pick in picks], kind)
        else:
            columns[name] = pa.array(draw(st.lists(values, min_size=rows, max_size=rows)), kind)
    return pa.table(columns)


def _polars(rows: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    return frame


def _write_cells(path: Path, rows: pa.Table) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(rows.column_names)
        writer.writerows(["" if value is None else str(value) for value in row.values()] for row in rows.to_pylist())


WRITERS: dict[str, Callable[[Path, pa.Table], Any]] = {
    "pandas csv": lambda path, rows: rows.to_pandas().to_csv(path, index=False),
    "pandas csv with an index": lambda path, rows: rows.to_pandas().to_csv(path),
    "pandas parquet": lambda path, rows: rows.to_pandas().to_parquet(path),
    "polars csv": lambda path, rows: _polars(rows).write_csv(path),
    "polars parquet": lambda path, rows: _polars(rows).write_parquet(path),
    "pyarrow csv": lambda path, rows: pa.csv.write_csv(rows, path),
    "pyarrow parquet": lambda path, rows: pa.parquet.write_table(rows, path),
    "csv": _write_cells,
}
MANY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@given(tables(), st.sampled_from(list(WRITERS)), st.booleans())
@MANY
def test_a_written_table_reads_as_the_same_columns(rows: pa.Table, program: str, is_reference: bool) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        WRITERS[program](path, rows)
        sources: list[Any] = [path, rows] if is_reference else [rows, path]
        before, now = (read_table(source, UNLIMITED) for source in sources)
        columns = ColumnPairs(before, now, ColumnChoices())
        for reference, current in columns.pairs.values():
            if current is not None:
                assert reference.values.to_pylist() == current.values.to_pylist()
        # A column whose dates are ambiguous in the reference is never compared; every other one is.
        assert {each.reason for each in columns.not_compared.values()} <= {"ambiguous_dates"}
        result = compare_files(sources[0], sources[1], ColumnChoices(), CRITERIA, UNLIMITED).result
        _check_coverage(result, before.names)
        assert not result.is_drifted
        assert result.verdict.status in (VerdictStatus.INSUFFICIENT_DATA, VerdictStatus.INCOMPLETE)
        assert all(feature.score in (None, 0.0) for feature in result.features)


@given(tables(), tables(), st.sampled_from(list(WRITERS)), st.sampled_from(list(WRITERS)))
@MANY
def test_no_column_of_any_two_tables_is_lost(before: pa.Table, now: pa.Table, first: str, second: str) -> None:
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("before", "now")]
        WRITERS[first](paths[0], before)
        WRITERS[second](paths[1], now)
        result = compare_files(paths[0], paths[1], ColumnChoices(), CRITERIA, UNLIMITED).result
        _check_coverage(result, before.column_names)


def _check_coverage(result: ComparisonResult, names: Any) -> None:
    """Check that every column of the reference is compared, not compared with a reason, or left out."""
    coverage = result.coverage
    compared = {feature.name.removesuffix(" (hour)").removesuffix(" (weekday)") for feature in result.features}
    left_out = {each.feature for each in coverage.left_out}
    assert set(names) <= compared | left_out
    if result.verdict.status is VerdictStatus.QUIET:
        assert coverage.not_compared == ()
    assert all(each.detail for each in coverage.not_compared)
