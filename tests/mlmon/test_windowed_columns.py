"""Columns added up in windows: every way of it gives the same sums."""

import numpy as np
import pyarrow as pa

from mlmon.prepared import prepare
from mlmon.profiling import profile_of
from mlmon.schema import TaskType
from mlmon.windowed_columns import ColumnRows, WindowedNumbers, Windows, windowed_columns


def test_one_long_window_has_the_sums_of_the_longest_of_two() -> None:
    rng = np.random.default_rng(9)
    reference = {"x": rng.normal(size=4000), "y": np.round(rng.exponential(size=4000), 1)}
    table = pa.table(reference)
    prepared = prepare(profile_of(table, pa.array([], pa.string()), [], TaskType.CLASSIFICATION))
    values = {"x": rng.normal(size=6000), "y": np.round(rng.exponential(size=6000), 1)}
    values["x"][[3, 70]], values["x"][[5, 80, 90]] = np.nan, np.inf
    columns = [ColumnRows(name, prepared.features[name], each) for name, each in values.items()]
    one = windowed_columns(columns, Windows(np.array([6000]), with_scores=True))
    two = windowed_columns(columns, Windows(np.array([6000, 600]), with_scores=True))
    for alone, of_two in zip(one, two, strict=True):
        assert isinstance(alone, WindowedNumbers)
        assert isinstance(of_two, WindowedNumbers)
        np.testing.assert_allclose(alone.sums[0], of_two.sums[0], rtol=1e-12)
        assert alone.present[0] == of_two.present[0]
        assert alone.infinities[0].tolist() == of_two.infinities[0].tolist()
        np.testing.assert_array_equal(alone.scores, of_two.scores)
