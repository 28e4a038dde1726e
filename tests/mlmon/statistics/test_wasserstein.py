"""The Wasserstein distance against scipy, exact fractions, and figures that evidently printed."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from mlmon.measures import MEASURES, Method, wasserstein_distance
from tests.mlmon.statistics.samples import (
    LARGEST,
    category_counts,
    extreme_samples,
    finite_samples,
    numeric_window,
    smooth_sample,
    tied_samples,
)

RELATIVE = 1e-12


@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 50), (50, 1), (1000, 100), (37, 1000), (10_000, 1000)])
@pytest.mark.parametrize("digits", [0, 1, 12])
def test_distance_is_scipys(m: int, n: int, digits: int) -> None:
    rng = np.random.default_rng(m + n)
    reference, current = np.sort(rng.normal(size=m).round(digits)), np.sort(rng.normal(0.2, 1.3, n).round(digits))
    expected = float(stats.wasserstein_distance(reference, current))
    assert wasserstein_distance(reference, current) == pytest.approx(expected, rel=RELATIVE)


def _exact(reference: NDArray[np.float64], current: NDArray[np.float64]) -> Fraction:
    """Integrate |F - G| in fractions, without any rounding."""
    values = sorted({*reference.tolist(), *current.tolist()})
    total = Fraction(0)
    for low, high in pairwise(values):
        f, g = int((reference <= low).sum()), int((current <= low).sum())
        height = abs(Fraction(f, reference.size) - Fraction(g, current.size))
        total += height * (Fraction(high) - Fraction(low))
    return total


@given(reference=finite_samples, current=finite_samples)
def test_distance_is_the_integral_in_fractions(reference: NDArray[np.float64], current: NDArray[np.float64]) -> None:
    assert wasserstein_distance(reference, current) == pytest.approx(float(_exact(reference, current)), rel=RELATIVE)


@given(reference=extreme_samples, current=extreme_samples)
def test_distance_of_extreme_numbers_is_the_integral_too(
    reference: NDArray[np.float64], current: NDArray[np.float64]
) -> None:
    exact = _exact(reference, current)
    distance = wasserstein_distance(reference, current)
    if math.isinf(distance):
        assert exact > Fraction(LARGEST) * (1 - Fraction(RELATIVE))
    else:
        assert distance == pytest.approx(float(exact), rel=RELATIVE, abs=1e-321)


@given(reference=finite_samples, current=finite_samples)
def test_distance_is_symmetric_and_within_the_range(
    reference: NDArray[np.float64], current: NDArray[np.float64]
) -> None:
    distance = wasserstein_distance(reference, current)
    assert distance == pytest.approx(wasserstein_distance(current, reference), rel=RELATIVE)
    assert distance == pytest.approx(wasserstein_distance(np.sort(-reference), np.sort(-current)), rel=RELATIVE)
    span = max(reference[-1], current[-1]) - min(reference[0], current[0])
    assert 0.0 <= distance <= span * (1 + RELATIVE)


@given(reference=tied_samples, current=tied_samples, shift=st.integers(-100, 100), factor=st.sampled_from([0.25, 8.0]))
def test_distance_follows_the_unit_and_not_the_origin(
    reference: NDArray[np.float64], current: NDArray[np.float64], shift: int, factor: float
) -> None:
    moved = wasserstein_distance(reference * factor + shift, current * factor + shift)
    assert moved == pytest.approx(factor * wasserstein_distance(reference, current), rel=RELATIVE)


@given(first=finite_samples, second=finite_samples, third=finite_samples)
def test_distance_obeys_the_triangle_inequality(
    first: NDArray[np.float64], second: NDArray[np.float64], third: NDArray[np.float64]
) -> None:
    detour = wasserstein_distance(first, second) + wasserstein_distance(second, third)
    assert wasserstein_distance(first, third) <= detour * (1 + RELATIVE)


@given(reference=finite_samples, times=st.integers(1, 5))
def test_equal_distributions_have_no_distance(reference: NDArray[np.float64], times: int) -> None:
    assert wasserstein_distance(reference, np.repeat(reference, times)) == 0.0


def test_a_shift_is_its_own_distance() -> None:
    reference = np.arange(1000.0)
    assert wasserstein_distance(reference, reference + 2.5) == pytest.approx(2.5, rel=RELATIVE)


def test_a_range_beyond_float64_has_a_distance() -> None:
    half = np.array([-LARGEST, LARGEST])
    assert wasserstein_distance(half, np.array([0.0, 0.0])) == pytest.approx(LARGEST, rel=RELATIVE)
    assert wasserstein_distance(np.array([-LARGEST]), np.array([LARGEST])) == math.inf


def test_distance_needs_finite_values() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        wasserstein_distance(np.array([]), np.array([1.0]))
    for bad in (math.inf, -math.inf, math.nan):
        with pytest.raises(ValueError, match="finite"):
            wasserstein_distance(np.array([1.0]), np.sort(np.array([1.0, bad])))


def _normalised(reference: NDArray[np.float64], current: NDArray[np.float64]) -> float | None:
    return MEASURES[Method.WASSERSTEIN].numeric([numeric_window(reference, current)])[0].value


def test_normalised_distances_are_those_that_evidently_printed() -> None:
    # evidently 0.7.23, stattest "wasserstein": of smooth numbers, of few distinct ones, and below the floor of .001.
    reference, current = smooth_sample()
    few = [np.repeat(np.arange(13.0), counts) for counts in category_counts()]
    assert _normalised(reference, current) == pytest.approx(0.12708628578763592, rel=RELATIVE)
    assert _normalised(*few) == pytest.approx(0.41059516230742354, rel=RELATIVE)
    assert _normalised(reference * 1e-5, current * 1e-5) == pytest.approx(0.0029644941797807235, rel=RELATIVE)


def test_a_constant_reference_is_normalised_by_the_floor() -> None:
    assert _normalised(np.full(10, 2.0), np.full(10, 2.5)) == 500.0
