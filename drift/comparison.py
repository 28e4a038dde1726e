"""Comparing a window with its reference, feature by feature; one bad column never stops the others."""

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from drift.results import ComparisonResult, FeatureResult, Method, PredictionResult, ResultStatus, Thresholds
from drift.statistics.chi_squared import chi_squared
from drift.statistics.deciles import decile_counts
from drift.statistics.jensen_shannon import jensen_shannon_divergence
from drift.statistics.kolmogorov_smirnov import kolmogorov_smirnov
from drift.statistics.levels import LevelCounts, align_levels, compare_levels
from models_registry.profile import CategoricalProfile, ColumnProfile, NumericProfile, ReferenceProfile
from models_registry.schema import FeatureKind

logger = logging.getLogger(__name__)

Column: TypeAlias = "pa.ChunkedArray[Any]"  # pyarrow's classes take no parameters at run time

SMALLEST_SAMPLE = 30
LARGEST_LEVELS_SHARE = 0.5  # levels for each reference row; with more, a column names rows rather than groups
UNSEEN_LEVELS_SHOWN = 3


def compare(
    profile: ReferenceProfile, features: pa.Table, predictions: "Column | None", thresholds: Thresholds
) -> ComparisonResult:
    """Compare a window with its reference.

    Parameters
    ----------
    profile
        The reference, prepared: sorted values, level counts.
    features
        The window's features under their own names: float64 for numeric, string for categorical ones; null is missing.
    predictions
        The window's predictions: class names, or float64 for regression.
    thresholds
        What counts as drifted.

    Returns
    -------
    ComparisonResult
        Every feature of the reference in its order, then those that only the window has. What cannot be compared has a
        status that says why. A window costs one sort of each numeric column and one count of each categorical one.
    """
    names = [*profile.features, *(name for name in features.column_names if name not in profile.features)]
    return ComparisonResult(
        n_reference=profile.n_rows,
        n_current=features.num_rows if features.num_columns or predictions is None else len(predictions),
        features=tuple(
            compare_feature(
                name,
                profile.features.get(name),
                features.column(name) if name in features.column_names else None,
                thresholds.of(name),
            )
            for name in names
        ),
        prediction=compare_predictions(profile.prediction, predictions, thresholds.prediction),
    )


def compare_feature(
    name: str, reference: ColumnProfile | None, current: "Column | None", threshold: float
) -> FeatureResult:
    """Compare one feature; whatever stands in the way becomes the result's status."""
    result = FeatureResult(name=name, kind=_kind(reference, current), threshold=threshold)
    if reference is None or current is None:
        side = "reference" if reference is None else "window"
        return replace(result, status=ResultStatus.MISSING, status_detail=f"The {side} has no such column.")
    if not _has_kind(current, result.kind):
        detail = f"The reference is {result.kind.value}, the window's column is {current.type}."
        return replace(result, status=ResultStatus.TYPE_CHANGED, status_detail=detail)
    try:
        if isinstance(reference, NumericProfile):
            return _compare_numbers(result, reference, current)
        return _compare_levels(result, reference, current)
    except Exception as error:
        logger.exception("Feature %r could not be compared.", name)
        detail = f"The comparison failed: {type(error).__name__}: {error}"
        return replace(result, status=ResultStatus.ERROR, status_detail=detail)


def compare_predictions(reference: ColumnProfile, current: "Column | None", threshold: float) -> PredictionResult:
    """Compare the predictions: classes by their counts, numbers by their counts between the reference's deciles."""
    result = PredictionResult(threshold=threshold)
    if current is None:
        return replace(result, status=ResultStatus.MISSING)
    if not _has_kind(current, _kind(reference, current)):
        return replace(result, status=ResultStatus.TYPE_CHANGED)
    try:
        if isinstance(reference, NumericProfile):
            return _compare_predicted_numbers(result, reference, current)
        return _compare_predicted_classes(result, reference, current)
    except Exception:
        logger.exception("The predictions could not be compared.")
        return replace(result, status=ResultStatus.ERROR)


def _compare_numbers(result: FeatureResult, reference: NumericProfile, current: Column) -> FeatureResult:
    values = _sorted_values(current)
    result = replace(
        result,
        method=Method.KOLMOGOROV_SMIRNOV,
        reference_mean=_finite_or_none(reference.mean),
        current_mean=_finite_mean(values),
        n_reference=reference.sorted_values.size,
        n_current=values.size,
        n_missing_reference=reference.n_missing,
        n_missing_current=len(current) - values.size,
    )
    result = _without_obstacle(result)
    if result.status is not ResultStatus.OK:
        return result
    if reference.sorted_values[0] == reference.sorted_values[-1] == values[0] == values[-1]:
        return _constant(result, f"{values[0]:g}")
    test = kolmogorov_smirnov(reference.sorted_values, values)
    return _scored(result, score=test.statistic, statistic=test.statistic, p_value=test.p_value)


def _compare_levels(result: FeatureResult, reference: CategoricalProfile, current: Column) -> FeatureResult:
    window = _level_counts(current)
    n_reference, n_current = int(reference.counts.sum()), sum(window.values())
    result = replace(
        result,
        method=Method.CHI_SQUARED,
        n_reference=n_reference,
        n_current=n_current,
        n_missing_reference=reference.n_missing,
        n_missing_current=len(current) - n_current,
    )
    result = _without_obstacle(result)
    if result.status is not ResultStatus.OK:
        return result
    if len(reference.levels) > LARGEST_LEVELS_SHARE * n_reference:
        detail = f"{len(reference.levels)} levels in {n_reference} reference rows: an identifier is not compared."
        return replace(result, status=ResultStatus.IDENTIFIER, status_detail=detail)
    if len(reference.levels) == 1 and set(window) == set(reference.levels):
        return _constant(result, reference.levels[0])
    aligned = align_levels(reference.levels, reference.counts, window)
    test = compare_levels(aligned, reference_singletons=int((reference.counts == 1).sum()))
    result = replace(result, status_detail=_unseen_detail(aligned))
    return _scored(result, score=test.cohens_w, statistic=test.statistic, p_value=test.p_value)


def _compare_predicted_numbers(
    result: PredictionResult, reference: NumericProfile, current: Column
) -> PredictionResult:
    values = _sorted_values(current)
    status = _status_of_sizes(reference.sorted_values.size, values.size)
    if status is not ResultStatus.OK:
        return replace(result, status=status)
    bins = decile_counts(reference.deciles, reference.sorted_values, values)
    test = chi_squared(bins.reference, bins.current)
    return _diverged(
        replace(result, chi2_statistic=test.statistic, p_value=test.p_value),
        bins.labels,
        bins.reference,
        bins.current,
    )


def _compare_predicted_classes(
    result: PredictionResult, reference: CategoricalProfile, current: Column
) -> PredictionResult:
    window = _level_counts(current)
    status = _status_of_sizes(int(reference.counts.sum()), sum(window.values()))
    if status is not ResultStatus.OK:
        return replace(result, status=status)
    aligned = align_levels(reference.levels, reference.counts, window)
    test = compare_levels(aligned, reference_singletons=int((reference.counts == 1).sum()))
    return _diverged(
        replace(result, chi2_statistic=test.statistic, p_value=test.p_value),
        aligned.levels,
        aligned.reference,
        aligned.current,
    )


def _diverged(
    result: PredictionResult, labels: tuple[str, ...], reference: NDArray[np.int64], current: NDArray[np.int64]
) -> PredictionResult:
    divergence = jensen_shannon_divergence(reference, current)
    return replace(
        result,
        js_divergence=divergence,
        is_drifted=divergence > result.threshold,
        reference_dist=_shares(labels, reference),
        current_dist=_shares(labels, current),
    )


def _scored(result: FeatureResult, *, score: float, statistic: float, p_value: float) -> FeatureResult:
    return replace(result, score=score, statistic=statistic, p_value=p_value, is_drifted=score > result.threshold)


def _constant(result: FeatureResult, value: str) -> FeatureResult:
    detail = f"Every value of both is {value}."
    return replace(result, status=ResultStatus.CONSTANT, status_detail=detail, score=0.0, statistic=0.0, p_value=1.0)


def _without_obstacle(result: FeatureResult) -> FeatureResult:
    """Return `result` with the status that its counts leave it."""
    status = _status_of_sizes(result.n_reference, result.n_current)
    if status is ResultStatus.OK:
        return result
    fewer, side = min((result.n_reference, "reference"), (result.n_current, "window"))
    detail = f"The {side} has {fewer or 'no'} values; a comparison needs {SMALLEST_SAMPLE}."
    return replace(result, status=status, status_detail=detail)


def _status_of_sizes(n_reference: int, n_current: int) -> ResultStatus:
    fewer = min(n_reference, n_current)
    if fewer == 0:
        return ResultStatus.MISSING
    return ResultStatus.OK if fewer >= SMALLEST_SAMPLE else ResultStatus.INSUFFICIENT_DATA


def _unseen_detail(aligned: LevelCounts) -> str:
    if not aligned.unseen:
        return ""
    shown = ", ".join(repr(level) for level in aligned.unseen_levels[:UNSEEN_LEVELS_SHOWN])
    more = len(aligned.unseen_levels) - UNSEEN_LEVELS_SHOWN
    share = aligned.unseen / int(aligned.current.sum())
    and_more = f" and {more} more" if more > 0 else ""
    return f"{aligned.unseen} rows ({share:.1%}) have levels that the reference does not have: {shown}{and_more}."


def _kind(reference: ColumnProfile | None, current: "Column | None") -> FeatureKind:
    if reference is not None:
        return FeatureKind.NUMERIC if isinstance(reference, NumericProfile) else FeatureKind.CATEGORICAL
    is_numeric = current is not None and _has_kind(current, FeatureKind.NUMERIC)
    return FeatureKind.NUMERIC if is_numeric else FeatureKind.CATEGORICAL


def _has_kind(column: Column, kind: FeatureKind) -> bool:
    if kind is FeatureKind.NUMERIC:
        return pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    return pa.types.is_string(column.type) or pa.types.is_large_string(column.type)


def _sorted_values(column: Column) -> NDArray[np.float64]:
    """Return the values that are not missing, ascending (NaN sorts last, and is cut off)."""
    values = np.sort(column.cast(pa.float64()).to_numpy())
    return values[: values.size - int(np.isnan(values).sum())]


def _level_counts(column: Column) -> dict[str, int]:
    counted: Any = column.drop_null().value_counts()
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))


def _shares(labels: tuple[str, ...], counts: NDArray[np.int64]) -> Mapping[str, float]:
    return dict(zip(labels, (counts / counts.sum()).tolist(), strict=True))


def _finite_mean(values: NDArray[np.float64]) -> float | None:
    finite = values[np.isfinite(values)]
    with np.errstate(over="ignore"):
        return _finite_or_none(float(finite.mean())) if finite.size else None


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
