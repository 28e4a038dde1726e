"""``manage.py drift_compare``: its output, its files and its exit status."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from scipy import stats

DESTINATIONS = ["JFK", "LGA", "EWR"]


def _table(rows: int, *, seed: int, shift: float = 0.0) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "distance": rng.normal(10 + shift, 2, rows),
            "dest": rng.choice(DESTINATIONS, rows, p=[0.5, 0.3, 0.2]),
            "late": rng.choice(["yes", "no"], rows, p=[0.2, 0.8]),
        }
    )


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    path = tmp_path / "reference.parquet"
    pa.parquet.write_table(_table(6000, seed=1), path)
    return path


@pytest.fixture
def drifted(tmp_path: Path) -> Path:
    path = tmp_path / "drifted.parquet"
    pa.parquet.write_table(_table(600, seed=2, shift=2.0), path)
    return path


@pytest.fixture
def quiet(tmp_path: Path) -> Path:
    path = tmp_path / "quiet.csv"
    pa.csv.write_csv(_table(600, seed=3), path)
    return path


def _run(*arguments: str | Path) -> tuple[int, str]:
    """Return the exit status and the output of the command."""
    printed = StringIO()
    try:
        call_command("drift_compare", *map(str, arguments), stdout=printed, no_color=True)
    except SystemExit as end:
        return int(end.code or 0), printed.getvalue()
    return 0, printed.getvalue()


def _error_message(*arguments: str | Path) -> str:
    with pytest.raises(CommandError) as caught:
        call_command("drift_compare", *map(str, arguments), stdout=StringIO())
    assert caught.value.returncode == 2
    return str(caught.value)


def test_drift_is_described_and_ends_with_1(reference: Path, drifted: Path) -> None:
    status, printed = _run(reference, drifted, "--prediction", "late")

    assert status == 1
    assert re.match(r"distance changed: median went from (9\.9|10\.)\d+ to 1[12]\.\d+ \(p = \d+e-\d+\)", printed)
    assert "At most one false alarm in 10,000 checks." in printed
    lines = printed.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("feature "))
    assert [line.split()[0] for line in lines[first + 2 : first + 4]] == ["distance", "dest"]
    assert "Predictions: no drift" in printed


def test_a_quiet_csv_against_a_parquet_ends_with_0(reference: Path, quiet: Path) -> None:
    status, printed = _run(reference, quiet)

    assert status == 0
    # Location, scale, shape and tails of the number, two tests of each of both columns of strings, and one window.
    assert re.match(r"No drift\. Closest to an alarm of 8 tests: (distance|dest|late), p = ", printed)


def test_the_json_figures_are_those_of_scipy(reference: Path, drifted: Path, tmp_path: Path) -> None:
    target = tmp_path / "figures.json"
    _run(reference, drifted, "--json", target, "--prediction", "late")
    body = json.loads(target.read_text())

    before, now = pa.parquet.read_table(reference), pa.parquet.read_table(drifted)
    expected = stats.ks_2samp(before["distance"].to_numpy(), now["distance"].to_numpy())
    assert body["feature_drift"]["distance"]["score"] == pytest.approx(expected.statistic, abs=1e-12)
    counts = [[table["dest"].to_pylist().count(name) for name in DESTINATIONS] for table in (before, now)]
    contingency = stats.chi2_contingency(counts, correction=False)
    assert body["feature_drift"]["dest"]["statistic"] == pytest.approx(contingency.statistic, abs=1e-9)
    assert body["verdict"]["status"] == "alarm"
    assert body["drifted_features"] == ["distance"]
    assert body["current"] == {"file": "drifted.parquet", "rows": 600}
    assert body["formats"]["current"]["kind"] == "parquet"
    assert body["prediction_drift"]["is_drifted"] is False


def test_json_on_stdout_is_the_only_output(reference: Path, quiet: Path) -> None:
    status, printed = _run(reference, quiet, "--json", "-")

    assert status == 0
    assert json.loads(printed)["prediction_drift"] is None


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ([], 1),
        (["--fail-on", "never"], 0),
        # Nothing is so unlikely that it would not come once in so many checks; the score is above all the same.
        (["--fail-on", "drift", "--budget", "1" + "0" * 300], 1),
        (["--budget", "1" + "0" * 300], 0),
    ],
)
def test_fail_on_and_budget_decide_the_exit_status(
    reference: Path, drifted: Path, options: list[str], status: int
) -> None:
    assert _run(reference, drifted, *options)[0] == status


def test_without_a_verdict_a_score_above_its_threshold_counts(tmp_path: Path, reference: Path) -> None:
    few = tmp_path / "few.parquet"
    pa.parquet.write_table(_table(300, seed=4, shift=2.0), few)

    status, printed = _run(reference, few)
    assert status == 1
    assert printed.startswith("No verdict: The window has 300 rows; a verdict needs 500.")
    assert _run(reference, few, "--column-threshold", "distance=0.9")[0] == 0


def test_a_shorter_window_detects_a_late_change(tmp_path: Path, reference: Path) -> None:
    path = tmp_path / "late.parquet"
    rows = pa.concat_tables([_table(9500, seed=5), _table(500, seed=6, shift=0.9)])
    pa.parquet.write_table(rows, path)

    assert _run(reference, path)[0] == 0
    status, printed = _run(reference, path, "--window", "500", "--json", "-")
    assert status == 1
    assert json.loads(printed)["verdict"]["listed"][0]["window_rows"] == 500
    assert (
        "--window 20000: not compared, as the current file has fewer rows."
        in _run(reference, path, "--window", "20000")[1]
    )


def test_a_changed_relation_of_columns_is_an_alarm_that_names_the_pair(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    before, now = tmp_path / "before.parquet", tmp_path / "now.parquet"
    for path, rho, rows in ((before, 0.0, 6000), (now, 0.8, 1000)):
        x, noise = rng.normal(size=(2, rows))
        pa.parquet.write_table(pa.table({"x": x, "y": rho * x + np.sqrt(1 - rho**2) * noise}), path)

    status, printed = _run(before, now, "--joint")
    assert status == 1
    assert re.match(r"x and y changed: correlation with y went from -?0\.0\d+ to 0\.(7[7-9]|8[0-3])\d* \(p", printed)
    assert "a classifier separates the window's rows from the reference's" in printed
    assert "a classifier" not in _run(before, now)[1]


def test_bad_input_names_file_column_and_reason(reference: Path, quiet: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and nothing more")
    texts = tmp_path / "texts.csv"
    texts.write_text("distance,dest,late\n1,JFK\n")

    assert _error_message(tmp_path / "none.csv", quiet) == f"There is no file {tmp_path / 'none.csv'}."
    assert _error_message(reference, broken).startswith(f"{broken}: ")
    assert _error_message(reference, texts).startswith(f"{texts}: ")
    wrong = _error_message(reference, quiet, "--prediction", "lat")
    assert wrong == f"{reference}: there is no column 'lat' (--prediction). Did you mean \"late\"?"
    for option in ("--time", "--categorical"):
        assert f"there is no column 'lat' ({option})." in _error_message(reference, quiet, option, "lat")
    assert "no column 'dst'" in _error_message(reference, quiet, "--column-threshold", "dst=0.1")


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        (["--budget", "0"], "argument --budget: expected a whole number from 1"),
        (["--budget", "9" * 5000], "argument --budget: expected a whole number from 1"),
        (["--window", "100"], "argument --window: expected a whole number from 500"),
        (["--threshold", "2"], "argument --threshold: expected a number from 0 to 1"),
        (["--prediction-threshold", "nan"], "argument --prediction-threshold: expected a number from 0 to 1"),
        (["--column-threshold", "0.2"], "argument --column-threshold: expected a column and a number"),
        (["--fail-on", "sunday"], "argument --fail-on: invalid choice"),
        (["--zone", "Mars/Olympus"], "argument --zone: there is no time zone 'Mars/Olympus' on this machine"),
        (
            ["--json", "/no/such/folder/figures.json"],
            "argument --json: /no/such/folder/figures.json: there is no folder",
        ),
        (["--html", "/"], "argument --html: /: Is a directory"),
    ],
)
def test_invalid_options_are_rejected(reference: Path, quiet: Path, option: list[str], reason: str) -> None:
    with pytest.raises(CommandError, match=re.escape(reason)):
        call_command("drift_compare", str(reference), str(quiet), *option)


@pytest.fixture
def renamed(tmp_path: Path) -> Path:
    """Rows like the reference's, whose column dest has another name."""
    path = tmp_path / "renamed.parquet"
    pa.parquet.write_table(_table(600, seed=3).rename_columns(["distance", "destination", "late"]), path)
    return path


def test_a_column_that_cannot_be_compared_ends_with_4_and_says_what_to_do(reference: Path, renamed: Path) -> None:
    status, printed = _run(reference, renamed)

    assert status == 4
    assert printed.startswith(
        "Incomplete: 1 of 3 features could not be compared. No drift in the rest. Closest to an alarm of 6 tests: "
    )
    block = printed[printed.index("Not compared:") :].splitlines()
    assert (
        block[1] == "  dest: missing column. renamed.parquet has no such column. Check whether the column was renamed."
    )
    assert block[2] == "  To accept this, leave them out: --ignore dest"
    assert "Left out on purpose:\n  destination: not in the reference." in printed
    assert _run(reference, renamed, "--ignore", "dest")[0] == 0
    assert _run(reference, renamed, "--fail-on", "never")[0] == 0


def test_drift_counts_more_than_a_column_that_cannot_be_compared(reference: Path, tmp_path: Path) -> None:
    path = tmp_path / "both.parquet"
    pa.parquet.write_table(_table(600, seed=2, shift=2.0).drop_columns(["dest"]), path)

    status, printed = _run(reference, path)
    assert status == 1
    assert printed.startswith("distance changed: ")
    assert "  dest: missing column." in printed


def test_nothing_to_compare_is_bad_input_whatever_fails(reference: Path, tmp_path: Path) -> None:
    path = tmp_path / "upper.parquet"
    pa.parquet.write_table(_table(600, seed=3).rename_columns(["Distance", "Dest", "Late"]), path)

    for options in ([], ["--fail-on", "never"], ["--json", "-"]):
        message = _error_message(reference, path, *options)
        assert "there is no column to compare. distance: " in message


def test_the_coverage_is_in_the_json_and_on_the_page(reference: Path, renamed: Path, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    status, printed = _run(reference, renamed, "--json", "-", "--html", target)

    body = json.loads(printed)
    assert (status, body["verdict"]["status"]) == (4, "incomplete")
    missing = {"feature": "dest", "reason": "missing_column", "detail": "renamed.parquet has no such column."}
    extra = {
        "feature": "destination",
        "reason": "not_in_reference",
        "detail": "reference.parquet has no such column.",
    }
    assert body["coverage"] == {"compared": 2, "not_compared": [missing], "left_out": [extra]}
    page = target.read_text()
    assert page.index("1 of 3 features could not be compared.") < page.index('aria-label="Verdict"')
    assert "Check whether the column was renamed." in page
    assert "No drift." not in page


@pytest.mark.parametrize("program", [["-m", "mlmon", "compare"], ["manage.py", "drift_compare"]], ids=" ".join)
def test_a_reader_that_stops_early_sees_no_traceback(
    program: list[str], reference: Path, drifted: Path, quiet: Path, tmp_path: Path
) -> None:
    for current, expected in ((quiet, 0), (drifted, 1)):
        assert _status_without_reader([*program, str(reference), str(current), "--json", "-"], tmp_path) == expected
    assert _status_without_reader([*program, "--help"], tmp_path) == 0
    assert _status_without_reader([*program, str(reference), "/no/such/file.csv"], tmp_path) == 2


def _status_without_reader(arguments: list[str], folder: Path) -> int:
    """Return the exit status of a program whose output nobody reads; its stderr must be empty or an error message."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=settings.BASE_DIR,
            env={**os.environ, "MLMON_VAR_DIR": str(folder)},
            stdout=write_end,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        os.close(write_end)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    return done.returncode


class _Page(HTMLParser):
    """Collects what a page would load, and what it draws."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[tuple[str, str | None]] = []
        self.paths: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [(name, value) for name, value in attrs if name in ("src", "href", "srcset", "action")]
        self.paths += [dict(attrs)["class"] or ""] if tag == "path" else []


def test_the_page_is_complete_and_loads_nothing(reference: Path, drifted: Path, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    _run(reference, drifted, "--html", target, "--prediction", "late")
    text = target.read_text()
    page = _Page()
    page.feed(text)

    assert page.loads == []
    assert not {"script", "link", "img", "iframe", "form"} & set(page.tags)
    assert "url(" not in text
    assert "@import" not in text
    assert sorted(page.paths) == ["current", "reference"]  # of the one column of numbers
    for words in ("distance changed: median went from", "prefers-color-scheme: dark", "Predictions", "JFK"):
        assert words in text


def test_names_and_values_are_escaped_on_the_page_and_in_the_terminal(tmp_path: Path) -> None:
    name, category = "<img src=x>\x1b[31m", "<b>new</b>"
    before, now, target = tmp_path / "before.parquet", tmp_path / "now.parquet", tmp_path / "report.html"
    pa.parquet.write_table(pa.table({name: ["a", "b"] * 1000}), before)
    pa.parquet.write_table(pa.table({name: ["a", category] * 300}), now)

    _, printed = _run(before, now, "--html", target)
    assert "\x1b" not in printed
    assert "<img" not in target.read_text()
    assert "<b>new" not in target.read_text()
    assert "&lt;b&gt;new&lt;/b&gt;" in target.read_text()


def test_the_help_has_examples_and_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _help: Any = call_command("drift_compare", "--help")
    printed = capsys.readouterr().out
    for words in (
        "examples:",
        "exit status:",
        "0  quiet",
        "1  drift",
        "2  bad input",
        "4  not compared",
        "reference.csv current.csv",
    ):
        assert words in printed
