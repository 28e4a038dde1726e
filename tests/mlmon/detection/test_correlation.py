"""Correlations between features. Oracle: numpy.corrcoef, and Fisher's z, whose variance is 1/n for normal data."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from mlmon.detection.correlation import CorrelationScores, correlation_p_values, correlation_scores, product_sums
from mlmon.detection.numeric import normal_scores, numeric_scores

M, N = 10_000, 1_000
WINDOWS = (1000, 500)
rng = np.random.default_rng(13)


def normal_pair(rho: float, rows: int) -> NDArray[np.float64]:
    x = rng.normal(size=(rows, 3))
    x[:, 1] = rho * x[:, 0] + np.sqrt(1 - rho * rho) * x[:, 1]
    return x


def scored(reference: NDArray[np.float64]) -> tuple[CorrelationScores, NDArray[np.float64]]:
    parts = [numeric_scores(column, WINDOWS) for column in reference.T]
    a = np.column_stack([normal_scores(part.ordered, column) for part, column in zip(parts, reference.T, strict=True)])
    return correlation_scores(a, [part.dependence for part in parts], WINDOWS), np.sort(reference, axis=0)


def sums_of(scores: CorrelationScores, ordered: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    a = np.column_stack([normal_scores(ordered[:, place], rows[:, place]) for place in range(rows.shape[1])])
    return product_sums(scores.standardised(a))


@pytest.mark.parametrize("rho", [0.0, 0.5, -0.8])
def test_normal_data_have_fishers_z(rho: float) -> None:
    scores, ordered = scored(normal_pair(rho, M))
    assert scores.rho[0, 1] == pytest.approx(rho, abs=0.03)
    assert scores.spread[0, 1] == pytest.approx(1.0, abs=0.05)
    rows = normal_pair(rho, N)
    p_values, effects = correlation_p_values(scores, sums_of(scores, ordered, rows), N)
    a = np.column_stack([normal_scores(ordered[:, place], rows[:, place]) for place in range(3)])
    r: Any = np.corrcoef(a.T)
    assert effects[0, 1] == pytest.approx(np.arctanh(r[0, 1]) - np.arctanh(scores.rho[0, 1]), rel=1e-9)
    z = effects[0, 1] / scores.spread[0, 1] * np.sqrt(N * M / (N + M) / scores.phi[N][0, 1])
    assert p_values[0, 1] == pytest.approx(2 * norm.sf(abs(z)), rel=0.1)  # nu is large, not infinite
    assert p_values.diagonal().tolist() == [1.0] * 3


def test_a_changed_correlation_is_seen_in_its_pair_alone() -> None:
    scores, ordered = scored(normal_pair(0.0, M))
    p_values, effects = correlation_p_values(scores, sums_of(scores, ordered, normal_pair(0.5, N)), N)
    assert p_values[0, 1] < 1e-20
    assert effects[0, 1] == pytest.approx(np.arctanh(0.5), abs=0.1)
    assert min(p_values[0, 2], p_values[1, 2]) > 1e-4


def test_sums_of_parts_add_up() -> None:
    scores, ordered = scored(normal_pair(0.3, M))
    rows = normal_pair(0.3, N)
    parts = sum(sums_of(scores, ordered, rows[start : start + 100]) for start in range(0, N, 100))
    np.testing.assert_allclose(parts, sums_of(scores, ordered, rows), rtol=1e-9, atol=1e-9)


def test_missing_values_and_constant_features_are_no_evidence() -> None:
    x = normal_pair(0.6, M)
    x[:, 2] = 1.0
    scores, ordered = scored(x)
    a = np.column_stack([normal_scores(ordered[:, place], x[:N, place]) for place in range(3)])
    a[:100, 0] = np.nan
    p_values, _ = correlation_p_values(scores, product_sums(scores.standardised(a)), N)
    assert p_values[0, 2] == p_values[1, 2] == 1.0
    assert p_values[0, 1] > 1e-8
