"""Performance of regressions: the oracle is scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics

from performance.measures.predictions import prediction_errors
from performance.measures.regression import CONSTANT, TOO_LARGE, regression_performance


def test_figures_equal_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    actual = rng.normal(100, 20, 5000)
    predicted = actual + rng.normal(2, 5, 5000)
    found = regression_performance(actual, predicted)
    assert found.rows == 5000
    assert found.mean_absolute_error == pytest.approx(metrics.mean_absolute_error(actual, predicted), rel=1e-12)
    oracle = metrics.root_mean_squared_error(actual, predicted)
    assert found.root_mean_squared_error == pytest.approx(oracle, rel=1e-12)
    assert found.r2_score == pytest.approx(metrics.r2_score(actual, predicted), rel=1e-12)
    assert found.bias == pytest.approx(np.mean(predicted) - np.mean(actual), rel=1e-9)
    assert found.unavailable == {}


@pytest.mark.parametrize("rows", [1, 5])
def test_ground_truth_that_does_not_vary_has_no_r2(rows: int) -> None:
    found = regression_performance(np.full(rows, 3.0), np.full(rows, 5.0))
    assert (found.mean_absolute_error, found.root_mean_squared_error, found.bias) == (2, 2, 2)
    assert (found.r2_score, found.unavailable) == (None, {"r2_score": CONSTANT})


def test_numbers_too_large_for_a_figure_give_none_and_no_warning() -> None:
    found = regression_performance(np.array([-1e308, 1e308]), np.array([1e308, -1e308]))
    assert found.root_mean_squared_error is None
    assert found.unavailable["root_mean_squared_error"] == TOO_LARGE


def test_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="no rows"):
        regression_performance(np.array([]), np.array([]))


def test_an_error_that_is_too_large_for_a_number_is_the_largest_number() -> None:
    actual, predicted = np.array([1e308, 1.0, -2.5]), np.array([-1e308, 1.0, 1.0])
    assert prediction_errors(actual, predicted).tolist() == [np.finfo(np.float64).max, 0.0, 3.5]
