"""The L-infinity distance against scipy's Chebyshev distance and a figure that nannyml printed."""

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray
from scipy.spatial.distance import chebyshev

from mlmon.measures import l_infinity_distance
from tests.mlmon.statistics.samples import any_counts, category_counts

TOLERANCE = 1e-12


@given(reference=any_counts, current=any_counts)
def test_distance_equals_scipys_chebyshev_distance_of_the_shares(
    reference: NDArray[np.int64], current: NDArray[np.int64]
) -> None:
    expected = float(chebyshev(reference / reference.sum(), current / current.sum()))
    distance = l_infinity_distance(reference, current)
    assert distance == pytest.approx(expected, abs=TOLERANCE)
    assert 0.0 <= distance <= 1.0
    assert distance == l_infinity_distance(current, reference)
    order = np.array([5, 3, 1, 0, 2, 4])
    assert distance == l_infinity_distance(reference[order], current[order])


@given(reference=any_counts)
def test_equal_shares_have_no_distance(reference: NDArray[np.int64]) -> None:
    assert l_infinity_distance(reference, reference) == 0.0
    assert l_infinity_distance(reference, reference * 3) == pytest.approx(0.0, abs=TOLERANCE)


def test_two_different_constants_are_1_apart() -> None:
    assert l_infinity_distance(np.array([3, 0]), np.array([0, 9])) == 1.0


def test_distance_needs_rows() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        l_infinity_distance(np.array([0, 0]), np.array([3, 4]))


def test_the_distance_of_categories_is_the_one_that_nannyml_printed() -> None:
    # nannyml 0.13.1, method "l_infinity".
    assert l_infinity_distance(*category_counts()) == pytest.approx(0.15333333333333332, abs=TOLERANCE)
