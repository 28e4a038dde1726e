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
    rows = np.repeat(np.random.default_rng(8).normal(size=500), 20)  # twenty alike rows at a time: phi is 20
    observed = pa.table({"x": pa.array(rows)})
    profile = from_bytes(profile_of(observed, pa.array(rows), [], TaskType.REGRESSION).to_bytes())
    assert profile.features["x"].dispersion.at(1000) == pytest.approx(20, rel=0.2)
    assert profile.prediction.dispersion.at(1000) == pytest.approx(20, rel=0.2)


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
