"""What is compared of two files' columns: spellings, times, identifiers, and what the user says about them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from mlmon.criteria import Criteria, Thresholds
from mlmon.exceptions import ComparisonInputError
from mlmon.file_comparison import ColumnChoices, FileComparison, compare_files
from mlmon.results import Channel, LeftOutReason, ResultStatus, VerdictStatus
from mlmon.tables import UNLIMITED
from mlmon.times import DateOrder

CRITERIA = Criteria(thresholds=Thresholds(feature=0.15, prediction=0.1))
ROWS = 2000
MONDAY = datetime.fromisoformat("2026-01-05 00:00")


def _csv(path: Path, **columns: Any) -> Path:
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


def _compared(before: Path | pa.Table, now: Path | pa.Table, **choices: Any) -> FileComparison:
    return compare_files(before, now, ColumnChoices(**choices), CRITERIA, UNLIMITED)


def _same_rows(tmp_path: Path, before: Any, now: Any, **choices: Any) -> FileComparison:
    """Compare one column x of two CSV files."""
    return _compared(_csv(tmp_path / "before.csv", x=before), _csv(tmp_path / "now.csv", x=now), **choices)


def _alarms(comparison: FileComparison) -> set[str]:
    return {found.name for found in comparison.result.listed_hypotheses}


def _left_out(comparison: FileComparison) -> dict[str, LeftOutReason]:
    return {each.feature: each.reason for each in comparison.result.coverage.left_out}


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (["True", "False"], ["1", "0"]),
        (["True", "False"], ["1.0", "0.0"]),
        (["TRUE", "FALSE"], ["true", "false"]),
        (["1", "0"], ["True", "False"]),
        (["1.0", "2.0"], ["1", "2"]),
        (["1", "2"], [" 1.0", "2.0 "]),
    ],
)
@pytest.mark.parametrize(
    ("files", "choices"),
    [
        (("csv", "csv"), {}),
        (("arrow", "arrow"), {}),
        (("csv", "arrow"), {}),
        (("arrow", "csv"), {}),
        (("csv", "csv"), {"prediction": "x"}),
        (("arrow", "csv"), {"prediction": "x"}),
        (("csv", "csv"), {"categorical": frozenset({"x"})}),
        (("csv", "arrow"), {"categorical": frozenset({"x"})}),
    ],
)
def test_other_spellings_of_a_value_are_the_same_category(
    tmp_path: Path, before: list[str], now: list[str], files: tuple[str, str], choices: dict[str, Any]
) -> None:
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=ROWS).tolist()
    first, second = (rng.choice(values, ROWS, p=[0.3, 0.7]).tolist() for values in (before, now))
    changed = rng.choice(now, ROWS, p=[0.6, 0.4]).tolist()

    def source(kind: str, values: list[str]) -> Path | pa.Table:
        if kind == "arrow":
            return pa.table({"x": values, "n": numbers})
        return _csv(tmp_path / f"{len(list(tmp_path.iterdir()))}.csv", x=values, n=numbers)

    reference = source(files[0], first)
    quiet = _compared(reference, source(files[1], second), **choices)
    shifted = _compared(reference, source(files[1], changed), **choices)
    assert quiet.result.verdict.status is VerdictStatus.QUIET
    assert quiet.result.coverage.not_compared == ()
    assert _alarms(shifted) == ({""} if "prediction" in choices else {"x"})


def test_a_reference_with_two_spellings_keeps_both() -> None:
    rng = np.random.default_rng(1)
    before = pa.table({"x": rng.choice(["1", "1.0", "2"], ROWS)})
    same = pa.table({"x": rng.choice(["1", "1.0", "2"], ROWS)})
    one = pa.table({"x": rng.choice(["1", "2"], ROWS, p=[2 / 3, 1 / 3])})

    assert _alarms(_compared(before, same)) == set()
    assert _alarms(_compared(before, one)) == {"x"}


def test_other_strings_keep_a_boolean_from_being_a_number() -> None:
    rng = np.random.default_rng(2)
    before = pa.table({"x": rng.choice(["1", "0", "maybe"], ROWS)})
    booleans = pa.table({"x": rng.choice(["True", "False", "maybe"], ROWS)})
    floats = pa.table({"x": rng.choice(["1.0", "0.0", "maybe"], ROWS)})

    assert _alarms(_compared(before, booleans)) == {"x"}
    assert _alarms(_compared(before, floats)) == set()


def test_a_code_without_its_zero_is_another_category(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    codes = rng.choice(["01067", "10115"], ROWS).tolist()
    comparison = _same_rows(tmp_path, codes, [str(int(code)) for code in codes])

    assert _alarms(comparison) == {"x"}
    assert comparison.notes == (
        "x: some of its numbers start with a zero, as codes do, so it is compared as categories.",
    )


def test_strings_among_numbers_are_categories_if_both_are_frequent(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    sizes = rng.choice(["36", "38", "40", "S", "M"], ROWS)
    numbers = np.where(rng.random(ROWS) < 0.3, "unknown", rng.normal(size=ROWS).round(3).astype(str))

    assert _same_rows(tmp_path, sizes, sizes).result.features[0].kind == "categorical"
    assert _same_rows(tmp_path, numbers, numbers).result.features[0].kind == "numeric"


def test_missing_values_follow_from_the_kind_of_the_column(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    countries = rng.choice(["DE", "NA", "NO", ""], ROWS).tolist()
    arrow = pa.table({"x": [None if country == "" else country for country in countries], "n": [1, 2] * (ROWS // 2)})
    path = _csv(tmp_path / "countries.csv", x=countries, n=[1, 2] * (ROWS // 2))
    n_na, n_present = countries.count("NA"), ROWS - countries.count("")

    comparison = _compared(arrow, path)
    assert _alarms(comparison) == set()
    assert comparison.result.features[0].score == 0
    assert comparison.notes == (
        f'x in countries.csv: {n_na} of {n_present:,} values are "NA", a category in a column of strings; '
        "use --missing NA if it means a missing value.",
    )
    as_missing = _compared(arrow, path, missing=frozenset({"NA"}))
    assert as_missing.result.features[0].n_missing_reference == ROWS - n_present + n_na
    assert as_missing.result.features[0].n_missing_current == ROWS - n_present + n_na
    assert as_missing.notes == ()


@pytest.mark.parametrize("kind", ["numbers", "booleans", "strings", "times"])
def test_a_column_without_values_is_an_alarm_of_missing_values(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(6)
    before: list[Any] = {
        "numbers": rng.normal(size=ROWS).tolist(),
        "booleans": rng.choice(["True", "False"], ROWS).tolist(),
        "strings": rng.choice(["a", "b"], ROWS).tolist(),
        "times": [MONDAY + timedelta(hours=hour) for hour in range(ROWS)],
    }[kind]
    n = rng.normal(size=ROWS).tolist()
    reference = _csv(tmp_path / "before.csv", x=before, n=n)
    empty = _compared(reference, _csv(tmp_path / "now.csv", x=[""] * ROWS, n=n))
    as_null = _compared(reference, pa.table({"x": pa.nulls(ROWS), "n": n}))

    names = {"x (hour)", "x (weekday)"} if kind == "times" else {"x"}
    for comparison in (empty, as_null):
        assert _alarms(comparison) == names
        assert {found.channel for found in comparison.result.listed_hypotheses} == {Channel.MISSING_VALUES}
        assert comparison.result.coverage.not_compared == ()


def test_an_empty_reference_column_is_compared(tmp_path: Path) -> None:
    n = np.random.default_rng(7).normal(size=ROWS).tolist()
    before = _csv(tmp_path / "before.csv", x=["NA"] * ROWS, n=n)
    now = _csv(tmp_path / "now.csv", x=[1] * ROWS, n=n)
    result = _compared(before, now).result

    assert result.features[0].status is ResultStatus.INSUFFICIENT_DATA
    assert result.features[0].n_missing_reference == ROWS
    assert result.coverage.not_compared == ()


def _times(days: float, *, start: datetime = MONDAY, rows: int = ROWS) -> list[datetime]:
    return [start + timedelta(days=days) * row / rows for row in range(rows)]


@pytest.mark.parametrize(
    ("before_days", "now_days", "parts"),
    [
        (365, 28, ["at (hour)", "at (weekday)"]),
        (365, 31, ["at (hour)", "at (weekday)"]),
        (365, 14, ["at (hour)", "at (weekday)"]),
        (365, 7, ["at (hour)"]),
        (365, 10, ["at (hour)"]),
        (365, 17, ["at (hour)"]),
        (365, 1, ["at"]),
        (1, 1, ["at"]),
        (1, 365, ["at"]),
        (365, 0.1, ["at"]),
    ],
)
def test_later_times_are_never_drift(before_days: float, now_days: float, parts: list[str]) -> None:
    before = pa.table({"at": _times(before_days, rows=10 * ROWS)})
    for days_later in range(7):
        now = pa.table({"at": _times(now_days, start=MONDAY + timedelta(days=366 + days_later))})
        comparison = _compared(before, now)
        assert [feature.name for feature in comparison.result.features] == parts
        assert comparison.result.verdict.status is VerdictStatus.QUIET
        assert not comparison.result.is_drifted
        assert comparison.result.coverage.not_compared == ()


def test_a_window_without_weekends_is_drift_if_it_covers_weeks() -> None:
    before = pa.table({"at": _times(140, rows=10 * ROWS)})
    now = pa.table({"at": [time for time in _times(56, rows=3000) if time.weekday() < 5]})

    features = _compared(before, now).result.features
    assert {feature.name: feature.is_drifted for feature in features} == {"at (hour)": False, "at (weekday)": True}


def test_missing_times_are_an_alarm_though_no_part_can_be_compared() -> None:
    now: list[Any] = [None if row % 3 else time for row, time in enumerate(_times(1))]
    comparison = _compared(pa.table({"at": _times(365)}), pa.table({"at": now}))

    assert _alarms(comparison) == {"at"}
    assert comparison.notes == (
        "at: hours are compared only if both files cover 7 days; the current file covers 1 day or less.",
        "at: weekdays are compared only if both files cover 14 days; the current file covers 1 day or less.",
    )


@pytest.mark.parametrize(
    "spelling",
    [
        "%d/%m/%Y",
        "%m/%d/%Y",
        "%d.%m.%Y",
        "%d-%m-%Y",
        "%Y-%m-%d",
        "%Y/%m/%d",
        "%d/%m/%Y %H:%M:%S",
        "%m/%d/%Y %I:%M %p",
        "%d.%m.%Y %H:%M",
        "%Y-%m-%dT%H:%M:%S.%f123",
        "%Y-%m-%dT%H:%M:%SZ",
        "%Y-%m-%d %H:%M:%S+0000",
    ],
)
def test_written_times_are_those_of_arrow(tmp_path: Path, spelling: str) -> None:
    at = [time.replace(second=0, microsecond=0) for time in _times(140)]
    written = _csv(tmp_path / "written.csv", at=[f"{time:{spelling}}" for time in at])
    if "%H" not in spelling and "%I" not in spelling:
        at = [time.replace(hour=0, minute=0) for time in at]
    table = pa.table({"at": pa.array(at, pa.timestamp("ns", "UTC" if spelling.endswith(("Z", "+0000")) else None))})

    for pair in ((written, table), (table, written)):
        result = _compared(*pair).result
        assert [feature.name for feature in result.features][-1] == "at (weekday)"
        assert len(result.features) == (2 if "H" in spelling or "I" in spelling else 1)
        assert [feature.score for feature in result.features] == [0] * len(result.features)


def test_dates_without_a_part_over_12_need_a_format(tmp_path: Path) -> None:
    before = [f"0{1 + row % 9}/0{1 + row // 9 % 9}/2026" for row in range(ROWS)]
    n = np.random.default_rng(8).normal(size=ROWS).tolist()
    paths = [_csv(tmp_path / f"{name}.csv", at=before, n=n) for name in ("before", "now")]

    coverage = _compared(*paths).result.coverage
    assert [(each.feature, each.reason) for each in coverage.not_compared] == [("at", ResultStatus.AMBIGUOUS_DATES)]
    assert coverage.not_compared[0].detail == (
        'In before.csv, day and month of dates such as "01/01/2026" cannot be told apart; '
        "use --date-format at=dd/mm/yyyy or at=mm/dd/yyyy."
    )
    assert _compared(*paths, ignored=frozenset({"at"})).result.coverage.not_compared == ()
    for orders in ({"at": DateOrder.DAY_FIRST}, {"": DateOrder.MONTH_FIRST}):
        comparison = _compared(*paths, date_orders=orders)
        assert comparison.result.coverage.not_compared == ()
        assert dict(comparison.date_orders) == {"at": next(iter(orders.values()))}
    with pytest.raises(ComparisonInputError, match=r"^--date-format n=dd/mm/yyyy: most values"):
        _compared(*paths, date_orders={"n": DateOrder.DAY_FIRST})


def test_the_current_file_is_read_in_the_order_of_the_reference(tmp_path: Path) -> None:
    at = _times(140)
    # The first nine days of a month: the order cannot be read from these alone.
    few = [time for time in at if time.day <= 9]
    before = _csv(tmp_path / "before.csv", at=[f"{time:%m/%d/%Y}" for time in at])
    now = _csv(tmp_path / "now.csv", at=[f"{time:%m/%d/%Y}" for time in few])
    other = _csv(tmp_path / "other.csv", at=[f"{time:%d/%m/%Y}" for time in at])

    assert _compared(before, now).result.coverage.not_compared == ()
    with pytest.raises(ComparisonInputError, match=r"In other.csv, \d,\d+ of 2,000 values are not times"):
        _compared(before, other)


def test_times_are_compared_in_the_zone_of_the_reference(tmp_path: Path) -> None:
    """The same instants: in Berlin, in UTC and with offsets, over the change to summer time."""
    zone = ZoneInfo("Europe/Berlin")
    instants = [time.replace(tzinfo=UTC) for time in _times(140, start=MONDAY.replace(hour=9))]
    at_nine = [time for time in instants if time.astimezone(zone).hour == 9]
    berlin = pa.table({"at": pa.array(at_nine, pa.timestamp("us", "Europe/Berlin"))})
    utc = _csv(tmp_path / "utc.csv", at=[f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in at_nine])
    offsets = _csv(tmp_path / "offsets.csv", at=[time.astimezone(zone).isoformat() for time in at_nine])

    for before in (berlin, utc, offsets):
        for now in (berlin, utc, offsets):
            assert _compared(before, now).result.features[0].score == 0
    hours = _compared(berlin, utc).result.features[0].distribution
    assert hours is not None
    assert hours.labels == ("09",)


def test_times_of_a_day_are_compared_by_hour(tmp_path: Path) -> None:
    at = _times(140)
    table = pa.table({"at": pa.array([time.time() for time in at], pa.time64("us"))})
    written = _csv(tmp_path / "written.csv", at=[f"{time:%H:%M:%S}" for time in at])

    for pair in ((table, written), (written, table)):
        result = _compared(*pair).result
        assert [(feature.name, feature.score) for feature in result.features] == [("at (hour)", 0)]


def test_columns_that_identify_rows_are_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    ids = rng.integers(2**53, 2**62, ROWS)
    columns = {
        "Unnamed: 0": rng.permutation(ROWS),
        "counter": np.arange(ROWS) * 2 + 5,
        "seconds": 1_700_000_000 + np.cumsum(rng.integers(1, 90, ROWS)),
        "shuffled seconds": rng.uniform(1.7e9, 1.71e9, ROWS).round(3),
        "milliseconds": rng.integers(1_700_000_000_000, 1_710_000_000_000, ROWS),
        "hash": [f"{value:032x}" for value in ids],
        "id": ids,
        "account": [str(UUID(int=int(value % 500))) for value in ids],
        "tenant": [str(UUID(int=int(value % 5))) for value in ids],
        "__index_level_0__": rng.integers(0, 5, ROWS),
        "size": np.sort(rng.normal(size=ROWS)),
        "revenue": rng.lognormal(21, 2, ROWS).round(),
        "sentinel": np.where(rng.random(ROWS) < 0.1, 9_999_999_999_999_999, rng.integers(0, 9, ROWS)),
    }
    left_out = {
        "Unnamed: 0": LeftOutReason.INDEX_COLUMN,
        "counter": LeftOutReason.IDENTIFIER,
        "seconds": LeftOutReason.IDENTIFIER,
        "shuffled seconds": LeftOutReason.IDENTIFIER,
        "milliseconds": LeftOutReason.IDENTIFIER,
        "hash": LeftOutReason.IDENTIFIER,
        "id": LeftOutReason.IDENTIFIER,
        "account": LeftOutReason.IDENTIFIER,
        "__index_level_0__": LeftOutReason.INDEX_COLUMN,
    }
    table = pa.table(columns)
    path = _csv(tmp_path / "rows.csv", **columns)

    for pair in ((table, table), (path, path), (table, path), (path, table)):
        comparison = _compared(*pair)
        assert _left_out(comparison) == left_out
        assert [feature.name for feature in comparison.result.features] == ["tenant", "size", "revenue", "sentinel"]
    assert "hash" in {
        feature.name for feature in _compared(table, table, categorical=frozenset({"hash"})).result.features
    }


def test_columns_of_one_file_only_are_not_compared_or_left_out() -> None:
    x = np.random.default_rng(10).normal(size=ROWS)
    before, now = pa.table({"x": x, "Income": x}), pa.table({"x": x, "income": x, "__index_level_0__": np.arange(ROWS)})
    comparison = _compared(before, now)

    assert [(each.feature, each.detail) for each in comparison.result.coverage.not_compared] == [
        ("Income", 'current has no such column. Did you mean "income"?')
    ]
    assert _left_out(comparison) == {
        "income": LeftOutReason.NOT_IN_REFERENCE,
        "__index_level_0__": LeftOutReason.INDEX_COLUMN,
    }


def test_an_ignored_column_that_is_in_no_file_has_a_note() -> None:
    table = pa.table({"x": np.random.default_rng(11).normal(size=ROWS), "y": ["a", "b"] * (ROWS // 2)})
    comparison = _compared(table, table, ignored=frozenset({"y", "xx"}))

    assert _left_out(comparison) == {"y": LeftOutReason.IGNORED}
    assert comparison.notes == ('--ignore: neither file has a column "xx". Did you mean "x"?',)


def test_predictions_of_another_type_are_not_compared(tmp_path: Path) -> None:
    x = np.random.default_rng(12).normal(size=ROWS)
    before, now = pa.table({"x": x, "p": x}), pa.table({"x": x, "p": ["yes"] * ROWS})
    coverage = _compared(before, now, prediction="p").result.coverage

    assert [(each.feature, each.reason, each.detail) for each in coverage.not_compared] == [
        (
            "predictions",
            ResultStatus.TYPE_CHANGED,
            'In current, 2,000 of 2,000 values are not numbers, the first in row 1: "yes".',
        )
    ]


def test_nothing_to_compare_is_an_error() -> None:
    x = np.random.default_rng(13).normal(size=ROWS)
    with pytest.raises(ComparisonInputError, match=r"there is no column to compare. a: current has no such column"):
        _compared(pa.table({"a": x}), pa.table({"b": x}))
    with pytest.raises(
        ComparisonInputError, match=r"there is no column to compare. id: Its whole numbers only increase"
    ):
        _compared(pa.table({"id": np.arange(ROWS)}), pa.table({"id": np.arange(ROWS)}))
