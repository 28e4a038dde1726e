"""The benchmark of normalised models predicts the same classes on both sides."""

from benchmarks.normalised_models import EXPORTS, ROWS, measured


def test_each_export_is_compared_with_one_that_needs_no_change() -> None:
    times = measured(pairs=3, calls=2)
    assert list(times) == [(name, rows) for name in EXPORTS for rows in ROWS]
    assert all(one.ratio.minimum > 0 for one in times.values())
