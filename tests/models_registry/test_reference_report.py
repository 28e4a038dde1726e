"""The report of a profile for people."""

import numpy as np
import pyarrow as pa
import pytest

from mlmon.profiling import column_profile
from models_registry.reference_report import HISTOGRAM_BINS, ColumnReport, column_report


def numbers(values: list[float | None]) -> ColumnReport:
    return column_report("x", column_profile(pa.array(values, pa.float64())), len(values), shown=5)


def test_the_bars_equal_numpys_histogram() -> None:
    values = np.random.default_rng(1).gamma(2, size=5000)
    counts, _ = np.histogram(values, bins=HISTOGRAM_BINS)
    assert numbers(values.tolist()).bars == pytest.approx(tuple(100 * counts / counts.max()))


@pytest.mark.parametrize(
    ("values", "highest"),
    [
        ([0.1 + 0.2, 0.3], [0, HISTOGRAM_BINS - 1]),  # adjacent floats: NumPy has no bins between them
        ([-1.7e308, 1.7e308], [0, HISTOGRAM_BINS - 1]),  # their difference overflows
        ([0.0, 5e-324], [0]),
        ([-np.inf, 1.0, 3.0, np.inf, None], [0, HISTOGRAM_BINS - 1]),
        ([4.0, 4.0], [0]),
    ],
)
def test_bars_of_extreme_values(values: list[float | None], highest: list[int]) -> None:
    assert [index for index, bar in enumerate(numbers(values).bars) if bar == 100] == highest


@pytest.mark.parametrize("values", [[None, None], [np.inf, -np.inf]])
def test_a_column_without_a_finite_value_has_no_bars(values: list[float | None]) -> None:
    report = numbers(values)
    assert report.bars == ()
    assert report.missing_percent == 100 * values.count(None) / len(values)


def test_hidden_categories_are_summed() -> None:
    values = pa.array(["a"] * 5 + ["b"] * 3 + ["c", "d", None])
    report = column_report("x", column_profile(values), 11, shown=2)
    assert [(category.name, category.percent) for category in report.categories] == [("a", 50.0), ("b", 30.0)]
    assert (report.n_more_categories, report.more_percent) == (2, 20.0)
    assert report.n_missing == 1
    assert report.missing_percent == pytest.approx(100 / 11)
