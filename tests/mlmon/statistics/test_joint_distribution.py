"""The domain classifier: its area against scikit-learn, its p-value against scipy, its false alarms by simulation."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, norm
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from mlmon.statistics.joint_distribution import joint_change

CATEGORIES = np.array(list("abcdefghij"))


def rows_of(rng: np.random.Generator, rows: int, *, shift: float = 0.0, rho: float = 0.0) -> pa.Table:
    """Return three normal columns and one of categories with gaps; the shift is x0's, rho that of x1 and x2."""
    first, second, third = rng.normal(size=(3, rows))
    category = CATEGORIES[np.minimum(rng.geometric(0.4, rows), 10) - 1]
    return pa.table(
        {
            "x0": first + shift,
            "x1": second,
            "x2": rho * second + math.sqrt(1 - rho * rho) * third,
            "category": pa.array(category, mask=rng.random(rows) < 0.05),
        }
    )


def samples(seed: int, *, rows: tuple[int, int] = (1500, 600), **change: float) -> tuple[pa.Table, pa.Table]:
    rng = np.random.default_rng(seed)
    return rows_of(rng, rows[0]), rows_of(rng, rows[1], **change)


def held_out_scores(reference: NDArray[np.float64], current: NDArray[np.float64]) -> tuple[Any, Any]:
    """Return the sample of held-out rows and their scores, by scikit-learn on the values themselves."""
    in_blocks = [np.arange(len(sample)) * 20 // len(sample) % 2 == 1 for sample in (reference, current)]
    held_out, values = np.concatenate(in_blocks), np.concatenate([reference, current])
    is_current = np.arange(len(values)) >= len(reference)
    classifier = HistGradientBoostingClassifier(
        max_iter=30, max_leaf_nodes=8, min_samples_leaf=20, early_stopping=False, random_state=0
    )
    classifier.fit(values[~held_out], is_current[~held_out])
    return is_current[held_out], classifier.predict_proba(values[held_out])[:, 1]


def test_area_is_scikit_learns_and_p_value_scipys() -> None:
    rng = np.random.default_rng(3)
    # Of whole numbers below 200 the classifier's bins are the same before and after ranking.
    reference, current = rng.integers(0, 200, (2000, 3)).astype(float), rng.integers(0, 210, (900, 3)).astype(float)
    names = ["a", "b", "c"]
    found = joint_change(*(pa.table(dict(zip(names, each.T, strict=True))) for each in (reference, current)))
    is_current, scores = held_out_scores(reference, current)
    expected = mannwhitneyu(scores[is_current], scores[~is_current], alternative="greater", method="asymptotic")
    assert found is not None
    assert found.auc == pytest.approx(roc_auc_score(is_current, scores), abs=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)


def test_area_of_two_shifted_normal_columns_is_nearly_the_largest_possible() -> None:
    # The area of the best classifier of N(0, 1) and N(1, 1) is Phi(1 / sqrt 2) = .760.
    rng = np.random.default_rng(2)
    found = joint_change(*(pa.table({"x": rng.normal(mean, size=5000)}) for mean in (0.0, 1.0)))
    assert found is not None
    assert found.auc == pytest.approx(norm.cdf(1 / math.sqrt(2)), abs=0.02)


def test_a_shifted_column_is_found_and_named() -> None:
    found = joint_change(*samples(1, shift=1.0))
    assert found is not None
    assert found.auc > 0.65
    assert found.p_value < 1e-6
    assert found.telling_features == ("x0",)


def test_a_relation_that_no_single_column_shows_names_both_its_columns() -> None:
    found = joint_change(*samples(2, rho=0.8))
    assert found is not None
    assert found.p_value < 1e-6
    assert set(found.telling_features) == {"x1", "x2"}


def test_a_frequent_category_and_missing_values_are_found() -> None:
    reference, current = samples(3)
    rows = np.arange(current.num_rows)
    categories = np.where(rows % 4 == 0, "f", np.array(current["category"].to_pylist(), dtype=object))
    moved = current.set_column(3, "category", pa.array(categories.tolist(), pa.string()))
    found = joint_change(reference, moved)
    assert found is not None
    assert found.telling_features == ("category",)
    missing = current.set_column(0, "x0", pa.array(current["x0"].to_numpy(), mask=rows % 3 == 0))
    found = joint_change(reference, missing)
    assert found is not None
    assert found.telling_features == ("x0",)


def test_nothing_is_named_without_a_change_and_results_are_reproducible() -> None:
    found = joint_change(*samples(4))
    assert found is not None
    assert found.p_value > 1e-3
    assert found.telling_features == ()
    assert joint_change(*samples(4)) == found


@settings(deadline=None, max_examples=6)
@given(seed=st.integers(0, 10_000))
def test_monotone_maps_and_the_names_and_kinds_of_numbers_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tables = [{name: rng.integers(-9, 9 + more, 400) for name in "ab"} for more in (0, 3)]
    plain = [pa.table(columns) for columns in tables]
    mapped = [
        pa.table({"z": columns["a"] * 1e307, "y": np.where(columns["b"] == -9, -np.inf, np.exp(columns["b"]))})
        for columns in tables
    ]
    found, moved = joint_change(*plain), joint_change(*mapped)
    assert found is not None
    assert moved is not None
    assert (moved.auc, moved.p_value) == (found.auc, found.p_value)


def test_columns_without_information_are_left_out() -> None:
    reference, current = samples(5)
    found = joint_change(reference, current)

    def widened(sample: pa.Table, side: str) -> pa.Table:
        rows = sample.num_rows
        columns: dict[str, Any] = {
            "constant": np.ones(rows),
            "nothing": pa.nulls(rows, pa.float64()),
            "identifier": [f"{side}{row}" for row in range(rows)],
            "retyped": np.arange(rows) if side == "reference" else ["text"] * rows,
            f"only_{side}": np.arange(rows),
            "flag": np.zeros(rows, dtype=bool),
        }
        for name, values in columns.items():
            sample = sample.append_column(name, pa.array(values))
        return sample

    assert joint_change(widened(reference, "reference"), widened(current, "current")) == found


def test_too_few_rows_or_no_columns_give_no_result() -> None:
    reference, current = samples(6)
    assert joint_change(reference, current.slice(0, 199)) is None
    assert joint_change(reference.slice(0, 199), current) is None
    assert joint_change(reference, current.slice(0, 200)) is not None
    assert joint_change(reference.select([]), current) is None
    assert joint_change(reference, current.rename_columns(["p", "q", "r", "s"])) is None


def test_a_classifier_without_a_split_finds_no_difference() -> None:
    # Two values, one of them in four rows only: a leaf needs twenty.
    rare = np.arange(400) % 100 == 0
    found = joint_change(pa.table({"x": rare.astype(float)}), pa.table({"x": rare.astype(float)}))
    assert found is not None
    assert (found.auc, found.p_value) == (0.5, 1.0)


def test_five_thousand_rows_of_long_samples_are_used() -> None:
    rng = np.random.default_rng(8)
    columns = rng.normal(size=20_000)
    spaced = np.linspace(0, 19_999, 5000).astype(np.int64)
    current = pa.table({"x": rng.normal(0.2, size=1000)})
    found = joint_change(pa.table({"x": columns}), current)
    assert found == joint_change(pa.table({"x": columns[spaced]}), current)


def test_p_values_are_uniform_without_a_change() -> None:
    # Binomial, 100 draws: 14 or more below .05 have a probability of .0005, and so have 6 or more below .01.
    p_values = []
    for seed in range(100):
        found = joint_change(*samples(seed, rows=(400, 300)))
        assert found is not None
        p_values.append(found.p_value)
    below = {alpha: int((np.array(p_values) < alpha).sum()) for alpha in (0.001, 0.01, 0.05)}
    assert below[0.05] <= 13
    assert below[0.01] <= 5
    assert below[0.001] <= 1
    assert 0.4 < float(np.mean(p_values)) < 0.6
