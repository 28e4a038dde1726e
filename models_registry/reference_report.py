"""What a person reads of a reference's profile: a line for each feature, and the predictions."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mlmon.profile import CategoricalProfile, ColumnProfile, NumericProfile, ReferenceProfile

HISTOGRAM_BINS = 24
SHOWN_LEVELS = 5


@dataclass(frozen=True, slots=True)
class LevelShare:
    """A level and its share of the values that are not missing, in percent."""

    name: str
    percent: float


@dataclass(frozen=True, slots=True)
class ColumnReport:
    """One column in words and bars.

    Attributes
    ----------
    name, kind
        Of the feature; the prediction has the name "".
    n_missing, missing_percent
        Missing values, and their share of all rows.
    numbers
        The profile of a numeric column, or None.
    bars
        Heights of a histogram over the finite values, equal widths, in percent of the highest bar.
    levels
        The most frequent levels of a categorical column; every class of a prediction.
    n_more_levels, more_percent
        How many levels are not shown, and their share together.
    """

    name: str
    kind: str
    n_missing: int
    missing_percent: float
    numbers: NumericProfile | None = None
    bars: tuple[float, ...] = ()
    levels: tuple[LevelShare, ...] = ()
    n_more_levels: int = 0
    more_percent: float = 0.0


def feature_reports(profile: ReferenceProfile) -> Iterator[ColumnReport]:
    """Yield a report of each feature, in the order of the model's inputs."""
    for name, column in profile.features.items():
        yield column_report(name, column, profile.n_rows, shown_levels=SHOWN_LEVELS)


def prediction_report(profile: ReferenceProfile) -> ColumnReport:
    """Return the report of what the model answers on the reference rows."""
    return column_report("", profile.prediction, profile.n_rows, shown_levels=50)


def column_report(name: str, column: ColumnProfile, n_rows: int, *, shown_levels: int) -> ColumnReport:
    """Return the report of one column of `n_rows` rows."""
    missing_percent = 100 * column.n_missing / max(1, n_rows)
    if isinstance(column, NumericProfile):
        return ColumnReport(
            name=name,
            kind="numeric",
            n_missing=column.n_missing,
            missing_percent=missing_percent,
            numbers=column,
            bars=_histogram(column),
        )
    shares = _shares(column)
    hidden = shares[shown_levels:]
    return ColumnReport(
        name=name,
        kind="categorical",
        n_missing=column.n_missing,
        missing_percent=missing_percent,
        levels=shares[:shown_levels],
        n_more_levels=len(hidden),
        more_percent=sum(level.percent for level in hidden),
    )


def _shares(column: CategoricalProfile) -> tuple[LevelShare, ...]:
    total = max(1, int(column.counts.sum()))
    return tuple(
        LevelShare(name, 100 * count / total) for name, count in zip(column.levels, column.counts.tolist(), strict=True)
    )


def _histogram(column: NumericProfile) -> tuple[float, ...]:
    finite = column.sorted_values[np.isfinite(column.sorted_values)]
    if not finite.size:
        return ()
    if finite[0] == finite[-1]:
        return (100.0,)
    # On a scale of our own: numpy refuses bins for values next to each other, or further apart than float64 holds.
    scaled = finite / 2 - finite[0] / 2
    width = scaled[-1] or np.finfo(np.float64).tiny
    bins = np.minimum((scaled / width * HISTOGRAM_BINS).astype(np.int64), HISTOGRAM_BINS - 1)
    counts = np.bincount(bins, minlength=HISTOGRAM_BINS)
    return tuple((100 * counts / counts.max()).tolist())
