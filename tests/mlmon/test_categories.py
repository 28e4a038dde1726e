"""Categories: pooling, unseen categories, and the oracles of the exact test."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, fisher_exact

from mlmon.statistics.counts import (
    MOST_CATEGORIES,
    OTHER,
    SMALLEST_EXPECTED_COUNT,
    CategoryCounts,
    compare_categories,
    prepare_categories,
)


def align_categories(
    categories: Sequence[str], counts: np.ndarray[tuple[int], np.dtype[np.int64]], current: Mapping[str, int]
) -> CategoryCounts:
    """Align a window that is given as counts by category."""
    known = np.array([current.get(category, 0) for category in categories], dtype=np.int64)
    unknown = {category: count for category, count in current.items() if category not in categories}
    return prepare_categories(categories, counts).align(known, unknown)


def _counts(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, dtype=np.int64)


def test_categories_are_aligned_in_the_order_of_the_reference() -> None:
    aligned = align_categories(["a", "b", "c"], _counts(5, 4, 3), {"c": 2, "a": 1})
    assert aligned.names == ("a", "b", "c")
    assert aligned.reference.tolist() == [5, 4, 3]
    assert aligned.current.tolist() == [1, 0, 2]
    assert aligned.n_unseen == 0


def test_unseen_categories_are_other() -> None:
    aligned = align_categories(["a"], _counts(5), {"a": 1, "x": 2, "y": 7})
    assert aligned.names == ("a", OTHER)
    assert aligned.reference.tolist() == [5, 0]
    assert aligned.current.tolist() == [1, 9]
    assert aligned.unseen_names == ("y", "x")


@pytest.mark.parametrize(("rows", "shops"), [(10_000, 1500), (1000, 400), (20_000, 1500), (10_000, 400)])
def test_many_equally_frequent_categories_are_no_drift(rows: int, shops: int) -> None:
    """The shops that are frequent in the reference are so by chance, and become rarer: 187 of 200 files alarmed."""
    categories = [f"shop {index}" for index in range(shops)]
    for seed in range(30):
        rng = np.random.default_rng(seed)
        reference, current = (np.bincount(rng.integers(0, shops, n), minlength=shops) for n in (rows, 1000))
        known = np.flatnonzero(reference)
        prepared = prepare_categories([categories[index] for index in known], reference[known])
        unknown = {categories[index]: int(current[index]) for index in np.flatnonzero((reference == 0) & (current > 0))}
        aligned = prepared.align(current[known], unknown)
        test = compare_categories(aligned, reference_singletons=prepared.n_singletons)
        assert 3 * test.exact_p_value > 1e-4, seed


def test_more_than_fifty_categories_are_the_top_fifty_and_other() -> None:
    categories = [f"category{index:03}" for index in range(60)]
    counts = _counts(*range(100, 40, -1))
    aligned = align_categories(categories, counts, dict.fromkeys(categories, 2))
    assert len(aligned.names) == MOST_CATEGORIES + 1
    assert aligned.names[-1] == OTHER
    assert aligned.reference[-1] == sum(range(50, 40, -1))
    assert aligned.current[-1] == 20
    assert aligned.n_unseen == 0


def test_a_category_named_other_shares_the_column_of_that_name() -> None:
    aligned = align_categories([OTHER, "a"], _counts(9, 4), {OTHER: 3, "a": 1, "new": 2})
    assert aligned.names == ("a", OTHER)
    assert aligned.reference.tolist() == [4, 9]
    assert aligned.current.tolist() == [1, 5]
    assert aligned.n_unseen == 2


def test_columns_with_enough_rows_are_the_raw_table() -> None:
    aligned = align_categories(["a", "b", "c"], _counts(500, 300, 200), {"a": 60, "b": 25, "c": 15})
    expected = chi2_contingency([[500, 300, 200], [60, 25, 15]], correction=False)
    assert expected.expected_freq.min() < SMALLEST_EXPECTED_COUNT  # "c" is pooled: not that table ...
    pooled = compare_categories(aligned, reference_singletons=0)
    assert pooled.degrees_of_freedom == 1
    larger = align_categories(["a", "b", "c"], _counts(500, 300, 200), {"a": 120, "b": 50, "c": 30})
    expected = chi2_contingency([[500, 300, 200], [120, 50, 30]], correction=False)
    result = compare_categories(larger, reference_singletons=0)  # ... and this one is
    assert result.statistic == pytest.approx(expected.statistic, rel=1e-12)
    assert result.exact_p_value == pytest.approx(expected.pvalue, rel=1e-12)


def test_only_unseen_categories_give_the_largest_possible_w() -> None:
    aligned = align_categories(["a", "b"], _counts(6000, 4000), {"new": 100})
    result = compare_categories(aligned, reference_singletons=0)
    m, n = 10_000, 100
    assert result.statistic == pytest.approx(m + n, rel=1e-12)  # X2 of disjoint samples, by hand
    assert result.cohens_w == pytest.approx(math.sqrt((m + n - 2) * (m + n) / (m * n)), rel=1e-12)
    assert result.exact_p_value < 1e-200


def test_a_constant_that_changes_is_an_unseen_category() -> None:
    aligned = align_categories(["a"], _counts(1000), {"b": 40})
    assert compare_categories(aligned, reference_singletons=0).cohens_w > 1


def test_a_class_that_the_reference_never_predicted_is_unseen() -> None:
    aligned = align_categories(["a", "b", "never"], _counts(6000, 4000, 0), {"a": 30, "never": 70})
    assert aligned.names == ("a", "b", "never")
    assert aligned.n_unseen == 70
    assert aligned.unseen_names == ("never",)
    result = compare_categories(aligned, reference_singletons=0)
    assert result.unseen is not None
    assert (result.unseen.rows, result.unseen.n, result.unseen.m) == (70, 100, 10_000)
    # "a" and "b" expect 20 rows each, so no column is pooled.
    expected = chi2_contingency([[6000, 4000, 0], [30, 0, 70]], correction=False)
    assert result.statistic == pytest.approx(expected.statistic, rel=1e-12)


def test_a_single_unseen_row_among_a_hundred_is_no_false_alarm() -> None:
    aligned = align_categories(["a", "b"], _counts(6000, 4000), {"a": 60, "b": 39, "new": 1})
    result = compare_categories(aligned, reference_singletons=0)
    assert result.unseen is None
    assert result.statistic == pytest.approx(0.0, abs=1e-9)  # the row is pooled with "b": 4000 and 6000, 40 and 60
    assert result.cohens_w < 0.1


def test_unseen_categories_stand_alone_from_one_percent_on() -> None:
    def unseen_p_value(unseen: int) -> float | None:
        aligned = align_categories(["a", "b"], _counts(6000, 4000), {"a": 600, "b": 400 - unseen, "new": unseen})
        result = compare_categories(aligned, reference_singletons=0)
        return None if result.unseen is None else result.unseen.p_value

    assert unseen_p_value(9) is None
    # Fisher's exact test of 10 unseen rows of 1000 against 0 of 10,000.
    expected = fisher_exact(np.array([[10, 990], [0, 10_000]]), alternative="greater").pvalue
    assert unseen_p_value(10) == pytest.approx(expected, rel=1e-9)


def test_the_p_value_of_unseen_categories_is_near_the_power_law() -> None:
    aligned = align_categories(["a"], _counts(10_000), {"a": 990, "new": 10})
    unseen = compare_categories(aligned, reference_singletons=0).unseen
    assert unseen is not None
    assert unseen.p_value == pytest.approx((1000 / 11_000) ** 10, rel=0.1)


def test_rare_categories_of_the_reference_predict_unseen_ones() -> None:
    # 500 of 10,000 reference rows are categories that occur once, so 50 unseen rows of 1000 are what is to be expected.
    categories = ["a", *(f"rare{index}" for index in range(500))]
    counts = _counts(9500, *[1] * 500)
    window = {"a": 950, **{f"new{index}": 1 for index in range(50)}}
    aligned = align_categories(categories, counts, window)
    result = compare_categories(aligned, reference_singletons=500)
    assert result.unseen is None
    assert result.cohens_w < 0.05


def test_the_p_value_with_unseen_categories_uses_both_parts() -> None:
    aligned = align_categories(["a", "b"], _counts(6000, 4000), {"a": 580, "b": 400, "new": 20})
    unseen = fisher_exact(np.array([[20, 980], [0, 10_000]]), alternative="greater").pvalue
    assert compare_categories(aligned, reference_singletons=0).exact_p_value == pytest.approx(2 * unseen, rel=1e-9)
    shifted = align_categories(["a", "b"], _counts(6000, 4000), {"a": 90, "b": 890, "new": 20})
    rest = chi2_contingency([[6000, 4000], [90, 890]], correction=False).pvalue
    assert compare_categories(shifted, reference_singletons=0).exact_p_value == pytest.approx(2 * rest, rel=1e-9)


def test_false_alarms_without_drift_are_rare_with_a_long_tail_of_categories() -> None:
    rng = np.random.default_rng(11)
    shares = 1 / np.arange(1, 301)
    shares /= shares.sum()
    alarms = 0
    for _ in range(200):
        reference, window = rng.multinomial(10_000, shares), rng.multinomial(1000, shares)
        categories = [str(index) for index in np.flatnonzero(reference)]
        current = {str(index): int(window[index]) for index in np.flatnonzero(window)}
        aligned = align_categories(categories, reference[reference > 0], current)
        result = compare_categories(aligned, reference_singletons=int((reference == 1).sum()))
        alarms += result.cohens_w > 0.15
    assert alarms <= 6


@given(
    reference=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 400), min_size=1),
    current=st.dictionaries(st.sampled_from("abcdefghxyz"), st.integers(1, 200), min_size=1),
)
def test_pooling_keeps_every_row_and_makes_no_small_columns(reference: dict[str, int], current: dict[str, int]) -> None:
    aligned = align_categories(list(reference), _counts(*reference.values()), current)
    singletons = sum(count == 1 for count in reference.values())
    result = compare_categories(aligned, reference_singletons=singletons)
    m, n = sum(reference.values()), sum(current.values())
    assert result.effective_rows == pytest.approx(n * m / (n + m), rel=1e-12)
    stands_alone = result.unseen is not None
    seen = m + n - (aligned.n_unseen if stands_alone else 0)
    most_pools = max(1.0, seen * n / (n + m) / SMALLEST_EXPECTED_COUNT)
    assert result.degrees_of_freedom + 1 - stands_alone <= most_pools
    assert 0 <= result.exact_p_value <= 1
    assert result.cohens_w >= 0
