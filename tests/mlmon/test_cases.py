"""Files that were compared wrongly in November 2026, and the right result of each."""

import json
from pathlib import Path
from typing import Any

import pytest

from mlmon.cli import main

CASES = Path(__file__).parent / "cases"


def _compared(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, dict[str, Any]]:
    """Return the exit status, and the JSON output (empty if there is none)."""
    status = main(["compare", *map(str, arguments), "--json", "-"])
    printed = capsys.readouterr().out
    return status, json.loads(printed) if printed else {}


@pytest.mark.parametrize(
    ("reference", "current", "status"),
    [
        ("emptied-column/ref.csv", "emptied-column/cur.csv", 1),
        ("nothing-compared/ref.csv", "nothing-compared/cur.csv", 1),
        ("nothing-compared/ref.csv", "nothing-compared/cur-case.csv", 2),
        ("nothing-compared/ref-semicolon.csv", "nothing-compared/cur-semicolon.csv", 1),
        ("nothing-compared/ref.csv", "nothing-compared/cur-semicolon.csv", 1),
        ("nothing-compared/ref-de.csv", "nothing-compared/ref-de.csv", 0),
        ("nothing-compared/cur.csv", "nothing-compared/ref-de.csv", 0),
        ("duplicate-columns/excel-ref.csv", "duplicate-columns/excel-cur.csv", 0),
        ("duplicate-columns/dup-ref.csv", "duplicate-columns/dup-cur.csv", 2),
        ("pandas-index/ref.parquet", "pandas-index/cur.parquet", 0),
        ("two-spellings/bool-ref.csv", "two-spellings/bool-cur.csv", 0),
        ("two-spellings/bool-cur.csv", "two-spellings/bool-ref.csv", 0),
        ("two-spellings/int-ref.csv", "two-spellings/int-cur.csv", 0),
        ("two-spellings/int-cur.csv", "two-spellings/int-ref.csv", 0),
        ("time-formats/dmy-ref.csv", "time-formats/dmy-cur.csv", 0),
        ("time-formats/ns-ref.csv", "time-formats/ns-cur.csv", 0),
    ],
)
def test_the_exit_status_is_right(
    capsys: pytest.CaptureFixture[str], reference: str, current: str, status: int
) -> None:
    assert _compared(capsys, CASES / reference, CASES / current)[0] == status


def test_an_emptied_column_is_an_alarm_of_its_missing_values(capsys: pytest.CaptureFixture[str]) -> None:
    _, body = _compared(capsys, CASES / "emptied-column" / "ref.csv", CASES / "emptied-column" / "cur.csv")

    listed = {(each["channel"], each["name"]) for each in body["verdict"]["listed"]}
    assert {("missing_values", "income"), ("missing_values", "at (hour)")} <= listed


def test_renamed_columns_name_what_they_may_be(capsys: pytest.CaptureFixture[str]) -> None:
    folder = CASES / "nothing-compared"
    assert main(["compare", str(folder / "ref.csv"), str(folder / "cur-case.csv")]) == 2
    message = capsys.readouterr().err
    assert 'age: cur-case.csv has no such column. Did you mean "Age"?' in message
    assert 'city: cur-case.csv has no such column. Did you mean "City"?' in message


def test_a_stray_value_has_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    _, body = _compared(capsys, CASES / "two-spellings" / "int-ref.csv", CASES / "two-spellings" / "int-cur.csv")

    note = (
        'grade in int-ref.csv: 5 of 1,000 values are not numbers, the first in row 1: "unknown"; they count as missing.'
    )
    assert body["notes"] == [note]
    assert body["feature_drift"]["grade"]["kind"] == "numeric"


def test_dates_and_nanoseconds_are_times(capsys: pytest.CaptureFixture[str]) -> None:
    folder = CASES / "time-formats"
    _, dates = _compared(capsys, folder / "dmy-ref.csv", folder / "dmy-cur.csv")
    _, nanoseconds = _compared(capsys, folder / "ns-ref.csv", folder / "ns-cur.csv")

    # 25 days that begin with a Thursday and 25 that begin with a Sunday have different weekdays, and no hours.
    assert list(dates["feature_drift"]) == ["at"]
    assert dates["notes"][0] == "at: its dates are read as dd/mm/yyyy."
    assert "weekdays are not compared" in dates["notes"][1]
    assert list(nanoseconds["feature_drift"]) == ["at (hour)"]


def test_a_duplicate_name_is_an_error_with_both_places_until_it_is_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(CASES / "duplicate-columns" / name) for name in ("dup-ref.csv", "dup-cur.csv")]
    assert main(["compare", *files]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f'error: {files[0]}: Column "age" is in the file 2 times: as columns 1 and 3.')
    assert "--ignore" in message

    status, body = _compared(capsys, *files, "--ignore", "age")
    assert status == 0
    assert list(body["feature_drift"]) == ["city"]


def test_wholly_empty_columns_without_a_name_are_no_columns(capsys: pytest.CaptureFixture[str]) -> None:
    folder = CASES / "duplicate-columns"
    _, body = _compared(capsys, folder / "excel-ref.csv", folder / "excel-cur.csv")
    assert list(body["feature_drift"]) == ["age", "city"]


def test_what_was_detected_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder, page = CASES / "nothing-compared", tmp_path / "report.html"
    files = folder / "cur.csv", folder / "ref-de.csv"
    _, body = _compared(capsys, *files, "--html", page)
    main(["compare", *map(str, files)])
    printed = capsys.readouterr().out

    assert body["formats"]["reference"]["delimiter"] == ","
    assert body["formats"]["current"] == {
        "kind": "csv",
        "delimiter": ";",
        "encoding": "utf-8",
        "decimal_point": ",",
        "is_compressed": False,
    }
    assert 'ref-de.csv is a CSV file separated by ";" with decimal commas, in utf-8.' in printed
    assert "ref-de.csv is a CSV file separated by" in page.read_text()
    _, body = _compared(capsys, *(CASES / "time-formats" / name for name in ("dmy-ref.csv", "dmy-cur.csv")))
    assert body["date_formats"] == {"at": "dd/mm/yyyy"}
