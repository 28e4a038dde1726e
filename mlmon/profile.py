"""The profile of reference data: everything that a drift check compares the current window with.

A profile is stored as one columnar file (Arrow IPC) with a row for each feature and one for the prediction. Reading it
copies nothing. `mlmon.profiling` computes profiles.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlmon.schema import FeatureKind

FORMAT_VERSION = b"3"
SAMPLE_ROWS = 5_000

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
    pa.field("categories", pa.large_list(pa.string())),
    pa.field("counts", pa.large_list(pa.int64())),
    pa.field("dispersion", pa.large_list(pa.float64())),
    pa.field("missing_dispersion", pa.large_list(pa.float64())),
    pa.field("sample_values", pa.large_list(pa.float64())),
    pa.field("sample_categories", pa.large_list(pa.string())),
]
_FILE_SCHEMA = pa.schema(_FILE_FIELDS)


@dataclass(frozen=True, slots=True, eq=False)
class Dispersion:
    """The dispersion phi of one column, by length of the window; `mlmon.statistics.dispersion` measures it.

    Attributes
    ----------
    chunk_rows
        Ascending lengths of windows of which the reference holds at least ten, shape (k,); empty if it is too short.
    by_chunk_rows
        phi for each of them, at least 1, shape (k,).
    by_autocorrelation
        phi by autocorrelation alone, at least 1: for windows too long to be measured by chunks.
    """

    chunk_rows: NDArray[np.int64]
    by_chunk_rows: NDArray[np.float64]
    by_autocorrelation: float

    def at(self, rows: int) -> float:
        """Return phi for windows of `rows` rows: that of the next longer measured length, or else of the longest."""
        if not self.chunk_rows.size:
            return self.by_autocorrelation
        index = min(int(np.searchsorted(self.chunk_rows, rows)), self.chunk_rows.size - 1)
        return float(self.by_chunk_rows[index])

    def is_measured_at(self, rows: int) -> bool:
        """Return whether the reference holds ten windows of `rows` rows."""
        return bool(rows <= self.chunk_rows.max(initial=0))


INDEPENDENT = Dispersion(np.array([], dtype=np.int64), np.array([]), 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class NumericProfile:
    """Profile of an ordered column.

    Attributes
    ----------
    sorted_values
        Ascending, float64; missing values are left out, infinities are kept.
    n_missing
        Number of missing values.
    mean, std, minimum, maximum
        Of the finite values; std with ddof 0. NaN if there are none.
    deciles
        Shape (9,): the smallest values x_k whose share of values at or below is at least k/10 (the inverse of the
        empirical distribution function; SciPy and NumPy call it ``inverted_cdf``), so a cut point is always a value of
        the column. NaN without values.
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
    """Profile of a categorical column.

    Attributes
    ----------
    categories
        By falling count, then by name; the classes of a prediction in the order of the schema.
    counts
        Number of rows of each category, int64.
    n_missing
        Number of missing values.
    dispersion, missing_dispersion
        phi of the categories' shares, and of the share of missing values, in the order of the reference.
    """

    categories: tuple[str, ...]
    counts: NDArray[np.int64]
    n_missing: int
    dispersion: Dispersion = INDEPENDENT
    missing_dispersion: Dispersion = INDEPENDENT


ColumnProfile = NumericProfile | CategoricalProfile


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceProfile:
    """Profiles of all features and of the predictions that the version makes for the reference rows.

    Attributes
    ----------
    sample
        Whole rows of the features, evenly spaced in the reference's order, at most 5,000: for what single columns do
        not show.
    """

    n_rows: int
    features: Mapping[str, ColumnProfile]
    prediction: ColumnProfile
    sample: pa.Table

    def to_bytes(self) -> bytes:
        """Return the profile as one Arrow IPC file."""
        rows = [_row("feature", name, column) for name, column in self.features.items()]
        rows.append(_row("prediction", "", self.prediction))
        for row, name in zip(rows, self.sample.column_names, strict=False):
            if row["kind"] == FeatureKind.CATEGORICAL:
                row["sample_categories"] = self.sample.column(name).to_pylist()
            else:
                row["sample_values"] = self.sample.column(name).to_numpy()  # null becomes NaN
        arrays = [_file_column(field, [row.get(field.name) for row in rows]) for field in _FILE_SCHEMA]
        metadata = {b"format": FORMAT_VERSION, b"n_rows": str(self.n_rows).encode()}
        table = pa.table(arrays, schema=_FILE_SCHEMA.with_metadata(metadata))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue().to_pybytes()


def from_bytes(content: "bytes | pa.Buffer") -> ReferenceProfile:
    """Return the profile in `content`, an Arrow IPC file; its arrays are views of the file."""
    table = pa.ipc.open_file(pa.py_buffer(content)).read_all()
    metadata = table.schema.metadata or {}
    if metadata.get(b"format") != FORMAT_VERSION:
        raise ValueError(f"Not a reference profile of format {FORMAT_VERSION.decode()}. Profile the reference again.")
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    *features, prediction = [_column_at(columns, index) for index in range(table.num_rows)]
    names: list[Any] = columns["name"].to_pylist()[:-1]
    sample = {
        name: columns["sample_categories"][index].values
        if isinstance(profile, CategoricalProfile)
        else pa.array(columns["sample_values"][index].values.to_numpy(), from_pandas=True)
        for index, (name, profile) in enumerate(zip(names, features, strict=True))
    }
    return ReferenceProfile(
        n_rows=int(metadata[b"n_rows"]),
        features=dict(zip(names, features, strict=True)),
        prediction=prediction,
        sample=pa.table(sample),
    )


def _column_at(columns: Mapping[str, Any], index: int) -> ColumnProfile:
    n_missing = columns["n_missing"][index].as_py()
    dispersions: dict[str, Any] = {}
    for field in ("dispersion", "missing_dispersion"):
        stored = columns[field][index].values.to_numpy()
        lengths, phi = np.split(stored[1:], 2)
        dispersions[field] = Dispersion(lengths.astype(np.int64), phi, float(stored[0]))
    if columns["kind"][index].as_py() == FeatureKind.CATEGORICAL:
        categories, counts = columns["categories"][index].as_py(), columns["counts"][index].values.to_numpy()
        return CategoricalProfile(tuple(categories), counts, n_missing, **dispersions)
    moments = {name: columns[name][index].as_py() for name in ("mean", "std", "minimum", "maximum")}
    numbers: dict[str, Any] = {name: np.nan if value is None else value for name, value in moments.items()}
    return NumericProfile(
        sorted_values=columns["sorted_values"][index].values.to_numpy(),
        n_missing=n_missing,
        deciles=columns["deciles"][index].values.to_numpy(),
        n_distinct=columns["n_distinct"][index].as_py(),
        **numbers,
        **dispersions,
    )


def _row(role: str, name: str, profile: ColumnProfile) -> dict[str, Any]:
    row: dict[str, Any] = {"role": role, "name": name, "n_missing": profile.n_missing}
    for field in ("dispersion", "missing_dispersion"):
        dispersion: Dispersion = getattr(profile, field)
        row[field] = np.r_[dispersion.by_autocorrelation, dispersion.chunk_rows, dispersion.by_chunk_rows]
    if isinstance(profile, CategoricalProfile):
        return row | {"kind": FeatureKind.CATEGORICAL, "categories": list(profile.categories), "counts": profile.counts}
    numbers = ("mean", "std", "minimum", "maximum", "n_distinct", "deciles", "sorted_values")
    return row | {"kind": FeatureKind.NUMERIC, **{field: getattr(profile, field) for field in numbers}}


def _file_column(field: Any, values: list[Any]) -> Any:
    if not pa.types.is_large_list(field.type):
        return pa.array(values, field.type)
    # From offsets and one flat array: a Python list of millions of numbers would be slow and large.
    lengths = [0 if value is None else len(value) for value in values]
    flat = [value for value in values if value is not None and len(value)]
    if pa.types.is_string(field.type.value_type):
        items = pa.array([item for value in flat for item in value], field.type.value_type)
    else:
        items = pa.array(np.concatenate(flat) if flat else np.array([]), field.type.value_type)
    return pa.LargeListArray.from_arrays(pa.array(np.cumsum([0, *lengths]), pa.int64()), items)


def evenly_spaced(rows: pa.Table, most: int) -> pa.Table:
    """Return at most `most` rows, evenly spaced from the first to the last, in their order."""
    if rows.num_rows <= most:
        return rows
    return rows.take(np.linspace(0, rows.num_rows - 1, most).astype(np.int64))


def compared_kind(column_type: Any) -> FeatureKind | None:
    """Return how a column of an Arrow type is compared; None if it cannot be."""
    if pa.types.is_floating(column_type) or pa.types.is_integer(column_type):
        return FeatureKind.NUMERIC
    is_categorical = pa.types.is_string(column_type) or pa.types.is_large_string(column_type)
    return FeatureKind.CATEGORICAL if is_categorical else None
