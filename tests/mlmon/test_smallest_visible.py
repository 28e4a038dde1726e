"""The smallest visible changes are what they say: a window just above one is an alarm, one just below it is not."""

from typing import Any

import numpy as np
import pytest

from mlmon.criteria import Criteria
from mlmon.prepared import PreparedReference
from mlmon.results import Test
from tests.mlmon.judged_windows import (
    CRITERIA,
    TWO_WINDOWS,
    feature_of,
    judged,
    normal_quantiles,
    reference_of,
    verdict_of,
)

M = 10_000
rng = np.random.default_rng(51)
X = normal_quantiles(M, 1)
COLOURS = np.array(["red", "green", "blue"])
REFERENCE = reference_of({"x": X})


def _visible(
    name: str, test: Test, reference: PreparedReference, window: dict[str, Any], criteria: Criteria = CRITERIA
) -> float:
    result = judged(reference, window, criteria=criteria, with_details=True)
    return feature_of(result, name).smallest_visible[test]


@pytest.mark.parametrize(("criteria", "rows"), [(CRITERIA, 500), (CRITERIA, 800), (TWO_WINDOWS, 800)])
def test_a_shift_just_above_the_smallest_visible_one_is_an_alarm(criteria: Criteria, rows: int) -> None:
    """The window of 500 rows needs a larger shift, so that the main one decides."""
    window = normal_quantiles(rows, 2)
    size = _visible("x", Test.LOCATION, REFERENCE, {"x": window}, criteria)
    assert 0.15 < size < 0.25
    for factor, is_alarm in ((1.02, True), (0.98, False)):
        found = verdict_of(judged(REFERENCE, {"x": window + factor * size}, criteria=criteria), "x")
        assert found.is_alarm is is_alarm
        if is_alarm:
            assert (found.test, found.window_rows) == (Test.LOCATION, rows)
            assert found.effect == pytest.approx(factor * size, rel=0.01)


def test_a_large_window_needs_the_smallest_effect_that_matters() -> None:
    assert _visible("x", Test.LOCATION, REFERENCE, {"x": normal_quantiles(5000, 2)}) == 0.15


def test_extreme_values_just_above_the_smallest_visible_share_are_an_alarm() -> None:
    """Rows between the 99th and the 99.5th percentile, instead of others of the highest decile but one."""
    window = np.sort(normal_quantiles(500, 2))
    share = _visible("x", Test.TAILS, REFERENCE, {"x": window})
    rows = round(share * 500)
    assert share == pytest.approx(rows / 500)
    cut, next_cut = np.quantile(X, [0.99, 0.995])
    extreme = rng.uniform(cut + 1e-6, next_cut - 1e-6, size=rows)
    usual = np.where(window > cut, 1.5, window)
    for count, is_alarm in ((rows, True), (rows - 1, False)):
        values = usual.copy()
        values[420 : 420 + count] = extreme[:count]
        found = verdict_of(judged(REFERENCE, {"x": values}), "x")
        assert found.is_alarm is is_alarm
        assert found.test is Test.TAILS or not is_alarm


def test_a_new_category_just_above_the_smallest_visible_share_is_an_alarm() -> None:
    names = np.array([f"colour {place}" for place in range(50)])  # each of which has a test, as the new one has
    reference = reference_of({"colour": rng.permutation(np.repeat(names, 200))})
    window = np.repeat(names, 10).astype(object)
    share = _visible("colour", Test.CATEGORY, reference, {"colour": window})
    rows = round(share * 500)
    assert share == pytest.approx(rows / 500)
    for count, is_alarm in ((rows, True), (rows - 1, False)):
        values = window.copy()
        values[: 10 * count : 10] = "mauve"  # one row of each of the first categories
        assert verdict_of(judged(reference, {"colour": values}), "colour").is_alarm is is_alarm


@pytest.mark.parametrize("before", [0.0, 0.05])
@pytest.mark.parametrize("rows", [500, 10_000])
def test_missing_values_just_above_the_smallest_visible_share_are_an_alarm(before: float, rows: int) -> None:
    """They are spread evenly. Of the longer window two points more, because fewer do not matter."""
    values = X.copy()
    values[rng.permutation(M)[: int(before * M)]] = np.nan
    reference = reference_of({"x": values})
    window = normal_quantiles(rows, 2)
    share = _visible("x", Test.MISSING, reference, {"x": window})
    assert rows == 500 or share == pytest.approx(before + 0.02)
    least = int(np.ceil(share * rows - 1e-9))
    for count, is_alarm in ((least + (rows > 500), True), (least - 1, False)):
        window[:] = normal_quantiles(rows, 2)
        window[np.linspace(0, rows - 1, count).astype(int)] = np.nan
        found = feature_of(judged(reference, {"x": window}), "x").missing_verdict
        assert found is not None
        assert found.is_alarm is is_alarm


def test_dependent_rows_show_less() -> None:
    bursts = np.repeat(rng.normal(size=2000), 5)
    window = {"x": normal_quantiles(1000, 2)}
    independent = _visible("x", Test.LOCATION, REFERENCE, window)
    dependent = _visible("x", Test.LOCATION, reference_of({"x": bursts}), window)
    # Five times as few rows, by the square root; the reference of independent rows is close to the gate.
    assert dependent == pytest.approx(independent * np.sqrt(5), rel=0.15)


def test_each_kind_of_column_has_its_tests() -> None:
    m, walk = 5000, np.cumsum(rng.normal(size=5000))
    columns = {
        "number": rng.normal(size=m),
        "colour": rng.choice(COLOURS, m),
        "code": rng.integers(0, 5, m),
        "constant": np.ones(m),
        "walk": walk,
    }
    window = {name: values[:500] for name, values in columns.items()}
    result = judged(reference_of(columns), window, with_details=True)
    found = {name: set(feature_of(result, name).smallest_visible) for name in columns}
    of_categories = {Test.CATEGORIES, Test.CATEGORY, Test.MISSING}
    assert found["number"] == {Test.LOCATION, Test.SCALE, Test.SHAPE, Test.TAILS, Test.MISSING}
    assert found["colour"] == found["code"] == of_categories
    assert found["constant"] == {Test.CATEGORY, Test.MISSING}
    assert found["walk"] == {Test.MISSING}  # its reference is too short for its values alone
    assert all(size > 0 for name in columns for size in feature_of(result, name).smallest_visible.values())
    assert feature_of(judged(reference_of(columns), window), "number").smallest_visible == {}
