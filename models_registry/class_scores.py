"""The probabilities of a classifier's classes, in the form in which they are kept beside its answers."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models_registry.schema import ModelSchema

MOST_KEPT_CLASSES = 50  # more would make the scores larger than the features


def kept_scores(scores: NDArray[np.float64] | None, schema: ModelSchema) -> NDArray[np.float32] | None:
    """Return the probabilities that are kept of what a model answered.

    Those of two classes are not: confidence and predicted class tell them.

    Parameters
    ----------
    scores
        As the model gave them, shape (n, classes), or None.

    Returns
    -------
    array or None
        Shape (n, classes), in [0, 1]: where the schema says that the scores are no probabilities, their softmax.
    """
    if scores is None or not 2 < len(schema.classes) <= MOST_KEPT_CLASSES:
        return None
    if schema.scores_are_probabilities:
        return np.clip(scores, 0, 1).astype(np.float32)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))  # the largest is taken out: nothing overflows
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def scores_column(scores: NDArray[np.float32]) -> "pa.FixedSizeListArray[Any, Any]":
    """Return probabilities as a column of lists of one length, a list that is not known (NaN) as null."""
    values = pa.array(np.ascontiguousarray(scores, dtype=np.float32).ravel(), pa.float32())
    is_missing: Any = np.isnan(scores).any(axis=1)
    missing: Any = pa.array(is_missing)
    return pa.FixedSizeListArray.from_arrays(values, scores.shape[1], mask=missing)


def scores_matrix(column: "pa.FixedSizeListArray[Any, Any]") -> NDArray[np.float64]:
    """Return such a column as a matrix, NaN where a list is null."""
    width = column.type.list_size
    matrix = np.full((len(column), width), np.nan)
    valid = np.asarray(column.is_valid())
    matrix[valid] = np.asarray(column.drop_null().flatten(), dtype=np.float64).reshape(-1, width)
    return matrix
