"""Scores of a classifier's classes: their softmax, and the form in which they are stored with a prediction."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models_registry.schema import ModelSchema, ScoreKind

MOST_KEPT_CLASSES = 50  # the scores of more classes would be larger than the features


def softmax_of(scores: NDArray[np.float64], chosen: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the softmax probability of the chosen score in each row.

    Parameters
    ----------
    scores
        Shape (n, classes), any finite range: the largest score is subtracted before exponentiation, so nothing
        overflows (log-sum-exp).
    chosen
        Shape (n,), one score of each row.
    """
    largest = scores.max(axis=1)
    log_sum = np.log(np.exp(scores - largest[:, None]).sum(axis=1))
    probabilities: NDArray[np.float64] = np.exp(chosen - largest - log_sum)
    return probabilities


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the softmax of each row, shape (n, classes), as in `softmax_of`."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def kept_scores(scores: NDArray[np.float64] | None, schema: ModelSchema) -> NDArray[np.float32] | None:
    """Return the class probabilities that are stored with predictions.

    Those of two classes are not stored: confidence and predicted class determine them.

    Parameters
    ----------
    scores
        The model's scores, shape (n, classes), or None.

    Returns
    -------
    array or None
        Shape (n, classes), in [0, 1]: the probabilities, or the softmax of logits. None if the scores are margins.
    """
    if scores is None or schema.score_kind is ScoreKind.MARGINS or not 2 < len(schema.classes) <= MOST_KEPT_CLASSES:
        return None
    if schema.score_kind is ScoreKind.PROBABILITIES:
        return np.clip(scores, 0, 1).astype(np.float32)
    return softmax(scores).astype(np.float32)


def scores_column(scores: NDArray[np.float32]) -> "pa.FixedSizeListArray[Any, Any]":
    """Return probabilities as a column of fixed-size lists; a row with NaN becomes null."""
    values = pa.array(np.ascontiguousarray(scores, dtype=np.float32).ravel(), pa.float32())
    is_missing: Any = np.isnan(scores).any(axis=1)
    missing: Any = pa.array(is_missing)
    return pa.FixedSizeListArray.from_arrays(values, scores.shape[1], mask=missing)


def scores_matrix(column: "pa.FixedSizeListArray[Any, Any]") -> NDArray[np.float64]:
    """Return such a column as a matrix; a null list becomes a row of NaN."""
    width = column.type.list_size
    matrix = np.full((len(column), width), np.nan)
    valid = np.asarray(column.is_valid())
    matrix[valid] = np.asarray(column.drop_null().flatten(), dtype=np.float64).reshape(-1, width)
    return matrix
