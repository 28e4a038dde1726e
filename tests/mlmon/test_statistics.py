"""The statistics against scipy, and their edge cases."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import stats
from scipy.stats import chi2_contingency, ks_2samp

from mlmon.measures import jensen_shannon_divergence
from mlmon.statistics.bins import counts_between, decile_cut_points, decile_labels
from mlmon.statistics.counts import benjamini_hochberg, chi_squared
from mlmon.statistics.kolmogorov_smirnov import OrderedReference, finite_sample_p_value, ks_distance, ks_tests

TOLERANCE = 1e-12

# Few distinct values, so that ties within and between the samples are common.
tied_samples = arrays(np.float64, st.integers(1, 60), elements=st.integers(-5, 5).map(float))
samples = arrays(np.float64, st.integers(1, 60), elements=st.floats(allow_nan=False, allow_infinity=True, width=32))
counts = arrays(np.int64, 6, elements=st.integers(0, 500)).filter(lambda row: bool(row.any()))


def _samples(seed: int, m: int, n: int, digits: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return np.sort(rng.normal(size=m).round(digits)), np.sort(rng.normal(0.2, 1.3, size=n).round(digits))


def _distance(reference: NDArray[np.float64], current: NDArray[np.float64]) -> float:
    """Return the distance by the grid, which is that by ranks."""
    distance = ks_distance(OrderedReference(reference), current)
    (by_ranks,) = ks_tests([OrderedReference(reference)], [current])
    assert by_ranks.distance == pytest.approx(distance, abs=TOLERANCE)
    return distance


def _binned(
    deciles: NDArray[np.float64], reference: NDArray[np.float64], current: NDArray[np.float64]
) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.int64]]:
    """Return the names of the bins between deciles, and both samples counted in them."""
    cut_points = decile_cut_points(deciles, reference[0])
    return decile_labels(cut_points), counts_between(reference, cut_points), counts_between(current, cut_points)


@pytest.mark.parametrize(("m", "n"), [(1, 2), (1, 50), (50, 1), (1000, 100), (37, 1000), (10_000, 1000)])
@pytest.mark.parametrize("digits", [0, 1, 12])
def test_ks_is_scipys(m: int, n: int, digits: int) -> None:
    reference, current = _samples(m + n, m, n, digits)
    expected = ks_2samp(reference, current, method="asymp")
    distance = _distance(reference, current)
    assert distance == pytest.approx(expected.statistic, abs=TOLERANCE)
    assert finite_sample_p_value(distance, m * n / (m + n)) == pytest.approx(expected.pvalue, abs=TOLERANCE)


def test_small_windows_have_the_exact_law_and_then_the_finite_sample_law() -> None:
    for m, n in ((1000, 40), (300, 120)):
        reference, current = _samples(n, m, n, 12)
        expected = ks_2samp(reference, current, method="exact" if n == 40 else "asymp")
        (found,) = ks_tests([OrderedReference(reference)], [current])
        assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)


def test_one_value_against_one_has_p_value_1() -> None:
    assert finite_sample_p_value(1.0, 0.5) == 1.0


def test_ks_counts_infinities_as_values_beyond_all_others() -> None:
    reference = np.array([-math.inf, 0.0, 1.0, 2.0])
    assert _distance(reference, np.array([math.inf] * 5)) == 1.0
    assert _distance(reference, reference) == 0.0
    assert _distance(reference, np.array([-math.inf, -math.inf])) == 0.75  # 1 of 4 against 2 of 2, by hand


@given(reference=st.one_of(tied_samples, samples), current=st.one_of(tied_samples, samples))
def test_ks_distance_is_the_supremum_over_all_values(
    reference: NDArray[np.float64], current: NDArray[np.float64]
) -> None:
    values = np.concatenate([reference, current])
    by_definition = max(abs(float(np.mean(reference <= v)) - float(np.mean(current <= v))) for v in values)
    assert _distance(np.sort(reference), np.sort(current)) == pytest.approx(by_definition, abs=TOLERANCE)


@given(reference=tied_samples, current=tied_samples)
def test_ks_distance_is_symmetric_and_keeps_under_monotone_maps(
    reference: NDArray[np.float64], current: NDArray[np.float64]
) -> None:
    reference, current = np.sort(reference), np.sort(current)
    distance = _distance(reference, current)
    assert distance == pytest.approx(_distance(current, reference), abs=TOLERANCE)
    assert distance == pytest.approx(_distance(reference**3, current**3), abs=TOLERANCE)
    assert distance == pytest.approx(_distance(np.sort(-reference), np.sort(-current)), abs=TOLERANCE)


@pytest.mark.parametrize("seed", range(5))
def test_chi_squared_is_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference, current = rng.multinomial(10_000, [0.4, 0.3, 0.2, 0.1]), rng.multinomial(700, [0.35, 0.3, 0.2, 0.15])
    expected = chi2_contingency(np.stack([reference, current]), correction=False)
    result = chi_squared(reference, current)
    assert result.statistic == pytest.approx(expected.statistic, rel=TOLERANCE)
    assert result.p_value == pytest.approx(expected.pvalue, rel=TOLERANCE)
    assert result.degrees_of_freedom == expected.dof


def test_two_by_two_tables_have_no_continuity_correction() -> None:
    # 100 rows of 50:50 against 100 of 40:60. By hand: X2 = 200 (50*60 - 50*40)^2 / (100*100*90*110).
    result = chi_squared(np.array([50, 50]), np.array([40, 60]))
    assert result.statistic == pytest.approx(200 * 1000**2 / (100 * 100 * 90 * 110), rel=TOLERANCE)
    assert result.cohens_w == pytest.approx(math.sqrt((result.statistic - 1) / 50), rel=TOLERANCE)


def test_columns_that_are_empty_in_both_are_left_out() -> None:
    with_empty = chi_squared(np.array([50, 0, 50, 0]), np.array([40, 0, 60, 0]))
    assert with_empty == chi_squared(np.array([50, 50]), np.array([40, 60]))


def test_one_common_category_is_no_difference() -> None:
    result = chi_squared(np.array([80, 0]), np.array([40, 0]))
    assert (result.p_value, result.cohens_w, result.degrees_of_freedom) == (1.0, 0.0, 0)


def test_chi_squared_needs_rows_in_both_and_one_shape() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        chi_squared(np.array([3, 4]), np.array([0, 0]))
    with pytest.raises(ValueError, match="for each category"):
        chi_squared(np.array([3, 4]), np.array([1, 0, 0]))


def test_debiased_w_is_near_zero_without_drift_whatever_the_number_of_categories() -> None:
    rng = np.random.default_rng(7)
    for categories in (3, 50):
        shares = np.full(categories, 1 / categories)
        ws = [chi_squared(rng.multinomial(10_000, shares), rng.multinomial(1000, shares)).cohens_w for _ in range(200)]
        assert np.median(ws) < 0.06


@given(reference=counts, current=counts)
def test_chi_squared_keeps_under_permutation(reference: NDArray[np.int64], current: NDArray[np.int64]) -> None:
    order = np.array([5, 3, 1, 0, 2, 4])
    permuted = chi_squared(reference[order], current[order])
    assert permuted.statistic == pytest.approx(chi_squared(reference, current).statistic, rel=1e-9, abs=1e-9)


def test_decile_bins_are_right_closed_and_hold_a_tenth_each() -> None:
    reference = np.arange(1.0, 101.0)
    deciles = np.quantile(reference, np.arange(1, 10) / 10, method="inverted_cdf")
    labels, counted, current = _binned(deciles, reference, np.array([10.0, 10.5, 1000.0]))
    assert counted.tolist() == [10] * 10
    assert current.tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert labels[0] == "<= 10"
    assert labels[1] == "(10, 20]"
    assert labels[-1] == "> 90"


@pytest.mark.parametrize("changed", [4.0, 6.0])
def test_a_constant_that_changes_changes_its_bin(changed: float) -> None:
    reference = np.full(50, 5.0)
    labels, counted, current = _binned(np.full(9, 5.0), reference, np.full(40, changed))
    assert labels == ("< 5", "= 5", "> 5")
    assert jensen_shannon_divergence(counted, current) == pytest.approx(math.log(2), abs=TOLERANCE)


def test_near_cut_points_have_distinct_names() -> None:
    labels, _, _ = _binned(np.array([1.00001, 1.00002]), np.array([1.0, 1.1]), np.array([1.0]))
    assert labels == ("<= 1.00001", "(1.00001, 1.00002]", "> 1.00002")


def test_infinite_values_fall_into_the_outer_bins() -> None:
    reference = np.sort(np.r_[[-math.inf] * 20, np.arange(80.0), [math.inf] * 20])
    with np.errstate(invalid="ignore"):
        deciles = np.quantile(reference, np.arange(1, 10) / 10)
    _, counted, current = _binned(deciles, reference, np.array([-math.inf, math.inf]))
    assert counted.sum() == 120
    assert current[0] == current[-1] == 1


@given(reference=tied_samples, window=samples)
def test_every_value_is_counted_once(reference: NDArray[np.float64], window: NDArray[np.float64]) -> None:
    reference, window = np.sort(reference), np.sort(window)
    labels, counted, current = _binned(np.quantile(reference, np.arange(1, 10) / 10), reference, window)
    assert counted.sum() == reference.size
    assert current.sum() == window.size
    assert len(labels) == counted.size == current.size


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.sampled_from([0.01, 0.05, 0.2]))
def test_listing_is_scipys_false_discovery_control(p_values: list[float], rate: float) -> None:
    expected = np.array(p_values) <= benjamini_hochberg(p_values, hypotheses=len(p_values), rate=rate)
    adjusted = stats.false_discovery_control(p_values, method="bh")
    clear = np.abs(adjusted - rate) > 1e-12  # at the edge rounding decides
    rejected = expected & (np.array(p_values) > 0) | (np.array(p_values) == 0)
    assert (rejected[clear] == (adjusted <= rate)[clear]).all()


def test_hypotheses_without_a_p_value_count_too() -> None:
    # Of ten hypotheses the smallest may be .005, of three .0167: by hand.
    assert benjamini_hochberg([0.01, 1.0, 1.0], hypotheses=3, rate=0.05) == 0.01
    assert benjamini_hochberg([0.01, 1.0, 1.0], hypotheses=10, rate=0.05) == 0.0
