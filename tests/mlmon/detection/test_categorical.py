"""Categories. Oracle: SciPy's contingency tables and hypergeometric distribution."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2, chi2_contingency, hypergeom

from mlmon.detection.categorical import categorical_p_values
from mlmon.detection.dependence import category_groups, group_dependence
from mlmon.detection.rule import PARTS

M, N = 10_000, 1_000
SHARES = [0.4, 0.25, 0.2, 0.1, 0.05]
rng = np.random.default_rng(12)


def counts(codes: NDArray[np.int64], categories: int) -> NDArray[np.int64]:
    return np.bincount(codes, minlength=categories)


def test_few_categories_are_one_contingency_table() -> None:
    reference, current = rng.choice(5, M, p=SHARES), rng.choice(5, N, p=[0.3, 0.3, 0.2, 0.15, 0.05])
    p_values, effects, _ = categorical_p_values(counts(reference, 5), counts(current, 5), 1.0, np.inf)
    oracle = chi2_contingency([counts(reference, 5), counts(current, 5)], correction=False)
    assert p_values[0] == pytest.approx(oracle.pvalue, rel=1e-10, abs=0)
    assert effects[0] == pytest.approx(np.sqrt((oracle.statistic - 4) / (N * M / (N + M))), rel=1e-9, abs=0)


def test_the_category_that_changed_most_is_named() -> None:
    reference, current = rng.choice(5, M, p=SHARES), rng.choice(5, N, p=[0.4, 0.25, 0.2, 0.02, 0.13])
    p_values, _, strongest = categorical_p_values(counts(reference, 5), counts(current, 5), 1.0, np.inf)
    k, k_reference = counts(current, 5)[4], counts(reference, 5)[4]
    assert strongest == 4
    assert p_values[1] == pytest.approx(5 * 2 * hypergeom.sf(k - 1, N + M, k + k_reference, N), rel=1e-10, abs=0)


def test_an_unseen_category_has_the_effect_of_half_a_row_in_the_reference() -> None:
    reference = counts(rng.choice(5, M, p=SHARES), 5)
    current = np.append(counts(rng.choice(5, N - 20, p=SHARES), 5), 20)
    p_values, effects, strongest = categorical_p_values(reference, current, 1.0, np.inf)
    assert int(strongest) == 5
    assert effects[1] == pytest.approx(0.02 / np.sqrt(0.5 / M * (1 - 0.5 / M)), rel=1e-9)
    assert p_values[1] == pytest.approx(6 * 2 * hypergeom.sf(19, N + M, 20, N), rel=1e-10, abs=0)


def test_the_rest_of_many_categories_is_one_column() -> None:
    """The 50 largest of both samples together, and the other 30."""
    reference, current = rng.integers(0, 80, 40_000), rng.integers(0, 80, 4000)
    before, now = counts(reference, 80), counts(current, 80)
    order = np.argsort(-(before + now), kind="stable")
    table = [[*each[order[:50]], each[order[50:]].sum()] for each in (before, now)]
    oracle = chi2_contingency(table, correction=False)
    p_values, effects, _ = categorical_p_values(before, now, 1.0, np.inf)
    assert p_values[0] == pytest.approx(oracle.pvalue, rel=1e-10, abs=0)
    assert effects[0] == pytest.approx(np.sqrt(max(0, oracle.statistic - 50) / (40_000 / 11)), rel=1e-9, abs=0)


def test_a_few_rare_rows_join_the_smallest_column() -> None:
    """.1 % of the rows are rare: half a row is expected, to which the chi-squared law does not apply.

    Alone, the column of the rest would raise an alarm whenever it has five rows: in 1.7 of 10,000 windows, by
    Poisson's law, where the budget of ten features allows less than one in a million.
    """
    m, n, windows, alpha = 100_000, 500, 50_000, 1 / (10_000 * PARTS * 20 * 2)
    shares = [*(0.999 * np.array(SHARES)), *[0.0001] * 10]
    reference, current = rng.multinomial(m, shares), rng.multinomial(n, shares, size=windows)
    before = np.append(reference[:5], reference[5:].sum())
    now = np.column_stack([current[:, :5], current[:, 5:].sum(axis=1)])
    statistic = (((now * m - before * n) ** 2) / (n * m * (now + before))).sum(axis=1)
    would_alarm = chi2.sf(statistic, 5) <= alpha
    assert would_alarm.sum() >= 4

    p_values, _, _ = categorical_p_values(reference, current[would_alarm | (np.arange(windows) < 2000)], 1.0, np.inf)
    assert (p_values > alpha).all()
    p_values, _, _ = categorical_p_values(reference, current[:1], 1.0, np.inf)
    joined = np.column_stack([now[:, :4], now[:, 4] + now[:, 5]])
    oracle = chi2_contingency([[*before[:4], before[4] + before[5]], joined[0]], correction=False)
    assert p_values[0, 0] == pytest.approx(oracle.pvalue, rel=1e-10, abs=0)


@pytest.mark.parametrize(("m", "shops"), [(10_000, 1500), (1000, 400), (20_000, 1500), (1000, 1500), (10_000, 400)])
def test_many_equally_frequent_categories_are_quiet(m: int, shops: int) -> None:
    """As in the file that alarmed in 10 of 50 runs: at most one false alarm in 10,000 with two tests and one window."""
    judged = 0
    for seed in range(50):
        own = np.random.default_rng(seed)
        reference, current = own.integers(0, shops, m), own.integers(0, shops, N)
        before = counts(reference, shops)
        dependence = group_dependence(reference, category_groups(before)).at(N)
        if dependence.needed_rows:  # no verdict: by chance its chunks look as if it had slow components
            continue
        judged += 1
        p_values, _, _ = categorical_p_values(before, counts(current, shops), dependence.phi, dependence.nu)
        assert (p_values * 2 * 4 > 1e-4).all(), seed
    assert judged >= 45


def test_windows_are_tested_together_as_alone() -> None:
    reference = counts(rng.choice(5, M, p=SHARES), 5)
    windows = np.array([counts(rng.choice(5, N, p=SHARES), 5) for _ in range(3)])
    together = categorical_p_values(reference, windows, 1.5, 100.0)
    for place, window in enumerate(windows):
        alone = categorical_p_values(reference, window, 1.5, 100.0)
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_allclose(one[place], other, rtol=1e-12)


def test_features_side_by_side_are_tested_as_alone() -> None:
    """With empty categories behind those of a feature that has fewer."""
    references = [counts(rng.choice(5, M, p=SHARES), 5), counts(rng.integers(0, 60, M), 60)]
    windows = [np.array([counts(rng.choice(size, N), size + 2) for _ in range(2)]) for size in (5, 60)]
    before, now = np.zeros((2, 62), dtype=np.int64), np.zeros((2, 2, 62), dtype=np.int64)
    for place, (reference, window) in enumerate(zip(references, windows, strict=True)):
        before[place, : reference.size] = reference
        now[:, place, : window.shape[1]] = window
    phi, nu = np.array([[1.0, 2.0], [1.5, 3.0]]), np.array([[np.inf, 50.0], [80.0, 40.0]])
    together = categorical_p_values(before, now, phi, nu)
    for place, (reference, window) in enumerate(zip(references, windows, strict=True)):
        alone = categorical_p_values(reference, window, phi[:, place], nu[:, place])
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_allclose(one[:, place], other, rtol=1e-9)
