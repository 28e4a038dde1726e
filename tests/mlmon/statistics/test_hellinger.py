"""The Hellinger distance against its definition and against figures that nannyml printed."""

import math

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray
from scipy.spatial.distance import euclidean
from scipy.stats import norm

from mlmon.measures import hellinger_distance
from mlmon.statistics.bins import counts_inside, doane_edges
from tests.mlmon.statistics.samples import any_counts, category_counts, skewed_sample, smooth_sample

TOLERANCE = 1e-12


@given(reference=any_counts, current=any_counts)
def test_distance_is_scipys_euclidean_one_of_the_roots(
    reference: NDArray[np.int64], current: NDArray[np.int64]
) -> None:
    roots = np.sqrt(reference / reference.sum()), np.sqrt(current / current.sum())
    expected = float(euclidean(*roots)) / math.sqrt(2)
    assert hellinger_distance(reference, current) == pytest.approx(expected, abs=TOLERANCE)


@given(reference=any_counts, current=any_counts)
def test_distance_is_symmetric_within_its_bounds_and_keeps_under_permutation(
    reference: NDArray[np.int64], current: NDArray[np.int64]
) -> None:
    distance = hellinger_distance(reference, current)
    assert 0.0 <= distance <= 1.0
    assert distance == hellinger_distance(current, reference)
    order = np.array([5, 3, 1, 0, 2, 4])
    assert distance == pytest.approx(hellinger_distance(reference[order], current[order]), abs=TOLERANCE)


@given(reference=any_counts)
def test_equal_shares_have_no_distance(reference: NDArray[np.int64]) -> None:
    assert hellinger_distance(reference, reference) == 0.0
    assert hellinger_distance(reference, reference * 3) == pytest.approx(0.0, abs=TOLERANCE)


def test_disjoint_shares_are_1_apart() -> None:
    assert hellinger_distance(np.array([3, 0, 4]), np.array([0, 9, 0])) == pytest.approx(1.0, abs=TOLERANCE)


def test_distance_of_two_normal_distributions_in_fine_bins_is_the_analytical_one() -> None:
    # Of N(0, 1) and N(1, 1): sqrt(1 - exp(-1/8)).
    edges = np.linspace(-9, 10, 2001)
    of_many_rows = [np.rint(np.diff(norm.cdf(edges, mean)) * 1e15).astype(np.int64) for mean in (0, 1)]
    assert hellinger_distance(*of_many_rows) == pytest.approx(math.sqrt(1 - math.exp(-1 / 8)), abs=1e-5)


def test_distance_needs_rows() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        hellinger_distance(np.array([3, 4]), np.array([0, 0]))


# nannyml 0.13.1, method "hellinger": of continuous features in its Doane bins, and of a categorical one.
@pytest.mark.parametrize(
    ("samples", "printed"),
    [(smooth_sample(), 0.14197015790744497), (skewed_sample(), 0.5104619853909481)],
    ids=["smooth", "skewed"],
)
def test_distances_of_numbers_are_those_that_nannyml_printed(
    samples: tuple[NDArray[np.float64], NDArray[np.float64]], printed: float
) -> None:
    edges = doane_edges(samples[0])
    distance = hellinger_distance(*(counts_inside(sample, edges) for sample in samples))
    assert distance == pytest.approx(printed, abs=TOLERANCE)


def test_the_distance_of_categories_is_the_one_that_nannyml_printed() -> None:
    # nannyml has one bin for all categories that the reference lacks. Here there are two, with the same distance.
    reference, current = category_counts()
    pooled = [np.append(counts[:11], counts[11:].sum()) for counts in (reference, current)]
    assert hellinger_distance(*pooled) == pytest.approx(0.5698304740484841, abs=TOLERANCE)
    assert hellinger_distance(reference, current) == pytest.approx(hellinger_distance(*pooled), abs=TOLERANCE)
