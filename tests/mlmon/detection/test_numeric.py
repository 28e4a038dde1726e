"""Location, scale, shape and tails of numbers. Oracle: SciPy's distributions and contingency tables."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, hypergeom, norm
from scipy.stats import f as fisher
from scipy.stats import t as student

from mlmon.detection.numeric import (
    TAILS,
    NumericScores,
    chi_squared_p_values,
    mean_p_values,
    normal_scores,
    numeric_p_values,
    numeric_scores,
    panel_of,
)

TOLERANCE = 1e-10
M, N = 10_000, 1_000
WINDOWS = (1000, 500)
ONE, INFINITE = np.ones(1), np.full(1, np.inf)
rng = np.random.default_rng(11)
REFERENCE = rng.normal(size=M)
SCORES = numeric_scores(REFERENCE, WINDOWS)


def window_result(
    scores: NumericScores, values: NDArray[np.float64], phi: float = 1.0, nu: float = np.inf
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    sums = scores.sums(values)[None, :]
    p_values, effects = numeric_p_values(panel_of([scores]), sums, np.array([phi]), np.array([nu]))
    return p_values[0], effects[0]


def test_scores_are_the_normal_quantiles_of_the_ranks() -> None:
    """The middle rank of ties, and half a rank at the ends."""
    ordered = np.array([1.0, 2.0, 2.0, 3.0])
    values = np.array([0.0, 1.0, 2.0, 2.5, 9.0])
    expected = norm.ppf([0.5 / 4, 0.5 / 4, 0.5, 0.75, 1 - 0.5 / 4])
    np.testing.assert_allclose(normal_scores(ordered, values), expected, rtol=1e-12)


def test_sums_of_parts_add_up_to_that_of_the_whole() -> None:
    values = rng.normal(size=N)
    parts = sum(SCORES.sums(values[start : start + 100]) for start in range(0, N, 100))
    np.testing.assert_allclose(parts, SCORES.sums(values), rtol=1e-12)
    assert SCORES.sums(values)[3 + TAILS :].sum() == N


def test_location_and_scale_compare_means_of_scores() -> None:
    values = rng.normal(0.1, 1.2, size=N)
    p_values, effects = window_result(SCORES, values, phi=2.0, nu=30.0)
    for place, power in ((0, 1), (1, 2)):
        reference = normal_scores(np.sort(REFERENCE), REFERENCE) ** power
        current = normal_scores(np.sort(REFERENCE), values) ** power
        effect = (current.mean() - reference.mean()) / reference.std()
        assert effects[place] == pytest.approx(effect, rel=1e-9)
        effective = N * M / (N + M) / 2.0
        g = ((reference - reference.mean()) ** 3).mean() / reference.std() ** 3 / np.sqrt(effective) * (M - N) / (M + N)
        z = effect * np.sqrt(effective)
        if abs(g) > 1e-6:
            z = (max(0.0, 1 + g * z / 2) ** (1 / 3) - 1 + g * g / 36) * 6 / g
        assert p_values[place] == pytest.approx(2 * student.sf(abs(z), 30), rel=1e-8)


def test_without_skewness_the_p_value_is_that_of_the_normal_distribution() -> None:
    effects, effective = np.array([0.05, -0.1, 0.3]), np.full(3, 900.0)
    found = mean_p_values(effects, np.zeros(3), effective, np.full(3, 0.8), np.full(3, np.inf))
    np.testing.assert_allclose(found, 2 * norm.sf(np.abs(effects) * 30), rtol=TOLERANCE)


def test_shape_is_the_contingency_table_of_the_deciles() -> None:
    values = rng.exponential(size=N)
    bins = np.quantile(REFERENCE, np.arange(1, 10) / 10, method="inverted_cdf")
    table = [np.bincount(np.searchsorted(bins, each, "left"), minlength=10) for each in (REFERENCE, values)]
    oracle = chi2_contingency(table, correction=False)
    p_values, effects = window_result(SCORES, values)
    assert p_values[2] == pytest.approx(oracle.pvalue, rel=1e-6)
    assert effects[2] == pytest.approx(np.sqrt((oracle.statistic - 9) / (N * M / (N + M))), rel=1e-9)
    assert window_result(SCORES, values, phi=3.0, nu=40.0)[0][2] == pytest.approx(
        fisher.sf(oracle.statistic / 27, 9, 40), rel=1e-9
    )


def test_columns_that_are_empty_in_both_samples_count_as_none() -> None:
    before, now = np.array([[500.0, 300.0, 0.0, 200.0]]), np.array([[40.0, 40.0, 0.0, 20.0]])
    p_values, _ = chi_squared_p_values(before, now, np.array([2.0]), ONE, INFINITE)
    oracle = chi2_contingency([[500, 300, 200], [40, 40, 20]], correction=False)
    assert p_values[0] == pytest.approx(oracle.pvalue, rel=TOLERANCE)


def test_tails_are_six_share_tests() -> None:
    values = rng.normal(size=N)
    values[:30] = 8.0
    cut = np.quantile(REFERENCE, 0.999, method="inverted_cdf")
    k, k_reference = int((values > cut).sum()), int((cut < REFERENCE).sum())
    p_values, effects = window_result(SCORES, values)
    assert p_values[3] == pytest.approx(6 * 2 * hypergeom.sf(k - 1, N + M, k + k_reference, N), rel=1e-8)
    share = k_reference / M
    assert effects[3] == pytest.approx((k / N - share) / np.sqrt(share * (1 - share)), rel=1e-9)


@pytest.mark.parametrize(
    ("change", "test"),
    [
        (lambda x: x + 0.3, 0),
        (lambda x: x * 1.3, 1),
        (lambda x: np.where(rng.random(x.size) < 0.5, -0.95, 0.95) + 0.3 * x, 2),
        (lambda x: np.where(rng.random(x.size) < 0.02, 8.0, x), 3),
    ],
)
def test_each_kind_of_change_is_seen_by_its_test(change: object, test: int) -> None:
    p_values, effects = window_result(SCORES, change(rng.normal(size=N)))  # type: ignore[operator]
    assert p_values[test] < 1e-8
    assert abs(effects[test]) > 0.15


def test_frequent_values_have_bins_of_their_own() -> None:
    """Nine in ten values are 0. A tenth of those become tiny numbers: the bin of 0 loses a tenth."""
    zeros = np.where(rng.random(M) < 0.9, 0.0, rng.exponential(size=M))
    scores = numeric_scores(zeros, WINDOWS)
    values = np.where(rng.random(N) < 0.9, 0.0, rng.exponential(size=N))
    assert (window_result(scores, values)[0] > 1e-4).all()
    values[(values == 0) & (rng.random(N) < 0.1)] = 1e-9
    assert window_result(scores, values)[0][2] < 1e-6


def test_features_side_by_side_are_tested_as_alone() -> None:
    zeros = np.where(rng.random(M) < 0.9, 0.0, rng.exponential(size=M))
    both = [SCORES, numeric_scores(zeros, WINDOWS)]
    panel = panel_of(both)
    samples = [rng.normal(0.2, 1, size=N), zeros[:N] + 0.0]
    sums = np.zeros((2, panel.width))
    for place, (scores, values) in enumerate(zip(both, samples, strict=True)):
        sums[place, : scores.sums(values).size] = scores.sums(values)
    p_values, effects = numeric_p_values(panel, sums, np.array([1.0, 2.0]), np.array([np.inf, 50.0]))
    for place, (scores, values, phi, nu) in enumerate(zip(both, samples, (1.0, 2.0), (np.inf, 50.0), strict=True)):
        alone = window_result(scores, values, phi, nu)
        np.testing.assert_allclose(p_values[place], alone[0], rtol=1e-9)
        np.testing.assert_allclose(effects[place], alone[1], rtol=1e-9)


def test_a_window_without_values_and_a_constant_reference_are_no_evidence() -> None:
    assert window_result(SCORES, np.zeros(0))[0].tolist() == [1.0] * 4
    constant = numeric_scores(np.full(M, 3.0), WINDOWS)
    assert window_result(constant, np.full(N, 3.0))[0].tolist() == [1.0] * 4
    changed, effects = window_result(constant, np.full(N, 4.0))
    assert changed[3] < 1e-100
    assert effects[3] == np.inf


def test_p_values_of_independent_windows_are_not_smaller_than_they_say() -> None:
    """2,000 windows of 20 references: P(p <= .01) is at most 1.3 times .01, within three standard errors."""
    counted = np.zeros(4)
    for seed in range(20):
        own = np.random.default_rng([seed, 2])
        scores = numeric_scores(own.normal(size=M), WINDOWS)
        sums = np.array([scores.sums(own.normal(size=N)) for _ in range(100)])[:, None, :]
        counted += (numeric_p_values(panel_of([scores]), sums, ONE, INFINITE)[0][:, 0] <= 0.01).sum(axis=0)
    assert (counted / 2000 <= 0.013 + 3 * np.sqrt(0.013 / 2000)).all()
    assert (counted[:3] / 2000 >= 0.007 - 3 * np.sqrt(0.007 / 2000)).all()
