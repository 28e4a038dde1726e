"""Windows that are compared with a reference under the verdict, from arrays of numbers and strings."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.stats import norm

from mlmon.comparison import compare
from mlmon.criteria import Criteria, Thresholds
from mlmon.prepared import PreparedReference, prepare
from mlmon.profile import from_bytes
from mlmon.profiling import profile_of
from mlmon.results import ComparisonResult, FeatureResult, HypothesisResult
from mlmon.schema import TaskType

Values: TypeAlias = NDArray[Any] | list[Any]

CRITERIA = Criteria(Thresholds(feature=0.15, prediction=0.1))
TWO_WINDOWS = Criteria(CRITERIA.thresholds, extra_window_rows=(500,))


def _array(values: Values) -> Any:
    """Return a column; NaN and None are missing."""
    column: Any = pa.array(values, from_pandas=True)
    return column if pa.types.is_string(column.type) else column.cast(pa.float64())


def reference_of(
    columns: Mapping[str, Values],
    predictions: Values | None = None,
    *,
    times: NDArray[np.int64] | None = None,
    zone: str = "UTC",
) -> PreparedReference:
    """Return a prepared reference, as it is read; without predictions, of a model that always predicts one class."""
    table = pa.table({name: _array(values) for name, values in columns.items()})
    predicted = _array(["yes"] * table.num_rows if predictions is None else predictions)
    classes: list[str] = []
    task_type = TaskType.REGRESSION
    if pa.types.is_string(predicted.type):
        classes, task_type = sorted(set(predicted.to_pylist())), TaskType.CLASSIFICATION
    profile = profile_of(table, predicted, classes, task_type, times=times, zone=zone)
    return prepare(from_bytes(profile.to_bytes()))


def judged(
    reference: PreparedReference,
    columns: Mapping[str, Values],
    predictions: Values | None = None,
    criteria: Criteria = CRITERIA,
    *,
    window_rows: int | None = None,
    times: NDArray[np.int64] | None = None,
    with_details: bool = False,
) -> ComparisonResult:
    """Return the comparison of a window."""
    table = pa.table({name: _array(values) for name, values in columns.items()})
    predicted = None if predictions is None else pa.chunked_array([_array(predictions)])
    return compare(
        reference, table, predicted, criteria, window_rows=window_rows, times=times, with_details=with_details
    )


def feature_of(result: ComparisonResult, name: str) -> FeatureResult:
    """Return the result of one feature."""
    return next(feature for feature in result.features if feature.name == name)


def verdict_of(result: ComparisonResult, name: str) -> HypothesisResult:
    """Return the hypothesis about the values of one feature."""
    found = feature_of(result, name).verdict
    assert found is not None
    return found


def normal_quantiles(rows: int, seed: int) -> NDArray[np.float64]:
    """Return the quantiles of the normal distribution in random order: a sample without chance in its shares."""
    quantiles: NDArray[np.float64] = norm.ppf((np.arange(rows) + 0.5) / rows)
    return np.random.default_rng(seed).permutation(quantiles)
