"""Levels: pooling, unseen levels, and the oracles of the exact test."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, fisher_exact

from mlmon.statistics.levels import (
    MOST_LEVELS,
    OTHER,
    SMALLEST_EXPECTED_COUNT,
    LevelCounts,
    compare_levels,
    pool_small_levels,
    prepare_levels,
)


def align_levels(
    levels: Sequence[str], counts: np.ndarray[tuple[int], np.dtype[np.int64]], current: Mapping[str, int]
) -> LevelCounts:
    """Align a window that is given as counts by name."""
    known = np.array([current.get(level, 0) for level in levels], dtype=np.int64)
    unknown = {level: count for level, count in current.items() if level not in levels}
    return prepare_levels(levels, counts).align(known, unknown)


def _counts(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, dtype=np.int64)


def test_levels_are_aligned_in_the_references_order() -> None:
    aligned = align_levels(["a", "b", "c"], _counts(5, 4, 3), {"c": 2, "a": 1})
    assert aligned.levels == ("a", "b", "c")
    assert aligned.reference.tolist() == [5, 4, 3]
    assert aligned.current.tolist() == [1, 0, 2]
    assert aligned.unseen == 0


def test_unseen_levels_are_other() -> None:
    aligned = align_levels(["a"], _counts(5), {"a": 1, "x": 2, "y": 7})
    assert aligned.levels == ("a", OTHER)
    assert aligned.reference.tolist() == [5, 0]
    assert aligned.current.tolist() == [1, 9]
    assert aligned.unseen_levels == ("y", "x")


def test_more_than_fifty_levels_are_the_top_fifty_and_other() -> None:
    levels = [f"level{index:03}" for index in range(60)]
    counts = _counts(*range(100, 40, -1))
    aligned = align_levels(levels, counts, dict.fromkeys(levels, 2))
    assert len(aligned.levels) == MOST_LEVELS + 1
    assert aligned.levels[-1] == OTHER
    assert aligned.reference[-1] == sum(range(50, 40, -1))
    assert aligned.current[-1] == 20
    assert aligned.unseen == 0


def test_a_level_named_other_shares_the_column_of_that_name() -> None:
    aligned = align_levels([OTHER, "a"], _counts(9, 4), {OTHER: 3, "a": 1, "new": 2})
    assert aligned.levels == ("a", OTHER)
    assert aligned.reference.tolist() == [4, 9]
    assert aligned.current.tolist() == [1, 5]
    assert aligned.unseen == 2


def test_columns_with_enough_rows_are_the_raw_table() -> None:
    aligned = align_levels(["a", "b", "c"], _counts(500, 300, 200), {"a": 60, "b": 25, "c": 15})
    expected = chi2_contingency([[500, 300, 200], [60, 25, 15]], correction=False)
    assert expected.expected_freq.min() < SMALLEST_EXPECTED_COUNT  # "c" is pooled: not that table ...
    pooled = compare_levels(aligned, reference_singletons=0)
    assert pooled.table.degrees_of_freedom == 1
    larger = align_levels(["a", "b", "c"], _counts(500, 300, 200), {"a": 120, "b": 50, "c": 30})
    expected = chi2_contingency([[500, 300, 200], [120, 50, 30]], correction=False)
    result = compare_levels(larger, reference_singletons=0)  # ... and this one is
    assert result.table.statistic == pytest.approx(expected.statistic, rel=1e-12)
    assert result.p_value_at(1.0) == pytest.approx(expected.pvalue, rel=1e-12)


def test_only_unseen_levels_give_the_largest_w_there_is() -> None:
    aligned = align_levels(["a", "b"], _counts(6000, 4000), {"new": 100})
    result = compare_levels(aligned, reference_singletons=0)
    m, n = 10_000, 100
    assert result.table.statistic == pytest.approx(m + n, rel=1e-12)  # X2 of disjoint samples, by hand
    assert result.table.cohens_w == pytest.approx(math.sqrt((m + n - 2) * (m + n) / (m * n)), rel=1e-12)
    assert result.p_value_at(1.0) < 1e-200


def test_a_constant_that_changes_is_an_unseen_level() -> None:
    aligned = align_levels(["a"], _counts(1000), {"b": 40})
    assert compare_levels(aligned, reference_singletons=0).table.cohens_w > 1


def test_a_class_that_the_reference_never_predicted_is_unseen() -> None:
    aligned = align_levels(["a", "b", "never"], _counts(6000, 4000, 0), {"a": 30, "never": 70})
    assert aligned.levels == ("a", "b", "never")
    assert aligned.unseen == 70
    assert aligned.unseen_levels == ("never",)
    table = pool_small_levels(aligned, reference_singletons=0)
    assert (table.reference[-1], table.current[-1]) == (0, 70)
    assert table.current.sum() == 100


def test_a_single_unseen_row_among_a_hundred_does_not_cry_wolf() -> None:
    aligned = align_levels(["a", "b"], _counts(6000, 4000), {"a": 60, "b": 39, "new": 1})
    table = pool_small_levels(aligned, reference_singletons=0)
    assert table.unseen is None
    assert table.current.tolist() == [40, 60]
    assert compare_levels(aligned, reference_singletons=0).table.cohens_w < 0.1


def test_unseen_levels_stand_alone_from_one_percent_on() -> None:
    def unseen_p_value(unseen: int) -> float | None:
        aligned = align_levels(["a", "b"], _counts(6000, 4000), {"a": 600, "b": 400 - unseen, "new": unseen})
        table = pool_small_levels(aligned, reference_singletons=0)
        return None if table.unseen is None else table.unseen.p_value_at(1.0)

    assert unseen_p_value(9) is None
    # Fisher's exact test of 10 unseen rows of 1000 against 0 of 10,000.
    expected = fisher_exact(np.array([[10, 990], [0, 10_000]]), alternative="greater").pvalue
    assert unseen_p_value(10) == pytest.approx(expected, rel=1e-9)


def test_the_p_value_of_unseen_levels_is_near_the_power_law() -> None:
    aligned = align_levels(["a"], _counts(10_000), {"a": 990, "new": 10})
    unseen = pool_small_levels(aligned, reference_singletons=0).unseen
    assert unseen is not None
    assert unseen.p_value_at(1.0) == pytest.approx((1000 / 11_000) ** 10, rel=0.1)


def test_the_references_rare_levels_predict_unseen_ones() -> None:
    # 500 of 10,000 reference rows are levels that occur once, so 50 unseen rows of 1000 are what is to be expected.
    levels = ["a", *(f"rare{index}" for index in range(500))]
    counts = _counts(9500, *[1] * 500)
    window = {"a": 950, **{f"new{index}": 1 for index in range(50)}}
    aligned = align_levels(levels, counts, window)
    table = pool_small_levels(aligned, reference_singletons=500)
    assert table.unseen is None
    assert compare_levels(aligned, reference_singletons=500).table.cohens_w < 0.05


def test_the_p_value_with_unseen_levels_looks_at_both_parts() -> None:
    aligned = align_levels(["a", "b"], _counts(6000, 4000), {"a": 580, "b": 400, "new": 20})
    unseen = fisher_exact(np.array([[20, 980], [0, 10_000]]), alternative="greater").pvalue
    assert compare_levels(aligned, reference_singletons=0).p_value_at(1.0) == pytest.approx(2 * unseen, rel=1e-9)
    shifted = align_levels(["a", "b"], _counts(6000, 4000), {"a": 90, "b": 890, "new": 20})
    rest = chi2_contingency([[6000, 4000], [90, 890]], correction=False).pvalue
    assert compare_levels(shifted, reference_singletons=0).p_value_at(1.0) == pytest.approx(2 * rest, rel=1e-9)


def test_false_alarms_without_drift_are_rare_with_a_long_tail_of_levels() -> None:
    rng = np.random.default_rng(11)
    shares = 1 / np.arange(1, 301)
    shares /= shares.sum()
    alarms = 0
    for _ in range(200):
        reference, window = rng.multinomial(10_000, shares), rng.multinomial(1000, shares)
        levels = [str(index) for index in np.flatnonzero(reference)]
        current = {str(index): int(window[index]) for index in np.flatnonzero(window)}
        aligned = align_levels(levels, reference[reference > 0], current)
        result = compare_levels(aligned, reference_singletons=int((reference == 1).sum()))
        alarms += result.table.cohens_w > 0.15
    assert alarms <= 6


@given(
    reference=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 400), min_size=1),
    current=st.dictionaries(st.sampled_from("abcdefghxyz"), st.integers(1, 200), min_size=1),
)
def test_pooling_keeps_every_row_and_the_expected_counts(reference: dict[str, int], current: dict[str, int]) -> None:
    aligned = align_levels(list(reference), _counts(*reference.values()), current)
    singletons = sum(count == 1 for count in reference.values())
    table = pool_small_levels(aligned, reference_singletons=singletons)
    m, n = sum(reference.values()), sum(current.values())
    assert table.reference.sum() == m
    assert table.current.sum() == n
    pooled = slice(None) if table.unseen is None else slice(-1)
    expected = (table.reference + table.current)[pooled] * n / (n + m)
    assert (expected >= SMALLEST_EXPECTED_COUNT).all() or expected.size == 1
    result = compare_levels(aligned, reference_singletons=singletons)
    assert 0 <= result.p_value_at(1.0) <= 1
    assert result.table.cohens_w >= 0
