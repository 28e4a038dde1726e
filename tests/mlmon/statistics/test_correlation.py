"""Changes of rank correlation: rho against scipy, its variance against the jackknife, alarms by simulation."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.stats import norm, spearmanr

from mlmon.statistics.correlation import MOST_COLUMNS, MOST_CONFIRMED, correlation_changes, rank_correlations

TOLERANCE = 1e-12

Pairs = NDArray[np.float64]

quickly = settings(deadline=None, max_examples=40)  # a busy machine takes its time for a single example
numbers = st.one_of(st.integers(-3, 3).map(float), st.floats(allow_nan=False))
pairs_of_numbers = arrays(np.float64, st.tuples(st.integers(30, 60), st.just(2)), elements=numbers)


def table_of(columns: NDArray[np.float64]) -> pa.Table:
    return pa.table({f"x{index}": columns[:, index] for index in range(columns.shape[1])})


def normal_pairs(rows: int, rho: float, seed: int) -> Pairs:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, rows))
    return np.column_stack([first, rho * first + math.sqrt(1 - rho * rho) * second])


def factor(rng: np.random.Generator, rows: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ten independent normal columns and one that they may share."""
    return rng.normal(size=(rows, 10)), rng.normal(size=(rows, 1))


def independent(rng: np.random.Generator, rows: int) -> NDArray[np.float64]:
    return factor(rng, rows)[0]


def correlated(rng: np.random.Generator, rows: int) -> NDArray[np.float64]:
    own, shared = factor(rng, rows)
    return math.sqrt(0.3) * own + math.sqrt(0.7) * shared


def scaled_together(rng: np.random.Generator, rows: int) -> NDArray[np.float64]:
    own, shared = factor(rng, rows)
    return own * np.exp(shared)


def rare_together(rng: np.random.Generator, rows: int) -> NDArray[np.float64]:
    own, shared = factor(rng, rows)
    return (own + shared > 1.6 * math.sqrt(2)).astype(np.float64)


@quickly
@given(sample=pairs_of_numbers)
def test_rho_is_scipys_with_ties_and_infinities(sample: Pairs) -> None:
    rho = rank_correlations(table_of(sample)).rho[0, 1]
    if len(np.unique(sample[:, 0])) == 1 or len(np.unique(sample[:, 1])) == 1:
        assert math.isnan(rho)
    else:
        assert rho == pytest.approx(spearmanr(sample[:, 0], sample[:, 1]).statistic, abs=TOLERANCE)


def test_a_matrix_of_many_columns_is_scipys() -> None:
    sample = np.round(correlated(np.random.default_rng(3), 500), 1)
    found = rank_correlations(table_of(sample))
    np.testing.assert_allclose(found.rho, spearmanr(sample).statistic, atol=TOLERANCE)
    assert (found.rows == 500).all()


@quickly
@given(sample=pairs_of_numbers, seed=st.integers(0, 1000))
def test_rho_keeps_under_monotone_maps_and_the_order_of_rows_and_turns_with_a_falling_map(
    sample: Pairs, seed: int
) -> None:
    rho = rank_correlations(table_of(sample)).rho[0, 1]
    order = np.random.default_rng(seed).permutation(len(sample))
    ranked = np.unique(sample[:, 0], return_inverse=True)[1].astype(np.float64)
    for mapped, expected in ((ranked, rho), (ranked**3, rho), (-ranked, -rho)):
        moved = np.column_stack([mapped, sample[:, 1]])[order]
        assert rank_correlations(table_of(moved)).rho[0, 1] == pytest.approx(expected, abs=TOLERANCE, nan_ok=True)


@quickly
@given(sample=pairs_of_numbers, seed=st.integers(0, 1000))
def test_missing_values_leave_the_correlation_of_the_ranks_in_the_rows_that_have_both(sample: Pairs, seed: int) -> None:
    rng = np.random.default_rng(seed)
    holey = np.concatenate([sample, sample])
    holey[rng.random(holey.shape) < 0.2] = np.nan
    found = rank_correlations(table_of(holey))
    both = ~np.isnan(holey).any(axis=1)
    assert found.rows[0, 1] == both.sum()
    if both.sum() >= 30 and not math.isnan(found.rho[0, 1]):
        # numpy's correlation of average ranks, each among all values of its column.
        ranks = [np.array([np.sum(column < value) + np.sum(column <= value) for value in column]) for column in holey.T]
        expected = np.corrcoef(ranks[0][both], ranks[1][both])[0, 1]
        assert found.rho[0, 1] == pytest.approx(expected, abs=1e-9)


def test_null_is_missing_like_nan_and_other_types_are_left_out() -> None:
    sample = normal_pairs(100, 0.5, seed=1)
    holes = np.arange(100) % 7 == 0
    as_nan = np.where(holes, np.nan, sample[:, 0])
    found = rank_correlations(
        pa.table(
            {
                "nulls": pa.array(sample[:, 0], mask=holes),
                "text": pa.array(["a"] * 100),
                "nan": as_nan,
                "whole": np.arange(100),
            }
        )
    )
    assert found.names == ("nulls", "nan", "whole")
    assert found.rho[0, 1] == pytest.approx(1.0, abs=TOLERANCE)
    assert found.rho[0, 2] == found.rho[1, 2]


@pytest.mark.parametrize("draw", [correlated, scaled_together, rare_together])
def test_variance_is_that_of_the_jackknife(draw: Callable[[np.random.Generator, int], NDArray[np.float64]]) -> None:
    # The jackknife of scipy's rho (B. Efron, 1982): it exceeds the variance of the influence function by O(1/n).
    rows = 500
    sample = draw(np.random.default_rng(5), rows)[:, :2]
    left_out = [np.arctanh(spearmanr(np.delete(sample, row, axis=0)).statistic) for row in range(rows)]
    jackknife = float(np.var(left_out)) * (rows - 1) * rows
    assert rank_correlations(table_of(sample)).variance(0, 1) == pytest.approx(jackknife, rel=0.05)


def test_variance_of_independent_columns_is_1() -> None:
    # Var(rho) = 1 / (n - 1) for independent columns (M. G. Kendall, *Rank Correlation Methods*).
    sample = np.random.default_rng(2).normal(size=(5000, 2))
    assert rank_correlations(table_of(sample)).variance(0, 1) == pytest.approx(1.0, rel=0.05)


def test_a_change_is_found_and_its_p_value_is_fishers_by_hand() -> None:
    reference, current = (normal_pairs(rows, rho, 7) for rows, rho in ((5000, 0.0), (1000, 0.4)))
    before, after = rank_correlations(table_of(reference)), rank_correlations(table_of(current))
    (change,) = correlation_changes(before, after)
    assert (change.first, change.second) == ("x0", "x1")
    first, second = spearmanr(*reference.T).statistic, spearmanr(*current.T).statistic
    assert change.reference_correlation == pytest.approx(first, abs=TOLERANCE)
    assert change.current_correlation == pytest.approx(second, abs=TOLERANCE)
    by_formula = (1 + first**2 / 2) / 4997 + (1 + second**2 / 2) / 997
    measured = max(before.variance(0, 1), after.variance(0, 1)) * (1 / 5000 + 1 / 1000)
    z = (math.atanh(second) - math.atanh(first)) / math.sqrt(max(by_formula, measured))
    assert change.p_value == pytest.approx(2 * norm.sf(z), rel=1e-9)


def test_p_values_are_corrected_for_the_number_of_pairs_and_sorted() -> None:
    rng = np.random.default_rng(11)
    reference, current = rng.normal(size=(5000, 6)), rng.normal(size=(1000, 6))
    current[:, 1] = 0.3 * current[:, 0] + math.sqrt(0.91) * current[:, 1]
    current[:, 3] = 0.5 * current[:, 2] + math.sqrt(0.75) * current[:, 3]
    before, after = rank_correlations(table_of(reference)), rank_correlations(table_of(current))
    changes = correlation_changes(before, after)
    assert [(change.first, change.second) for change in changes] == [("x2", "x3"), ("x0", "x1")]
    (alone,) = correlation_changes(before.of(("x0", "x1")), after.of(("x0", "x1")))
    assert changes[1].p_value == pytest.approx(15 * alone.p_value, rel=1e-9)


def test_the_samples_can_be_exchanged() -> None:
    before, after = (rank_correlations(table_of(normal_pairs(rows, rho, 7))) for rows, rho in ((900, 0.1), (700, 0.7)))
    (there,), (back,) = correlation_changes(before, after), correlation_changes(after, before)
    assert there.p_value == pytest.approx(back.p_value, rel=1e-12)
    assert (there.reference_correlation, there.current_correlation) == (
        back.current_correlation,
        back.reference_correlation,
    )


def test_constant_columns_short_samples_and_unknown_columns_are_left_out() -> None:
    sample = table_of(normal_pairs(1000, 0.5, seed=1))
    turned = table_of(normal_pairs(1000, 0.5, seed=2) * [1.0, -1.0])
    assert correlation_changes(rank_correlations(sample), rank_correlations(turned))
    constant = turned.set_column(1, "x1", pa.array(np.ones(1000)))
    for other in (constant, turned.slice(0, 29), turned.rename_columns(["x0", "y"]), turned.select([])):
        assert correlation_changes(rank_correlations(sample), rank_correlations(other)) == ()


def test_copies_are_a_change_only_if_one_sample_has_none() -> None:
    sample = normal_pairs(1000, 0.5, seed=1)
    copies = rank_correlations(table_of(np.column_stack([sample[:, 0], np.exp(sample[:, 0])])))
    negated = rank_correlations(table_of(np.column_stack([sample[:, 0], -sample[:, 0]])))
    assert copies.rho[0, 1] == 1.0
    assert correlation_changes(copies, copies) == ()
    assert correlation_changes(copies, negated)[0].p_value < 1e-100
    assert correlation_changes(copies, rank_correlations(table_of(sample)))[0].p_value < 1e-10


def test_more_columns_and_rows_than_are_compared() -> None:
    rng = np.random.default_rng(4)
    shared = rng.normal(size=(200, 1))
    wide = rank_correlations(table_of(rng.normal(size=(200, MOST_COLUMNS + 5)) + shared))
    assert wide.names[-1] == f"x{MOST_COLUMNS - 1}"
    tied = rank_correlations(table_of(rng.normal(size=(200, 40)) + 3 * shared))
    loose = rank_correlations(table_of(rng.normal(size=(200, 40))))
    assert len(correlation_changes(tied, loose)) == MOST_CONFIRMED
    long = rank_correlations(table_of(rng.normal(size=(5001, 2))))
    assert long.rows[0, 1] == 5000


@pytest.mark.parametrize("draw", [independent, correlated, scaled_together, rare_together])
def test_false_alarms_are_rare(draw: Callable[[np.random.Generator, int], NDArray[np.float64]]) -> None:
    # Binomial: at one false alarm in a thousand checks, three or more among 200 have a probability of .001.
    rng = np.random.default_rng(17)
    alarms = sum(
        bool(correlation_changes(*(rank_correlations(table_of(draw(rng, rows))) for rows in (1500, 500))))
        for _ in range(200)
    )
    assert alarms <= 2


@quickly
@given(values=st.lists(st.floats(allow_infinity=True), min_size=0, max_size=3))
def test_a_handful_of_any_numbers_has_no_correlation(values: list[float]) -> None:
    columns: dict[str, Any] = {"a": pa.array(values, pa.float64()), "b": pa.array(values[::-1], pa.float64())}
    found = rank_correlations(pa.table(columns))
    assert np.isnan(found.rho).all()
    assert correlation_changes(found, found) == ()
