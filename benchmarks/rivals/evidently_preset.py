"""evidently's DataDriftPreset with its defaults: one measure a column, Wasserstein of numbers and JS of levels."""

from collections.abc import Callable
from typing import Any

from evidently import Report  # type: ignore[import-not-found]
from evidently.presets import DataDriftPreset  # type: ignore[import-not-found]

from benchmarks.arrays import FeatureArrays
from benchmarks.rivals.evidently_values import answers, as_dataset

__all__ = ["answers", "prepare"]


def prepare(arrays: FeatureArrays) -> Callable[[], Any]:
    """Return the report over the window."""
    reference, window = as_dataset(arrays, arrays.reference), as_dataset(arrays, arrays.window)
    return lambda: Report([DataDriftPreset()]).run(window, reference)
