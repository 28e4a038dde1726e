"""Rows of a window that show what changed; shares are counted by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from drift.rendering.example_rows import MOST_FEATURES, MOST_ROWS, ExampleCell, example_rows
from mlmon.results import Distribution, FeatureResult
from mlmon.schema import FeatureKind

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def numbers(name: str = "age", *, missing: tuple[int, int] = (0, 0)) -> FeatureResult:
    """Half of the reference is below 10; of the window three quarters are above."""
    return FeatureResult(
        name=name,
        kind=FeatureKind.NUMERIC,
        threshold=0.15,
        distribution=Distribution((), (0.0, 10.0, 20.0), (50, 50), (25, 75)),
        n_missing_reference=missing[0],
        n_missing_current=missing[1],
    )


def levels() -> FeatureResult:
    return FeatureResult(
        name="city",
        kind=FeatureKind.CATEGORICAL,
        threshold=0.15,
        distribution=Distribution(("Rome", "Oslo", "other"), (), (90, 10, 0), (50, 10, 40)),
    )


def observed(**columns: list[Any]) -> pa.Table:
    rows = len(next(iter(columns.values())))
    return pa.table(
        {
            "observed_at": pa.array([BEGIN + timedelta(seconds=row) for row in range(rows)], pa.timestamp("us", "UTC")),
            "prediction": ["yes"] * rows,
            "confidence": [0.9] * rows,
            **columns,
        }
    )


def texts(found: Any) -> list[list[str]]:
    return [[cell.text for cell in row.cells] for row in found.rows]


def test_rows_with_values_that_became_frequent_come_first_the_newest_of_equals() -> None:
    found = example_rows([numbers()], observed(age=[15.0, 3.0, 15.0, 4.0]))
    assert found is not None
    assert texts(found) == [["15"], ["4"], ["3"]]
    assert [row.observed_at.second for row in found.rows] == [2, 3, 1]
    assert found.rows[0].cells[0].reason == "such values: 75 % of the window, 50 % before"
    assert found.rows[1].cells[0].reason == ""
    assert (found.rows[0].prediction, found.rows[0].confidence) == ("yes", "0.900")


def test_what_changed_in_several_features_counts_together() -> None:
    table = observed(age=[15.0, 15.0, 3.0], city=["Rome", "Kyiv", "Kyiv"])
    found = example_rows([numbers(), levels()], table)
    assert found is not None
    # Kyiv is one of the pooled categories: their share grew by .4, that of high ages by .25.
    assert texts(found) == [["15", "Kyiv"], ["3", "Kyiv"], ["15", "Rome"]]
    assert found.rows[0].cells[1] == ExampleCell("Kyiv", "such values: 40 % of the window, 0 % before")


def test_the_reason_of_the_row_above_is_marked_as_repeated() -> None:
    found = example_rows([numbers()], observed(age=[15.0, 16.0, 3.0, 4.0]))
    assert found is not None
    assert texts(found) == [["16"], ["15"], ["4"], ["3"]]
    assert [row.cells[0].is_repeated for row in found.rows] == [False, True, False, True]


def test_missing_values_that_became_frequent_are_shown() -> None:
    found = example_rows([numbers(missing=(0, 100))], observed(age=[15.0, None]))
    assert found is not None
    assert found.rows[0].cells[0] == ExampleCell("missing", "missing: 50 % of the window, 0 % before")


def test_values_outside_the_bins_count_to_the_outer_ones() -> None:
    found = example_rows([numbers()], observed(age=[-5.0, 25.0]))
    assert found is not None
    assert texts(found) == [["25"], ["-5"]]


def test_there_are_at_most_ten_rows_of_five_features() -> None:
    features = [numbers(f"age{place}") for place in range(7)]
    table = observed(**{f"age{place}": [float(row) for row in range(30)] for place in range(7)})
    found = example_rows(features, table)
    assert found is not None
    assert len(found.names) == MOST_FEATURES
    assert len(found.rows) == MOST_ROWS


def test_without_rows_or_without_the_features_there_is_nothing() -> None:
    assert example_rows([numbers()], pa.table({})) is None
    assert example_rows([numbers()], observed(other=[1.0])) is None
    assert example_rows([], observed(age=[1.0])) is None
