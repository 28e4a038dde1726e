"""Computing the profile of reference data."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlmon.detection.correlation import correlation_scores
from mlmon.detection.dependence import NO_SERIES, category_groups, group_dependence, looks_sorted, series_dependence
from mlmon.detection.numeric import numeric_scores, score_cells
from mlmon.detection.phases import local_times
from mlmon.detection.seasons import ShareSeason, numeric_season, share_season
from mlmon.profile import (
    MOST_VALUES_AS_CATEGORIES,
    SAMPLE_ROWS,
    CategoricalProfile,
    ColumnProfile,
    NumericProfile,
    ReferenceProfile,
    correlated_names,
    evenly_spaced,
)
from mlmon.schema import TaskType

DECILES = np.arange(1, 10) / 10


def profile_of(
    observed: pa.Table,
    predictions: "pa.Array[Any]",
    classes: Sequence[str],
    task_type: TaskType,
    *,
    times: NDArray[np.int64] | None = None,
    zone: str = "UTC",
) -> ReferenceProfile:
    """Return the profile of reference rows.

    Parameters
    ----------
    observed
        One column for each feature, as `observed_table` returns it: float64 or string, null is missing.
    predictions
        Of the model for these rows: class labels (string) or numbers (float64). Empty if there are none; then windows'
        predictions are not compared.
    classes
        Every class of the schema; empty for regression.
    task_type
        Whether predictions are classes or numbers.
    times
        Of the rows, which are ordered by them: microseconds since 1970 in UTC, the smallest integer for a missing one,
        shape (m,). None without times.
    zone
        The time zone whose hours and weekdays are phases.

    Raises
    ------
    zoneinfo.ZoneInfoNotFoundError
        There is no such time zone.
    """
    local = None if times is None else local_times(times, zone)
    features = {name: column_profile(observed.column(name).combine_chunks(), local) for name in observed.column_names}
    prediction = column_profile(predictions, local if len(predictions) else None)
    if task_type is not TaskType.REGRESSION and isinstance(prediction, CategoricalProfile):
        counts = dict(zip(prediction.categories, prediction.counts.tolist(), strict=True))
        prediction = CategoricalProfile(
            categories=tuple(classes),
            counts=np.array([counts.get(name, 0) for name in classes], dtype=np.int64),
            n_missing=prediction.n_missing,
            category_dependence=prediction.category_dependence,
            looks_sorted=prediction.looks_sorted,
            category_season=_in_order(prediction.category_season, prediction.categories, classes),
        )
    sample = evenly_spaced(observed, SAMPLE_ROWS).combine_chunks()
    names, correlations = correlated_names(features), None
    if names:
        correlations = correlation_scores(np.column_stack([_row_scores(observed.column(name)) for name in names]))
    return ReferenceProfile(
        observed.num_rows, features, prediction, sample, correlations, "" if times is None else zone
    )


def _in_order(season: ShareSeason | None, categories: Sequence[str], classes: Sequence[str]) -> ShareSeason | None:
    """Return the shares of categories in the order of the classes, which may have more."""
    if season is None:
        return None
    shares = np.zeros((season.shares.shape[0], len(classes)))
    for place, name in enumerate(classes):
        if name in categories:
            shares[:, place] = season.shares[:, categories.index(name)]
    return replace(season, shares=shares)


def column_profile(values: "pa.Array[Any]", local: NDArray[np.int64] | None = None) -> ColumnProfile:
    """Return the profile of one column: numeric for float64, categorical for string; null is missing.

    `local` has the wall-clock times of the rows (`mlmon.detection.phases.local_times`).
    """
    is_missing = np.asarray(values.is_null())
    missing, missing_season = NO_SERIES, None
    if values.null_count:
        missing = series_dependence(is_missing.astype(np.float64)[:, None], are_indicators=True)
        if local is not None:
            missing_season = share_season(is_missing.astype(np.int64), np.array([0, 1]), local)
    of_present = None if local is None else local[~is_missing]
    if pa.types.is_floating(values.type):
        profile = _numeric_profile(np.asarray(values.drop_null(), dtype=np.float64), values.null_count, of_present)
        return replace(profile, missing_dependence=missing, missing_season=missing_season)
    encoded: Any = values.drop_null().dictionary_encode()
    names = encoded.dictionary.to_pylist()
    codes = np.asarray(encoded.indices, dtype=np.int64)
    counts = np.bincount(codes, minlength=len(names)).astype(np.int64)
    order = np.array(sorted(range(len(names)), key=lambda index: (-int(counts[index]), names[index])), dtype=np.int64)
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    groups, codes = category_groups(counts[order]), rank[codes]
    return CategoricalProfile(
        categories=tuple(names[index] for index in order.tolist()),
        counts=counts[order],
        n_missing=values.null_count,
        category_dependence=group_dependence(codes, groups),
        missing_dependence=missing,
        looks_sorted=looks_sorted(np.argsort(np.argsort(np.array(names, dtype=object)))[order][codes]),
        category_season=None if of_present is None or not codes.size else share_season(codes, groups, of_present),
        missing_season=missing_season,
    )


def _numeric_profile(present: NDArray[np.float64], n_missing: int, local: NDArray[np.int64] | None) -> NumericProfile:
    sorted_values = np.sort(present)
    deciles = np.full(DECILES.size, np.nan)
    if present.size:
        with np.errstate(invalid="ignore"):
            deciles = np.quantile(sorted_values, DECILES, method="inverted_cdf")
    is_finite = np.isfinite(present)
    ordered = sorted_values[np.isfinite(sorted_values)]
    mean, std = _moments(ordered) if ordered.size else (np.nan, np.nan)
    n_distinct = int(np.count_nonzero(sorted_values[1:] != sorted_values[:-1]) + 1) if present.size else 0
    scores, dependence, of_infinities, of_categories = None, NO_SERIES, NO_SERIES, NO_SERIES
    season, category_season = None, None
    has_few = n_distinct <= MOST_VALUES_AS_CATEGORIES
    if ordered.size and ordered[0] < ordered[-1]:
        a = score_cells(ordered).of_rows(present[is_finite])
        scores = numeric_scores(ordered, a)
        dependence = series_dependence(np.column_stack([a, a * a]), are_indicators=False)
        season = None if local is None or has_few else numeric_season(a, local[is_finite])
    if ordered.size < present.size:
        infinities = np.column_stack([present == -np.inf, present == np.inf]).astype(np.float64)
        of_infinities = series_dependence(infinities, are_indicators=True)
    if n_distinct > 1 and has_few:
        _, codes, counts = np.unique(present, return_inverse=True, return_counts=True)
        groups = category_groups(counts)
        of_categories = group_dependence(codes, groups)
        category_season = None if local is None else share_season(codes, groups, local)
    return NumericProfile(
        sorted_values=sorted_values,
        n_missing=n_missing,
        mean=mean,
        std=std,
        minimum=float(ordered[0]) if ordered.size else np.nan,
        maximum=float(ordered[-1]) if ordered.size else np.nan,
        deciles=deciles,
        n_distinct=n_distinct,
        scores=scores,
        dependence=dependence,
        infinity_dependence=of_infinities,
        category_dependence=of_categories,
        looks_sorted=looks_sorted(present[is_finite]),
        season=season,
        category_season=category_season,
    )


def _row_scores(column: "pa.ChunkedArray[Any]") -> NDArray[np.float64]:
    """Return the normal scores of a reference's rows; NaN without a finite value."""
    values = np.array(column.to_numpy(), dtype=np.float64)
    is_finite = np.isfinite(values)
    present = values[is_finite]
    values[~is_finite] = np.nan
    values[is_finite] = score_cells(np.sort(present)).of_rows(present)
    return values


def _moments(finite: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and standard deviation (ddof 0)."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = float(finite.mean()), float(finite.std())
    if np.isfinite(mean) and np.isfinite(std):
        return mean, std
    largest = float(np.abs(finite).max())  # its square is beyond float64, so compute in parts of it
    return largest * float((finite / largest).mean()), largest * float((finite / largest).std())
