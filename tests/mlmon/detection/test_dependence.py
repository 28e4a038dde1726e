"""phi and nu of a reference. Oracle: the variance of means of AR(1) and of binomial samples, by formula."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from mlmon.detection.dependence import (
    FEWEST_DEGREES,
    category_groups,
    dependence_of_array,
    group_dependence,
    looks_sorted,
    series_dependence,
)


def autoregressive(rho: float, rows: int, seed: int, series: int = 1) -> NDArray[np.float64]:
    noise = np.random.default_rng(seed).normal(size=(rows + 5000, series)) * np.sqrt(1 - rho * rho)
    filtered: NDArray[np.float64] = lfilter([1], [1, -rho], noise, axis=0)[5000:]
    return filtered


def test_independent_rows_have_phi_close_to_1_and_many_degrees_of_freedom() -> None:
    """But for one reference in fifty, whose chunks vary by chance as if it had slow components."""
    found = [series_dependence(autoregressive(0.0, 10_000, seed), are_indicators=False).at(1000) for seed in range(100)]
    assert not any(each.needed_rows for each in found)
    assert sum(each.nu > 500 and each.phi < 1.15 for each in found) >= 92


@pytest.mark.parametrize("rho", [0.5, 0.8, 0.9])
def test_phi_of_an_autoregressive_series_is_the_variance_of_its_means(rho: float) -> None:
    """(1 + rho) / (1 - rho), less the part of the lags that a window of n rows does not hold."""
    n, lags = 1000, np.arange(1, 1000)
    expected = 1 + 2 * float(((1 - lags / n) * rho**lags).sum())
    found = [series_dependence(autoregressive(rho, 50_000, seed), are_indicators=False).at(n).phi for seed in range(10)]
    assert np.median(found) == pytest.approx(expected, rel=0.1)


def test_the_largest_phi_and_the_smallest_nu_of_several_series_count() -> None:
    both = np.column_stack([autoregressive(0.9, 10_000, 1), autoregressive(0.0, 10_000, 2)])
    together = series_dependence(both, are_indicators=False).at(500)
    alone = series_dependence(both[:, :1], are_indicators=False).at(500)
    assert together.phi == alone.phi > 10
    assert together.nu == alone.nu < 500


def test_a_reference_that_is_too_short_for_its_dependence_is_insufficient() -> None:
    walk = np.cumsum(np.random.default_rng(3).normal(size=(10_000, 1)), axis=0)
    found = series_dependence(walk, are_indicators=False).at(1000)
    assert found.nu < FEWEST_DEGREES
    assert found.needed_rows > 10_000
    assert found.needed_rows % 1000 == 0


def test_whole_cycles_in_a_window_do_not_inflate_phi() -> None:
    """Windows of 1,000 rows hold two whole cycles, so that their means hardly vary; windows of 100 rows do not."""
    rng = np.random.default_rng(4)
    cycle = 3 * np.sin(2 * np.pi * np.arange(10_000) / 500) + rng.normal(size=10_000)
    dependence = series_dependence(cycle[:, None], are_indicators=False)
    assert dependence.at(1000).phi < 5
    assert dependence.at(1000).nu == np.inf
    assert dependence.at(100).phi > 20


def test_a_rare_outcome_in_bursts_has_few_degrees_of_freedom() -> None:
    is_missing = np.zeros((10_000, 1))
    for start in (1000, 4000, 7000):
        is_missing[start : start + 20] = 1.0
    assert series_dependence(is_missing, are_indicators=True).at(1000).needed_rows > 10_000


@pytest.mark.parametrize("value", [0.0, 0.1, 0.6744897501960817**2])
def test_a_series_without_variance_says_nothing(value: float) -> None:
    """Its mean is off by rounding, which is no variance: squared normal scores of two values are such a series."""
    series = np.full((5000, 2), value)
    series[::2, 1] = np.nextafter(value, 1)
    found = series_dependence(series, are_indicators=False).at(1000)
    assert (found.phi, found.nu, found.needed_rows) == (1.0, np.inf, 0)


def test_phi_and_nu_follow_the_autocorrelations() -> None:
    """Written out for one lag after the other, with the lags that Sokal's rule keeps. No chunk flags or caps these."""
    m, n = 20_000, 700  # no chunk length, so that only the autocorrelations and the chunks of 700 rows count
    x = autoregressive(0.6, m, 5)
    centred = x[:, 0] - x[:, 0].mean()
    rho = [float(centred[k:] @ centred[: m - k]) / float(centred @ centred) for k in range(1, 200)]
    width = next(w for w in range(1, 200) if w >= 5 * (1 + 2 * sum(rho[:w])))
    g = (2 * width + 1) / m
    phi = (1 + 2 * sum((1 - k / n) * rho[k - 1] for k in range(1, width + 1))) * (1 + g)
    found = series_dependence(x, are_indicators=False).at(n)
    assert found.phi == pytest.approx(phi, rel=1e-9)
    assert 1 / found.nu == pytest.approx(g + (phi - 1) / m, rel=1e-9)


def test_a_flagged_series_has_the_dispersion_of_its_chunks() -> None:
    """A level that changes every 2,000 rows and explains a tenth of the variance, too slow for autocorrelations."""
    rng = np.random.default_rng(6)
    m, n = 40_000, 1000
    x = rng.normal(size=m) + np.repeat(rng.normal(0, 0.33, size=m // 2000), 2000)
    means = np.array([x[start : start + n].mean() for start in range(0, m - n + 1, 100)])
    ratio = n * ((means - x.mean()) ** 2).mean() / x.var() / (1 - n / m)
    found = series_dependence(x[:, None], are_indicators=False).at(n)
    assert found.phi == pytest.approx(ratio, rel=1e-9)
    assert found.phi > 50
    assert found.nu <= m // n - 1


def test_dependence_is_stored_as_one_array() -> None:
    rng = np.random.default_rng(7)
    several = np.column_stack([autoregressive(0.9, 12_345, 1), autoregressive(0.2, 12_345, 2), rng.normal(size=12_345)])
    for series in (several, several[:, :1], several[:90], np.zeros((5000, 1)), np.zeros((0, 0))):
        own = series_dependence(series, are_indicators=False)
        again = dependence_of_array(own.to_array())
        assert [again.at(n) for n in (500, 1000, 2500)] == [own.at(n) for n in (500, 1000, 2500)]
        assert again.rows == own.rows
    assert dependence_of_array(np.zeros(0)).at(1000).phi == 1.0


def test_groups_of_categories_have_about_equal_shares() -> None:
    """One category with half of the rows and 500 rare ones: what comes in bursts is seen although each is rare."""
    rng = np.random.default_rng(8)
    at_random = np.where(rng.random(20_000) < 0.5, 0, rng.integers(1, 501, 20_000))
    in_bursts = np.where(np.repeat(rng.random(500), 40) < 0.5, 0, rng.integers(1, 501, 20_000))
    for codes, least, most in ((at_random, 1.0, 1.3), (in_bursts, 20.0, 60.0)):
        found = group_dependence(codes, category_groups(np.bincount(codes, minlength=501))).at(1000)
        assert least <= found.phi <= most


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.sort(np.random.default_rng(9).normal(size=5000)), True),
        (np.sort(np.random.default_rng(9).normal(size=5000))[::-1], True),
        (np.repeat([3, 1, 2], [2000, 500, 2500]), True),
        (np.repeat(np.arange(300), 20), True),
        (np.random.default_rng(9).normal(size=5000), False),
        (np.random.default_rng(9).integers(0, 3, 5000), False),
        (np.cumsum(np.random.default_rng(9).normal(size=5000)), False),
        (autoregressive(0.99, 5000, 9)[:, 0], False),
        (np.tile(np.repeat([0, 1, 2], 500), 4), False),
        (np.zeros(5000), False),
        (np.tile([-1.5e308, 1.5e308], 200), False),
        (np.arange(3), False),
        (np.zeros(0), False),
    ],
    ids=[
        "ascending",
        "descending",
        "few_values",
        "whole_numbers",
        "shuffled",
        "random_categories",
        "random_walk",
        "ar99",
        "cycle",
        "constant",
        "large",
        "three",
        "none",
    ],
)
def test_a_sorted_reference_is_recognised(values: NDArray[np.float64], expected: bool) -> None:
    assert looks_sorted(values) is expected
