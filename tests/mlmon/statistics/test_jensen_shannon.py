"""The Jensen-Shannon divergence and distance against scipy, and against figures that evidently printed."""

import math

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

from mlmon.measures import jensen_shannon_distance, jensen_shannon_divergence
from mlmon.statistics.bins import counts_inside, sturges_edges
from tests.mlmon.statistics.samples import any_counts, category_counts, smooth_sample

TOLERANCE = 1e-12


@given(reference=any_counts, current=any_counts)
def test_divergence_is_scipys_squared(reference: NDArray[np.int64], current: NDArray[np.int64]) -> None:
    with np.errstate(invalid="ignore"):  # scipy takes the root of -1e-17 for nearly equal shares
        expected = np.nan_to_num(jensenshannon(reference, current)) ** 2
    assert jensen_shannon_divergence(reference, current) == pytest.approx(float(expected), abs=TOLERANCE)


@given(reference=any_counts, current=any_counts)
def test_divergence_is_symmetric_within_its_bounds_and_keeps_under_permutation(
    reference: NDArray[np.int64], current: NDArray[np.int64]
) -> None:
    divergence = jensen_shannon_divergence(reference, current)
    assert 0.0 <= divergence <= math.log(2)
    assert divergence == pytest.approx(jensen_shannon_divergence(current, reference), abs=TOLERANCE)
    order = np.array([5, 3, 1, 0, 2, 4])
    assert divergence == pytest.approx(jensen_shannon_divergence(reference[order], current[order]), abs=TOLERANCE)
    assert jensen_shannon_distance(reference, current) == math.sqrt(divergence)


@given(reference=any_counts)
def test_equal_shares_have_no_divergence(reference: NDArray[np.int64]) -> None:
    assert jensen_shannon_divergence(reference, reference) == 0.0
    assert jensen_shannon_divergence(reference, reference * 3) == pytest.approx(0.0, abs=TOLERANCE)


@given(first=any_counts, second=any_counts, third=any_counts)
def test_the_distance_obeys_the_triangle_inequality(
    first: NDArray[np.int64], second: NDArray[np.int64], third: NDArray[np.int64]
) -> None:
    detour = jensen_shannon_distance(first, second) + jensen_shannon_distance(second, third)
    assert jensen_shannon_distance(first, third) <= detour + 1e-7  # roots of rounding errors of 1e-16


def test_disjoint_shares_are_ln_2_apart() -> None:
    reference, current = np.array([3, 0]), np.array([0, 9])
    assert jensen_shannon_divergence(reference, current) == pytest.approx(math.log(2), abs=TOLERANCE)
    assert jensen_shannon_distance(reference, current) == pytest.approx(math.sqrt(math.log(2)), abs=TOLERANCE)


def test_divergence_needs_rows() -> None:
    for reference, current in ((np.array([0, 0]), np.array([3, 4])), (np.array([3, 4]), np.array([0, 0]))):
        with pytest.raises(ValueError, match="at least one row"):
            jensen_shannon_divergence(reference, current)


@pytest.mark.parametrize("seed", range(5))
def test_distance_of_numbers_is_that_of_scipy_over_numpys_sturges_bins(seed: int) -> None:
    # evidently's definition for a reference of more than 20 distinct values.
    rng = np.random.default_rng(seed)
    reference, current = np.sort(rng.normal(size=3000)), np.sort(rng.normal(0.3, 1.4, size=700))
    edges = np.histogram_bin_edges(np.concatenate([reference, current]), "sturges")
    expected = jensenshannon(np.histogram(reference, edges)[0], np.histogram(current, edges)[0])
    ours = sturges_edges(reference, current)
    distance = jensen_shannon_distance(counts_inside(reference, ours), counts_inside(current, ours))
    assert distance == pytest.approx(float(expected), abs=TOLERANCE)


def test_distances_are_those_that_evidently_printed() -> None:
    # evidently 0.7.23, stattest "jensenshannon", column type numerical: of 1000 and 300 numbers with more than 20
    # distinct values, and of numbers with 11 and 13.
    reference, current = smooth_sample()
    edges = sturges_edges(reference, current)
    of_numbers = jensen_shannon_distance(counts_inside(reference, edges), counts_inside(current, edges))
    assert of_numbers == pytest.approx(0.11036628657975894, abs=TOLERANCE)
    assert jensen_shannon_distance(*category_counts()) == pytest.approx(0.4808924106460402, abs=TOLERANCE)
