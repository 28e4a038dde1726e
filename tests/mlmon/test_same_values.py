"""The same rows written by other programs and in other formats: no drift, and the same shift in each."""

import csv
import itertools
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from mlmon.criteria import Criteria, Thresholds
from mlmon.file_comparison import ColumnChoices, FileComparison, compare_files
from mlmon.results import ResultStatus, VerdictStatus
from mlmon.tables import UNLIMITED

CRITERIA = Criteria(thresholds=Thresholds(feature=0.15, prediction=0.1))
START = datetime.fromisoformat("2026-01-05 00:00")  # a Monday


def _rows(rows: int, *, seed: int, shift: float = 0.0) -> pa.Table:
    """Return rows over whole weeks: numbers, whole numbers, booleans, strings and times, some of them missing."""
    rng = np.random.default_rng(seed)
    weeks = 20 if rows > 3000 else 4
    seconds = np.sort(rng.integers(0, weeks * 7 * 86_400, rows))
    mask = rng.random(rows) < 0.02
    return pa.table(
        {
            "amount": pa.array(rng.normal(10 + shift, 2, rows).round(4), mask=mask),
            "grade": pa.array(rng.integers(1, 6, rows), mask=np.roll(mask, 1)),
            "member": pa.array(rng.random(rows) < 0.3),
            "place": pa.array(rng.choice(["Köln", "a, b", 'say "x"', "None"], rows), mask=np.roll(mask, 2)),
            "at": [START + timedelta(seconds=int(second)) for second in seconds],
            "zip": rng.choice(["01067", "10115", "80331"], rows),
        }
    )


def _write_csv(
    path: Path, rows: pa.Table, spell: Callable[[str, Any], str], *, delimiter: str = ",", encoding: str = "utf-8"
) -> None:
    """Write rows cell by cell, as a program spells them."""
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(rows.column_names)
        for row in rows.to_pylist():
            writer.writerow([spell(name, value) for name, value in row.items()])


def _pandas_csv(path: Path, rows: pa.Table) -> None:
    rows.to_pandas().to_csv(path, index=False)  # whole numbers with missing ones become 1.0


def _pandas_csv_with_index(path: Path, rows: pa.Table) -> None:
    rows.to_pandas().to_csv(path)


def _pandas_parquet_with_index(path: Path, rows: pa.Table) -> None:
    frame = rows.to_pandas()
    frame.index = pd.Index(np.arange(len(frame)) * 3 + 7)
    frame.to_parquet(path)


def _polars_csv(path: Path, rows: pa.Table) -> None:
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    frame.write_csv(path)


def _polars_parquet(path: Path, rows: pa.Table) -> None:
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    frame.write_parquet(path)


def _arrow_csv(path: Path, rows: pa.Table) -> None:
    pa.csv.write_csv(rows, path)


def _arrow_parquet(path: Path, rows: pa.Table) -> None:
    pa.parquet.write_table(rows, path)


def _typed_parquet(path: Path, rows: pa.Table) -> None:
    """Write other types: floats for whole numbers, dictionaries, nanoseconds in a time zone."""
    columns: dict[str, Any] = dict(zip(rows.column_names, rows.columns, strict=True))
    columns["grade"] = columns["grade"].cast(pa.float64())
    columns["place"] = columns["place"].dictionary_encode()
    columns["at"] = columns["at"].cast(pa.timestamp("ns"))
    columns["amount"] = columns["amount"].cast(pa.decimal128(12, 4))
    pa.parquet.write_table(pa.table(columns), path)


def _r_csv(path: Path, rows: pa.Table) -> None:
    """Write as R does: TRUE, NA, and a name for each row."""

    def cell(value: Any) -> str:
        if value is None or isinstance(value, bool):
            return "NA" if value is None else str(value).upper()
        return '"' + value.replace('"', '""') + '"' if isinstance(value, str) else str(value)

    lines = [",".join(cell(name) for name in ("", *rows.column_names))]
    for number, row in enumerate(rows.to_pylist(), start=1):
        lines.append(",".join([cell(str(number)), *map(cell, row.values())]))
    path.write_text("\n".join(lines) + "\n")


def _days_first_csv(path: Path, rows: pa.Table) -> None:
    """Write booleans as 1 and 0, and dates as dd.mm.yyyy."""

    def spell(name: str, value: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, datetime):
            return value.strftime("%d.%m.%Y %H:%M:%S")
        return str(int(value)) if isinstance(value, bool) else str(value)

    _write_csv(path, rows, spell)


def _months_first_csv(path: Path, rows: pa.Table) -> None:
    """Write as Excel does in the United States."""

    def spell(name: str, value: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, datetime):
            return f"{value.month}/{value.day}/{value.year} {value:%I:%M:%S %p}"
        return str(value).upper() if isinstance(value, bool) else str(value)

    _write_csv(path, rows, spell)


def _german_excel_csv(path: Path, rows: pa.Table) -> None:
    """Write semicolons, decimal commas, dd.mm.yyyy and a byte order mark, and two empty columns at the end."""

    def spell(name: str, value: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, datetime):
            return value.strftime("%d.%m.%Y %H:%M:%S")
        return str(value).replace(".", ",") if isinstance(value, float) else str(value)

    _write_csv(path, rows, spell, delimiter=";", encoding="utf-8-sig")
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"".join(line + b";;\r\n" for line in lines))


def _unicode_text(path: Path, rows: pa.Table) -> None:
    """Write tabs in UTF-16, as Excel's Unicode text."""
    _write_csv(path, rows, lambda name, value: "" if value is None else str(value), delimiter="\t", encoding="utf-16")


def _gzip_csv(path: Path, rows: pa.Table) -> None:
    rows.to_pandas().to_csv(path, index=False, compression="gzip")


def _bars_csv(path: Path, rows: pa.Table) -> None:
    rows.to_pandas().to_csv(path, index=False, sep="|", quoting=csv.QUOTE_ALL, lineterminator="\r\n")


WRITERS = [
    _german_excel_csv,
    _gzip_csv,
    _unicode_text,
    _bars_csv,
    _pandas_csv,
    _pandas_csv_with_index,
    _pandas_parquet_with_index,
    _polars_csv,
    _polars_parquet,
    _arrow_csv,
    _arrow_parquet,
    _typed_parquet,
    _days_first_csv,
    _r_csv,
    _months_first_csv,
]
PAIRS = [*((writer, _arrow_parquet) for writer in WRITERS), *((_arrow_parquet, writer) for writer in WRITERS)]
PAIRS += list(itertools.pairwise(WRITERS))


def _compared(folder: Path, writers: Any, *, shift: float) -> FileComparison:
    before, now = folder / "before.data", folder / "now.data"
    writers[0](before, _rows(6000, seed=1))
    writers[1](now, _rows(1000, seed=2, shift=shift))
    missing = frozenset({"NA"} if _r_csv in writers else ())
    return compare_files(before, now, ColumnChoices(missing=missing), CRITERIA, UNLIMITED)


@pytest.mark.parametrize("writers", PAIRS, ids=lambda pair: " against ".join(each.__name__.strip("_") for each in pair))
def test_the_same_values_are_quiet_and_a_shift_is_found(tmp_path: Path, writers: Any) -> None:
    quiet = _compared(tmp_path, writers, shift=0.0).result
    shifted = _compared(tmp_path, writers, shift=1.0).result

    names = ["amount", "grade", "member", "place", "at (hour)", "at (weekday)", "zip"]
    assert [feature.name for feature in quiet.features] == names
    assert {feature.status for feature in quiet.features} == {ResultStatus.OK}
    assert quiet.coverage.not_compared == ()
    assert quiet.verdict.status is VerdictStatus.QUIET
    assert not quiet.is_drifted
    assert [found.name for found in shifted.listed_hypotheses] == ["amount"]
    assert shifted.features[0].score == pytest.approx(0.2300, abs=0.0005)  # by SciPy's ks_2samp


def test_a_delimiter_in_a_quoted_name_separates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    pa.csv.write_csv(pa.table({"x": [1, 2, 2] * 20, "|": [0, 1, 1] * 20}), path)

    comparison = compare_files(path, path, ColumnChoices(), CRITERIA, UNLIMITED)
    assert [feature.name for feature in comparison.result.features] == ["x", "|"]
