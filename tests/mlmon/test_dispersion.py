"""The dispersion phi of reference columns, against what theory gives for known kinds of dependence."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from mlmon.profile import INDEPENDENT, Dispersion
from mlmon.statistics.dispersion import missing_dispersion, nominal_dispersion, ordered_dispersion

DECILES = np.arange(1, 10) / 10


def _autoregressive(rows: int, coefficient: float, *, seed: int) -> NDArray[np.float64]:
    noise = np.random.default_rng(seed).normal(size=rows)
    noise[0] /= math.sqrt(1 - coefficient**2)
    series: NDArray[np.float64] = lfilter([1.0], [1.0, -coefficient], noise)
    return series


def _decile_codes(series: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.searchsorted(np.quantile(series, DECILES, method="inverted_cdf"), series)


@pytest.mark.parametrize("seed", range(3))
def test_independent_rows_have_a_dispersion_of_one(seed: int) -> None:
    series = np.random.default_rng(seed).normal(size=10_000)
    dispersion = ordered_dispersion(_decile_codes(series), 10)
    assert dispersion.chunk_rows.tolist() == [500, 1000]
    assert 1.0 <= dispersion.at(1000) < 1.1


@pytest.mark.parametrize("coefficient", [0.5, 0.8])
def test_an_autoregressive_series_has_the_dispersion_of_its_signs(coefficient: float) -> None:
    """The signs of a Gaussian AR(1) have the autocorrelation (2 / pi) * asin(rho**k): Sheppard's orthant formula."""
    signs = (_autoregressive(200_000, coefficient, seed=3) > 0).astype(np.int64)
    expected = 1 + 2 * sum(2 / math.pi * math.asin(coefficient**lag) for lag in range(1, 200))
    assert ordered_dispersion(signs, 2).by_autocorrelation == pytest.approx(expected, rel=0.05)
    assert nominal_dispersion(signs, 2).by_autocorrelation == pytest.approx(expected, rel=0.05)


def test_dependence_beyond_the_longest_lag_is_detected_by_chunks() -> None:
    """Two regimes of 50,000 rows each that only every tenth row shows: its autocorrelation is .01 at every lag."""
    rng = np.random.default_rng(4)
    share = np.where(np.arange(100_000) < 50_000, 0.45, 0.55)
    codes = (rng.random(100_000) < share).astype(np.int64)
    dispersion = nominal_dispersion(codes, 2)
    # Shares of chunks of 10,000 rows: .45 or .55, so n * variance / (F (1 - F)) = 10,000 * .0025 * 10/9 / .25.
    assert dispersion.at(10_000) == pytest.approx(10_000 * 0.0025 * (10 / 9) / 0.25, rel=0.1)
    assert dispersion.at(10_000) > 10 * dispersion.at(500) / 3


def test_a_window_uses_the_next_longer_measured_length() -> None:
    dispersion = Dispersion(np.array([500, 1000, 1500]), np.array([1.5, 2.0, 3.0]), 1.2)
    assert [dispersion.at(rows) for rows in (100, 500, 501, 1000, 1400, 9000)] == [1.5, 1.5, 2.0, 2.0, 3.0, 3.0]
    assert dispersion.is_measured_at(1500)
    assert not dispersion.is_measured_at(1501)


def test_a_reference_too_short_for_ten_chunks_uses_autocorrelation() -> None:
    codes = _decile_codes(_autoregressive(4_000, 0.8, seed=5))
    dispersion = ordered_dispersion(codes, 10)
    assert dispersion.chunk_rows.size == 0
    assert not dispersion.is_measured_at(500)
    assert dispersion.at(500) == dispersion.by_autocorrelation > 3


def test_a_constant_is_independent() -> None:
    assert ordered_dispersion(np.zeros(5_000, dtype=np.int64), 1) is INDEPENDENT
    assert nominal_dispersion(np.zeros(5_000, dtype=np.int64), 1) is INDEPENDENT
    assert missing_dispersion(np.zeros(5_000, dtype=np.bool_)) is INDEPENDENT


def test_missing_values_that_come_in_bursts_are_dispersed() -> None:
    rng = np.random.default_rng(6)
    bursts = np.repeat(rng.random(1_000) < 0.1, 20)  # twenty rows at a time: phi is 20
    assert missing_dispersion(bursts).at(1000) == pytest.approx(20, rel=0.25)
    assert missing_dispersion(rng.permutation(bursts)).at(1000) < 1.2


@pytest.mark.parametrize("rows", [1, 2, 3, 19])
def test_a_few_rows_have_a_dispersion(rows: int) -> None:
    codes = np.arange(rows) % 3
    assert ordered_dispersion(codes, 3).at(1000) >= 1.0
    assert nominal_dispersion(codes, 3).at(1000) >= 1.0
