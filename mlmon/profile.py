"""The profile of reference data: everything that a drift check compares the current window with.

A profile is stored as one columnar file (Arrow IPC) with a row for each feature and one for the prediction. Reading it
copies nothing. `mlmon.profiling` computes profiles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlmon.detection.correlation import MOST_FEATURES, CorrelationScores
from mlmon.detection.dependence import NO_SERIES, SeriesDependence, dependence_of_array
from mlmon.detection.numeric import NumericScores
from mlmon.detection.seasons import NumericSeason, ShareSeason, numeric_season_of_array, share_season_of_array
from mlmon.schema import FeatureKind

FORMAT_VERSION = 4
SAMPLE_ROWS = 5_000
MOST_VALUES_AS_CATEGORIES = 20  # of a numeric column; with more it is compared as an ordered quantity

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
    pa.field("dependence", pa.large_list(pa.float64())),
    pa.field("missing_dependence", pa.large_list(pa.float64())),
    pa.field("infinity_dependence", pa.large_list(pa.float64())),
    pa.field("category_dependence", pa.large_list(pa.float64())),
    pa.field("boundaries", pa.large_list(pa.float64())),
    pa.field("bin_counts", pa.large_list(pa.int64())),
    pa.field("tail_cuts", pa.large_list(pa.float64())),
    pa.field("tail_counts", pa.large_list(pa.int64())),
    pa.field("score_moments", pa.large_list(pa.float64())),
    pa.field("correlations", pa.large_list(pa.float64())),
    pa.field("looks_sorted", pa.bool_()),
    pa.field("season", pa.large_list(pa.float64())),
    pa.field("category_season", pa.large_list(pa.float64())),
    pa.field("missing_season", pa.large_list(pa.float64())),
    pa.field("sample_values", pa.large_list(pa.float64())),
    pa.field("sample_categories", pa.large_list(pa.string())),
]
_FILE_SCHEMA = pa.schema(_FILE_FIELDS)
_ARRAYS = (
    "deciles",
    "sorted_values",
    "dependence",
    "missing_dependence",
    "infinity_dependence",
    "category_dependence",
    "boundaries",
    "bin_counts",
    "tail_cuts",
    "tail_counts",
    "score_moments",
    "season",
    "category_season",
    "missing_season",
)


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
    scores
        What the verdict's tests of finite values need; None without any, or if they are all equal.
    dependence, missing_dependence, infinity_dependence, category_dependence
        Of the finite values' normal scores and their squares, of missing values, of values that are -infinity and
        infinity, and of groups of values, if there are few different ones; in the order of the reference.
    looks_sorted
        Whether the reference seems to be sorted by the column.
    season, category_season, missing_season
        The finite values, the groups of values and the missing values by phase; None without times, or if phases do not
        explain them.
    """

    sorted_values: NDArray[np.float64]
    n_missing: int
    mean: float
    std: float
    minimum: float
    maximum: float
    deciles: NDArray[np.float64]
    n_distinct: int
    scores: NumericScores | None = None
    dependence: SeriesDependence = NO_SERIES
    missing_dependence: SeriesDependence = NO_SERIES
    infinity_dependence: SeriesDependence = NO_SERIES
    category_dependence: SeriesDependence = NO_SERIES
    looks_sorted: bool = False
    season: NumericSeason | None = None
    category_season: ShareSeason | None = None
    missing_season: ShareSeason | None = None


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
    category_dependence, missing_dependence
        Of groups of categories, and of missing values, in the order of the reference.
    looks_sorted
        Whether the reference seems to be sorted by the column.
    category_season, missing_season
        The categories and the missing values by phase; None without times, or if phases do not explain them.
    """

    categories: tuple[str, ...]
    counts: NDArray[np.int64]
    n_missing: int
    category_dependence: SeriesDependence = NO_SERIES
    missing_dependence: SeriesDependence = NO_SERIES
    looks_sorted: bool = False
    category_season: ShareSeason | None = None
    missing_season: ShareSeason | None = None


ColumnProfile = NumericProfile | CategoricalProfile


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceProfile:
    """Profiles of all features and of the predictions that the version makes for the reference rows.

    Attributes
    ----------
    sample
        Whole rows of the features, evenly spaced in the reference's order, at most 5,000: for what single columns do
        not show.
    correlations
        Of the first 100 numeric features with scores, in their order; None with fewer than two.
    zone
        The time zone of the phases; "" if the reference has no times.
    """

    n_rows: int
    features: Mapping[str, ColumnProfile]
    prediction: ColumnProfile
    sample: pa.Table
    correlations: CorrelationScores | None = None
    zone: str = ""

    @property
    def correlated_names(self) -> tuple[str, ...]:
        """The features that `correlations` has."""
        return correlated_names(self.features) if self.correlations is not None else ()

    def to_bytes(self) -> bytes:
        """Return the profile as one Arrow IPC file."""
        rows = [_row("feature", name, column) for name, column in self.features.items()]
        rows.append(_row("prediction", "", self.prediction))
        if self.correlations is not None:
            found, names = self.correlations, self.correlated_names
            for place, row in enumerate([row for row in rows[:-1] if row["name"] in names]):
                row["correlations"] = np.concatenate(
                    [
                        [found.rows, found.means[place], found.deviations[place]],
                        found.pair_rows[place],
                        found.rho[place],
                        found.spread[place],
                        found.skewness[place],
                        found.chunk_ratios[:, place].ravel(),
                    ]
                )
        for row, name in zip(rows, self.sample.column_names, strict=False):
            if row["kind"] == FeatureKind.CATEGORICAL:
                row["sample_categories"] = self.sample.column(name).to_pylist()
            else:
                row["sample_values"] = self.sample.column(name).to_numpy()  # null becomes NaN
        arrays = [_file_column(field, [row.get(field.name) for row in rows]) for field in _FILE_SCHEMA]
        metadata = {b"format": str(FORMAT_VERSION).encode(), b"n_rows": str(self.n_rows).encode()}
        metadata[b"zone"] = self.zone.encode()
        table = pa.table(arrays, schema=_FILE_SCHEMA.with_metadata(metadata))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        return sink.getvalue().to_pybytes()


def from_bytes(content: "bytes | pa.Buffer") -> ReferenceProfile:
    """Return the profile in `content`, an Arrow IPC file; its arrays are views of the file."""
    reader = pa.ipc.open_file(pa.py_buffer(content))
    metadata = reader.schema.metadata or {}
    if metadata.get(b"format") != str(FORMAT_VERSION).encode():
        raise ValueError(f"Not a reference profile of format {FORMAT_VERSION}. Profile the reference again.")
    batch = reader.get_batch(0)  # the only one
    columns: dict[str, Any] = {name: batch.column(name) for name in batch.schema.names}
    # Views of one flat array for each column: as Arrow scalars they would take three times as long.
    arrays = {name: (columns[name].offsets.to_numpy(), columns[name].values.to_numpy()) for name in _ARRAYS}
    *features, prediction = [
        _column_at(columns, {name: flat[starts[row] : starts[row + 1]] for name, (starts, flat) in arrays.items()}, row)
        for row in range(batch.num_rows)
    ]
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
        zone=metadata[b"zone"].decode(),
        correlations=_correlations([row.values.to_numpy() for row in columns["correlations"] if len(row.values)]),
    )


def correlated_names(features: Mapping[str, ColumnProfile]) -> tuple[str, ...]:
    """Return the features whose correlations are compared."""
    numeric = [
        name for name, column in features.items() if isinstance(column, NumericProfile) and column.scores is not None
    ]
    return tuple(numeric[:MOST_FEATURES]) if len(numeric) > 1 else ()


def _correlations(rows: Sequence[NDArray[np.float64]]) -> CorrelationScores | None:
    if not rows:
        return None
    stored, d = np.stack(rows), len(rows)
    return CorrelationScores(
        rows=int(stored[0, 0]),
        means=stored[:, 1],
        deviations=stored[:, 2],
        pair_rows=stored[:, 3 : 3 + d],
        rho=stored[:, 3 + d : 3 + 2 * d],
        spread=stored[:, 3 + 2 * d : 3 + 3 * d],
        skewness=stored[:, 3 + 3 * d : 3 + 4 * d],
        chunk_ratios=stored[:, 3 + 4 * d :].reshape(d, -1, d).transpose(1, 0, 2),
    )


def _column_at(columns: Mapping[str, Any], stored: Mapping[str, NDArray[Any]], index: int) -> ColumnProfile:
    n_missing = columns["n_missing"][index].as_py()
    shared: dict[str, Any] = {
        name: dependence_of_array(stored[name]) for name in ("missing_dependence", "category_dependence")
    } | {"looks_sorted": columns["looks_sorted"][index].as_py()}
    for name in ("category_season", "missing_season"):
        shared[name] = share_season_of_array(stored[name])
    if columns["kind"][index].as_py() == FeatureKind.CATEGORICAL:
        categories, counts = columns["categories"][index].as_py(), columns["counts"][index].values.to_numpy()
        return CategoricalProfile(tuple(categories), counts, n_missing, **shared)
    scores, values = None, stored["sorted_values"]
    if stored["score_moments"].size:
        means, deviations, skewness = stored["score_moments"].reshape(3, 2)
        parts = {name: stored[name] for name in ("boundaries", "bin_counts", "tail_cuts", "tail_counts")}
        rows = int(stored["bin_counts"].sum())
        scores = NumericScores(rows=rows, means=means, deviations=deviations, skewness=skewness, **parts)
    moments = {name: columns[name][index].as_py() for name in ("mean", "std", "minimum", "maximum")}
    numbers: dict[str, Any] = {name: np.nan if value is None else value for name, value in moments.items()}
    return NumericProfile(
        sorted_values=values,
        n_missing=n_missing,
        deciles=stored["deciles"],
        n_distinct=columns["n_distinct"][index].as_py(),
        scores=scores,
        dependence=dependence_of_array(stored["dependence"]),
        infinity_dependence=dependence_of_array(stored["infinity_dependence"]),
        season=numeric_season_of_array(stored["season"]),
        **numbers,
        **shared,
    )


def _row(role: str, name: str, profile: ColumnProfile) -> dict[str, Any]:
    row: dict[str, Any] = {"role": role, "name": name, "n_missing": profile.n_missing}
    row["looks_sorted"] = profile.looks_sorted
    for field in ("missing_dependence", "category_dependence"):
        row[field] = getattr(profile, field).to_array()
    for field in ("season", "category_season", "missing_season"):
        season = getattr(profile, field, None)
        row[field] = None if season is None else season.to_array()
    if isinstance(profile, CategoricalProfile):
        return row | {"kind": FeatureKind.CATEGORICAL, "categories": list(profile.categories), "counts": profile.counts}
    numbers = ("mean", "std", "minimum", "maximum", "n_distinct", "deciles", "sorted_values")
    row |= {"kind": FeatureKind.NUMERIC, **{field: getattr(profile, field) for field in numbers}}
    row |= {field: getattr(profile, field).to_array() for field in ("dependence", "infinity_dependence")}
    if (scores := profile.scores) is not None:
        row["score_moments"] = np.concatenate([scores.means, scores.deviations, scores.skewness])
        row |= {field: getattr(scores, field) for field in ("boundaries", "bin_counts", "tail_cuts", "tail_counts")}
    return row


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
