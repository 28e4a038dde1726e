"""Computing the profile of reference data."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlmon.profile import (
    INDEPENDENT,
    SAMPLE_ROWS,
    CategoricalProfile,
    ColumnProfile,
    Dispersion,
    NumericProfile,
    ReferenceProfile,
    evenly_spaced,
)
from mlmon.schema import TaskType
from mlmon.statistics.counts import MOST_CATEGORIES
from mlmon.statistics.dispersion import missing_dispersion, nominal_dispersion, ordered_dispersion

DECILES = np.arange(1, 10) / 10


def profile_of(
    observed: pa.Table, predictions: "pa.Array[Any]", classes: Sequence[str], task_type: TaskType
) -> ReferenceProfile:
    """Return the profile of reference rows.

    Parameters
    ----------
    observed
        One column for each feature, as `observed_table` returns it: float64 or string, null is missing.
    predictions
        Of the model for these rows: class labels (string) or numbers (float64).
    classes
        Every class of the schema; empty for regression.
    task_type
        Whether predictions are classes or numbers.
    """
    features = {name: column_profile(observed.column(name).combine_chunks()) for name in observed.column_names}
    prediction = column_profile(predictions)
    if task_type is TaskType.CLASSIFICATION and isinstance(prediction, CategoricalProfile):
        counts = dict(zip(prediction.categories, prediction.counts.tolist(), strict=True))
        prediction = CategoricalProfile(
            categories=tuple(classes),
            counts=np.array([counts.get(name, 0) for name in classes], dtype=np.int64),
            n_missing=prediction.n_missing,
            dispersion=prediction.dispersion,
        )
    sample = evenly_spaced(observed, SAMPLE_ROWS).combine_chunks()
    return ReferenceProfile(n_rows=observed.num_rows, features=features, prediction=prediction, sample=sample)


def column_profile(values: "pa.Array[Any]") -> ColumnProfile:
    """Return the profile of one column: numeric for float64, categorical for string; null is missing."""
    by_missing = missing_dispersion(np.asarray(values.is_null())) if values.null_count else INDEPENDENT
    if pa.types.is_floating(values.type):
        present = np.asarray(values.drop_null(), dtype=np.float64)
        return _numeric_profile(present, values.null_count, by_missing)
    encoded: Any = values.drop_null().dictionary_encode()
    codes = np.asarray(encoded.indices, dtype=np.int64)
    names = encoded.dictionary.to_pylist()
    counts = np.bincount(codes, minlength=len(names))
    order = sorted(range(len(names)), key=lambda index: (-int(counts[index]), names[index]))
    ranks = np.empty(len(names), dtype=np.int64)
    ranks[order] = np.arange(len(names))
    compared = min(len(names), MOST_CATEGORIES + 1)  # rarer ones are compared as one
    return CategoricalProfile(
        categories=tuple(names[index] for index in order),
        counts=counts[order].astype(np.int64),
        n_missing=values.null_count,
        dispersion=nominal_dispersion(np.minimum(ranks[codes], compared - 1), compared),
        missing_dispersion=by_missing,
    )


def _numeric_profile(present: NDArray[np.float64], n_missing: int, by_missing: Dispersion) -> NumericProfile:
    sorted_values = np.sort(present)
    deciles = np.full(DECILES.size, np.nan)
    if present.size:
        with np.errstate(invalid="ignore"):
            deciles = np.quantile(sorted_values, DECILES, method="inverted_cdf")
    cuts = np.unique(deciles[~np.isnan(deciles)])
    finite = sorted_values[np.isfinite(sorted_values)]
    mean, std = _moments(finite) if finite.size else (np.nan, np.nan)
    return NumericProfile(
        sorted_values=sorted_values,
        n_missing=n_missing,
        mean=mean,
        std=std,
        minimum=float(finite[0]) if finite.size else np.nan,
        maximum=float(finite[-1]) if finite.size else np.nan,
        deciles=deciles,
        n_distinct=int(np.count_nonzero(sorted_values[1:] != sorted_values[:-1]) + 1) if present.size else 0,
        dispersion=ordered_dispersion(np.searchsorted(cuts, present), cuts.size + 1),
        missing_dispersion=by_missing,
    )


def _moments(finite: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and standard deviation (ddof 0)."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = float(finite.mean()), float(finite.std())
    if np.isfinite(mean) and np.isfinite(std):
        return mean, std
    largest = float(np.abs(finite).max())  # its square is beyond float64, so compute in parts of it
    return largest * float((finite / largest).mean()), largest * float((finite / largest).std())
