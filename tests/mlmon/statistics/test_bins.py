"""The bins against numpy's, which evidently and nannyml use, and where numpy returns none."""

import math

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from mlmon.results import QUANTILE_LEVELS
from mlmon.statistics.bins import counts_inside, doane_edges, quantiles_of_sorted, sturges_edges
from tests.mlmon.statistics.samples import LARGEST, extreme_samples, finite_samples, skewed_sample, smooth_sample

NEXT_TO_ONE = math.nextafter(1.0, 2.0)


@given(reference=finite_samples, current=finite_samples)
def test_sturges_edges_are_numpys_over_both_samples(
    reference: NDArray[np.float64], current: NDArray[np.float64]
) -> None:
    expected = np.histogram_bin_edges(np.concatenate([reference, current]), "sturges")
    np.testing.assert_array_equal(sturges_edges(reference, current), expected)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 8, 9, 512, 1023, 1024, 1025, 4096])
def test_sturges_edges_are_numpys_around_powers_of_two(rows: int) -> None:
    # There log2 is whole or nearly so, and rounding decides whether there is one bin more.
    rng = np.random.default_rng(rows)
    for scale in (0.1, 1.0, 3.7, 1e8):
        reference, current = np.sort(rng.normal(size=rows) * scale), np.sort(rng.normal(size=rows) * scale)
        expected = np.histogram_bin_edges(np.concatenate([reference, current]), "sturges")
        np.testing.assert_array_equal(sturges_edges(reference, current), expected)


@given(reference=finite_samples)
def test_doane_edges_are_numpys(reference: NDArray[np.float64]) -> None:
    np.testing.assert_array_equal(doane_edges(reference), np.histogram_bin_edges(reference, "doane"))


def test_doane_takes_more_bins_for_a_skewed_sample() -> None:
    # 12 and 15: the numbers of bins that nannyml 0.13.1 had for these samples.
    assert doane_edges(smooth_sample()[0]).size - 1 == 12
    assert doane_edges(skewed_sample()[0]).size - 1 == 15


@given(reference=finite_samples, current=finite_samples)
def test_counts_are_those_of_numpys_histogram(reference: NDArray[np.float64], current: NDArray[np.float64]) -> None:
    for edges in (sturges_edges(reference, current), doane_edges(reference)):
        for sample in (reference, current):
            expected = np.histogram(sample, edges)[0]
            outside = sample.size - expected.sum()
            np.testing.assert_array_equal(counts_inside(sample, edges), [*expected, outside])


@given(reference=extreme_samples, current=extreme_samples)
def test_every_finite_sample_has_ascending_finite_edges_around_all_its_values(
    reference: NDArray[np.float64], current: NDArray[np.float64]
) -> None:
    edges = sturges_edges(reference, current)
    assert np.isfinite(edges).all()
    assert (edges[1:] > edges[:-1]).all()
    assert counts_inside(reference, edges)[-1] == counts_inside(current, edges)[-1] == 0


@given(reference=extreme_samples)
def test_doane_edges_contain_every_finite_reference(reference: NDArray[np.float64]) -> None:
    edges = doane_edges(reference)
    assert np.isfinite(edges).all()
    assert (edges[1:] > edges[:-1]).all()
    assert counts_inside(reference, edges)[-1] == 0


def test_a_constant_has_one_bin_around_it() -> None:
    sample = np.full(5, 3.0)
    np.testing.assert_array_equal(sturges_edges(sample, sample), [2.5, 3.5])  # numpy's
    np.testing.assert_array_equal(doane_edges(sample), [2.5, 3.5])


@pytest.mark.parametrize("value", [1e300, -1e300, LARGEST, -LARGEST])
def test_a_constant_too_large_for_halves_has_one_bin_too(value: float) -> None:
    sample = np.full(5, value)
    edges = sturges_edges(sample, sample)
    assert edges.size == 2
    assert edges[0] < edges[1]
    assert edges[0] <= value <= edges[1]
    assert counts_inside(sample, edges).tolist() == [5, 0]


def test_neighbouring_numbers_leave_room_for_one_bin() -> None:
    reference, current = np.array([1.0] * 50), np.array([1.0, NEXT_TO_ONE])
    np.testing.assert_array_equal(sturges_edges(reference, current), [1.0, NEXT_TO_ONE])
    np.testing.assert_array_equal(doane_edges(np.array([1.0] * 50 + [NEXT_TO_ONE])), [1.0, NEXT_TO_ONE])


def test_a_range_beyond_float64_is_divided_evenly() -> None:
    # 8 values: 1 + log2 8 = 4 bins, by hand.
    edges = sturges_edges(np.array([-LARGEST, 0.0, 1.0, 2.0]), np.array([-1.0, 0.0, 1.0, LARGEST]))
    np.testing.assert_allclose(edges, [-LARGEST, -LARGEST / 2, 0.0, LARGEST / 2, LARGEST], rtol=1e-15)


def test_doane_uses_the_skewness_of_very_small_and_very_large_numbers() -> None:
    reference = skewed_sample()[0]
    for exponent in (-1030, -600, 600, 1015):
        assert doane_edges(np.ldexp(reference, exponent)).size == doane_edges(reference).size


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_bins_need_finite_values(bad: float) -> None:
    sample = np.sort(np.array([0.0, bad]))
    with pytest.raises(ValueError, match="finite"):
        sturges_edges(sample, np.array([1.0]))
    with pytest.raises(ValueError, match="finite"):
        doane_edges(sample)


def test_bins_need_values() -> None:
    none = np.array([])
    with pytest.raises(ValueError, match="at least one value"):
        sturges_edges(none, np.array([1.0]))
    with pytest.raises(ValueError, match="at least one value"):
        sturges_edges(np.array([1.0]), none)
    with pytest.raises(ValueError, match="at least one value"):
        doane_edges(none)


def test_infinities_are_counted_outside() -> None:
    sample = np.array([-math.inf, 0.5, 1.0, math.inf, math.inf])
    assert counts_inside(sample, np.array([0.0, 1.0])).tolist() == [2, 3]


@pytest.mark.parametrize("size", [1, 2, 5, 20, 101, 2_000])
def test_quantiles_are_numpys(size: int) -> None:
    values = np.sort(np.random.default_rng(size).normal(3, 100, size))
    shares = (0.0, *QUANTILE_LEVELS, 1.0)
    assert quantiles_of_sorted(values, shares) == pytest.approx(tuple(np.quantile(values, shares)), rel=1e-12)


def test_quantiles_of_ties_and_the_ends_of_float64_hold() -> None:
    assert quantiles_of_sorted(np.zeros(7), QUANTILE_LEVELS) == (0.0,) * 5
    largest = np.finfo(np.float64).max
    assert quantiles_of_sorted(np.array([-largest, largest]), (0.5,)) == (0.0,)
