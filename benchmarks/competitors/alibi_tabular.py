"""TabularDrift of alibi-detect: KS of numbers, chi-squared of categories, Bonferroni. It has no other measures.

Creating the detector is not timed. It takes rows x features; the arrays are laid out by column, because it reads
columns.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from alibi_detect.cd import TabularDrift  # type: ignore[import-not-found]

from benchmarks.arrays import CATEGORIES, FeatureArrays
from benchmarks.competitors import Side


def prepare(arrays: FeatureArrays) -> Callable[[], Any]:
    """Return the detector's prediction for the window."""
    numeric = len(arrays.numeric_names)
    categories = {numeric + index: len(CATEGORIES) for index in range(len(arrays.categorical_names))}
    detector = TabularDrift(arrays.reference.as_matrix().T, p_val=0.05, categories_per_feature=categories)
    window = arrays.window.as_matrix().T

    def check() -> dict[str, float]:
        found = detector.predict(window)
        distances = np.asarray(found["data"]["distance"][:numeric], dtype=np.float64)
        return dict(zip(arrays.numeric_names, distances.tolist(), strict=True))

    return check


# It keeps its KS statistics as float32.
SIDE = Side(prepare, lambda distances: distances)
