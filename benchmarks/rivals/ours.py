"""The shipped check: every measure with its details, the verdict and the predictions, as the live window gives them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.arrays import CLASSES, LEVELS, FeatureArrays, Sample
from mlmon.comparison import compare
from mlmon.prepared import prepare as prepare_reference
from mlmon.profile import ReferenceProfile, from_bytes
from mlmon.profiling import profile_of
from mlmon.results import ComparisonResult, Criteria, Method, Thresholds
from mlmon.schema import TaskType

CRITERIA = Criteria(Thresholds(feature=0.15, prediction=0.1))


def prepare(arrays: FeatureArrays) -> Callable[[], ComparisonResult]:
    """Return the check of the window against the profile that an upload of the reference makes."""
    reference = prepare_reference(profile_in_file(arrays))
    features = as_table(arrays, arrays.window)
    predictions = pa.chunked_array([_texts(CLASSES, arrays.window.predictions)])
    return lambda: compare(reference, features, predictions, CRITERIA)


def answers(found: ComparisonResult) -> Mapping[str, float]:
    """Return the KS statistics."""
    return {
        feature.name: feature.score
        for feature in found.features
        if feature.method is Method.KOLMOGOROV_SMIRNOV and feature.score is not None
    }


def profile_in_file(arrays: FeatureArrays) -> ReferenceProfile:
    """Return the reference's profile, written and read again as the platform does."""
    predictions = _texts(CLASSES, arrays.reference.predictions)
    profile = profile_of(as_table(arrays, arrays.reference), predictions, CLASSES, TaskType.CLASSIFICATION)
    return from_bytes(profile.to_bytes())


def as_table(arrays: FeatureArrays, sample: Sample) -> pa.Table:
    """Return a sample as the live window has it: float64 and text, one chunk a column."""
    numbers = {name: pa.array(values) for name, values in zip(arrays.numeric_names, sample.numbers, strict=True)}
    texts = {name: _texts(LEVELS, codes) for name, codes in zip(arrays.categorical_names, sample.codes, strict=True)}
    return pa.table({**numbers, **texts})


def _texts(names: tuple[str, ...], codes: NDArray[np.int8]) -> "pa.Array[Any]":
    indices: Any = pa.array(codes)
    return pa.array(names, pa.string()).take(indices)
