"""Times as instants: the forms that are read, time zones, and the clocks that are set forward and back."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mlmon.detection.phases import NO_TIME, local_times
from mlmon.exceptions import TimeValueError, TimeZoneError
from mlmon.instants import instants_of
from mlmon.time_zones import check_time_zone, instants_of_clocks

NEW_YORK = "America/New_York"
NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)  # 08:00 in New York


def instants(values: list[Any], kind: Any = None, *, zone: str = NEW_YORK, with_numbers: bool = True) -> list[Any]:
    """Return the instants of a column as times in UTC, None for a missing one."""
    is_written = any(isinstance(value, str) for value in values)
    column = pa.array(values).cast(kind or pa.string()) if is_written else pa.array(values, kind)
    found = instants_of(pa.chunked_array([column]), zone, with_numbers=with_numbers)
    return [
        None if one == NO_TIME else datetime.fromtimestamp(0, UTC) + timedelta(microseconds=one)
        for one in found.tolist()
    ]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("2026-07-01T12:00:00Z", None),
        ("2026-07-01 14:00:00+02:00", None),
        ("2026-07-01T08:00:00-04", None),
        ("2026-07-01T08:00:00", None),
        ("2026-07-01 08:00", None),
        ("2026-07-01T08:00:00.000000000", None),
        ("2026/07/01 8:00 AM", None),
        ("31.07.2026 08:00", None),
        (NOON, pa.timestamp("ns", "UTC")),
        (NOON, pa.timestamp("s", "Europe/Berlin")),
        ("2026-07-01T08:00:00", pa.timestamp("ms")),
        (int(NOON.timestamp()), pa.int64()),
        (NOON.timestamp(), pa.float64()),
        (int(NOON.timestamp()) * 10**3, pa.int64()),
        (int(NOON.timestamp()) * 10**6, pa.int64()),
        (str(int(NOON.timestamp())), None),
        (f"{NOON.timestamp() * 1e3:.1f}", None),
    ],
)
def test_each_form_is_the_same_instant(value: Any, kind: Any) -> None:
    day = timedelta(days=30 if value == "31.07.2026 08:00" else 0)
    assert instants([None, value], kind) == [None, NOON + day]


@pytest.mark.parametrize(
    ("value", "kind"), [("2026-07-01", None), (date(2026, 7, 1), pa.date32()), (date(2026, 7, 1), pa.date64())]
)
def test_a_date_begins_at_midnight_of_the_zone(value: Any, kind: Any) -> None:
    assert instants([value], kind) == [datetime(2026, 7, 1, 4, tzinfo=UTC)]
    assert instants([value], kind, zone="Asia/Kolkata") == [datetime(2026, 6, 30, 18, 30, tzinfo=UTC)]


def test_times_with_and_without_an_offset_may_be_mixed() -> None:
    values = ["2026-07-01T08:00:00", "2026-07-01T12:00:00Z", "2026-07-01T13:00:00+01:00", None]
    assert instants(values) == [NOON, NOON, NOON, None]


@pytest.mark.parametrize("zone", [NEW_YORK, "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"])
def test_clocks_of_a_year_are_those_of_pandas(zone: str) -> None:
    """Oracle: pandas' tz_localize, with the first of two equal times."""
    wall = pd.date_range("2025-01-01", "2026-06-30", freq="17min", unit="us")
    expected = wall.tz_localize(zone, ambiguous=np.ones(len(wall), dtype=np.bool_), nonexistent="NaT")
    was_shown = ~expected.isna()
    assert zone in ("UTC", "Asia/Kathmandu") or not was_shown.all()
    local = wall.asi8[was_shown]
    found = instants_of_clocks(local, zone)
    np.testing.assert_array_equal(found, expected[was_shown].asi8)
    np.testing.assert_array_equal(local_times(found, zone), local)
    skipped = wall.asi8[~was_shown]
    assert (local_times(instants_of_clocks(skipped, zone), zone) != skipped).all()


def test_an_hour_that_clocks_showed_twice_is_the_first() -> None:
    assert instants(["2026-11-01 01:30"]) == [datetime(2026, 11, 1, 5, 30, tzinfo=UTC)]
    assert instants(["2026-11-01 01:30-05:00"]) == [datetime(2026, 11, 1, 6, 30, tzinfo=UTC)]


@pytest.mark.parametrize("kind", [None, pa.timestamp("us")])
def test_an_hour_that_clocks_skipped_is_refused(kind: Any) -> None:
    values = ["2026-03-08T01:59", "2026-03-08T02:30"]
    with pytest.raises(
        TimeValueError, match=r"clocks in America/New_York never showed .*02:30.*, as they were"
    ) as error:
        instants(values, kind)
    assert error.value.row == 1
    assert instants(values, kind, zone="UTC")[1] == datetime(2026, 3, 8, 2, 30, tzinfo=UTC)


def test_a_date_without_a_midnight_begins_with_its_first_instant() -> None:
    """In 2018, Brazil set its clocks forward at midnight of 4 November, which was 03:00 in UTC."""
    first = [datetime(2018, 11, 4, 3, tzinfo=UTC)]
    assert instants([date(2018, 11, 4)], pa.date32(), zone="America/Sao_Paulo") == first


@pytest.mark.parametrize(
    ("values", "kind", "row", "reason"),
    [
        (["2026-07-01", "tomorrow"], None, 1, r'expected a time from 1900 to 2100, such as 2026-.*, got "tomorrow"'),
        (["2026-07-01", None, "9999-12-31"], None, 2, 'expected a time from 1900 to 2100, .*, got "9999-12-31"'),
        (["2026-02-30"], None, 0, 'got "2026-02-30"'),
        ([None, "10:30", "11:30"], None, 1, 'expected a time from 1900 to 2100, .*, got "10:30"'),
        (["03/04/2026", "05/04/2026"], None, 0, 'the day or the month may be first in "03/04/2026"; write the year'),
        (["1700000000", "2026-07-01"], None, 1, 'expected a Unix time from 2000 to 2100, .*, got "2026-07-01"'),
        (["12"], None, 0, 'expected a Unix time from 2000 to 2100, .*, got "12"'),
        ([1_700_000_000, 1_700_000_000_000], None, 1, 'expected a Unix time .*, got "1700000000000"'),
        ([None, True], None, 1, "expected a time .*, got a value of the type bool"),
        ([0, 10**17], pa.timestamp("s"), 1, "expected a time from 1900 to 2100"),  # more microseconds than 2**63
    ],
)
def test_a_value_that_is_no_time_is_named(values: list[Any], kind: Any, row: int, reason: str) -> None:
    with pytest.raises(TimeValueError, match=reason) as error:
        instants(values, kind)
    assert error.value.row == row


@pytest.mark.parametrize("values", [["1700000000"], [1_700_000_000], [1.7e9]])
def test_numbers_are_times_only_on_request(values: list[Any]) -> None:
    assert instants(values) == [datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)]
    with pytest.raises(TimeValueError, match="is a number, which is a time only if its column is named"):
        instants(values, with_numbers=False)


def test_a_decimal_comma_in_unix_times() -> None:
    column = pa.chunked_array([pa.array(["1700000000,5"])])
    assert instants_of(column, "UTC", with_numbers=True, decimal_point=",").tolist() == [1_700_000_000_500_000]


@pytest.mark.parametrize("kind", [pa.string(), pa.float64(), pa.timestamp("us"), pa.null()])
def test_a_column_without_a_value_has_no_times(kind: Any) -> None:
    assert instants([None, None], kind) == [None, None]
    assert instants([float("nan"), None], pa.float64()) == [None, None]


@pytest.mark.parametrize("name", ["UTC", NEW_YORK, "Europe/Berlin", "Etc/GMT-2", "Asia/Kolkata"])
def test_a_time_zone_of_the_database_is_accepted(name: str) -> None:
    check_time_zone(name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("new york", "Is it America/New_York?"),
        ("europe/berlin", "Is it Europe/Berlin?"),
        ("Europe/Berln", "Is it Europe/Berlin or "),
        ("UTC+2", "Is it UTC?"),
        ("", "Use a name such as UTC, Europe/Berlin or America/New_York."),
        ("localtime", "Use a name such as"),
        ("../etc/passwd", "Use a name such as"),
        ("a\0b", "Use a name such as"),
    ],
)
def test_another_name_is_refused_with_similar_ones(name: str, hint: str) -> None:
    with pytest.raises(TimeZoneError) as error:
        check_time_zone(name)
    assert str(error.value).startswith("There is no time zone ")
    assert hint in str(error.value)
