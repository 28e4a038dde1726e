"""phi and nu of a reference. Oracle: the variance of means of AR(1) and of binomial samples, by formula."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from mlmon.detection.dependence import FEWEST_DEGREES, series_dependence

WINDOWS = (1000, 500)


def autoregressive(rho: float, rows: int, seed: int, series: int = 1) -> NDArray[np.float64]:
    noise = np.random.default_rng(seed).normal(size=(rows + 5000, series)) * np.sqrt(1 - rho * rho)
    filtered: NDArray[np.float64] = lfilter([1], [1, -rho], noise, axis=0)[5000:]
    return filtered


def test_independent_rows_have_phi_close_to_1_and_many_degrees_of_freedom() -> None:
    """But for one reference in fifty, whose chunks vary by chance as if it had slow components."""
    found = [
        series_dependence(autoregressive(0.0, 10_000, seed), WINDOWS, are_indicators=False).at(1000)
        for seed in range(100)
    ]
    assert not any(each.is_insufficient for each in found)
    assert sum(each.nu > 500 and each.phi < 1.15 for each in found) >= 92


@pytest.mark.parametrize("rho", [0.5, 0.8, 0.9])
def test_phi_of_an_autoregressive_series_is_the_variance_of_its_means(rho: float) -> None:
    """(1 + rho) / (1 - rho), less the part of the lags that a window of n rows does not hold."""
    n, lags = 1000, np.arange(1, 1000)
    expected = 1 + 2 * float(((1 - lags / n) * rho**lags).sum())
    found = [
        series_dependence(autoregressive(rho, 50_000, seed), WINDOWS, are_indicators=False).at(n).phi
        for seed in range(10)
    ]
    assert np.median(found) == pytest.approx(expected, rel=0.1)


def test_the_largest_phi_and_the_smallest_nu_of_several_series_count() -> None:
    both = np.column_stack([autoregressive(0.9, 10_000, 1), autoregressive(0.0, 10_000, 2)])
    together = series_dependence(both, WINDOWS, are_indicators=False).at(500)
    alone = series_dependence(both[:, :1], WINDOWS, are_indicators=False).at(500)
    assert together.phi == alone.phi > 10
    assert together.nu == alone.nu < 500


def test_a_reference_that_is_too_short_for_its_dependence_is_insufficient() -> None:
    walk = np.cumsum(np.random.default_rng(3).normal(size=(10_000, 1)), axis=0)
    found = series_dependence(walk, WINDOWS, are_indicators=False).at(1000)
    assert found.is_insufficient
    assert found.nu < FEWEST_DEGREES


def test_whole_cycles_in_a_window_do_not_inflate_phi() -> None:
    """Windows of 1,000 rows hold two whole cycles, so that their means hardly vary; windows of 100 rows do not."""
    rng = np.random.default_rng(4)
    cycle = 3 * np.sin(2 * np.pi * np.arange(10_000) / 500) + rng.normal(size=10_000)
    dependence = series_dependence(cycle[:, None], WINDOWS, are_indicators=False)
    assert dependence.at(1000).phi < 5
    assert dependence.at(1000).nu == np.inf
    assert dependence.at(100).phi > 20


def test_a_rare_outcome_in_bursts_has_few_degrees_of_freedom() -> None:
    is_missing = np.zeros((10_000, 1))
    for start in (1000, 4000, 7000):
        is_missing[start : start + 20] = 1.0
    assert series_dependence(is_missing, WINDOWS, are_indicators=True).at(1000).is_insufficient


def test_a_series_without_variance_says_nothing() -> None:
    found = series_dependence(np.zeros((5000, 2)), WINDOWS, are_indicators=True).at(1000)
    assert (found.phi, found.nu, found.is_insufficient) == (1.0, np.inf, False)
