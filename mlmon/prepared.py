"""What a reference profile is turned into once, so that each check only has to look at the window."""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlmon.profile import CategoricalProfile, ColumnProfile, NumericProfile, ReferenceProfile
from mlmon.statistics.bins import counts_between_and_outside, doane_edges
from mlmon.statistics.deciles import DecileReference, prepare_deciles
from mlmon.statistics.kolmogorov_smirnov import OrderedReference
from mlmon.statistics.levels import LevelCounts, LevelReference, prepare_levels

MOST_VALUES_AS_LEVELS = 20  # of a numeric column; with more it is compared as an ordered quantity
PICTURE_BINS = 20
PICTURE_QUANTILES = (0.01, 0.99)  # between these bins are of equal width; the outer two hold the tails


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Bins with the reference counted in them.

    Attributes
    ----------
    edges
        Rising, shape (k + 1,) or (k - 1,), as the reader of the counts says.
    counts
        Shape (k,).
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class NumberLevels:
    """The few values of a numeric column, as levels.

    Attributes
    ----------
    values
        Ascending, shape (k,).
    reference
        Their counts, under their names.
    """

    values: NDArray[np.float64]
    reference: LevelReference

    def count(self, current: NDArray[np.float64]) -> LevelCounts:
        """Return both samples' counts of each level; the window is ascending, without NaN."""
        first, last = current.searchsorted(self.values), current.searchsorted(self.values, "right")
        known = last - first
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
class PreparedNumbers:
    """A numeric column of the reference.

    Attributes
    ----------
    levels
        Where it has at most 20 distinct values, else None.
    finite
        The finite values, ascending.
    doane
        Doane's k bins of the finite values, the last count that of the values outside them; None without finite values.
    picture
        For drawing: k - 1 edges between k bins, the outer ones open; None where the column has few values, or no room
        between them.
    """

    profile: NumericProfile
    ordered: OrderedReference
    deciles: DecileReference
    levels: NumberLevels | None
    finite: NDArray[np.float64]
    doane: Bins | None
    picture: Bins | None

    @property
    def n_values(self) -> int:
        """How many values are not missing."""
        return self.ordered.values.size


@dataclass(frozen=True, slots=True, eq=False)
class PreparedLevels:
    """A categorical column of the reference.

    Attributes
    ----------
    names
        Its levels as an Arrow array, to look the window's values up in.
    """

    profile: CategoricalProfile
    levels: LevelReference
    names: "pa.Array[Any]"

    @property
    def n_values(self) -> int:
        """How many values are not missing."""
        return int(self.levels.counts.sum())


@dataclass(frozen=True, slots=True, eq=False)
class PreparedReference:
    """A reference, ready to be compared with windows."""

    n_rows: int
    features: Mapping[str, "PreparedColumn"]
    prediction: "PreparedColumn"
    sample: pa.Table

    @property
    def nbytes(self) -> int:
        """Memory that it holds, in bytes; the profile's arrays included, a few kilobytes of grids a column left out."""
        columns = (*self.features.values(), self.prediction)
        return int(self.sample.nbytes) + sum(_bytes_of(column) for column in columns)


PreparedColumn = PreparedNumbers | PreparedLevels


def prepare(profile: ReferenceProfile) -> PreparedReference:
    """Return a reference prepared for many windows: milliseconds for each numeric column, once."""
    return PreparedReference(
        n_rows=profile.n_rows,
        features={name: prepare_column(column) for name, column in profile.features.items()},
        prediction=prepare_column(profile.prediction),
        sample=profile.sample,
    )


def prepare_column(profile: ColumnProfile) -> PreparedColumn:
    """Return one column prepared for many windows."""
    if isinstance(profile, CategoricalProfile):
        levels = prepare_levels(profile.levels, profile.counts)
        return PreparedLevels(profile=profile, levels=levels, names=pa.array(profile.levels, pa.string()))
    return _prepared_numbers(profile)


def number_name(value: float) -> str:
    """Return a number as the name of a level."""
    return f"{value:.15g}"


def _prepared_numbers(profile: NumericProfile) -> PreparedNumbers:
    values = profile.sorted_values
    finite = values if np.isfinite(values[:1]).all() and np.isfinite(values[-1:]).all() else values[np.isfinite(values)]
    has_few_values = profile.n_distinct <= MOST_VALUES_AS_LEVELS
    return PreparedNumbers(
        profile=profile,
        ordered=OrderedReference(values),
        deciles=prepare_deciles(profile.deciles, values),
        levels=_number_levels(values) if has_few_values else None,
        finite=finite,
        doane=_doane_bins(finite),
        picture=None if has_few_values else _picture_bins(finite),
    )


def _number_levels(values: NDArray[np.float64]) -> NumberLevels:
    distinct, counts = np.unique(values, return_counts=True)
    return NumberLevels(distinct, prepare_levels([number_name(value) for value in distinct.tolist()], counts))


def _doane_bins(finite: NDArray[np.float64]) -> Bins | None:
    if not finite.size:
        return None
    edges = doane_edges(finite)
    return Bins(edges, counts_between_and_outside(finite, edges))


def _picture_bins(finite: NDArray[np.float64]) -> Bins | None:
    if not finite.size:
        return None
    low, high = (finite[math.ceil(share * finite.size) - 1] for share in PICTURE_QUANTILES)
    if low == high:
        low, high = finite[0], finite[-1]
    steps = np.linspace(0.0, 1.0, PICTURE_BINS - 1)
    edges = np.unique(low * (1.0 - steps) + high * steps)  # not high - low, which may be beyond float64
    return Bins(edges, counts_around(finite, edges))


def counts_around(ordered: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the number of values below the first edge, between neighbouring ones, and from the last one on."""
    counts = np.empty(edges.size + 1, dtype=np.int64)
    counts[:-1] = ordered.searchsorted(edges)
    counts[-1] = ordered.size
    counts[1:] -= counts[:-1].copy()
    return counts


def _bytes_of(column: PreparedColumn) -> int:
    if isinstance(column, PreparedLevels):
        return column.names.nbytes + sum(map(sys.getsizeof, column.profile.levels)) + 2 * column.levels.counts.nbytes
    copied = 0 if column.finite is column.ordered.values else column.finite.nbytes
    return column.ordered.values.nbytes + copied
