"""Tests of categories: one contingency table of the frequent ones, and a share test of each."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlmon.detection.numeric import SMALLEST_EXPECTED, chi_squared_p_values
from mlmon.detection.shares import share_effects, share_p_values

MOST_CATEGORIES = 50  # in the contingency table


def categorical_p_values(
    counts: NDArray[np.int64] | NDArray[np.float64], current: NDArray[np.int64], phi: ArrayLike, nu: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return the p-values of the contingency table and of the category whose share changed most, and their effects.

    The table has the categories that are most frequent in both samples together: those chosen by the reference's counts
    alone would be expected to fall back in the window, which alarms if there are many equal ones. The others are one
    column.

    Parameters
    ----------
    counts
        Rows of the reference by category, shape (k,), or (d, k) of several features, or (..., d, k).
    current
        Rows of windows by category: those of the reference first, then any that it does not have, shape (..., k + u)
        or (..., d, k + u).
    phi, nu
        The feature's dispersion in windows of these lengths, scalars or shape (...).

    Returns
    -------
    tuple of ndarray
        p-values and effects, shape (..., 2), and the category of the second test, shape (...). The effect of the table
        is Cohen's w, that of a category is in standard deviations of its indicator in the reference, with its sign.
    """
    k, dispersion, degrees = current.shape[-1], np.asarray(phi, dtype=np.float64), np.asarray(nu, dtype=np.float64)
    unseen = np.zeros((*counts.shape[:-1], k - counts.shape[-1]), dtype=np.int64)
    before = np.broadcast_to(np.concatenate([counts, unseen], axis=-1), current.shape).astype(np.float64)
    now = current.astype(np.float64)
    m, n = before.sum(axis=-1), now.sum(axis=-1)
    p_values, effects = np.ones((*n.shape, 2)), np.zeros((*n.shape, 2))
    totals = before + now
    largest = np.argsort(-totals, axis=-1, kind="stable")[..., :MOST_CATEGORIES]
    chosen = np.take_along_axis(totals, largest, -1) * (n / (n + m))[..., None] >= SMALLEST_EXPECTED
    # The rest is a column too, or part of the smallest one if it expects too few rows for the chi-squared law.
    rest = (totals.sum(axis=-1) - np.where(chosen, np.take_along_axis(totals, largest, -1), 0.0).sum(axis=-1))[
        ..., None
    ]
    smallest = np.maximum(chosen.sum(axis=-1) - 1, 0)[..., None]
    joins = (rest * (n / (n + m))[..., None] < SMALLEST_EXPECTED) & chosen.any(axis=-1)[..., None]
    tables = []
    for each, total in ((before, m), (now, n)):
        kept = np.where(chosen, np.take_along_axis(each, largest, -1), 0.0)
        others = (total - kept.sum(axis=-1))[..., None]
        joined = np.take_along_axis(kept, smallest, -1) + np.where(joins, others, 0.0)
        np.put_along_axis(kept, smallest, joined, -1)
        tables.append(np.concatenate([kept, np.where(joins, 0.0, others)], axis=-1))
    filled = (tables[0] + tables[1] > 0).sum(axis=-1)
    p_values[..., 0], effects[..., 0] = chi_squared_p_values(tables[0], tables[1], filled - 1.0, dispersion, degrees)
    of_each = share_p_values(now, n[..., None], before, m[..., None], phi=dispersion[..., None], nu=degrees[..., None])
    of_each = np.where(totals > 0, of_each, 1.0)
    strongest = of_each.argmin(axis=-1)[..., None]
    present = (totals > 0).sum(axis=-1)
    p_values[..., 1] = np.minimum(1.0, present * np.take_along_axis(of_each, strongest, -1)[..., 0])
    parts = [np.take_along_axis(each, strongest, -1)[..., 0] for each in (now, before)]
    effects[..., 1] = share_effects(parts[0], n, parts[1], m)
    return p_values, effects, strongest[..., 0]
