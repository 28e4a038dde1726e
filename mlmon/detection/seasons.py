"""A seasonal reference: rows are compared with the reference's rows of their own phase, such as the hour of day.

Without it, a window of twelve hours differs from a reference of whole days, and phi is large. With it, a cycle neither
alarms nor raises phi, and smaller changes are found. docs/adr/0033 has the reasons for the choices.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlmon.detection.dependence import SeriesDependence, dependence_of_array, series_dependence
from mlmon.detection.numeric import (
    LOWER_TAILS,
    TAILS,
    NumericPanel,
    NumericScores,
    ScoreCells,
    numeric_scores,
    score_cells,
)
from mlmon.detection.phases import SMALLEST_EXPLAINED, Season, explaining_phases

SMALLEST_SPREAD = 0.05  # of a phase, relative to that of all rows
MOST_SHARES = 20_000  # categories times phases that a profile stores


@dataclass(frozen=True, slots=True, eq=False)
class NumericSeason:
    """A numeric feature's reference by phase.

    Arrays by phase have one more row, for values without a time.

    Attributes
    ----------
    season
        What a phase is.
    explained
        The share of the normal score's variance that the phases of other cycles explain.
    centres, spreads
        Mean and mean absolute deviation of the normal score, shape (phases + 1,).
    rows
        Rows of the reference with which a phase is compared, shape (phases + 1,).
    ordered
        The residuals of the reference's finite values, ascending, shape (m,).
    scores, dependence
        Of the residuals, instead of those of the values.
    means
        Of the residuals' normal score and of its square, shape (phases + 1, 2).
    bin_shares, tail_shares
        Of the residuals, shapes (phases + 1, bins) and (phases + 1, 6).
    """

    season: Season
    explained: float
    centres: NDArray[np.float64]
    spreads: NDArray[np.float64]
    rows: NDArray[np.float64]
    ordered: NDArray[np.float64]
    scores: NumericScores
    dependence: SeriesDependence
    means: NDArray[np.float64]
    bin_shares: NDArray[np.float64]
    tail_shares: NDArray[np.float64]

    def to_array(self) -> NDArray[np.float64]:
        """Return everything as one array, which `numeric_season_of_array` reads."""
        own, phases = self.scores, self.rows.size
        head = [list(Season).index(self.season), self.explained, phases, self.ordered.size, own.bin_counts.size]
        parts = [self.centres, self.spreads, self.rows, self.ordered, own.boundaries, own.tail_cuts, own.means]
        parts += [own.deviations, own.skewness, self.means, self.bin_shares, self.tail_shares]
        parts += [each.astype(np.float64) for each in (own.bin_counts, own.tail_counts)]
        parts.append(self.dependence.to_array())
        return np.concatenate([np.array(head, dtype=np.float64), *(part.ravel() for part in parts)])

    def residuals(self, scores: NDArray[np.float64], local: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return how far normal scores are from the centre of their phase, in its spreads.

        Parameters
        ----------
        scores
            Of the values of a window or a part of it (`mlmon.detection.numeric.ScoreCells`), shape (n,).
        local
            The rows' wall-clock times (`phases.local_times`), shape (n,).
        """
        codes = self.season.codes(local)
        residuals: NDArray[np.float64] = (scores - self.centres[codes]) / self.spreads[codes]
        return residuals


def numeric_season_of_array(stored: NDArray[np.float64]) -> NumericSeason | None:
    """Return what `NumericSeason.to_array` wrote; None of an empty array."""
    if not stored.size:
        return None
    place, explained = int(stored[0]), float(stored[1])
    phases, rows, bins = stored[2:5].astype(np.int64).tolist()
    sizes = [phases, phases, phases, rows, bins - 1, TAILS, 2, 2, 2, 2 * phases, bins * phases, TAILS * phases, bins]
    parts = np.split(stored[5:], np.cumsum([*sizes, TAILS]))
    own = NumericScores(
        rows=rows,
        boundaries=parts[4],
        tail_cuts=parts[5],
        means=parts[6],
        deviations=parts[7],
        skewness=parts[8],
        bin_counts=parts[12].astype(np.int64),
        tail_counts=parts[13].astype(np.int64),
    )
    return NumericSeason(
        season=list(Season)[place],
        explained=explained,
        centres=parts[0],
        spreads=parts[1],
        rows=parts[2],
        ordered=parts[3],
        scores=own,
        dependence=dependence_of_array(parts[14]),
        means=parts[9].reshape(phases, 2),
        bin_shares=parts[10].reshape(phases, bins),
        tail_shares=parts[11].reshape(phases, TAILS),
    )


def numeric_season(scores: NDArray[np.float64], local: NDArray[np.int64]) -> NumericSeason | None:
    """Return a feature's reference by phase, or None if phases explain nothing or the reference is too short for them.

    Parameters
    ----------
    scores
        Normal scores of the finite values of the reference's rows, ordered by time, shape (m,), at least one.
    local
        The rows' wall-clock times (`phases.local_times`), shape (m,).
    """
    y = scores[:, None]
    found = explaining_phases(y, local)
    if found is None:
        return None
    phases, explained = found
    centres = phases.means(y)
    deviations = y - centres[phases.codes]
    sizes = np.abs(deviations)
    spreads = phases.means(sizes)
    of_rows = phases.row_means(sizes, spreads)
    unexplained = float(((sizes - of_rows.predicted) ** 2).sum())
    if unexplained < (1 - SMALLEST_EXPLAINED) * float(((sizes - sizes.mean()) ** 2).sum()):
        smallest = SMALLEST_SPREAD * sizes.mean()
        spreads, row_spreads = np.maximum(spreads, smallest), np.maximum(of_rows.corrected, smallest)
    else:
        spreads, row_spreads = np.ones_like(spreads), np.ones_like(sizes)
    residuals = (deviations / spreads[phases.codes])[:, 0]  # as those of a window
    ordered = np.sort(residuals)
    cells = score_cells(ordered)
    a = cells.of_rows(((y - phases.row_means(y, centres).corrected) / row_spreads)[:, 0])
    both = np.column_stack([a, a * a])
    both -= phases.means(both)[phases.codes]
    dependence = series_dependence(both, are_indicators=False)
    own = numeric_scores(ordered, cells.of_rows(residuals))
    means = phases.means(_tested(residuals, cells, own))
    # Rows whose phase has no rows of its own are centred by the mean of all rows, so that they keep their cycle.
    without_phase = (scores - centres[-1, 0]) / spreads[-1, 0]
    means[~phases.has_own] = _tested(without_phase, cells, own).mean(axis=0)
    head = 2 + own.tail_cuts.size
    return NumericSeason(
        season=phases.season,
        explained=explained,
        centres=centres[:, 0],
        spreads=spreads[:, 0],
        rows=phases.rows,
        ordered=ordered,
        scores=own,
        dependence=dependence,
        means=means[:, :2],
        bin_shares=means[:, head:],
        tail_shares=means[:, 2:head],
    )


def _tested(residuals: NDArray[np.float64], cells: ScoreCells, own: NumericScores) -> NDArray[np.float64]:
    """Return what the tests average of each row, shape (m, 8 + bins): score and square, then indicators."""
    a = cells.of_rows(residuals)
    is_low = residuals[:, None] <= own.tail_cuts[: len(LOWER_TAILS)]
    is_high = residuals[:, None] > own.tail_cuts[len(LOWER_TAILS) :]
    bins = own.boundaries.searchsorted(residuals, "left")[:, None] == np.arange(own.boundaries.size + 1)
    return np.column_stack([a, a * a, is_low, is_high, bins])


@dataclass(frozen=True, slots=True, eq=False)
class ShareSeason:
    """The shares of a feature's categories by phase, or of its missing values.

    Attributes
    ----------
    season, explained, rows
        As of a `NumericSeason`; what is explained are the indicators of the groups of categories.
    shares
        Of each category among the rows of a phase, shape (phases + 1, k).
    dependence
        Of the groups' indicators minus the means of their phases.
    """

    season: Season
    explained: float
    rows: NDArray[np.float64]
    shares: NDArray[np.float64]
    dependence: SeriesDependence

    def to_array(self) -> NDArray[np.float64]:
        """Return everything as one array, which `share_season_of_array` reads."""
        head = [list(Season).index(self.season), self.explained, *self.shares.shape]
        return np.concatenate(
            [np.array(head, dtype=np.float64), self.rows, self.shares.ravel(), self.dependence.to_array()]
        )

    def counts(self, phase_rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the counts of the reference with which a window is compared, shape (k,): real numbers whose sum is m.

        Parameters
        ----------
        phase_rows
            The window's rows by phase, shape (phases + 1,), at least one in all.
        """
        weights, m = window_weights(self.rows, phase_rows)
        return m * (weights @ self.shares)


def share_season_of_array(stored: NDArray[np.float64]) -> ShareSeason | None:
    """Return what `ShareSeason.to_array` wrote; None of an empty array."""
    if not stored.size:
        return None
    phases, k = int(stored[2]), int(stored[3])
    rows, shares, dependence = np.split(stored[4:], np.cumsum([phases, phases * k]))
    season = list(Season)[int(stored[0])]
    return ShareSeason(season, float(stored[1]), rows, shares.reshape(phases, k), dependence_of_array(dependence))


def share_season(codes: NDArray[np.int64], groups: NDArray[np.int64], local: NDArray[np.int64]) -> ShareSeason | None:
    """Return the shares of categories by phase, or None as of `numeric_season`, or if there are too many categories.

    Parameters
    ----------
    codes
        The categories of the reference's rows, ordered by time, shape (m,); of missing values, 1 for a missing one.
    groups
        The group of each category, shape (k,), whose indicators' dependence is measured. Of missing values, (0, 1).
    local
        The rows' wall-clock times, shape (m,).
    """
    indicators = (groups[codes][:, None] == np.unique(groups)).astype(np.float64)
    found = explaining_phases(indicators, local, most_phases=MOST_SHARES // groups.size - 1)
    if found is None:
        return None
    phases, explained = found
    cells = phases.codes * groups.size + codes
    counts = np.bincount(cells, minlength=phases.has_own.size * groups.size).reshape(-1, groups.size)
    counts = np.where(phases.has_own[:, None], counts, counts.sum(axis=0))
    residuals = indicators - phases.row_means(indicators, phases.means(indicators)).corrected
    dependence = series_dependence(residuals, are_indicators=False)
    successes = indicators.sum(axis=0)[residuals.std(axis=0) > 0]
    rarer = np.minimum(successes, codes.size - successes)
    return ShareSeason(
        season=phases.season,
        explained=explained,
        rows=phases.rows,
        shares=counts / phases.rows[:, None],
        dependence=replace(dependence, rarer=rarer),
    )


def window_weights(rows: NDArray[np.float64], phase_rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], float]:
    """Return the weights of the phases in a window, and m, the rows of an equivalent reference.

    The mean of the reference's phase means, weighted as the window's rows, varies like the mean of m rows:
    1 / m = sum over phases p of (n_p / n)^2 / m_p. So 1 / N = 1 / n + 1 / m as without phases.

    Parameters
    ----------
    rows
        m_p, the rows of the reference with which phase p is compared, shape (phases + 1,).
    phase_rows
        n_p, the window's rows in phase p, shape (phases + 1,), at least one in all.

    Examples
    --------
    >>> weights, m = window_weights(np.array([800.0, 200.0]), np.array([50, 50]))
    >>> weights.tolist(), m
    ([0.5, 0.5], 640.0)
    """
    weights = phase_rows / phase_rows.sum()
    return weights, float(1 / (weights * weights / rows).sum())


def window_panel(
    panel: NumericPanel, seasons: Sequence[NumericSeason | None], phase_rows: Sequence[NDArray[np.int64] | None]
) -> NumericPanel:
    """Return a panel for `numeric_p_values` in which each reference has the mix of phases of the window.

    Each test then compares with sum over p of n_p / n times the reference's mean of its score in phase p: the mean of
    each row's score minus that of its own phase is tested.

    Parameters
    ----------
    panel
        The features' scores side by side (`panel_of`), seasonal ones with the scores of their residuals. To compare
        several windows, a feature may be repeated.
    seasons
        Of each feature, None for one without a season.
    phase_rows
        The window's rows by phase, shape (phases + 1,), of the values that are compared; None without a season. A
        window without rows leaves its reference as it is.
    """
    rows, means = panel.rows.copy(), panel.means.copy()
    bin_counts, tail_counts = panel.bin_counts.copy(), panel.tail_counts.copy()
    for place, (own, counts) in enumerate(zip(seasons, phase_rows, strict=True)):
        if own is None or counts is None or not counts.any():
            continue
        weights, rows[place] = window_weights(own.rows, counts)
        means[place] = weights @ own.means
        bin_counts[place, : own.bin_shares.shape[1]] = rows[place] * (weights @ own.bin_shares)
        tail_counts[place] = rows[place] * (weights @ own.tail_shares)
    return replace(panel, rows=rows, means=means, bin_counts=bin_counts, tail_counts=tail_counts)
