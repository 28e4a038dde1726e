"""Location, scale, shape and tails of numbers. Oracle: SciPy's distributions and contingency tables."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2, chi2_contingency, hypergeom, norm, rankdata
from scipy.stats import f as fisher
from scipy.stats import t as student

from mlmon.detection.numeric import (
    TAILS,
    NumericScores,
    ScoreCells,
    chi_squared_p_values,
    mean_p_values,
    numeric_p_values,
    numeric_scores,
    panel_of,
    score_cells,
)

TOLERANCE = 1e-10
M, N = 10_000, 1_000
ONE, INFINITE = np.ones(1), np.full(1, np.inf)
rng = np.random.default_rng(11)


def scored(reference: NDArray[np.float64]) -> tuple[ScoreCells, NumericScores]:
    ordered = np.sort(reference)
    cells = score_cells(ordered)
    return cells, numeric_scores(ordered, cells.of_ordered(ordered))


REFERENCE = rng.normal(size=M)
CELLS, SCORES = OWN = scored(REFERENCE)


def sums_of(own: tuple[ScoreCells, NumericScores], values: NDArray[np.float64]) -> NDArray[np.float64]:
    ordered = np.sort(values)
    return own[1].sums(own[0].of_ordered(ordered), ordered)


def window_result(
    own: tuple[ScoreCells, NumericScores], values: NDArray[np.float64], phi: float = 1.0, nu: float = np.inf
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    sums = sums_of(own, values)[None, :]
    p_values, effects, _ = numeric_p_values(panel_of([own[1]]), sums, np.array([phi]), np.array([nu]))
    return p_values[0], effects[0]


def scores_by_ranks(reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the normal scores of a reference's own values, by SciPy's mean ranks."""
    ranks = (rankdata(reference, method="average") - 0.5) / reference.size
    scores: NDArray[np.float64] = norm.ppf(np.clip(ranks, 0.5 / reference.size, 1 - 0.5 / reference.size))
    return scores


@pytest.mark.parametrize(
    "reference",
    [
        rng.normal(size=3000),
        np.round(rng.normal(size=3000), 1),
        np.where(rng.random(3000) < 0.4, 0.0, rng.exponential(size=3000)),
        np.where(rng.random(3000) < 0.3, 1.0, rng.normal(size=3000)),
    ],
    ids=["untied", "ties", "frequent_minimum", "frequent_inside"],
)
def test_scores_are_the_normal_quantiles_of_the_mean_ranks(reference: NDArray[np.float64]) -> None:
    cells = score_cells(np.sort(reference))
    np.testing.assert_allclose(cells.of_rows(reference), scores_by_ranks(reference), rtol=1e-9, atol=1e-12)


def test_values_that_the_reference_does_not_have_get_the_rank_of_their_cell() -> None:
    """Below all others and above them: half a rank. Just below a frequent value: the values below it, not its rank."""
    cells = score_cells(np.array([1.0, 2.0, 2.0, 3.0]))
    values = np.array([0.0, 1.0, 1.5, 2.0, 3.0, 9.0])
    expected = norm.ppf([0.5 / 4, 0.5 / 4, 1 / 4, 2 / 4, 1 - 0.5 / 4, 1 - 0.5 / 4])
    np.testing.assert_allclose(cells.of_rows(values), expected, rtol=1e-12)


def test_values_below_a_frequent_minimum_are_the_lowest() -> None:
    zeros = np.where(rng.random(M) < 0.9, 0.0, rng.exponential(size=M))
    cells = score_cells(np.sort(zeros))
    share = float((zeros == 0).mean())
    below, minimum = cells.of_rows(np.array([-1e-9, 0.0]))
    assert below == pytest.approx(norm.ppf(0.5 / M), rel=1e-12)
    assert minimum == pytest.approx(norm.ppf(share / 2), rel=1e-12)


@pytest.mark.parametrize("m", [10_001, 25_000, 123_456])
def test_a_long_reference_has_at_most_ten_thousand_cells_with_nearly_the_ranks(m: int) -> None:
    reference = np.where(rng.random(m) < 0.07, 0.5, rng.normal(size=m))
    ordered = np.sort(reference)
    cells = score_cells(ordered)
    assert cells.cuts.size <= 10_002
    exact = norm.cdf(scores_by_ranks(ordered))
    found = norm.cdf(cells.of_ordered(ordered))
    assert np.abs(found - exact).max() <= np.ceil(m / 10_000) / m
    assert found[ordered == 0.5][0] == pytest.approx(exact[ordered == 0.5][0], abs=1e-12)
    values = np.sort(np.concatenate([rng.normal(0, 3, size=5000), [0.5, np.nextafter(0.5, 0), np.nextafter(0.5, 1)]]))
    assert (np.diff(cells.of_ordered(values)) >= 0).all()


@pytest.mark.parametrize("n", [1, 150, 1000, 20_000])
def test_scores_do_not_depend_on_the_order_of_the_values(n: int) -> None:
    """Few values are looked up one by one, many after sorting, and more than the cells by cell."""
    values = rng.normal(size=n)
    one_by_one = np.array([CELLS.of_rows(values[place : place + 1])[0] for place in range(n)])
    np.testing.assert_array_equal(CELLS.of_rows(values), one_by_one)
    np.testing.assert_array_equal(CELLS.of_ordered(np.sort(values)), np.sort(one_by_one))


def test_sums_of_parts_add_up_to_that_of_the_whole() -> None:
    values = rng.normal(size=N)
    parts = sum(sums_of(OWN, values[start : start + 100]) for start in range(0, N, 100))
    np.testing.assert_allclose(parts, sums_of(OWN, values), rtol=1e-12)
    assert sums_of(OWN, values)[3 + TAILS :].sum() == N


def test_location_and_scale_compare_means_of_scores() -> None:
    values = rng.normal(0.1, 1.2, size=N)
    p_values, effects = window_result(OWN, values, phi=2.0, nu=30.0)
    for place, power in ((0, 1), (1, 2)):
        reference = CELLS.of_rows(REFERENCE) ** power
        current = CELLS.of_rows(values) ** power
        effect = (current.mean() - reference.mean()) / reference.std()
        assert effects[place] == pytest.approx(effect, rel=1e-9)
        effective = N * M / (N + M) / 2.0
        g = ((reference - reference.mean()) ** 3).mean() / reference.std() ** 3 / np.sqrt(effective) * (M - N) / (M + N)
        z = effect * np.sqrt(effective)
        if abs(g) > 1e-6:
            z = (max(0.0, 1 + g * z / 2) ** (1 / 3) - 1 + g * g / 36) * 6 / g
        assert p_values[place] == pytest.approx(2 * student.sf(abs(z), 30), rel=1e-8, abs=0)


def test_without_skewness_the_p_value_is_that_of_the_normal_distribution() -> None:
    effects, effective = np.array([0.05, -0.1, 0.3]), np.full(3, 900.0)
    found = mean_p_values(effects, np.zeros(3), effective, np.full(3, 0.8), np.full(3, np.inf))
    np.testing.assert_allclose(found, 2 * norm.sf(np.abs(effects) * 30), rtol=TOLERANCE)
    found = mean_p_values(effects, np.zeros(3), effective, np.full(3, 0.8), np.full(3, 25.0))
    np.testing.assert_allclose(found, 2 * student.sf(np.abs(effects) * 30, 25), rtol=TOLERANCE)


@pytest.mark.parametrize("degrees", [20, 200])
@pytest.mark.parametrize("sign", [1, -1])
def test_skewness_is_corrected_by_the_cube_root_of_chi_squared(degrees: int, sign: int) -> None:
    """A chi-squared variable has the skewness sqrt(8 / degrees); its cube root is normal (Wilson and Hilferty)."""
    z = np.linspace(-2.5, 6, 30)
    x = degrees + z * np.sqrt(2 * degrees)
    spread = np.sqrt(2 / (9 * degrees))
    transformed = (np.cbrt(x / degrees) - (1 - 2 / (9 * degrees))) / spread
    ones = np.ones(30)
    skewness = sign * np.sqrt(8 / degrees) * ones
    found = mean_p_values(sign * z, skewness, ones, ones, np.full(30, np.inf))
    np.testing.assert_allclose(found, np.minimum(1, 2 * norm.sf(np.abs(transformed))), rtol=TOLERANCE)
    upper = (z > 1) & (z < 5)  # further out the approximation is worse than a tenth
    np.testing.assert_allclose(found[upper], 2 * chi2.sf(x[upper], degrees), rtol=0.1)


def test_shape_is_the_contingency_table_of_the_deciles() -> None:
    values = rng.exponential(size=N)
    bins = np.quantile(REFERENCE, np.arange(1, 10) / 10, method="inverted_cdf")
    table = [np.bincount(np.searchsorted(bins, each, "left"), minlength=10) for each in (REFERENCE, values)]
    oracle = chi2_contingency(table, correction=False)
    p_values, effects = window_result(OWN, values)
    assert p_values[2] == pytest.approx(oracle.pvalue, rel=TOLERANCE, abs=0)
    assert effects[2] == pytest.approx(np.sqrt((oracle.statistic - 9) / (N * M / (N + M))), rel=1e-9, abs=0)
    assert window_result(OWN, values, phi=3.0, nu=40.0)[0][2] == pytest.approx(
        fisher.sf(oracle.statistic / 27, 9, 40), rel=TOLERANCE, abs=0
    )


def test_columns_that_are_empty_in_both_samples_count_as_none() -> None:
    before, now = np.array([[500.0, 300.0, 0.0, 200.0]]), np.array([[40.0, 40.0, 0.0, 20.0]])
    p_values, _ = chi_squared_p_values(before, now, np.array([2.0]), ONE, INFINITE)
    oracle = chi2_contingency([[500, 300, 200], [40, 40, 20]], correction=False)
    assert p_values[0] == pytest.approx(oracle.pvalue, rel=TOLERANCE, abs=0)


def test_tails_are_six_share_tests() -> None:
    values = rng.normal(size=N)
    values[:30] = 8.0
    cut = np.quantile(REFERENCE, 0.999, method="inverted_cdf")
    k, k_reference = int((values > cut).sum()), int((cut < REFERENCE).sum())
    p_values, effects = window_result(OWN, values)
    assert p_values[3] == pytest.approx(6 * 2 * hypergeom.sf(k - 1, N + M, k + k_reference, N), rel=1e-8, abs=0)
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
    p_values, effects = window_result(OWN, change(rng.normal(size=N)))  # type: ignore[operator]
    assert p_values[test] < 1e-8
    assert abs(effects[test]) > 0.15


def test_frequent_values_have_bins_of_their_own() -> None:
    """Nine in ten values are 0. A tenth of those become tiny numbers: the bin of 0 loses a tenth."""
    zeros = np.where(rng.random(M) < 0.9, 0.0, rng.exponential(size=M))
    own = scored(zeros)
    values = np.where(rng.random(N) < 0.9, 0.0, rng.exponential(size=N))
    assert (window_result(own, values)[0] > 1e-4).all()
    values[(values == 0) & (rng.random(N) < 0.1)] = 1e-9
    assert window_result(own, values)[0][2] < 1e-6


def test_features_side_by_side_are_tested_as_alone() -> None:
    zeros = np.where(rng.random(M) < 0.9, 0.0, rng.exponential(size=M))
    both = [OWN, scored(zeros)]
    panel = panel_of([scores for _, scores in both])
    samples = [rng.normal(0.2, 1, size=N), zeros[:N] + 0.0]
    sums = np.zeros((2, panel.width))
    for place, (own, values) in enumerate(zip(both, samples, strict=True)):
        found = sums_of(own, values)
        sums[place, : found.size] = found
    p_values, effects, _ = numeric_p_values(panel, sums, np.array([1.0, 2.0]), np.array([np.inf, 50.0]))
    for place, (own, values, phi, nu) in enumerate(zip(both, samples, (1.0, 2.0), (np.inf, 50.0), strict=True)):
        alone = window_result(own, values, phi, nu)
        np.testing.assert_allclose(p_values[place], alone[0], rtol=1e-9)
        np.testing.assert_allclose(effects[place], alone[1], rtol=1e-9)


def test_a_window_without_values_and_a_constant_reference_are_no_evidence() -> None:
    assert window_result(OWN, np.zeros(0))[0].tolist() == [1.0] * 4
    constant = scored(np.full(M, 3.0))
    assert window_result(constant, np.full(N, 3.0))[0].tolist() == [1.0] * 4
    changed, effects = window_result(constant, np.full(N, 4.0))
    assert changed[3] < 1e-100
    assert np.isfinite(effects).all()
    assert abs(effects[3]) > 1


def test_p_values_of_independent_windows_are_not_smaller_than_they_say() -> None:
    """2,000 windows of 20 references: P(p <= .01) is at most 1.3 times .01, within three standard errors."""
    counted = np.zeros(4)
    for seed in range(20):
        own = np.random.default_rng([seed, 2])
        reference = scored(own.normal(size=M))
        sums = np.array([sums_of(reference, own.normal(size=N)) for _ in range(100)])[:, None, :]
        counted += (numeric_p_values(panel_of([reference[1]]), sums, ONE, INFINITE)[0][:, 0] <= 0.01).sum(axis=0)
    assert (counted / 2000 <= 0.013 + 3 * np.sqrt(0.013 / 2000)).all()
    assert (counted[:3] / 2000 >= 0.007 - 3 * np.sqrt(0.007 / 2000)).all()
