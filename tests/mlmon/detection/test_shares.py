"""The share test. Oracle: SciPy's hypergeometric distribution and Student's t."""

import numpy as np
import pytest
from scipy.stats import fisher_exact, hypergeom, norm, t

from mlmon.detection.shares import hypergeometric_tail, share_effects, share_p_values, smallest_visible_shares

TOLERANCE = 1e-10


def exact(k: int, n: int, k_reference: int, m: int) -> float:
    """Return twice the upper tail of the sample with the larger share."""
    if k * m == k_reference * n:
        return 1.0
    count, size = (k, n) if k * m > k_reference * n else (k_reference, m)
    return min(1.0, 2 * float(hypergeom.sf(count - 1, n + m, k + k_reference, size)))


def test_independent_rows_have_the_p_value_of_the_hypergeometric_distribution() -> None:
    rng = np.random.default_rng(1)
    n, m = rng.integers(1, 2000, 500), rng.integers(1, 12_000, 500)
    k, k_reference = rng.binomial(n, rng.random(500) ** 3), rng.binomial(m, rng.random(500) ** 3)
    expected = [exact(*each) for each in zip(k.tolist(), n.tolist(), k_reference.tolist(), m.tolist(), strict=True)]
    found = share_p_values(k, n, k_reference, m)
    is_representable = np.array(expected) > 1e-290
    np.testing.assert_allclose(found[is_representable], np.array(expected)[is_representable], rtol=TOLERANCE)
    assert (found[~is_representable] < 1e-280).all()


@pytest.mark.parametrize(("k", "n", "k_reference", "m"), [(30, 1000, 100, 10_000), (0, 500, 90, 5000), (5, 40, 0, 900)])
def test_the_p_value_is_fishers_one_sided_one_doubled(k: int, n: int, k_reference: int, m: int) -> None:
    table = np.array([[k, n - k], [k_reference, m - k_reference]])
    is_higher = k / n > k_reference / m
    expected = 2 * fisher_exact(table, alternative="greater" if is_higher else "less").pvalue
    assert float(share_p_values(k, n, k_reference, m)) == pytest.approx(min(1.0, expected), rel=TOLERANCE, abs=0)


def test_dependent_rows_count_as_fewer() -> None:
    """With phi = 4, 40 of 400 rows count as 10 of 100."""
    dependent = share_p_values(40, 400, 200, 4000, phi=4.0)
    assert float(dependent) == pytest.approx(float(share_p_values(10, 100, 50, 1000)), rel=TOLERANCE, abs=0)
    # 43 rows count as 10.75 rows, rounded down.
    population, marked, drawn = 1100.0, 243 / 4, 100.0
    tail = hypergeometric_tail(*(np.array([each]) for each in (10.0, population, marked, drawn)))
    assert float(share_p_values(43, 400, 200, 4000, phi=4.0)) == pytest.approx(2 * float(tail[0]), rel=TOLERANCE, abs=0)


def test_few_degrees_of_freedom_weaken_the_evidence() -> None:
    p = exact(30, 1000, 100, 10_000)
    assert float(share_p_values(30, 1000, 100, 10_000, nu=20.0)) == pytest.approx(
        2 * t.sf(norm.isf(p / 2), 20), rel=TOLERANCE, abs=0
    )


@pytest.mark.parametrize(("k", "n", "k_reference", "m"), [(0, 100, 0, 1000), (100, 100, 1000, 1000), (1, 10, 10, 100)])
def test_equal_shares_are_no_evidence(k: int, n: int, k_reference: int, m: int) -> None:
    assert float(share_p_values(k, n, k_reference, m)) == 1.0


def test_a_sample_without_rows_is_no_evidence() -> None:
    assert share_p_values([0, 5], [0, 10], [5, 0], [10, 0]).tolist() == [1.0, 1.0]


def test_the_shapes_are_broadcast() -> None:
    assert share_p_values(np.zeros((3, 1)), 100, np.arange(4), 1000).shape == (3, 4)


def test_effects_are_in_standard_deviations_of_the_outcome() -> None:
    """Nobody of 1,000 counts as half a row: .0005; everybody as .9995."""
    k, k_reference = np.array([60.0, 20.0, 15.0, 480.0, 0.0]), np.array([100.0, 100.0, 0.0, 1000.0, 0.0])
    found = share_effects(k, np.full(5, 500.0), k_reference, np.full(5, 1000.0))
    rare = np.sqrt(0.0005 * 0.9995)
    np.testing.assert_allclose(found, [0.02 / 0.3, -0.06 / 0.3, 0.03 / rare, -0.04 / rare, 0.0], rtol=1e-12)
    assert share_effects(np.zeros(1), np.zeros(1), np.ones(1), np.full(1, 10.0)).tolist() == [0.0]


@pytest.mark.parametrize(("phi", "nu"), [(1.0, np.inf), (1.0, 30.0), (3.7, 50.0)])
def test_the_smallest_visible_share_is_the_first_that_is_visible(phi: float, nu: float) -> None:
    n, m, alpha = 400, 4000, 1e-5
    before = np.array([0, 1, 40, 400, 3990])
    found = smallest_visible_shares(n, before, m, alpha=alpha, phi=phi, nu=nu)
    for k_reference, share in zip(before.tolist(), found.tolist(), strict=True):
        above = [k for k in range(n + 1) if k / n > k_reference / m]
        is_visible = [float(share_p_values(k, n, k_reference, m, phi=phi, nu=nu)) <= alpha for k in above]
        expected = above[is_visible.index(True)] / n if any(is_visible) else 1.0
        assert share == pytest.approx(expected, abs=1e-12), k_reference
