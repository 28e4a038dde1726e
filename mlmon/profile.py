"""What is kept of reference data: everything that a drift check compares the current window with.

A profile is one columnar file (Arrow IPC): a row for each feature and one for the prediction. Reading it copies
nothing. Format 1 had neither the dispersion nor the sample: such a file is read as one whose order was not looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlmon.schema import TaskType
from mlmon.statistics.dispersion import (
    INDEPENDENT,
    Dispersion,
    missing_dispersion,
    nominal_dispersion,
    ordered_dispersion,
)

FORMAT_VERSION = 2
READABLE_FORMATS = (b"1", b"2")
SAMPLE_ROWS = 5_000
MOST_COMPARED_LEVELS = 51  # of a column: the 50 commonest, and the others as one
DECILES = np.arange(1, 10) / 10
_NUMERIC = "numeric"
_CATEGORICAL = "categorical"

_FILE_FIELDS: list[Any] = [
    pa.field("role", pa.string()),
    pa.field("name", pa.string()),
    pa.field("kind", pa.string()),
    pa.field("n_missing", pa.int64()),
    pa.field("mean", pa.float64()),
    pa.field("std", pa.float64()),
    pa.field("minimum", pa.float64()),
    pa.field("maximum", pa.float64()),
    pa.field("n_distinct", pa.int64()),
    pa.field("deciles", pa.large_list(pa.float64())),
    pa.field("sorted_values", pa.large_list(pa.float64())),
    pa.field("levels", pa.large_list(pa.string())),
    pa.field("counts", pa.large_list(pa.int64())),
    pa.field("dispersion", pa.large_list(pa.float64())),
    pa.field("missing_dispersion", pa.large_list(pa.float64())),
    pa.field("sample_values", pa.large_list(pa.float64())),
    pa.field("sample_levels", pa.large_list(pa.string())),
]
_FILE_SCHEMA = pa.schema(_FILE_FIELDS)


@dataclass(frozen=True, slots=True, eq=False)
class NumericProfile:
    """Profile of an ordered column.

    Attributes
    ----------
    sorted_values
        Ascending, float64; missing values left out, infinities kept.
    n_missing
        Number of missing values.
    mean, std, minimum, maximum
        Of the finite values; std with ddof 0. NaN where there are none.
    deciles
        Shape (9,): the smallest values x_k whose share of values at or below is at least k/10 (the inverse of the
        empirical distribution function; scipy and numpy call it ``inverted_cdf``), so a cut point is always a value
        that occurs. NaN where there are no values; equal cut points are left to the reader to join.
    n_distinct
        Number of distinct values.
    dispersion, missing_dispersion
        phi of the deciles' shares, and of the share of missing values, in the order of the reference.
    """

    sorted_values: NDArray[np.float64]
    n_missing: int
    mean: float
    std: float
    minimum: float
    maximum: float
    deciles: NDArray[np.float64]
    n_distinct: int
    dispersion: Dispersion = INDEPENDENT
    missing_dispersion: Dispersion = INDEPENDENT


@dataclass(frozen=True, slots=True, eq=False)
class CategoricalProfile:
    """Profile of a column of levels.

    Attributes
    ----------
    levels
        By falling count, then by name; the classes of a prediction in the order of the schema.
    counts
        How often each level occurs, int64.
    n_missing
        Number of missing values.
    dispersion, missing_dispersion
        phi of the levels' shares, and of the share of missing values, in the order of the reference.
    """

    levels: tuple[str, ...]
    counts: NDArray[np.int64]
    n_missing: int
    dispersion: Dispersion = INDEPENDENT
    missing_dispersion: Dispersion = INDEPENDENT


ColumnProfile = NumericProfile | CategoricalProfile


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceProfile:
    """Profiles of all features and of the predictions that the version gives on the reference rows.

    Attributes
    ----------
    sample
        Whole rows of the features, evenly spaced in the reference's order, at most 5,000: for what cannot be seen
        column by column. Without columns where there is none.
    """

    n_rows: int
    features: Mapping[str, ColumnProfile]
    prediction: ColumnProfile
    sample: pa.Table

    def to_bytes(self) -> bytes:
        """Return the profile as one Arrow IPC file."""
        rows = [_row("feature", name, column, self.sample) for name, column in self.features.items()]
        rows.append(_row("prediction", "", self.prediction, self.sample))
        metadata = {"format": str(FORMAT_VERSION), "n_rows": str(self.n_rows)}
        arrays = [_file_column(field, [row[field.name] for row in rows]) for field in _FILE_SCHEMA]
        table = pa.table(arrays, schema=_FILE_SCHEMA.with_metadata(metadata))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue().to_pybytes()


def from_bytes(content: "bytes | pa.Buffer") -> ReferenceProfile:
    """Return the profile in `content`, an Arrow IPC file; arrays are views of it."""
    table = pa.ipc.open_file(pa.py_buffer(content)).read_all()
    metadata = table.schema.metadata or {}
    if metadata.get(b"format") not in READABLE_FORMATS:
        raise ValueError(f"Not a reference profile of a format up to {FORMAT_VERSION}.")
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    features: dict[str, ColumnProfile] = {}
    sample: dict[str, Any] = {}
    prediction: ColumnProfile | None = None
    for index, role in enumerate(columns["role"].to_pylist()):
        profile = _profile_at(columns, index)
        if role == "prediction":
            prediction = profile
            continue
        name = columns["name"][index].as_py()
        features[name] = profile
        if "dispersion" in columns:
            sample[name] = _sample_at(columns, index, profile)
    if prediction is None:
        raise ValueError("The profile has no prediction.")
    return ReferenceProfile(
        n_rows=int(metadata[b"n_rows"]), features=features, prediction=prediction, sample=pa.table(sample)
    )


def profile_of(
    observed: pa.Table, predictions: "pa.Array[Any]", classes: Sequence[str], task_type: TaskType
) -> ReferenceProfile:
    """Return the profile of reference rows.

    Parameters
    ----------
    observed
        One column for each feature, as `observed_table` makes it: float64 or string, null is missing.
    predictions
        What the model answers on these rows: class labels (string) or numbers (float64).
    classes
        Every class of the schema; empty for regression.
    task_type
        Whether predictions are classes or numbers.
    """
    features = {name: column_profile(observed.column(name).combine_chunks()) for name in observed.column_names}
    if task_type is TaskType.CLASSIFICATION:
        prediction: ColumnProfile = _class_profile(predictions, classes)
    else:
        prediction = column_profile(predictions)
    return ReferenceProfile(
        n_rows=observed.num_rows, features=features, prediction=prediction, sample=_sample_of(observed)
    )


def _sample_of(observed: pa.Table) -> pa.Table:
    if observed.num_rows <= SAMPLE_ROWS:
        return observed.combine_chunks()
    return observed.take(np.linspace(0, observed.num_rows - 1, SAMPLE_ROWS).astype(np.int64))


def column_profile(values: "pa.Array[Any]") -> ColumnProfile:
    """Return the profile of one column: numeric for float64, categorical for string; null is missing."""
    if pa.types.is_floating(values.type):
        return _numeric_profile(values)
    return _categorical_profile(values)


def _numeric_profile(values: Any) -> NumericProfile:
    present = np.asarray(values.drop_null(), dtype=np.float64)
    sorted_values = np.sort(present)
    deciles = _deciles(sorted_values)
    finite = sorted_values[np.isfinite(sorted_values)]
    has_finite = finite.size > 0
    mean, std = _moments(finite) if has_finite else (np.nan, np.nan)
    return NumericProfile(
        sorted_values=sorted_values,
        n_missing=values.null_count,
        mean=mean,
        std=std,
        minimum=float(finite[0]) if has_finite else np.nan,
        maximum=float(finite[-1]) if has_finite else np.nan,
        deciles=deciles,
        n_distinct=int(np.count_nonzero(sorted_values[1:] != sorted_values[:-1]) + 1) if sorted_values.size else 0,
        dispersion=_dispersion_of_numbers(present, deciles),
        missing_dispersion=_dispersion_of_missing(values),
    )


def _dispersion_of_numbers(present: NDArray[np.float64], deciles: NDArray[np.float64]) -> Dispersion:
    cuts = np.unique(deciles[~np.isnan(deciles)])
    return ordered_dispersion(np.searchsorted(cuts, present), cuts.size + 1)


def _dispersion_of_missing(values: Any) -> Dispersion:
    if not values.null_count:
        return INDEPENDENT
    return missing_dispersion(np.asarray(values.is_null()))


def _moments(finite: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and std (ddof 0)."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = float(finite.mean()), float(finite.std())
    if np.isfinite(mean) and np.isfinite(std):
        return mean, std
    largest = float(np.abs(finite).max())  # its square is beyond float64: in parts of it
    return largest * float((finite / largest).mean()), largest * float((finite / largest).std())


def _deciles(sorted_values: NDArray[np.float64]) -> NDArray[np.float64]:
    if not sorted_values.size:
        return np.full(len(DECILES), np.nan)
    with np.errstate(invalid="ignore"):
        return np.quantile(sorted_values, DECILES, method="inverted_cdf")


def _categorical_profile(values: Any) -> CategoricalProfile:
    encoded = values.drop_null().dictionary_encode()
    codes = np.asarray(encoded.indices, dtype=np.int64)
    names = encoded.dictionary.to_pylist()
    counts = np.bincount(codes, minlength=len(names))
    order = sorted(range(len(names)), key=lambda index: (-int(counts[index]), names[index]))
    ranks = np.empty(len(names), dtype=np.int64)
    ranks[order] = np.arange(len(names))
    compared = min(len(names), MOST_COMPARED_LEVELS)
    return CategoricalProfile(
        levels=tuple(names[index] for index in order),
        counts=counts[order].astype(np.int64),
        n_missing=values.null_count,
        # Rarer levels are one: that is how they are compared.
        dispersion=nominal_dispersion(np.minimum(ranks[codes], compared - 1), compared),
        missing_dispersion=_dispersion_of_missing(values),
    )


def _class_profile(predictions: Any, classes: Sequence[str]) -> CategoricalProfile:
    counted = _categorical_profile(predictions)
    counts = dict(zip(counted.levels, counted.counts.tolist(), strict=True))
    return CategoricalProfile(
        levels=tuple(classes),
        counts=np.array([counts.get(name, 0) for name in classes], dtype=np.int64),
        n_missing=counted.n_missing,
        dispersion=counted.dispersion,
    )


def _row(role: str, name: str, profile: ColumnProfile, sample: pa.Table) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(_FILE_SCHEMA.names)
    row |= {"role": role, "name": name, "n_missing": profile.n_missing}
    row["dispersion"] = _dispersion_numbers(profile.dispersion)
    row["missing_dispersion"] = _dispersion_numbers(profile.missing_dispersion)
    is_sampled = role == "feature" and name in sample.column_names
    if isinstance(profile, CategoricalProfile):
        row["sample_levels"] = sample.column(name).to_pylist() if is_sampled else None
        return row | {"kind": _CATEGORICAL, "levels": list(profile.levels), "counts": profile.counts}
    row["sample_values"] = sample.column(name).to_numpy() if is_sampled else None  # null becomes NaN
    numbers = ("mean", "std", "minimum", "maximum", "n_distinct", "deciles", "sorted_values")
    return row | {"kind": _NUMERIC, **{field: getattr(profile, field) for field in numbers}}


def _dispersion_numbers(dispersion: Dispersion) -> NDArray[np.float64]:
    """Return the autocorrelation's phi, then the lengths, then phi by length."""
    numbers = (dispersion.by_autocorrelation, *dispersion.chunk_rows.tolist(), *dispersion.by_chunk_rows.tolist())
    return np.array(numbers, dtype=np.float64)


def _dispersion_at(columns: Mapping[str, Any], field: str, index: int) -> Dispersion:
    if field not in columns:
        return INDEPENDENT
    numbers = _slice(columns[field], index)
    lengths, phi = np.split(numbers[1:], 2)
    return Dispersion(lengths.astype(np.int64), phi, float(numbers[0]))


def _sample_at(columns: Mapping[str, Any], index: int, profile: ColumnProfile) -> Any:
    if isinstance(profile, CategoricalProfile):
        return columns["sample_levels"][index].values
    return pa.array(_slice(columns["sample_values"], index), pa.float64(), from_pandas=True)


def _file_column(field: Any, values: list[Any]) -> Any:
    if not pa.types.is_large_list(field.type):
        return pa.array(values, field.type)
    # By offsets and one flat array: a Python list of millions of numbers would be slow and large.
    lengths = [0 if value is None else len(value) for value in values]
    flat = [value for value in values if value is not None and len(value)]
    if pa.types.is_string(field.type.value_type):
        items = pa.array([item for value in flat for item in value], field.type.value_type)
    else:
        items = pa.array(np.concatenate(flat) if flat else np.array([]), field.type.value_type)
    return pa.LargeListArray.from_arrays(pa.array(np.cumsum([0, *lengths]), pa.int64()), items)


def _profile_at(columns: Mapping[str, Any], index: int) -> ColumnProfile:
    n_missing = columns["n_missing"][index].as_py()
    if columns["kind"][index].as_py() == _CATEGORICAL:
        return CategoricalProfile(
            levels=tuple(columns["levels"][index].as_py()),
            counts=_slice(columns["counts"], index),
            n_missing=n_missing,
            dispersion=_dispersion_at(columns, "dispersion", index),
            missing_dispersion=_dispersion_at(columns, "missing_dispersion", index),
        )
    return NumericProfile(
        sorted_values=_slice(columns["sorted_values"], index),
        n_missing=n_missing,
        deciles=_slice(columns["deciles"], index),
        n_distinct=columns["n_distinct"][index].as_py(),
        dispersion=_dispersion_at(columns, "dispersion", index),
        missing_dispersion=_dispersion_at(columns, "missing_dispersion", index),
        **{field: _number(columns[field][index].as_py()) for field in ("mean", "std", "minimum", "maximum")},
    )


def _slice(lists: Any, index: int) -> NDArray[Any]:
    values: NDArray[Any] = lists[index].values.to_numpy(zero_copy_only=True)
    return values


def _number(value: float | None) -> float:
    return np.nan if value is None else value
