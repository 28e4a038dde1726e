"""A reference prepared for many windows: what does not depend on the window is computed once."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlmon.detection.numeric import NumericScores, ScoreCells, score_cells
from mlmon.detector import Detector
from mlmon.profile import (
    MOST_VALUES_AS_CATEGORIES,
    CategoricalProfile,
    ColumnProfile,
    NumericProfile,
    ReferenceProfile,
)
from mlmon.results import Test
from mlmon.schema import FeatureKind
from mlmon.statistics.bins import counts_between, counts_inside, decile_cut_points, doane_edges
from mlmon.statistics.counts import CategoryCounts, ReferenceCategories, prepare_categories
from mlmon.statistics.kolmogorov_smirnov import OrderedReference

CHART_BINS = 20
CHART_QUANTILES = (0.01, 0.99)  # the bins between them are of equal width; the outer two hold the tails


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Bins with the reference counted in them.

    Attributes
    ----------
    edges
        Ascending, shape (k + 1,) or (k - 1,): closed bins between edges, or also the open ones around them.
    counts
        Shape (k,).
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class NumberCategories:
    """The few values of a numeric column, counted as categories.

    Attributes
    ----------
    values
        Ascending, shape (k,).
    reference
        Their counts, under their names.
    """

    values: NDArray[np.float64]
    reference: ReferenceCategories

    def count(self, current: NDArray[np.float64]) -> CategoryCounts:
        """Return the counts of both samples by value; the window is ascending, without NaN."""
        known = current.searchsorted(self.values, "right") - current.searchsorted(self.values)
        if int(known.sum()) == current.size:
            return self.reference.align(known)
        values, counts = np.unique(current, return_counts=True)
        unknown = {
            number_name(value): count
            for value, count in zip(values.tolist(), counts.tolist(), strict=True)
            if value not in self.values
        }
        return self.reference.align(known, unknown)


@dataclass(frozen=True, slots=True, eq=False)
class Scoring:
    """The normal scores of a column, ready for windows.

    Attributes
    ----------
    own
        What the tests need to know of the reference.
    cells
        The scores of values.
    edges
        The cuts of the tails, then the ends of the bins but the last.
    nbytes
        Memory in bytes of what the profile does not have.
    """

    own: NumericScores
    cells: ScoreCells
    edges: NDArray[np.float64]
    nbytes: int

    @staticmethod
    def of(own: NumericScores, finite: NDArray[np.float64]) -> "Scoring":
        """Return the scores of a column whose finite values are given in ascending order."""
        cells = score_cells(finite)
        nbytes = 0 if cells.cuts is finite else cells.cuts.nbytes + cells.scores.nbytes
        return Scoring(own, cells, np.concatenate([own.tail_cuts, own.boundaries]), nbytes)


@dataclass(frozen=True, slots=True, eq=False)
class PreparedNumbers:
    """A numeric column of the reference.

    Attributes
    ----------
    n_values
        Number of values that are not missing.
    ordered
        All values, with grids for the KS distance.
    deciles
        The bins between the deciles; `edges` are their k - 1 cut points.
    categories
        None if the column has more than 20 distinct values.
    finite
        The finite values, ascending.
    doane
        Doane's k bins of the finite values; the last count is that of the values outside them. None without finite
        values.
    chart
        k - 1 edges between k bins for a chart. None if the column has few values or no finite ones.
    scoring
        The normal scores of the finite values; None if the profile has no scores.
    season_scoring
        The same of their residuals from phases; None if the profile has no season of them.
    nbytes
        Memory in bytes; a few kilobytes of grids are left out.
    """

    kind = FeatureKind.NUMERIC
    profile: NumericProfile
    n_values: int
    ordered: OrderedReference
    deciles: Bins
    categories: NumberCategories | None
    finite: NDArray[np.float64]
    doane: Bins | None
    chart: Bins | None
    scoring: Scoring | None
    season_scoring: Scoring | None
    nbytes: int


@dataclass(frozen=True, slots=True, eq=False)
class PreparedCategories:
    """A categorical column of the reference.

    Attributes
    ----------
    n_values
        Number of values that are not missing.
    categories
        Its categories and their counts.
    names
        Its categories as an Arrow array, to look up the window's values in.
    nbytes
        Memory in bytes.
    """

    kind = FeatureKind.CATEGORICAL
    profile: CategoricalProfile
    n_values: int
    categories: ReferenceCategories
    names: "pa.Array[Any]"
    nbytes: int


PreparedColumn = PreparedNumbers | PreparedCategories


@dataclass(frozen=True, slots=True, eq=False)
class PreparedReference:
    """A reference, ready to be compared with windows.

    Attributes
    ----------
    detector, seasonal
        What the verdict's tests know about the reference; `seasonal` by phase, None if no column has a season.
    nbytes
        Memory in bytes, the profile's arrays included.
    visible
        The smallest visible changes of the last plan of a verdict.
    """

    n_rows: int
    features: Mapping[str, PreparedColumn]
    prediction: PreparedColumn
    sample: pa.Table
    detector: Detector
    seasonal: Detector | None
    nbytes: int
    visible: dict[Any, Mapping[str, Mapping[Test, float]]] = field(default_factory=dict)


def prepare(profile: ReferenceProfile) -> PreparedReference:
    """Return a reference prepared for many windows: once, in milliseconds for each numeric column."""
    features = {name: prepare_column(column) for name, column in profile.features.items()}
    prediction = prepare_column(profile.prediction)
    detector = Detector(profile)
    nbytes = profile.sample.nbytes + detector.nbytes
    nbytes += sum(column.nbytes for column in (*features.values(), prediction))
    seasonal = Detector(profile, is_seasonal=True) if detector.has_seasons else None
    return PreparedReference(profile.n_rows, features, prediction, profile.sample, detector, seasonal, nbytes)


def prepare_column(profile: ColumnProfile) -> PreparedColumn:
    """Return one column prepared for many windows."""
    if isinstance(profile, NumericProfile):
        return _prepare_numbers(profile)
    return PreparedCategories(
        profile=profile,
        n_values=int(profile.counts.sum()),
        categories=prepare_categories(profile.categories, profile.counts),
        names=(names := pa.array(profile.categories, pa.string())),
        nbytes=names.nbytes + sum(map(sys.getsizeof, profile.categories)) + 2 * profile.counts.nbytes,
    )


def _prepare_numbers(profile: NumericProfile) -> PreparedNumbers:
    values = profile.sorted_values
    finite = values if np.isfinite(values[:1]).all() and np.isfinite(values[-1:]).all() else values[np.isfinite(values)]
    cut_points = decile_cut_points(profile.deciles, values[0] if values.size else math.nan)
    categories = doane = chart = None
    if profile.n_distinct <= MOST_VALUES_AS_CATEGORIES:
        distinct, counts = np.unique(values, return_counts=True)
        names = [number_name(value) for value in distinct.tolist()]
        categories = NumberCategories(distinct, prepare_categories(names, counts))
    elif finite.size:
        low, high = (finite[math.ceil(share * finite.size) - 1] for share in CHART_QUANTILES)
        if low == high:
            low, high = finite[0], finite[-1]
        steps = np.linspace(0.0, 1.0, CHART_BINS - 1)
        edges = np.unique(low * (1.0 - steps) + high * steps)  # not high - low, which may be beyond float64
        chart = Bins(edges, counts_between(finite, edges, closed="left"))
    if finite.size:
        edges = doane_edges(finite)
        doane = Bins(edges, counts_inside(finite, edges))
    scoring, season = None if profile.scores is None else Scoring.of(profile.scores, finite), profile.season
    return PreparedNumbers(
        profile=profile,
        n_values=values.size,
        ordered=OrderedReference(values),
        deciles=Bins(cut_points, counts_between(values, cut_points)),
        categories=categories,
        finite=finite,
        doane=doane,
        chart=chart,
        scoring=scoring,
        season_scoring=None if season is None else Scoring.of(season.scores, season.ordered),
        nbytes=values.nbytes
        + (0 if finite is values else finite.nbytes)
        + (0 if scoring is None else scoring.nbytes)
        + (0 if season is None else 2 * season.ordered.nbytes),
    )


def number_name(value: float) -> str:
    """Return a number as the name of a category."""
    return f"{value:.15g}"
