"""The population stability index against its analytical value, scipy's divergences and hand computation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import entropy, norm

from mlmon.measures import population_stability_index
from mlmon.statistics.bins import counts_between, decile_cut_points
from tests.mlmon.statistics.samples import any_counts, counts

TOLERANCE = 1e-12
DECILES = np.arange(1, 10) / 10


def test_index_of_two_normal_distributions_is_the_analytical_one() -> None:
    # N(0, 1) against N(1, 1) in deciles: 0.92614 (detection.md), from scipy's normal distribution.
    edges = norm.ppf(np.arange(11) / 10)
    shares = [np.diff(norm.cdf(edges, mean)) for mean in (0, 1)]
    of_many_rows = [np.rint(share * 1e15).astype(np.int64) for share in shares]
    assert population_stability_index(*of_many_rows) == pytest.approx(0.92614, abs=5e-6)


def test_index_of_large_samples_comes_near_the_analytical_one() -> None:
    # The quantiles of both distributions, evenly spaced, in place of drawn values.
    ranks = (np.arange(100_000) + 0.5) / 100_000
    reference, current = norm.ppf(ranks), norm.ppf(ranks, 1)
    cut_points = decile_cut_points(np.quantile(reference, DECILES, method="inverted_cdf"), reference[0])
    counted = [counts_between(sample, cut_points) for sample in (reference, current)]
    assert population_stability_index(*counted) == pytest.approx(0.92614, abs=1e-3)


def test_half_a_row_is_added_to_every_bin() -> None:
    # 8 and 2 of 10 against 0 and 4 of 4; with halves 8.5 and 2.5 of 11 against .5 and 4.5 of 5, by hand.
    by_hand = (8.5 / 11 - 0.5 / 5) * math.log((8.5 / 11) / (0.5 / 5)) + (2.5 / 11 - 0.9) * math.log((2.5 / 11) / 0.9)
    assert population_stability_index(np.array([8, 2]), np.array([0, 4])) == pytest.approx(by_hand, abs=TOLERANCE)


@given(reference=any_counts, current=any_counts)
def test_index_is_the_sum_of_scipys_divergences_both_ways(
    reference: NDArray[np.int64], current: NDArray[np.int64]
) -> None:
    filled = reference + current > 0
    p, q = reference[filled] + 0.5, current[filled] + 0.5
    expected = float(entropy(p, q) + entropy(q, p))
    assert population_stability_index(reference, current) == pytest.approx(expected, rel=1e-9, abs=TOLERANCE)


@given(reference=any_counts, current=any_counts)
def test_index_is_symmetric_and_keeps_under_permutation_and_under_empty_bins(
    reference: NDArray[np.int64], current: NDArray[np.int64]
) -> None:
    index = population_stability_index(reference, current)
    assert 0.0 <= index < math.inf
    assert index == pytest.approx(population_stability_index(current, reference), rel=TOLERANCE, abs=TOLERANCE)
    order = np.array([5, 3, 1, 0, 2, 4])
    assert index == pytest.approx(
        population_stability_index(reference[order], current[order]), rel=TOLERANCE, abs=TOLERANCE
    )
    assert index == pytest.approx(
        population_stability_index(np.append(reference, 0), np.append(current, 0)), rel=TOLERANCE, abs=TOLERANCE
    )


@given(reference=counts, times=st.integers(1, 1000))
def test_equal_shares_of_other_sizes_differ_by_less_than_documented(reference: NDArray[np.int64], times: int) -> None:
    index = population_stability_index(reference, reference * times)
    assert index <= np.count_nonzero(reference) / (4 * reference.sum())
    assert population_stability_index(reference, reference) == 0.0


def test_index_needs_rows() -> None:
    for reference, current in ((np.array([0, 0]), np.array([3, 4])), (np.array([3, 4]), np.array([0, 0]))):
        with pytest.raises(ValueError, match="at least one row"):
            population_stability_index(reference, current)
