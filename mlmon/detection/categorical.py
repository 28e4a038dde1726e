"""Tests of categories: one contingency table of the frequent ones, and a share test of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlmon.detection.dependence import SeriesDependence, series_dependence
from mlmon.detection.numeric import SMALLEST_EXPECTED, chi_squared_p_values
from mlmon.detection.shares import share_p_values

MOST_CATEGORIES = 50  # in the contingency table
GROUPS = 5  # of categories whose dependence is measured


@dataclass(frozen=True, slots=True, eq=False)
class CategoricalScores:
    """The counts of a categorical feature's reference, and its dependence.

    Attributes
    ----------
    counts
        Rows of each category, shape (k,).
    dependence
        Of the indicators of five groups of categories with about equal shares.
    """

    counts: NDArray[np.int64]
    dependence: SeriesDependence


def categorical_scores(codes: NDArray[np.int64], categories: int, window_rows: Sequence[int]) -> CategoricalScores:
    """Return what the tests need to know of a reference.

    Parameters
    ----------
    codes
        The categories of the reference's rows in their order, 0 to categories - 1, shape (m,).
    categories
        Their number.
    window_rows
        Lengths of windows that will be compared.
    """
    counts = np.bincount(codes, minlength=categories)
    order = np.argsort(-counts, kind="stable")
    # A category belongs to the group in which the middle of its share lies.
    middles = (np.cumsum(counts[order]) - counts[order] / 2) / max(1, codes.size)
    groups = np.empty(categories, dtype=np.int64)
    groups[order] = np.minimum((GROUPS * middles).astype(np.int64), GROUPS - 1)
    indicators = (groups[codes][:, None] == np.arange(GROUPS)).astype(np.float64)
    return CategoricalScores(counts, series_dependence(indicators, window_rows, are_indicators=True))


def categorical_p_values(
    scores: CategoricalScores, current: NDArray[np.int64], phi: float, nu: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return the p-values of the contingency table and of the category whose share changed most, and their effects.

    The table has the categories that are most frequent in both samples together: those chosen by the reference's counts
    alone would be expected to fall back in the window, which alarms if there are many equal ones.

    Parameters
    ----------
    current
        Rows of windows by category: those of the reference first, then any that it does not have, shape (..., k + u).
    phi, nu
        The feature's dispersion in windows of this length.

    Returns
    -------
    tuple of ndarray
        p-values and effects, shape (..., 2), and the category of the second test, shape (...). The effect of the table
        is Cohen's w, that of a category is in standard deviations of its indicator in the reference: infinite if the
        reference does not have it.
    """
    k = current.shape[-1]
    reference = np.concatenate([scores.counts, np.zeros(k - scores.counts.size, dtype=np.int64)])
    before = np.broadcast_to(reference, current.shape).astype(np.float64)
    now = current.astype(np.float64)
    m, n = before.sum(axis=-1), now.sum(axis=-1)
    p_values, effects = np.ones((*n.shape, 2)), np.zeros((*n.shape, 2))
    totals = before + now
    largest = np.argsort(-totals, axis=-1, kind="stable")[..., :MOST_CATEGORIES]
    chosen = np.take_along_axis(totals, largest, -1) * (n / (n + m))[..., None] >= SMALLEST_EXPECTED
    parts = []
    for counts, total in ((before, m), (now, n)):
        kept = np.where(chosen, np.take_along_axis(counts, largest, -1), 0.0)
        parts.append(np.concatenate([kept, (total - kept.sum(axis=-1))[..., None]], axis=-1))
    filled = (parts[0] + parts[1] > 0).sum(axis=-1)
    p_values[..., 0], effects[..., 0] = chi_squared_p_values(
        parts[0], parts[1], filled - 1.0, np.asarray(phi), np.asarray(nu)
    )
    of_each = share_p_values(now, n[..., None], before, m[..., None], phi=phi, nu=nu)
    of_each = np.where(totals > 0, of_each, 1.0)
    strongest = of_each.argmin(axis=-1)[..., None]
    present = (totals > 0).sum(axis=-1)
    p_values[..., 1] = np.minimum(1.0, present * np.take_along_axis(of_each, strongest, -1)[..., 0])
    share = np.take_along_axis(before, strongest, -1)[..., 0] / m
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.abs(np.take_along_axis(now, strongest, -1)[..., 0] / n - share)
        deviation = np.sqrt(share * (1 - share))
        effects[..., 1] = np.where(deviation > 0, change / deviation, np.where(change > 0, np.inf, 0.0))
    return p_values, effects, strongest[..., 0]
