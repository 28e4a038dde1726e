"""Categories. Oracle: SciPy's contingency tables and hypergeometric distribution."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2_contingency, hypergeom

from mlmon.detection.categorical import categorical_p_values, categorical_scores

M, N = 10_000, 1_000
WINDOWS = (1000, 500)
SHARES = [0.4, 0.25, 0.2, 0.1, 0.05]
rng = np.random.default_rng(12)


def counts(codes: NDArray[np.int64], categories: int) -> NDArray[np.int64]:
    return np.bincount(codes, minlength=categories)


def test_few_categories_are_one_contingency_table() -> None:
    reference, current = rng.choice(5, M, p=SHARES), rng.choice(5, N, p=[0.3, 0.3, 0.2, 0.15, 0.05])
    scores = categorical_scores(reference, 5, WINDOWS)
    p_values, effects, _ = categorical_p_values(scores, counts(current, 5), 1.0, np.inf)
    oracle = chi2_contingency([counts(reference, 5), counts(current, 5)], correction=False)
    assert p_values[0] == pytest.approx(oracle.pvalue, rel=1e-9)
    assert effects[0] == pytest.approx(np.sqrt((oracle.statistic - 4) / (N * M / (N + M))), rel=1e-9)


def test_the_category_that_changed_most_is_named() -> None:
    reference, current = rng.choice(5, M, p=SHARES), rng.choice(5, N, p=[0.4, 0.25, 0.2, 0.02, 0.13])
    scores = categorical_scores(reference, 5, WINDOWS)
    p_values, _, strongest = categorical_p_values(scores, counts(current, 5), 1.0, np.inf)
    k, k_reference = counts(current, 5)[4], counts(reference, 5)[4]
    assert strongest == 4
    assert p_values[1] == pytest.approx(5 * 2 * hypergeom.sf(k - 1, N + M, k + k_reference, N), rel=1e-8)


def test_an_unseen_category_has_an_infinite_effect() -> None:
    scores = categorical_scores(rng.choice(5, M, p=SHARES), 5, WINDOWS)
    current = np.append(counts(rng.choice(5, N - 20, p=SHARES), 5), 20)
    p_values, effects, strongest = categorical_p_values(scores, current, 1.0, np.inf)
    assert int(strongest) == 5
    assert effects[1] == np.inf
    assert p_values[1] < 1e-15


@pytest.mark.parametrize(("m", "shops"), [(10_000, 1500), (1000, 400), (20_000, 1500), (1000, 1500), (10_000, 400)])
def test_many_equally_frequent_categories_are_quiet(m: int, shops: int) -> None:
    """As in the file that alarmed in 10 of 50 runs: at most one false alarm in 10,000 with two tests and one window."""
    for seed in range(50):
        own = np.random.default_rng(seed)
        reference, current = own.integers(0, shops, m), own.integers(0, shops, N)
        scores = categorical_scores(reference, shops, (N,))
        dependence = scores.dependence.at(N)
        p_values, _, _ = categorical_p_values(scores, counts(current, shops), dependence.phi, dependence.nu)
        assert (p_values * 2 * 4 > 1e-4).all(), seed


def test_windows_are_tested_together_as_alone() -> None:
    scores = categorical_scores(rng.choice(5, M, p=SHARES), 5, WINDOWS)
    windows = np.array([counts(rng.choice(5, N, p=SHARES), 5) for _ in range(3)])
    together = categorical_p_values(scores, windows, 1.5, 100.0)
    for place, window in enumerate(windows):
        alone = categorical_p_values(scores, window, 1.5, 100.0)
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_allclose(one[place], other, rtol=1e-12)
