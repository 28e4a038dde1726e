"""Correlations between features. Oracles: SciPy's Pearson correlation of normal scores, and Fisher's z."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm, pearsonr, skew
from scipy.stats import t as student

from mlmon.detection.correlation import (
    CorrelationScores,
    correlation_p_values,
    correlation_scores,
    pair_dependence,
    product_sums,
)

M, N = 10_000, 1_000
UNKNOWN = [np.zeros(1)] * 3  # autocorrelations of independent rows
ONES, INFINITE = np.ones((3, 3)), np.full((3, 3), np.inf)
rng = np.random.default_rng(13)


def normal_pair(rho: float, rows: int) -> NDArray[np.float64]:
    """Return three columns of normal scores, of which the first two are correlated."""
    x = rng.normal(size=(rows, 3))
    x[:, 1] = rho * x[:, 0] + np.sqrt(1 - rho * rho) * x[:, 1]
    return x


def sums_of(scores: CorrelationScores, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return product_sums(scores.standardised(rows))


@pytest.mark.parametrize("shape", ["normal", "heavy"])
def test_the_moments_of_a_reference_are_those_of_its_rows(shape: str) -> None:
    x = normal_pair(0.6, 3000) if shape == "normal" else normal_pair(0.6, 3000) * rng.uniform(0, 2, size=(3000, 1))
    scores = correlation_scores(x)
    np.testing.assert_allclose(scores.means, x.mean(axis=0), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(scores.deviations, x.std(axis=0), rtol=1e-12)
    a = (x - x.mean(axis=0)) / x.std(axis=0)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        rho = pearsonr(x[:, i], x[:, j]).statistic
        assert scores.rho[i, j] == scores.rho[j, i] == pytest.approx(rho, rel=1e-9)
        influence = a[:, i] * a[:, j] - rho * (a[:, i] ** 2 + a[:, j] ** 2) / 2
        spread = influence.std() / (1 - rho**2)
        assert scores.spread[i, j] == pytest.approx(spread, rel=1e-9)
        assert scores.skewness[i, j] == scores.skewness[j, i] == pytest.approx(skew(influence), rel=1e-8)
        for place, b in enumerate((100, 200, 500, 1000)):
            z = [np.arctanh(pearsonr(*x[start : start + b, [i, j]].T).statistic) for start in range(0, 3001 - b, 100)]
            ratio = b * np.mean((np.array(z) - np.arctanh(rho)) ** 2) / spread**2 / (1 - b / 3000)
            assert scores.chunk_ratios[place, i, j] == pytest.approx(ratio, rel=1e-8)
    assert scores.spread.diagonal().tolist() == [0.0] * 3
    assert scores.chunk_ratios.shape == (4, 3, 3)  # two chunks of 2,000 rows do not fit


@pytest.mark.parametrize("rho", [0.0, 0.5, -0.8])
def test_normal_data_have_fishers_z(rho: float) -> None:
    scores = correlation_scores(normal_pair(rho, M))
    assert scores.rho[0, 1] == pytest.approx(rho, abs=0.03)
    assert scores.spread[0, 1] == pytest.approx(1.0, abs=0.05)
    rows = normal_pair(rho, N)
    p_values, effects, found = correlation_p_values(scores, sums_of(scores, rows), 2 * ONES, INFINITE)
    r = pearsonr(rows[:, 0], rows[:, 1]).statistic
    assert found[0, 1] == pytest.approx(r, rel=1e-9)
    assert effects[0, 1] == pytest.approx(np.arctanh(r) - np.arctanh(scores.rho[0, 1]), rel=1e-9)
    z = effects[0, 1] / scores.spread[0, 1] * np.sqrt(N * M / (N + M) / 2)
    # A normal score has little skewness left to correct.
    g = scores.skewness[0, 1] * np.sqrt(2 * (N + M) / (N * M)) * (M - N) / (M + N)
    z = ((1 + g * z / 2) ** (1 / 3) - 1 + g * g / 36) * 6 / g
    assert p_values[0, 1] == pytest.approx(2 * norm.sf(abs(z)), rel=1e-9, abs=0)
    assert p_values.diagonal().tolist() == [1.0] * 3
    uncertain = correlation_p_values(scores, sums_of(scores, rows), 2 * ONES, 20 * ONES)[0]
    assert uncertain[0, 1] == pytest.approx(2 * student.sf(abs(z), 20), rel=1e-9, abs=0)


def test_a_changed_correlation_is_seen_in_its_pair_alone() -> None:
    scores = correlation_scores(normal_pair(0.0, M))
    p_values, effects, _ = correlation_p_values(scores, sums_of(scores, normal_pair(0.5, N)), ONES, INFINITE)
    assert p_values[0, 1] < 1e-20
    assert effects[0, 1] == pytest.approx(np.arctanh(0.5), abs=0.1)
    assert min(p_values[0, 2], p_values[1, 2]) > 1e-4


def test_a_shift_of_both_features_is_no_change_of_their_correlation() -> None:
    """r is about the window's own means."""
    scores = correlation_scores(normal_pair(0.5, M))
    rows = normal_pair(0.5, N)
    shifted = correlation_p_values(scores, sums_of(scores, rows + np.array([1.0, -0.5, 0.0])), ONES, INFINITE)[0]
    alone = correlation_p_values(scores, sums_of(scores, rows), ONES, INFINITE)[0]
    np.testing.assert_allclose(shifted, alone, rtol=1e-6)


def test_sums_of_parts_add_up() -> None:
    scores = correlation_scores(normal_pair(0.3, M))
    rows = normal_pair(0.3, N)
    parts = sum(sums_of(scores, rows[start : start + 100]) for start in range(0, N, 100))
    np.testing.assert_allclose(parts, sums_of(scores, rows), rtol=1e-9, atol=1e-9)


def test_missing_values_and_constant_features_are_no_evidence() -> None:
    x = normal_pair(0.6, M)
    x[:, 2] = 1.0
    scores = correlation_scores(x)
    rows = x[:N].copy()
    rows[:100, 0] = np.nan
    p_values, effects, _ = correlation_p_values(scores, sums_of(scores, rows), ONES, INFINITE)
    assert p_values[0, 2] == p_values[1, 2] == 1.0
    assert effects[0, 2] == 0.0
    assert p_values[0, 1] > 1e-8


@pytest.mark.parametrize(("missing", "is_tested"), [(0.19, True), (0.21, False)])
def test_a_feature_with_more_than_a_fifth_missing_is_left_out(missing: float, is_tested: bool) -> None:
    x = normal_pair(0.6, M)
    x[: int(missing * M), 0] = np.nan
    scores = correlation_scores(x)
    assert (scores.spread[0] > 0).tolist() == [False, is_tested, is_tested]
    assert scores.spread[1, 2] > 0


def mostly_zero(share: float, rows: int, own: np.random.Generator) -> NDArray[np.float64]:
    """Return three independent columns, of which the first two are 0 but for a share, and else about 3."""
    x = own.normal(size=(rows, 3))
    x[:, :2] = np.where(own.random((rows, 2)) < share, 3 + 0.3 * x[:, :2], 0.0)
    return x


def test_few_rows_that_decide_about_a_correlation_are_no_alarm() -> None:
    """Both columns vary together in 1.25 rows of a window of 500, as Poisson has it, and r is one sum of these."""
    own = np.random.default_rng(3)
    scores = correlation_scores(mostly_zero(0.05, M, own))
    assert scores.skewness[0, 1] == pytest.approx(20, abs=5)  # of a product of two indicators: about 1 / .05
    sums = np.array([sums_of(scores, mostly_zero(0.05, 500, own)) for _ in range(4000)])
    p_values = correlation_p_values(scores, sums, ONES, INFINITE)[0][:, 0, 1]
    assert np.count_nonzero(p_values <= 1e-3) <= 6  # 4 expected; without the correction for skewness 33


def test_features_that_hardly_ever_vary_together_are_no_pair() -> None:
    """In 1 of 10,000 rows: with one more or less, r would vary very differently."""
    scores = correlation_scores(mostly_zero(0.01, M, rng))
    assert (scores.spread[0] > 0).tolist() == [False, False, True]


def test_features_that_are_the_same_are_no_pair() -> None:
    x = normal_pair(0.6, M)
    x[:, 1] = x[:, 0]
    scores = correlation_scores(x)
    assert (scores.spread[0] > 0).tolist() == [False, False, True]
    p_values = correlation_p_values(scores, sums_of(scores, normal_pair(0.0, N)), ONES, INFINITE)[0]
    assert p_values[0, 1] == 1.0


@pytest.mark.parametrize(("scale", "is_tested"), [(0.05, False), (0.25, False), (0.4, True)])
def test_a_feature_that_hardly_varies_in_the_window_is_no_evidence(scale: float, is_tested: bool) -> None:
    """With a tenth of the reference's variance or less; that the variance fell is what the scale test sees."""
    scores = correlation_scores(normal_pair(0.9, M))
    rows = normal_pair(0.0, N) * [scale, 1.0, 1.0]
    p_values = correlation_p_values(scores, sums_of(scores, rows), ONES, INFINITE)[0]
    assert bool(p_values[0, 1] < 1e-6) is is_tested
    assert p_values[0, 1] == 1.0 or is_tested


def test_some_of_the_features_are_tested_as_among_all() -> None:
    scores = correlation_scores(normal_pair(0.4, M))
    part, rows = scores.of([0, 2]), normal_pair(0.4, N)
    found = correlation_p_values(part, sums_of(part, rows[:, [0, 2]]), ONES[:2, :2], INFINITE[:2, :2])
    every = correlation_p_values(scores, sums_of(scores, rows), ONES, INFINITE)
    for one, other in zip(found, every, strict=True):
        assert one[0, 1] == pytest.approx(other[0, 2], rel=1e-9)
    np.testing.assert_array_equal(part.chunk_ratios, scores.chunk_ratios[:, [0, 2]][:, :, [0, 2]])


def test_the_dispersion_of_a_pair_comes_from_both_autocorrelations() -> None:
    """Bartlett's formula: 1 + 2 sum (1 - k/n) rho_i(k) rho_j(k), each up to its own window of lags."""
    scores = correlation_scores(normal_pair(0.4, M))
    lags = [0.9 ** np.arange(1, 60), 0.5 ** np.arange(1, 20), np.array([0.3])]
    phi, nu = pair_dependence(scores, lags, N)
    for i in range(3):
        for j in range(3):
            shorter = min(lags[i].size, lags[j].size)
            total = sum((1 - k / N) * lags[i][k - 1] * lags[j][k - 1] for k in range(1, shorter + 1))
            assert phi[i, j] == pytest.approx(1 + 2 * total, rel=1e-12)
            assert nu[i, j] == pytest.approx(M / (2 * max(lags[i].size, lags[j].size) + 1), rel=1e-12)


def test_a_correlation_that_comes_and_goes_has_the_dispersion_of_its_chunks() -> None:
    """It is .8 and -.8 by turns of 1,000 rows, which no autocorrelation of a feature shows."""
    x = normal_pair(0.8, 20_000)
    x[:, 1] *= np.repeat(np.tile([1.0, -1.0], 10), 1000)
    scores = correlation_scores(x)
    phi, nu = pair_dependence(scores, UNKNOWN, N)
    assert phi[0, 1] == scores.chunk_ratios[3, 0, 1] > 100
    assert nu[0, 1] == 20_000 // 1000 - 1
    assert phi[0, 2] == 1.0


def test_rows_in_which_a_value_is_missing_are_left_out_of_its_pairs() -> None:
    """Missing values counted as the mean would weaken every correlation, and more so in bursts."""
    x = normal_pair(0.8, 4000)
    x[np.random.default_rng(4).random(x.shape) < 0.1] = np.nan
    scores = correlation_scores(x)
    complete = ~np.isnan(x[:, :2]).any(axis=1)
    expected = pearsonr(*x[complete, :2].T).statistic
    assert scores.rho[0, 1] == pytest.approx(expected, rel=1e-9)
    assert scores.pair_rows[0, 1] == complete.sum()
    a = (x - np.nanmean(x, axis=0)) / np.nanstd(x, axis=0)
    a = a[complete]
    influence = a[:, 0] * a[:, 1] - expected * (a[:, 0] ** 2 + a[:, 1] ** 2) / 2
    assert scores.spread[0, 1] == pytest.approx(influence.std() / (1 - expected**2), rel=1e-9)
    assert scores.skewness[0, 1] == pytest.approx(skew(influence), rel=1e-8)
    rows = normal_pair(0.8, 600)
    rows[100:400, 0] = np.nan  # a burst: half of the window
    p_values, _, found = correlation_p_values(scores, sums_of(scores, rows), ONES, INFINITE)
    kept = ~np.isnan(rows[:, 0])
    assert found[0, 1] == pytest.approx(pearsonr(rows[kept, 0], rows[kept, 1]).statistic, rel=1e-9)
    assert p_values[0, 1] > 1e-3
