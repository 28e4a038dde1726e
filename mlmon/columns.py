"""Feature values as columns: the form in which rows are checked, predicted, observed and profiled."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlmon.schema import Feature, FeatureKind

# By feature name. STRING tensors: object arrays of str, None where a value is missing.
# Every other tensor type: float64, NaN where a value is missing.
FeatureColumns = Mapping[str, NDArray[np.float64] | NDArray[np.object_]]

# From here on float64 skips whole numbers, so that digits beyond would be invented.
_LARGEST_EXACT_INTEGER = 2.0**53


def level_name(value: float) -> str:
    """Return the name of a number as a level of a categorical feature.

    Parameters
    ----------
    value
        A number; not NaN, which is a missing value and has no name.

    Returns
    -------
    str
        Whole numbers up to 2**53 without a point (``3.0`` is "3", ``-0.0`` is "0"), others as the shortest text
        that reads back as the same float64 (``2.5`` is "2.5").
    """
    if value.is_integer() and abs(value) <= _LARGEST_EXACT_INTEGER:
        return str(int(value))
    return repr(float(value))


def level_names(values: NDArray[np.float64]) -> pa.StringArray:
    """Return the level names of many numbers, null for NaN.

    Only distinct values are named one by one, so a long column of few levels costs a sort.
    """
    missing = np.isnan(values)
    levels, indices = np.unique(np.where(missing, 0.0, values), return_inverse=True)
    names = pa.array([level_name(level) for level in levels.tolist()], type=pa.string())
    return names.take(pa.array(indices, type=pa.int64(), mask=missing))


def observed_table(features: Sequence[Feature], columns: FeatureColumns) -> pa.Table:
    """Return the columns as they are recorded and compared.

    Parameters
    ----------
    features
        The features to take, in the order of the table's columns.
    columns
        Their values, all of one length.

    Returns
    -------
    pyarrow.Table
        One column for each feature, named as the feature: float64 for a numeric one, string (level names) for a
        categorical one; null where the value is missing.
    """
    return pa.table({feature.name: _observed(feature, columns[feature.name]) for feature in features})


def _observed(feature: Feature, values: NDArray[np.float64] | NDArray[np.object_]) -> "pa.Array[Any]":
    if feature.kind is FeatureKind.NUMERIC:
        return pa.array(values, type=pa.float64(), from_pandas=True)
    if values.dtype == np.object_:
        return pa.array(values, type=pa.string(), from_pandas=True)
    return level_names(values.astype(np.float64, copy=False))
