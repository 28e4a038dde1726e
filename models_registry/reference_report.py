"""The report of a reference for people: its times, one line for each feature and one for the predictions."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from mlmon.profile import ColumnProfile, NumericProfile, ReferenceProfile
from models_registry.models import ReferenceDataset

HISTOGRAM_BINS = 24
SHOWN_CATEGORIES = 5
SHOWN_CLASSES = 50


@dataclass(frozen=True, slots=True)
class CategoryShare:
    """A category and its share of the values that are not missing, in percent."""

    name: str
    percent: float


@dataclass(frozen=True, slots=True)
class ColumnReport:
    """One column in numbers and bars.

    Attributes
    ----------
    name, kind
        Name and kind of the feature; the name of the prediction is "".
    n_missing, missing_percent
        Missing values, and their share of all rows.
    numbers
        The profile of a numeric column, or None.
    bars
        Histogram of the finite values with bins of equal width; heights in percent of the highest bar.
    categories
        The most frequent categories of a categorical column, or the classes of a prediction.
    n_more_categories, more_percent
        Number of categories that are not shown, and their total share.
    """

    name: str
    kind: str
    n_missing: int
    missing_percent: float
    numbers: NumericProfile | None = None
    bars: tuple[float, ...] = ()
    categories: tuple[CategoryShare, ...] = ()
    n_more_categories: int = 0
    more_percent: float = 0.0


def times_text(reference: ReferenceDataset, profile: ReferenceProfile) -> str:
    """Return which column has the times of a ready reference and what they are, or why it has none; in sentences."""
    if reference.first_time is None or reference.last_time is None:
        return " ".join(filter(None, ["none.", reference.times_note, "The rows are taken to be in the order of time."]))
    zone, wanted = ZoneInfo(profile.zone or "UTC"), reference.version.model.time_zone
    first, last = (
        time.astimezone(zone).isoformat(" ", "seconds") for time in (reference.first_time, reference.last_time)
    )
    untimed = (reference.rows or 0) - (reference.timed_rows or 0)
    rest = f" {untimed:,} rows have no time and come last." if untimed else ""
    if zone.key != wanted and reference.profile_format is not None:
        rest += f" The profile will be rebuilt for the model's time zone, {wanted}."
    return (
        f"column {reference.time_column}, from {first} to {last}. Time zone: {zone.key}. "
        f"The rows were put in the order of time.{rest}"
    )


def reports_of(profile: ReferenceProfile) -> tuple[list[ColumnReport], ColumnReport]:
    """Return the reports of the features, in the order of the model's inputs, and the report of the predictions."""
    features = [
        column_report(name, column, profile.n_rows, shown=SHOWN_CATEGORIES) for name, column in profile.features.items()
    ]
    return features, column_report("", profile.prediction, profile.n_rows, shown=SHOWN_CLASSES)


def column_report(name: str, column: ColumnProfile, n_rows: int, *, shown: int) -> ColumnReport:
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
    total = max(1, int(column.counts.sum()))
    counted = zip(column.categories, column.counts.tolist(), strict=True)
    shares = tuple(CategoryShare(name, 100 * count / total) for name, count in counted)
    hidden = shares[shown:]
    return ColumnReport(
        name=name,
        kind="categorical",
        n_missing=column.n_missing,
        missing_percent=missing_percent,
        categories=shares[:shown],
        n_more_categories=len(hidden),
        more_percent=sum(category.percent for category in hidden),
    )


def _histogram(column: NumericProfile) -> tuple[float, ...]:
    finite = column.sorted_values[np.isfinite(column.sorted_values)]
    if not finite.size:
        return ()
    if finite[0] == finite[-1]:
        return (100.0,)
    # Scaled first, because NumPy has no bins for adjacent floats, or for values whose difference overflows.
    scaled = finite / 2 - finite[0] / 2
    width = scaled[-1] or np.finfo(np.float64).tiny
    bins = np.minimum((scaled / width * HISTOGRAM_BINS).astype(np.int64), HISTOGRAM_BINS - 1)
    counts = np.bincount(bins, minlength=HISTOGRAM_BINS)
    return tuple((100 * counts / counts.max()).tolist())
