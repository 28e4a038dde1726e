"""The benchmark of the tests' calibration, with a few windows."""

import json

import numpy as np
import pytest

from benchmarks import calibration
from benchmarks.calibration import figures_of, of_reference, text_of


@pytest.mark.parametrize(
    ("kind", "tests"),
    [
        ("exponential", {"location", "scale", "shape", "tails"}),
        ("five categories", {"categories", "category"}),
        ("5 %", {"missing"}),
    ],
)
def test_about_one_window_in_a_hundred_has_a_p_value_below_one_hundredth(kind: str, tests: set[str]) -> None:
    counts = of_reference(kind, 1, 4_000)
    assert set(counts) == tests
    for test in tests:
        windows, below_1e2, below_1e3, below_1e4 = counts[test]["independent"]
        assert windows == 4_000
        assert below_1e4 <= below_1e3 <= below_1e2 < 120  # 40 expected; those of one reference resemble each other
        assert counts[test]["measured"][1] <= below_1e2


def test_the_ratios_are_the_counts_over_the_levels() -> None:
    """Two references of 100,000 windows with 1,100 and 900 p-values below .01: 1 on average, give or take .07."""
    of = {test: {"independent": [100_000, 1_100, 300, 8]} for test in calibration.NUMERIC}
    other = {test: {"independent": [100_000, 900, 100, 0]} for test in calibration.NUMERIC}
    figures = json.loads(json.dumps(figures_of({"normal": [of, other]}) | {"seconds": 1.0}))
    found = figures["ratios"]["independent"]["location"]
    assert found == pytest.approx({"0.01": 1.0, "0.001": 2.0, "0.0001": 0.4})
    error = np.hypot(100, 100) / 200_000 / 0.01
    assert figures["standard_errors"]["independent"]["location"]["0.01"] == pytest.approx(error)
    assert "location at 0.001" in figures["missed"]  # 2 is more than 1.3
    assert "location at 0.0001" in figures["missed"]  # .4 is less than .7
    assert "tails at 0.0001" not in figures["missed"]  # a test of whole numbers may be cautious
    assert "1.00 ± 0.07" in text_of(figures)
