"""Reading and comparing the columns of files of any kind."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from mlmon.column_kinds import ColumnKind, FileColumn, read_reference
from mlmon.criteria import Criteria, Thresholds
from mlmon.exceptions import ComparisonInputError
from mlmon.file_columns import read_table
from mlmon.file_comparison import ColumnChoices, FileComparison, compare_files
from mlmon.results import (
    Channel,
    FeatureResult,
    LeftOut,
    LeftOutReason,
    NotCompared,
    ResultStatus,
    VerdictStatus,
)
from mlmon.schema import FeatureKind
from mlmon.tables import TableLimits
from mlmon.values import TextFormat

LIMITS = TableLimits(file_bytes=10_000_000, rows=100_000)
CRITERIA = Criteria(thresholds=Thresholds(feature=0.15, prediction=0.1))
ROWS = 2000
TEN, HALF_PAST_ELEVEN = datetime.fromisoformat("2026-01-01 10:00"), datetime.fromisoformat("2026-01-02 11:30")


def _parquet(folder: Path, name: str, **columns: Any) -> Path:
    path = folder / f"{name}.parquet"
    pa.parquet.write_table(pa.table(columns), path)
    return path


def _csv(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.csv"
    path.write_text(text)
    return path


def _compared(reference: Path, current: Path, **choices: Any) -> FileComparison:
    return compare_files(reference, current, ColumnChoices(**choices), CRITERIA, LIMITS)


def _feature(comparison: FileComparison, name: str) -> FeatureResult:
    return next(feature for feature in comparison.result.features if feature.name == name)


def _read(path: Path, name: str) -> FileColumn:
    """Return a column as a reference would have it."""
    return read_reference(read_table(path, LIMITS).columns[name], TextFormat())


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["1", "2.5", "-3e2"], ColumnKind.NUMBER, [1.0, 2.5, -300.0]),
        (["1", "", "NaN"], ColumnKind.NUMBER, [1.0, None, None]),
        (["true", "False", "TRUE"], ColumnKind.BOOLEAN, ["true", "false", "true"]),
        (["1", "#N/A", "<NA>", "None"], ColumnKind.NUMBER, [1.0, None, None, None]),
        (["a", "NA", "b", ""], ColumnKind.STRING, ["a", "NA", "b", None]),
        (["10001", "60601", "02134"], ColumnKind.STRING, ["10001", "60601", "02134"]),
        (["10001", "60601"] * 900 + ["02134"], ColumnKind.STRING, ["10001", "60601"] * 900 + ["02134"]),
        (["0.5", "00.5", "1.5"], ColumnKind.NUMBER, [0.5, 0.5, 1.5]),
        (["True", "0", "False", "1.0"], ColumnKind.BOOLEAN, ["true", "false", "false", "true"]),
        (["2", "1", "True"], ColumnKind.NUMBER, [2.0, 1.0, 1.0]),
        (["02134", "10001", "60601"], ColumnKind.STRING, ["02134", "10001", "60601"]),
        (["2026-01-01 10:00:00", "", "2026-01-02 11:30:00"], ColumnKind.TIME, [TEN, None, HALF_PAST_ELEVEN]),
        (["", "null", "None"], ColumnKind.EMPTY, [None, None, None]),
    ],
)
def test_the_kind_of_a_csv_column_follows_from_its_values(
    tmp_path: Path, cells: list[str], kind: ColumnKind, values: list[Any]
) -> None:
    column = _read(_csv(tmp_path, "file", "\n".join(["x,row", *(f"{cell},1" for cell in cells)])), "x")

    assert column.type.kind is kind
    assert column.values.to_pylist() == values


def test_a_stray_value_is_missing_and_the_others_are_compared(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    before, now = (rng.normal(loc, 1, size=ROWS).round(3).astype(str).tolist() for loc in (0, 1))
    now[16] = now[30] = "N.A."
    comparison = _compared(
        _csv(tmp_path, "before", "\n".join(["x", *before])), _csv(tmp_path, "now", "\n".join(["x", *now]))
    )

    x = _feature(comparison, "x")
    assert x.kind is FeatureKind.NUMERIC
    assert x.is_confirmed
    assert (x.n_missing_reference, x.n_missing_current) == (0, 2)
    note = 'x in now.csv: 2 of 2,000 values are not numbers, the first in row 17: "N.A."; they count as missing.'
    assert comparison.notes == (note,)


def test_one_stray_value_of_the_reference_has_a_note_too(tmp_path: Path) -> None:
    numbers = "\n".join(["x", *(str(number % 30 + 0.5) for number in range(50)), "about 3", *["7"] * 20])
    path = _csv(tmp_path, "file", numbers)
    comparison = _compared(path, path)

    assert _feature(comparison, "x").n_missing_reference == 1
    note = 'x in file.csv: 1 of 71 values is not a number, in row 51: "about 3"; it counts as missing.'
    assert comparison.notes == (note, note)


def test_more_than_half_unreadable_values_are_another_type(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    numbers = rng.normal(size=ROWS).round(3).astype(str)
    before = _csv(tmp_path, "before", "\n".join(["x,y", *(f"{number},{number}" for number in numbers)]))
    words = [f"{number},{'few' if row % 5 < 3 else number}" for row, number in enumerate(numbers)]
    now = _csv(tmp_path, "now", "\n".join(["x,y", *words]))
    comparison = _compared(before, now)

    assert comparison.result.coverage.not_compared == (
        NotCompared(
            "y",
            ResultStatus.TYPE_CHANGED,
            'In now.csv, 1,200 of 2,000 values are not numbers, the first in row 1: "few".',
        ),
    )
    assert comparison.result.verdict.status is VerdictStatus.INCOMPLETE
    assert _feature(comparison, "x").score == 0


def test_parquet_columns_of_other_types_are_not_compared_unless_ignored(tmp_path: Path) -> None:
    path = _parquet(tmp_path, "nested", x=np.arange(60) % 7, places=[[1], [2]] * 30)

    assert [(each.feature, each.reason) for each in _compared(path, path).result.coverage.not_compared] == [
        ("places", ResultStatus.ERROR)
    ]
    ignored = _compared(path, path, ignored=frozenset({"places"})).result.coverage
    assert ignored.not_compared == ()
    assert ignored.left_out == (LeftOut("places", LeftOutReason.IGNORED, "--ignore names it."),)


def test_a_csv_and_a_parquet_of_the_same_rows_are_equal(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "amount": pa.array(rng.normal(size=ROWS).astype(np.float32)),
            "store": pa.array(rng.integers(0, 30, ROWS)),
            "member": pa.array(rng.random(ROWS) < 0.5),
            "place": pa.array(rng.choice(["a", "b"], ROWS)).dictionary_encode(),
        }
    )
    parquet, csv = tmp_path / "rows.parquet", tmp_path / "rows.csv"
    pa.parquet.write_table(table, parquet)
    pa.csv.write_csv(table.set_column(3, "place", table["place"].cast(pa.string())), csv)

    comparison = _compared(parquet, csv)
    assert [feature.name for feature in comparison.result.features] == ["amount", "store", "member", "place"]
    assert all(feature.score == 0 for feature in comparison.result.features)
    assert comparison.notes == ()


def test_times_are_compared_by_hour_and_weekday(tmp_path: Path) -> None:
    start = datetime.fromisoformat("2026-01-05")  # a Monday
    hours = [start + timedelta(hours=index) for index in range(ROWS)]
    at_night = [start + timedelta(days=index, hours=3) for index in range(700)]
    comparison = _compared(_parquet(tmp_path, "before", at=hours), _parquet(tmp_path, "now", at=at_night))

    assert [feature.name for feature in comparison.result.features] == ["at (hour)", "at (weekday)"]
    assert [feature.is_confirmed for feature in comparison.result.features] == [True, False]
    hour = _feature(comparison, "at (hour)").distribution
    assert hour is not None
    assert dict(zip(hour.labels, hour.current, strict=True))["03"] == 700


def test_hours_are_those_of_the_given_zone(tmp_path: Path) -> None:
    start = datetime(2026, 7, 1, 12, tzinfo=UTC)
    path = _parquet(tmp_path, "times", at=[start + timedelta(days=day) for day in range(60)])

    def hours(zone: str) -> set[str]:
        found = _feature(_compared(path, path, zone=zone), "at (hour)").distribution
        assert found is not None
        return {name for name, count in zip(found.labels, found.reference, strict=True) if count}

    assert hours("") == {"12"}
    assert hours("Europe/Berlin") == {"14"}  # UTC + 2
    with pytest.raises(ComparisonInputError, match="no time zone 'Atlantis/Capital'"):
        _compared(path, path, zone="Atlantis/Capital")


def test_numbers_that_count_the_rows_are_left_out_unless_categorical(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    before = _parquet(tmp_path, "before", row=np.arange(ROWS), x=rng.normal(size=ROWS))
    now = _parquet(tmp_path, "now", row=np.arange(ROWS, 2 * ROWS), x=rng.normal(size=ROWS))

    comparison = _compared(before, now)
    assert [feature.name for feature in comparison.result.features] == ["x"]
    assert comparison.result.coverage.left_out == (
        LeftOut("row", LeftOutReason.IDENTIFIER, "Its whole numbers only increase, as row numbers and times do."),
    )
    assert comparison.result.verdict.status is VerdictStatus.QUIET
    named = _compared(before, now, categorical=frozenset({"row"}))
    assert _feature(named, "row").status is ResultStatus.IDENTIFIER


def test_a_column_that_is_missing_or_of_another_type_has_a_status(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    numbers = rng.normal(size=ROWS)
    before = _parquet(tmp_path, "before", x=numbers, gone=numbers, changed=numbers)
    now = _parquet(tmp_path, "now", x=numbers, changed=["text"] * ROWS, new=numbers)

    comparison = _compared(before, now)
    assert _feature(comparison, "x").status is ResultStatus.OK
    assert _feature(comparison, "gone").status is ResultStatus.MISSING_COLUMN
    assert _feature(comparison, "changed").status is ResultStatus.TYPE_CHANGED
    assert _feature(comparison, "changed").kind is FeatureKind.NUMERIC


@pytest.mark.parametrize("kind", ["classes", "whole numbers", "numbers"])
def test_predictions_are_classes_or_numbers(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(3)
    before, now = {
        "classes": (rng.choice(["yes", "no"], ROWS), rng.choice(["yes", "no"], ROWS, p=[0.9, 0.1])),
        "whole numbers": (rng.integers(0, 2, ROWS), (rng.random(ROWS) < 0.9).astype(int)),
        "numbers": (rng.normal(size=ROWS), rng.normal(1, 1, size=ROWS)),
    }[kind]
    x = rng.normal(size=ROWS)
    paths = _parquet(tmp_path, "before", x=x, answer=before), _parquet(tmp_path, "now", x=x, answer=now)
    comparison = _compared(*paths, prediction="answer")

    assert [feature.name for feature in comparison.result.features] == ["x"]
    assert comparison.has_predictions
    assert [found.channel for found in comparison.result.listed_hypotheses] == [Channel.PREDICTION]
    assert len(comparison.result.prediction.reference_dist) == (10 if kind == "numbers" else 2)


def test_rows_are_ordered_by_a_column(tmp_path: Path) -> None:
    """A category in bursts of 60 rows: in order the bursts are visible, and the dispersion corrects for them."""
    rng = np.random.default_rng(4)
    time = np.arange(12_000)
    category = np.repeat(rng.choice(["a", "b"], 200), 60)
    shuffled = rng.permutation(time.size)
    before = _parquet(tmp_path, "before", t=time[shuffled], x=category[shuffled])
    now = _parquet(tmp_path, "now", t=np.arange(600), x=["a"] * 600)

    in_file_order = _feature(_compared(before, now, ignored=frozenset({"t"})), "x").verdict
    in_order = _feature(_compared(before, now, time="t"), "x").verdict
    assert in_file_order is not None
    assert in_order is not None
    assert in_file_order.dispersion < 2
    assert in_order.dispersion == pytest.approx(60, rel=0.5)
    assert in_file_order.is_alarm
    assert not in_order.is_alarm  # ten bursts in a row have one category


def test_a_reference_that_is_too_short_for_its_order_gives_no_verdict(tmp_path: Path) -> None:
    time = np.arange(12_000)
    category = np.where((time // 600) % 2 == 0, "a", "b")  # each window of 600 rows has one category only
    before = _parquet(tmp_path, "before", t=time[::-1], x=category[::-1])
    now = _parquet(tmp_path, "now", t=np.arange(600), x=["a"] * 600)

    comparison = _compared(before, now, time="t")
    feature = _feature(comparison, "x")
    assert comparison.result.verdict.status is VerdictStatus.INSUFFICIENT_DATA
    assert feature.verdict is None
    assert feature.no_verdict_reason.startswith(
        "The reference is too short for the verdict: its 12,000 rows are too few"
    )
    assert feature.is_drifted  # the score is shown, and the threshold decides


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PAR1 broken", "before.file: "),
        (b"", "before.file: "),
        (b"x,x\n1,2\n", 'before.file: Column "x" is in the file 2 times: as columns 1 and 2. '),
        (b"x,y\n1\n", "before.file: "),
        (b"x\n\xff\xfe\n", "before.file: "),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "before.file"
    path.write_bytes(content)
    with pytest.raises(ComparisonInputError, match=reason.replace(".", r"\.")):
        _compared(path, path)


def test_a_file_beyond_the_limits_is_rejected(tmp_path: Path) -> None:
    path = _parquet(tmp_path, "rows", x=np.arange(200.0))
    with pytest.raises(ComparisonInputError, match="rows"):
        compare_files(path, path, ColumnChoices(), CRITERIA, TableLimits(file_bytes=10_000_000, rows=100))


def test_files_without_a_column_to_compare_are_rejected(tmp_path: Path) -> None:
    path = _parquet(tmp_path, "rows", only=np.arange(200))
    with pytest.raises(ComparisonInputError, match="there is no column to compare"):
        _compared(path, path)
