"""What the verdict's tests know about a reference: scores side by side, and the dispersion of windows of any length."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlmon.detection.correlation import pair_dependence
from mlmon.detection.dependence import (
    NO_SERIES,
    Dependence,
    OutcomeBlocks,
    SeriesDependence,
    dependences_at,
    outcome_blocks,
)
from mlmon.detection.numeric import NumericPanel, panel_of
from mlmon.profile import MOST_VALUES_AS_CATEGORIES, ColumnProfile, NumericProfile, ReferenceProfile

PREDICTIONS = ""  # among the columns
MOST_LENGTHS = 16


def is_ordered(profile: ColumnProfile) -> bool:
    """Return whether the tests of numbers are those of a column; otherwise the tests of categories are."""
    return (
        isinstance(profile, NumericProfile)
        and profile.n_distinct > MOST_VALUES_AS_CATEGORIES
        and profile.scores is not None
    )


@dataclass(frozen=True, slots=True, eq=False)
class ColumnDispersion:
    """The dispersion of one column in windows of one length: of its values, missing values and infinities.

    Attributes
    ----------
    missing
        The blocks in which missing values are counted if the reference shows too little of how they come.
    """

    values: Dependence
    missing: Dependence | OutcomeBlocks
    infinities: Dependence


class Detector:
    """A reference's scores, ready for the tests of windows.

    Parameters
    ----------
    is_seasonal
        Whether columns with a season are compared by phase.

    Attributes
    ----------
    profile
        Of the reference.
    has_seasons
        Whether any column has a season.
    panel, places
        The scores of ordered columns side by side, and the place of each in them, by name; that of the predictions is
        "".
    correlated
        The features whose correlations are compared.
    pairs
        The number of pairs that can be tested.
    nbytes
        Memory in bytes of what the profile's columns do not count.
    """

    def __init__(self, profile: ReferenceProfile, *, is_seasonal: bool = False) -> None:
        self.profile, self.is_seasonal = profile, is_seasonal
        self.columns: Mapping[str, ColumnProfile] = {**profile.features, PREDICTIONS: profile.prediction}
        self.has_seasons = any(
            column.category_season or column.missing_season or getattr(column, "season", None)
            for column in self.columns.values()
        )
        scores = {
            name: column.season.scores if is_seasonal and column.season else column.scores
            for name, column in self.columns.items()
            if isinstance(column, NumericProfile) and column.scores is not None and is_ordered(column)
        }
        self.panel: NumericPanel = panel_of(list(scores.values()))
        self.places = {name: place for place, name in enumerate(scores)}
        self.correlated = profile.correlated_names
        correlations = profile.correlations
        self.pairs = 0 if correlations is None else int(np.count_nonzero(correlations.spread) // 2)
        self.nbytes = 0 if correlations is None else correlations.chunk_ratios.nbytes + 3 * correlations.rho.nbytes
        for column in self.columns.values():
            parts = [column.missing_dependence, column.category_dependence]
            parts += [column.dependence, column.infinity_dependence] if isinstance(column, NumericProfile) else []
            self.nbytes += sum(_nbytes(part) for part in parts)
        self._dispersions: dict[int, Mapping[str, ColumnDispersion]] = {}
        self._of_pairs: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}

    def dispersion(self, n: int) -> Mapping[str, ColumnDispersion]:
        """Return the dispersion of every column in windows of n rows."""
        found = self._dispersions.get(n)
        if found is None:
            found = self._dispersion_of_columns(n)
            if len(self._dispersions) >= MOST_LENGTHS:  # a window grows at first, and then keeps its length
                self._dispersions.clear()
            self._dispersions[n] = found
        return found

    def _dispersion_of_columns(self, n: int) -> Mapping[str, ColumnDispersion]:
        series: list[SeriesDependence] = []
        for column in self.columns.values():
            of_values, of_missing, of_infinities = column.category_dependence, column.missing_dependence, NO_SERIES
            if self.is_seasonal and column.category_season is not None:
                of_values = column.category_season.dependence
            if self.is_seasonal and column.missing_season is not None:
                of_missing = column.missing_season.dependence
            if isinstance(column, NumericProfile):
                of_infinities = column.infinity_dependence
                if is_ordered(column):
                    season = column.season if self.is_seasonal else None
                    of_values = column.dependence if season is None else season.dependence
            series += of_values, of_missing, of_infinities
        shown = dependences_at(series, n)
        found = {}
        for place, (name, column) in enumerate(self.columns.items()):
            values, missing, infinities = shown[3 * place : 3 * place + 3]
            if not series[3 * place + 1].autocorrelations or missing.needed_rows:
                rows = self.profile.n_rows
                blocks = outcome_blocks(column.missing_dependence, outcomes=column.n_missing, rows=rows)
                found[name] = ColumnDispersion(values, blocks, infinities)
            else:
                found[name] = ColumnDispersion(values, missing, infinities)
        return found

    def pair_dispersion(self, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return phi and nu of the pairs of correlated features in windows of n rows, shape (d, d) each."""
        found = self._of_pairs.get(n)
        if found is None:
            if self.profile.correlations is None:
                raise ValueError("The reference has no pair of numeric features.")
            lags = []
            for name in self.correlated:
                column = self.columns[name]
                if isinstance(column, NumericProfile):
                    lags.append(column.dependence.autocorrelations[0])
            if len(self._of_pairs) >= MOST_LENGTHS:
                self._of_pairs.clear()
            found = pair_dependence(self.profile.correlations, lags, n)
            self._of_pairs[n] = found
        return found


def _nbytes(series: SeriesDependence) -> int:
    return int(series.block_sums.nbytes + sum(each.nbytes for each in series.autocorrelations))
