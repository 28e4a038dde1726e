"""alibi-detect's TabularDrift: KS of numbers, chi-squared of levels, Bonferroni. No other measure: less than ours.

The detector is made outside the timing. It takes rows x features; they are laid out column by column, since it reads
columns.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from alibi_detect.cd import TabularDrift  # type: ignore[import-not-found]

from benchmarks.arrays import LEVELS, FeatureArrays
from benchmarks.rivals.numpy_sort import as_matrix


def prepare(arrays: FeatureArrays) -> Callable[[], Any]:
    """Return the prediction over the window."""
    numeric = len(arrays.numeric_names)
    levels = {numeric + index: len(LEVELS) for index in range(len(arrays.categorical_names))}
    detector = TabularDrift(as_matrix(arrays.reference).T, p_val=0.05, categories_per_feature=levels)
    window = as_matrix(arrays.window).T

    def check() -> dict[str, float]:
        found = detector.predict(window)
        distances = np.asarray(found["data"]["distance"][:numeric], dtype=np.float64)
        return dict(zip(arrays.numeric_names, distances.tolist(), strict=True))

    return check


def answers(found: Mapping[str, float]) -> Mapping[str, float]:
    """Return its KS statistics, which it keeps as float32."""
    return found
