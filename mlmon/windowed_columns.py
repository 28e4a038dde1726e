"""What the verdict's tests need of the columns of a window: their sums."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlmon.detection.numeric import LOWER_TAILS, TAILS, NumericScores, ScoreCells
from mlmon.detection.phases import Season
from mlmon.detection.seasons import NumericSeason
from mlmon.prepared import NumberCategories, PreparedCategories, PreparedColumn, PreparedNumbers, Scoring, number_name
from mlmon.windows import Column

MOST_SCORED_ROWS = 5_000  # of which correlations are computed
MOST_VALUES_AT_ONCE = 2_000_000
FIRST_BIN = 3 + TAILS  # among a window's sums


@dataclass(frozen=True, slots=True, eq=False)
class WindowedNumbers:
    """A column with the tests of ordered values, added up in W windows with the same end.

    Attributes
    ----------
    own
        The scores of the reference.
    rows
        Lengths of the windows, shape (W,).
    present
        Values that are not missing, shape (W,).
    values
        The rows of the longest window; NaN for a missing value.
    sums
        `NumericScores.sums` of the finite values, shape (W, 9 + bins).
    infinities, reference_infinities
        Values that are -infinity and infinity, shapes (W, 2) and (2,).
    missing_by_phase, missing_season
        If missing values are compared by phase: those of the reference and its rows, shape (W,) each, and the phases.
    season, phase_rows
        If the values are compared by phase: the reference by phase, and the finite values by phase, shape
        (W, phases + 1). `own`, `sums` and `scores` are then those of residuals, but for `scores`.
    scores
        Normal scores of the latest rows, NaN for a missing or infinite value; None unless asked for.
    is_judged
        Whether the values are tested, or only the share of missing ones.
    """

    name: str
    reference: PreparedNumbers
    own: NumericScores
    rows: NDArray[np.int64]
    present: NDArray[np.int64]
    values: NDArray[np.float64]
    sums: NDArray[np.float64]
    infinities: NDArray[np.int64]
    reference_infinities: NDArray[np.int64]
    missing_by_phase: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    missing_season: str = ""
    season: NumericSeason | None = None
    phase_rows: NDArray[np.int64] | None = None
    scores: NDArray[np.float64] | None = None
    is_judged: bool = True

    @property
    def is_missing(self) -> NDArray[np.bool_]:
        """Of the rows of the longest window."""
        return np.isnan(self.values)

    @property
    def season_name(self) -> str:
        """The phases by which the values are compared; "" if they are not."""
        return "" if self.season is None else self.season.season.value


@dataclass(frozen=True, slots=True, eq=False)
class WindowedCategories:
    """A column with the tests of categories, counted in W windows with the same end.

    Attributes
    ----------
    rows, present, missing_by_phase, missing_season, scores, is_judged
        As in `WindowedNumbers`; there are scores if the categories are numbers.
    categories
        Those of the reference, then those that only the window has.
    counts, reference_counts
        Rows by category, shapes (W, k) and (k,).
    expected_counts
        Rows of the reference with which each window is compared, shape (W, k): real numbers if it is by phase.
    is_missing
        Of the rows of the longest window.
    season_name
        The phases by which the categories are compared; "" if they are not.
    """

    name: str
    reference: PreparedColumn
    rows: NDArray[np.int64]
    present: NDArray[np.int64]
    categories: tuple[str, ...]
    counts: NDArray[np.int64]
    reference_counts: NDArray[np.int64]
    expected_counts: NDArray[np.float64]
    is_missing: NDArray[np.bool_]
    missing_by_phase: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    missing_season: str = ""
    season_name: str = ""
    scores: NDArray[np.float64] | None = None
    is_judged: bool = True


WindowedColumn: TypeAlias = WindowedNumbers | WindowedCategories
_Ordered: TypeAlias = tuple["ColumnRows", PreparedNumbers, Scoring]


@dataclass(frozen=True, slots=True, eq=False)
class ColumnRows:
    """The rows of a column's longest window, before they are added up.

    Attributes
    ----------
    values
        float64 with NaN for a missing value; an Arrow column of strings with null.
    is_judged
        Whether the values will be tested, or only the share of missing ones.
    codes
        Of categories, if they are known: as `mlmon.windows.CategoricalWindow.codes`.
    ordered
        The finite values ascending, if they are known.
    ranks
        How many values of the reference are below each value, in ascending order, if they are known.
    """

    name: str
    reference: PreparedColumn
    values: "NDArray[np.float64] | Column"
    is_judged: bool = True
    codes: NDArray[np.integer] | None = None
    ordered: NDArray[np.float64] | None = None
    ranks: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The windows of a check.

    Attributes
    ----------
    rows
        Their lengths, shape (W,); the longest is that of the columns.
    local
        The wall-clock times of the rows, by which they are compared, if the reference has phases; None without.
    with_scores
        Whether to return normal scores of the latest rows, at most 5,000.
    """

    rows: NDArray[np.int64]
    local: NDArray[np.int64] | None = None
    with_scores: bool = False

    def phase_rows(self, season: Season, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the chosen rows by phase, shape (W, phases + 1)."""
        if self.local is None:
            raise ValueError("The rows have no times.")
        codes = np.where(chosen, season.codes(self.local), -1)
        size = season.phases + 2
        return np.stack([np.bincount(codes[codes.size - n :] + 1, minlength=size)[1:] for n in self.rows.tolist()])


def windowed_columns(columns: Sequence[ColumnRows], windows: Windows) -> list[WindowedColumn]:
    """Return the columns added up in windows, those of ordered values first."""
    ordered: list[_Ordered] = []
    found: list[WindowedColumn] = []
    for each in columns:
        reference = each.reference
        if isinstance(reference, PreparedCategories):
            found.append(_categories(each, reference, windows))
        elif reference.categories is not None:
            found.append(_number_categories(each, reference, reference.categories, windows))
        elif reference.scoring is not None:
            ordered.append((each, reference, reference.scoring))
    numbers: list[WindowedColumn] = []
    at_once = max(1, MOST_VALUES_AT_ONCE // int(windows.rows.max()))
    for start in range(0, len(ordered), at_once):
        numbers += _numbers(ordered[start : start + at_once], windows)
    return [*numbers, *found]


def _categories(each: ColumnRows, reference: PreparedCategories, windows: Windows) -> WindowedCategories:
    column: Any = each.values
    known = pc.index_in(column, value_set=reference.names).fill_null(-1) if each.codes is None else each.codes
    codes, names = np.array(known, dtype=np.int64), reference.categories.names
    if column.null_count < np.count_nonzero(codes < 0):
        is_unseen = (codes < 0) & np.asarray(column.is_valid())
        encoded: Any = column.filter(pa.array(is_unseen)).combine_chunks().dictionary_encode()
        codes[is_unseen] = len(names) + np.asarray(encoded.indices, dtype=np.int64)
        names = (*names, *encoded.dictionary.to_pylist())
    return _counted(each, codes, names, reference.categories.counts, windows)


def _number_categories(
    each: ColumnRows, reference: PreparedNumbers, known: NumberCategories, windows: Windows
) -> WindowedCategories:
    """Count the values of a column that has few different ones."""
    values = np.asarray(each.values)
    present = ~np.isnan(values)
    distinct, inverse = np.unique(values[present], return_inverse=True)
    is_unseen = ~np.isin(distinct, known.values)
    code_of = np.searchsorted(known.values, distinct)
    code_of[is_unseen] = known.values.size + np.arange(is_unseen.sum())
    codes = np.full(values.size, -1)
    codes[present] = code_of[inverse]
    names = (*known.reference.names, *(number_name(value) for value in distinct[is_unseen].tolist()))
    found = _counted(each, codes, names, known.reference.counts, windows)
    if windows.with_scores and reference.scoring is not None:
        return replace(found, scores=_latest_scores(reference.scoring.cells, values))
    return found


def _counted(
    each: ColumnRows,
    codes: NDArray[np.int64],
    names: tuple[str, ...],
    reference_counts: NDArray[np.int64],
    windows: Windows,
) -> WindowedCategories:
    """Count codes in each window, of which -1 is a missing value."""
    rows, size = windows.rows, len(names)
    counts = np.array(
        [np.bincount(codes[codes.size - n :] + 1, minlength=size + 1)[1:] for n in rows.tolist()], dtype=np.int64
    )
    if size > reference_counts.size:
        reference_counts = np.append(reference_counts, np.zeros(size - reference_counts.size, dtype=np.int64))
    expected = np.empty(counts.shape)
    expected[:] = reference_counts
    season, season_name = each.reference.profile.category_season, ""
    if windows.local is not None and season is not None:
        season_name = season.season.value
        of_phases = windows.phase_rows(season.season, codes >= 0)
        for window in np.flatnonzero(of_phases.any(axis=1)).tolist():
            expected[window, : season.shares.shape[1]] = season.counts(of_phases[window])
    missing_by_phase, missing_season = _missing_by_phase(each, windows)
    return WindowedCategories(
        name=each.name,
        reference=each.reference,
        rows=rows,
        present=counts.sum(axis=1),
        categories=names,
        counts=counts,
        reference_counts=reference_counts,
        expected_counts=expected,
        is_missing=codes < 0,
        missing_by_phase=missing_by_phase,
        missing_season=missing_season,
        season_name=season_name,
        is_judged=each.is_judged,
    )


def _missing_by_phase(
    each: ColumnRows, windows: Windows
) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]] | None, str]:
    """Return the missing values of the reference by phase and its rows, shape (W,) each, and the phases."""
    season = each.reference.profile.missing_season
    if windows.local is None or season is None:
        return None, ""
    of_phases = windows.phase_rows(season.season, np.ones(windows.local.size, dtype=np.bool_))
    counts = np.stack([season.counts(of_window) for of_window in of_phases])
    return (counts[:, 1], counts.sum(axis=1)), season.season.value


def _numbers(columns: Sequence[_Ordered], windows: Windows) -> list[WindowedNumbers]:
    """Add up several columns of ordered values side by side."""
    rows, longest = windows.rows, int(windows.rows.max())
    if rows.size == 1 and longest > MOST_SCORED_ROWS and windows.local is None:
        # Stacked, they would be copied and sorted again.
        return [_of_one_window(*column, windows) for column in columns]
    values = np.stack([np.asarray(each.values) for each, _, _ in columns])
    d = len(columns)
    is_finite = np.isfinite(values)
    sizes = is_finite.sum(axis=1)
    compared = values if is_finite.all() else np.where(is_finite, values, np.nan)  # NaN is sorted to the end
    scorings = [scoring for _, _, scoring in columns]
    of_rows: list[NDArray[np.float64] | None] = [None] * d
    if windows.local is not None and any(reference.season_scoring for _, reference, _ in columns):
        compared = compared.copy()
        for place, (_, reference, scoring) in enumerate(columns):
            season, finite = reference.profile.season, is_finite[place]
            if season is None or reference.season_scoring is None:
                continue
            scores = scoring.cells.of_rows(values[place, finite])
            compared[place, finite] = season.residuals(scores, windows.local[finite])
            scorings[place] = reference.season_scoring
    by_row = windows.with_scores and longest <= MOST_SCORED_ROWS
    order = compared.argsort(axis=1) if by_row or rows.size > 1 else None
    ordered = np.sort(compared, axis=1) if order is None else np.take_along_axis(compared, order, 1)
    scores = np.zeros((d, longest))
    # How many values are at most each cut of the tails, and at most the end of each bin but the last.
    widths = [scoring.edges.size for scoring in scorings]
    ends = np.repeat(sizes[:, None], max(widths), axis=1)
    for place, (each, reference, own) in enumerate(columns):
        finite, scoring = ordered[place, : sizes[place]], scorings[place]
        has_ranks = each.ranks is not None and each.ranks.size == finite.size
        if has_ranks and scoring is own and scoring.cells.cuts is reference.ordered.values:
            scores[place, : finite.size] = scoring.cells.scores[each.ranks]
        else:
            scores[place, : finite.size] = scoring.cells.of_ordered(finite)
        ends[place, : widths[place]] = finite.searchsorted(scoring.edges, "right")
    sums = _sums(rows, order, sizes, scores, ends)
    if by_row and order is not None:
        placed = np.empty((d, longest))
        np.put_along_axis(placed, order, np.where(np.arange(longest) < sizes[:, None], scores, np.nan), 1)
        of_rows = list(placed)
    found = []
    for place, (each, reference, scoring) in enumerate(columns):
        is_seasonal = scorings[place] is not scoring
        if windows.with_scores and (is_seasonal or not by_row):  # correlations are not by phase
            of_rows[place] = _latest_scores(scoring.cells, values[place])
        width = FIRST_BIN + widths[place] - TAILS + 1
        column = _added_up(each, reference, scorings[place].own, windows, sums[:, place, :width], of_rows[place])
        season = reference.profile.season
        if is_seasonal and season is not None:
            phase_rows = windows.phase_rows(season.season, is_finite[place])
            column = replace(column, season=season, phase_rows=phase_rows)
        found.append(column)
    return found


def _of_one_window(each: ColumnRows, reference: PreparedNumbers, scoring: Scoring, windows: Windows) -> WindowedNumbers:
    """Add up a column of ordered values in its only window, which is long."""
    values = np.asarray(each.values)
    ordered = each.ordered if each.ordered is not None else np.sort(values[np.isfinite(values)])
    sums = scoring.own.sums(scoring.cells.of_ordered(ordered), ordered)[None, :]
    scores = _latest_scores(scoring.cells, values) if windows.with_scores else None
    return _added_up(each, reference, scoring.own, windows, sums, scores)


def _added_up(
    each: ColumnRows,
    reference: PreparedNumbers,
    own: NumericScores,
    windows: Windows,
    sums: NDArray[np.float64],
    scores: NDArray[np.float64] | None,
) -> WindowedNumbers:
    """Return a column whose finite values are added up, with the counts of its other values."""
    values, rows = np.asarray(each.values), windows.rows
    infinities = np.zeros((rows.size, 2), dtype=np.int64)
    if sums[rows.argmax(), 0] < values.size:
        infinities = np.stack([_infinities(values[values.size - n :]) for n in rows.tolist()])
    has_infinities = reference.finite.size < reference.n_values
    missing_by_phase, missing_season = _missing_by_phase(each, windows)
    return WindowedNumbers(
        name=each.name,
        reference=reference,
        own=own,
        rows=rows,
        present=sums[:, 0].astype(np.int64) + infinities.sum(axis=1),
        values=values,
        sums=sums,
        infinities=infinities,
        reference_infinities=_infinities(reference.ordered.values) if has_infinities else np.zeros(2, dtype=np.int64),
        missing_by_phase=missing_by_phase,
        missing_season=missing_season,
        scores=scores,
        is_judged=each.is_judged,
    )


def _sums(
    rows: NDArray[np.int64],
    order: NDArray[np.int64] | None,
    sizes: NDArray[np.int64],
    scores: NDArray[np.float64],
    ends: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return what `mlmon.detection.numeric.numeric_p_values` needs of each window, shape (W, d, width).

    Parameters
    ----------
    order
        Of the rows by value, shape (d, rows of the longest window); None if that is the only window.
    sizes
        Finite values, shape (d,).
    scores
        In the order of the values, with 0 behind them.
    ends
        How many of a column's values are at most each cut of the tails, and at most the end of each bin but the last;
        all of them for bins that a column does not have. Shape (d, 6 + bins - 1).
    """
    d, longest = scores.shape
    sums = np.empty((rows.size, d, 3 + ends.shape[1] + 1))
    squares = scores * scores
    for window, n in enumerate(rows.tolist()):
        at_most, heads = ends, (sizes, scores.sum(axis=1), squares.sum(axis=1))
        if order is not None and n < longest:
            is_inside = (order >= longest - n) & (np.arange(longest) < sizes[:, None])
            below = np.zeros((d, longest + 1), dtype=np.int64)
            np.cumsum(is_inside, axis=1, out=below[:, 1:])
            heads = below[:, -1], (scores * is_inside).sum(axis=1), (squares * is_inside).sum(axis=1)
            at_most = np.take_along_axis(below, ends, axis=1)
        found, n_values = sums[window], heads[0][:, None]
        found[:, 0], found[:, 1], found[:, 2] = heads
        tails, bins = at_most[:, :TAILS], at_most[:, TAILS:]
        found[:, 3:FIRST_BIN] = tails
        found[:, 3 + len(LOWER_TAILS) : FIRST_BIN] = n_values - tails[:, len(LOWER_TAILS) :]
        found[:, FIRST_BIN:] = np.diff(bins, axis=1, prepend=0, append=n_values)
    return sums


def _latest_scores(cells: ScoreCells, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the normal scores of the latest rows, NaN for a missing or infinite value."""
    latest = values[max(0, values.size - MOST_SCORED_ROWS) :]
    is_finite = np.isfinite(latest)
    scores = np.full(latest.size, np.nan)
    scores[is_finite] = cells.of_rows(latest[is_finite])
    return scores


def _infinities(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.array([np.count_nonzero(values == -np.inf), np.count_nonzero(values == np.inf)], dtype=np.int64)
