"""Our side: every measure, the verdict and the predictions, from the columns that the live window provides."""

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from benchmarks.arrays import CATEGORIES, CLASSES, FeatureArrays, Sample
from benchmarks.competitors import Side
from mlmon.comparison import compare
from mlmon.criteria import Criteria, Thresholds
from mlmon.prepared import prepare as prepare_reference
from mlmon.profile import from_bytes
from mlmon.profiling import profile_of
from mlmon.results import ComparisonResult, Method
from mlmon.schema import TaskType

CRITERIA = Criteria(Thresholds(feature=0.15, prediction=0.1))


def prepare(arrays: FeatureArrays) -> Callable[[], ComparisonResult]:
    """Return the check of the window against the reference's profile, stored and read as after an upload."""
    predictions = _strings(CLASSES, arrays.reference.predictions)
    profile = profile_of(_as_table(arrays, arrays.reference), predictions, CLASSES, TaskType.CLASSIFICATION)
    reference = prepare_reference(from_bytes(profile.to_bytes()))
    features = _as_table(arrays, arrays.window)
    predicted = pa.chunked_array([_strings(CLASSES, arrays.window.predictions)])
    return lambda: compare(reference, features, predicted, CRITERIA)


def ks_statistics(result: ComparisonResult) -> Mapping[str, float]:
    """Return the KS statistic of each numeric feature."""
    return {
        feature.name: feature.score
        for feature in result.features
        if feature.method is Method.KOLMOGOROV_SMIRNOV and feature.score is not None
    }


def _as_table(arrays: FeatureArrays, sample: Sample) -> pa.Table:
    """Return a sample as in the live window: float64 and strings, one chunk per column."""
    numbers = {name: pa.array(values) for name, values in zip(arrays.numeric_names, sample.numbers, strict=True)}
    strings = zip(arrays.categorical_names, sample.codes, strict=True)
    return pa.table({**numbers, **{name: _strings(CATEGORIES, codes) for name, codes in strings}})


def _strings(names: tuple[str, ...], codes: Any) -> "pa.Array[Any]":
    indices: Any = pa.array(codes)
    return pa.array(names, pa.string()).take(indices)


SIDE = Side(prepare, ks_statistics)
