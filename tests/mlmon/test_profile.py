"""Profiles of reference data."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from mlmon.profile import CategoricalProfile, NumericProfile, from_bytes
from mlmon.profiling import column_profile, profile_of
from mlmon.schema import TaskType


def numeric(values: Any) -> NumericProfile:
    profile = column_profile(pa.array(values, pa.float64(), from_pandas=True))
    assert isinstance(profile, NumericProfile)
    return profile


def test_moments_and_deciles_agree_with_scipy() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=999)
    profile = numeric(values)
    described = stats.describe(values, ddof=0)
    assert profile.mean == pytest.approx(described.mean, rel=1e-12)
    assert profile.std == pytest.approx(math.sqrt(described.variance), rel=1e-12)
    assert (profile.minimum, profile.maximum) == described.minmax
    # scipy's empirical distribution function is the oracle of the definition in the docstring.
    distribution = stats.ecdf(values).cdf
    for k, cut in enumerate(profile.deciles, start=1):
        assert distribution.evaluate(cut) >= k / 10
        assert distribution.evaluate(np.nextafter(cut, -np.inf)) < k / 10
    assert profile.n_distinct == 999


def test_missing_and_infinite_values() -> None:
    profile = numeric([1.0, np.nan, np.inf, 3.0, -np.inf, None])
    assert profile.sorted_values.tolist() == [-np.inf, 1.0, 3.0, np.inf]
    assert (profile.n_missing, profile.mean, profile.std) == (2, 2.0, 1.0)
    assert (profile.minimum, profile.maximum, profile.n_distinct) == (1.0, 3.0, 4)


def test_a_column_without_values() -> None:
    profile = numeric([None, None])
    assert profile.sorted_values.size == 0
    assert (profile.n_missing, profile.n_distinct) == (2, 0)
    assert np.isnan([profile.mean, profile.std, profile.minimum, profile.maximum, *profile.deciles]).all()


def test_categories_are_ordered_by_falling_count_then_by_name() -> None:
    profile = column_profile(pa.array(["b", "a", None, "b", "c"]))
    assert isinstance(profile, CategoricalProfile)
    assert profile.categories == ("b", "a", "c")
    assert profile.counts.tolist() == [2, 1, 1]
    assert profile.n_missing == 1


def test_a_profile_survives_its_file_to_the_last_bit() -> None:
    rng = np.random.default_rng(2)
    observed = pa.table(
        {
            "x": pa.array(np.where(rng.random(500) < 0.1, np.nan, rng.normal(size=500)), from_pandas=True),
            "empty": pa.array([None] * 500, pa.float64()),
            "origin": pa.array(rng.choice(np.array(["JFK", "LGA", None], dtype=object), 500).tolist(), pa.string()),
            "nothing": pa.array([None] * 500, pa.string()),
        }
    )
    predictions = pa.array(rng.choice(["late", "on time"], 500).tolist())
    classes = ["on time", "late", "cancelled"]
    profile = profile_of(observed, predictions, classes, TaskType.CLASSIFICATION)
    content = profile.to_bytes()
    again = from_bytes(content)
    assert again.n_rows == 500
    assert list(again.features) == ["x", "empty", "origin", "nothing"]
    before, after = profile.features["x"], again.features["x"]
    assert isinstance(before, NumericProfile)
    assert isinstance(after, NumericProfile)
    np.testing.assert_array_equal(before.sorted_values, after.sorted_values, strict=True)
    np.testing.assert_array_equal(before.deciles, after.deciles, strict=True)
    assert (before.mean, before.std, before.n_missing) == (after.mean, after.std, after.n_missing)
    assert not after.sorted_values.flags.owndata  # a view of the file
    origin = again.features["origin"]
    assert isinstance(origin, CategoricalProfile)
    assert sum(origin.counts) + origin.n_missing == 500
    assert isinstance(again.prediction, CategoricalProfile)
    assert again.prediction.categories == tuple(classes)
    assert again.prediction.counts[2] == 0
    assert again.to_bytes() == content


def test_a_sample_of_whole_rows_is_kept_in_their_order() -> None:
    observed = pa.table({"row": pa.array(np.arange(20_000.0)), "name": pa.array([f"r{i}" for i in range(20_000)])})
    profile = profile_of(observed, pa.array(np.zeros(20_000)), [], TaskType.REGRESSION)
    sample = from_bytes(profile.to_bytes()).sample
    assert sample.num_rows == 5_000
    rows = sample.column("row").to_numpy().tolist()
    assert rows == sorted(rows)
    assert (rows[0], rows[-1]) == (0, 19_999)
    assert sample.column("name").to_pylist() == [f"r{int(row)}" for row in rows]


def test_the_dispersion_of_bursts_survives_the_file() -> None:
    """Twenty alike rows at a time: phi is 20."""
    rng = np.random.default_rng(8)
    rows, is_missing = np.repeat(rng.normal(size=500), 20), np.repeat(rng.random(500) < 0.1, 20)
    values = np.where(np.repeat(rng.random(500) < 0.1, 20), np.inf, rows)
    columns = {
        "number": pa.array(values),
        "string": pa.array([f"{value:.0f}" for value in rows]),
        "code": pa.array(np.round(rows)),
        "missing": pa.array(rows, mask=is_missing),
    }
    own = profile_of(pa.table(columns), pa.array(rows), [], TaskType.REGRESSION)
    again = from_bytes(own.to_bytes())
    for name, one in {**again.features, "": again.prediction}.items():
        before = {**own.features, "": own.prediction}[name]
        series = [one.category_dependence, one.missing_dependence]
        own_series = [before.category_dependence, before.missing_dependence]
        if isinstance(one, NumericProfile) and isinstance(before, NumericProfile):
            series += [one.dependence, one.infinity_dependence]
            own_series += [before.dependence, before.infinity_dependence]
        assert [each.at(1000) for each in series] == [each.at(1000) for each in own_series]
    number, string, missing = (again.features[name] for name in ("number", "string", "missing"))
    assert isinstance(number, NumericProfile)
    assert number.dependence.at(1000).phi == pytest.approx(20, rel=0.25)
    assert number.infinity_dependence.at(1000).phi == pytest.approx(20, rel=0.25)
    assert string.category_dependence.at(1000).phi == pytest.approx(20, rel=0.25)
    assert missing.missing_dependence.at(1000).phi == pytest.approx(20, rel=0.25)


def test_scores_and_correlations_survive_the_file() -> None:
    rng = np.random.default_rng(9)
    x = rng.normal(size=(5000, 2))
    both = x @ np.array([[1.0, 0.6], [0.0, 0.8]])  # the correlation of the two is .6
    columns = {"a": pa.array(both[:, 0]), "name": pa.array(["x", "y"] * 2500), "b": pa.array(both[:, 1])}
    constant = {"constant": pa.array(np.ones(5000)), "missing": pa.array([None] * 5000, pa.float64())}
    own = profile_of(pa.table(columns | constant), pa.array(x[:, 0]), [], TaskType.REGRESSION)
    again = from_bytes(own.to_bytes())
    assert again.correlated_names == own.correlated_names == ("a", "b")
    assert own.correlations is not None
    assert again.correlations is not None
    for name in ("rows", "means", "deviations", "rho", "spread", "skewness", "chunk_ratios"):
        np.testing.assert_array_equal(getattr(again.correlations, name), getattr(own.correlations, name))
    assert again.correlations.rho[0, 1] == pytest.approx(0.6, abs=0.03)
    for name in ("a", "b"):
        before, after = own.features[name], again.features[name]
        assert isinstance(before, NumericProfile)
        assert isinstance(after, NumericProfile)
        assert before.scores is not None
        assert after.scores is not None
        for part in ("rows", "boundaries", "tail_cuts", "means", "deviations", "skewness", "bin_counts", "tail_counts"):
            np.testing.assert_array_equal(getattr(after.scores, part), getattr(before.scores, part))
    for name in ("constant", "missing"):
        empty = again.features[name]
        assert isinstance(empty, NumericProfile)
        assert empty.scores is None


def test_one_numeric_feature_has_no_correlations() -> None:
    observed = pa.table({"a": pa.array(np.arange(100.0)), "name": pa.array(["x", "y"] * 50)})
    profile = from_bytes(profile_of(observed, pa.array(np.arange(100.0)), [], TaskType.REGRESSION).to_bytes())
    assert profile.correlations is None
    assert profile.correlated_names == ()


def test_a_sorted_column_is_marked() -> None:
    rng = np.random.default_rng(10)
    x = rng.normal(size=2000)
    columns = {"sorted": pa.array(np.sort(x)), "by_name": pa.array(["b"] * 900 + ["a"] * 1100), "shuffled": pa.array(x)}
    profile = from_bytes(profile_of(pa.table(columns), pa.array(x), [], TaskType.REGRESSION).to_bytes())
    marked = {name: column.looks_sorted for name, column in profile.features.items()}
    assert marked == {"sorted": True, "by_name": True, "shuffled": False}


def test_a_profile_of_another_format_is_rejected() -> None:
    observed = pa.table({"x": pa.array(np.arange(100.0))})
    content = profile_of(observed, pa.array(np.arange(100.0)), [], TaskType.REGRESSION).to_bytes()
    old = pa.ipc.open_file(content).read_all().replace_schema_metadata({"format": "1", "n_rows": "100"})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, old.schema) as writer:
        writer.write_table(old)
    with pytest.raises(ValueError, match="Profile the reference again"):
        from_bytes(sink.getvalue())


def test_predictions_of_a_regression_are_profiled_as_numbers() -> None:
    observed = pa.table({"x": pa.array([1.0, 2.0])})
    profile = profile_of(observed, pa.array([0.5, 0.7]), [], TaskType.REGRESSION)
    assert isinstance(profile.prediction, NumericProfile)
    assert profile.prediction.mean == pytest.approx(0.6)


def test_another_file_is_rejected() -> None:
    sink = pa.BufferOutputStream()
    table = pa.table({"x": [1]})
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(ValueError, match="Not a reference profile"):
        from_bytes(sink.getvalue())


def test_moments_of_values_whose_squares_are_beyond_float64() -> None:
    """By hand: the mean of -a, a, a is a/3, their variance 8a²/9."""
    profile = column_profile(pa.array([-1.5e308, 1.5e308, 1.5e308]))
    assert isinstance(profile, NumericProfile)
    assert profile.mean == pytest.approx(0.5e308)
    assert profile.std == pytest.approx(0.5e308 * 8**0.5)


def test_the_order_in_which_equally_frequent_categories_appear_is_no_dependence() -> None:
    """Rows in random order are independent, so that a window's share varies as much as that of one row: phi is 1."""
    codes = np.random.default_rng(5).permutation(np.repeat(np.arange(1000), 2))
    profile = column_profile(pa.array([f"category {code}" for code in codes]))
    found = profile.category_dependence.at(500)
    assert found.phi == pytest.approx(1.0, abs=0.3)
    assert found.needed_rows == 0
