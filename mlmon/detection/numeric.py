"""Tests of numeric features: location, scale, shape and tails, all from sums over rows."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, fdtrc, ndtr, ndtri, stdtr

from mlmon.detection.shares import share_effects, share_p_values

ATOM_SHARE = 0.05  # a value on more of the rows is a bin of its own
SMALLEST_EXPECTED = 10.0  # rows of the window in a bin
LOWER_TAILS, UPPER_TAILS = (0.001, 0.005, 0.01), (0.99, 0.995, 0.999)
TAILS = len(LOWER_TAILS) + len(UPPER_TAILS)
LARGEST_NU = 2000.0  # beyond it F is chi-squared
SMALLEST_SKEWNESS = 1e-6
MOST_CELLS = 10_000
FEWEST_SORTED = 200  # values from which on sorting them first is faster


@dataclass(frozen=True, slots=True, eq=False)
class NumericScores:
    """The scores of a numeric feature, which depend on its reference alone.

    The normal score of a value is the normal quantile of its rank in the reference, the mean rank of its cell. Cells
    end at values of the reference: at each of up to 10,000, or at as many evenly spaced ones.

    Attributes
    ----------
    rows
        m, the finite values of the reference.
    boundaries
        Upper ends of the bins of the shape test, shape (bins - 1,): a bin holds x with lower < x <= upper.
    tail_cuts
        The values below or equal to which, then above which, a value counts as extreme, shape (6,).
    means, deviations, skewness
        Of the normal score and of its square in the reference, shape (2,).
    bin_counts, tail_counts
        Rows of the reference.
    """

    rows: int
    boundaries: NDArray[np.float64]
    tail_cuts: NDArray[np.float64]
    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    skewness: NDArray[np.float64]
    bin_counts: NDArray[np.int64]
    tail_counts: NDArray[np.int64]

    def sums(self, scores: NDArray[np.float64], ordered: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the tests need to know about finite values, added up; sums of parts add up to that of the whole.

        Parameters
        ----------
        scores, ordered
            The normal scores of the values in any order, and the values, ascending.

        Returns
        -------
        ndarray
            The number of values, the sums of the score and of its square, and the counts by tail and by bin.
        """
        n = ordered.size
        inner = ordered.searchsorted(self.boundaries, "right")
        bins = np.diff(np.concatenate([[0], inner, [n]]))
        return np.concatenate([[n, scores.sum(), scores @ scores], _tail_counts(ordered, self.tail_cuts), bins])


@dataclass(frozen=True, slots=True, eq=False)
class ScoreCells:
    """The cells of a reference's normal scores.

    Attributes
    ----------
    cuts
        Upper ends of the cells, ascending, shape (cells - 1,).
    scores
        Shape (cells,); the last cell has no upper end.
    """

    cuts: NDArray[np.float64]
    scores: NDArray[np.float64]

    def of_rows(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the normal scores of values, in their order; NaN has a score without meaning."""
        if values.size < FEWEST_SORTED:
            return self.scores[self.cuts.searchsorted(values)]
        order = values.argsort()  # a search of neighbours after each other is several times faster
        found = np.empty(values.size)
        found[order] = self.of_ordered(values[order])
        return found

    def of_ordered(self, ordered: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the normal scores of ascending values."""
        if ordered.size <= self.cuts.size:
            return self.scores[self.cuts.searchsorted(ordered)]
        ends = ordered.searchsorted(self.cuts, "right")
        return np.repeat(self.scores, np.diff(np.concatenate([[0], ends, [ordered.size]])))


def score_cells(ordered: NDArray[np.float64]) -> ScoreCells:
    """Return the cells of a reference, whose finite values are given in ascending order, shape (m,), m at least 1."""
    m = ordered.size
    step = -(-m // MOST_CELLS)
    if step == 1 and (ordered[1:] > ordered[:-1]).all():
        return ScoreCells(ordered, _scores_of_untied(m))
    cuts = np.unique(np.append(ordered[step - 1 :: step], ordered[-1]))
    through, before = ordered.searchsorted(cuts, "right"), ordered.searchsorted(cuts, "left")
    # A value that many rows have is a cell of its own, so that those just below it do not share its rank.
    frequent = cuts[through - before > max(step, m / MOST_CELLS)]
    cuts = np.union1d(cuts, np.nextafter(frequent, -np.inf))
    through = ordered.searchsorted(cuts, "right")
    ranks = (np.concatenate([[0], through]) + np.append(through, m)) / (2 * m)
    return ScoreCells(cuts, ndtri(np.clip(ranks, 0.5 / m, 1 - 0.5 / m)))


@functools.lru_cache(maxsize=8)
def _scores_of_untied(m: int) -> NDArray[np.float64]:
    ranks = np.append(np.arange(0.5, m), m - 0.5) / m
    scores: NDArray[np.float64] = ndtri(ranks)
    scores.flags.writeable = False
    return scores


def numeric_scores(ordered: NDArray[np.float64], scores: NDArray[np.float64]) -> NumericScores:
    """Return what the tests need to know of a reference.

    Parameters
    ----------
    ordered
        Its finite values, ascending, shape (m,), m at least 1.
    scores
        Their normal scores (`ScoreCells`), in any order, shape (m,).
    """
    cuts = np.quantile(ordered, [*LOWER_TAILS, *UPPER_TAILS], method="inverted_cdf")
    boundaries = _boundaries(ordered)
    both = np.stack([scores, scores * scores])
    means, deviations = both.mean(axis=1), both.std(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        skewness = ((both - means[:, None]) ** 3).mean(axis=1) / deviations**3
    return NumericScores(
        rows=ordered.size,
        boundaries=boundaries,
        tail_cuts=cuts,
        means=means,
        deviations=deviations,
        skewness=np.where(deviations > 0, skewness, 0.0),
        bin_counts=np.diff(np.concatenate([[0], ordered.searchsorted(boundaries, "right"), [ordered.size]])),
        tail_counts=_tail_counts(ordered, cuts),
    )


@dataclass(frozen=True, slots=True, eq=False)
class NumericPanel:
    """The scores of d numeric features side by side, so that their tests are computed together.

    Attributes
    ----------
    rows
        Finite values of the reference, shape (d,).
    means, deviations, skewness
        Shape (d, 2).
    bin_counts
        Shape (d, bins), with zeros behind the bins of a feature that has fewer.
    tail_counts
        Shape (d, 6).
    """

    rows: NDArray[np.float64]
    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    skewness: NDArray[np.float64]
    bin_counts: NDArray[np.float64]
    tail_counts: NDArray[np.float64]

    @property
    def width(self) -> int:
        """The length of a feature's sums."""
        return 3 + TAILS + int(self.bin_counts.shape[1])

    def of(self, places: NDArray[np.int64]) -> "NumericPanel":
        """Return some of the features."""
        return NumericPanel(
            self.rows[places],
            self.means[places],
            self.deviations[places],
            self.skewness[places],
            self.bin_counts[places],
            self.tail_counts[places],
        )


def panel_of(scores: Sequence[NumericScores]) -> NumericPanel:
    """Return the scores of several features side by side."""
    bins = max((each.bin_counts.size for each in scores), default=0)
    counts = np.zeros((len(scores), bins))
    for place, each in enumerate(scores):
        counts[place, : each.bin_counts.size] = each.bin_counts
    return NumericPanel(
        rows=np.array([each.rows for each in scores], dtype=np.float64),
        means=np.array([each.means for each in scores]).reshape(-1, 2),
        deviations=np.array([each.deviations for each in scores]).reshape(-1, 2),
        skewness=np.array([each.skewness for each in scores]).reshape(-1, 2),
        bin_counts=counts,
        tail_counts=np.array([each.tail_counts for each in scores], dtype=np.float64).reshape(-1, TAILS),
    )


def numeric_p_values(
    panel: NumericPanel, sums: NDArray[np.float64], phi: NDArray[np.float64], nu: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return the p-values of location, scale, shape and tails, and their effects.

    Parameters
    ----------
    panel
        d features.
    sums
        Of windows (`NumericScores.sums`, with zeros behind the bins), shape (..., d, width).
    phi, nu
        Dispersion of the features in windows of this length, shape (d,).

    Returns
    -------
    tuple of ndarray
        p-values and effects, shape (..., d, 4), and the tail with the smallest p-value, shape (..., d). Effects of
        location, scale and tails are in standard deviations of the score in the reference, with their sign; that of
        shape is Cohen's w.
    """
    n, m = sums[..., 0], panel.rows
    p_values, effects = np.ones((*n.shape, 4)), np.zeros((*n.shape, 4))
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = n * m / (n + m)
        scaled = (sums[..., 1:3] / n[..., None] - panel.means) / panel.deviations
        effects[..., :2] = np.where((panel.deviations > 0) & (n[..., None] > 0), scaled, 0.0)
        ratio = ((m - n) / (m + n))[..., None]
        p_values[..., :2] = mean_p_values(
            effects[..., :2], panel.skewness, (effective / phi)[..., None], ratio, nu[:, None]
        )
        tails = sums[..., 3 : 3 + TAILS]
        of_tails = share_p_values(tails, n[..., None], panel.tail_counts, m[:, None], phi=phi[:, None], nu=nu[:, None])
        changes = share_effects(tails, n[..., None], panel.tail_counts, m[:, None])
    strongest = of_tails.argmin(axis=-1)[..., None]
    p_values[..., 3] = np.minimum(1.0, TAILS * np.take_along_axis(of_tails, strongest, -1)[..., 0])
    effects[..., 3] = np.nan_to_num(np.take_along_axis(changes, strongest, -1)[..., 0])
    labels, counts = _pools(panel, n.reshape(-1, m.size).min(axis=0, initial=np.inf))
    before = np.einsum("db,dbc->dc", panel.bin_counts, labels)
    now = np.einsum("...db,dbc->...dc", sums[..., 3 + TAILS :], labels)
    p_values[..., 2], effects[..., 2] = chi_squared_p_values(before, now, counts - 1, phi, nu)
    return p_values, effects, strongest[..., 0]


def mean_p_values(
    effects: NDArray[np.float64],
    skewness: NDArray[np.float64],
    effective: NDArray[np.float64],
    ratio: NDArray[np.float64],
    nu: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the two-sided p-values of differences of means.

    z is corrected for the skewness of the mean's distribution as Wilson and Hilferty transform a chi-squared variable
    (*Proceedings of the National Academy of Sciences* 17, 1931), and judged by Student's t.

    Parameters
    ----------
    effects
        The differences in standard deviations of the reference.
    skewness
        Of the score in the reference.
    effective
        N / phi, where N = n m / (n + m).
    ratio
        (m - n) / (m + n): the skewness of the difference of two means is that of one of them times this.
    nu
        Degrees of freedom; infinite for the normal distribution.
    """
    z = effects * np.sqrt(effective)
    g = skewness * ratio / np.sqrt(effective)
    is_skewed = np.abs(g) > SMALLEST_SKEWNESS
    safe = np.where(is_skewed, g, 1.0)
    transformed = (np.cbrt(np.maximum(0.0, 1 + safe * z / 2)) - 1 + safe * safe / 36) * 6 / safe
    size = np.abs(np.where(is_skewed, transformed, z))
    degrees = np.broadcast_to(nu, size.shape)
    is_certain = np.isinf(degrees)
    p_values = np.empty(size.shape)
    p_values[is_certain] = ndtr(-size[is_certain])
    p_values[~is_certain] = stdtr(degrees[~is_certain], -size[~is_certain])
    return np.where(effective > 0, np.minimum(1.0, 2 * p_values), 1.0)


def chi_squared_p_values(
    before: NDArray[np.float64],
    now: NDArray[np.float64],
    degrees: NDArray[np.float64],
    phi: NDArray[np.float64],
    nu: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return p-values of the contingency X-squared over phi by F(df, nu), and w = sqrt((X-squared - phi df) / N).

    Parameters
    ----------
    before, now
        Counts of the reference, shape (d, k), and of windows, shape (..., d, k). Columns that are empty in both count
        as none.
    degrees
        Degrees of freedom, shape (d,) or (..., d).
    """
    m, n = before.sum(axis=-1), now.sum(axis=-1)
    totals = before + now
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(totals > 0, (before * (n / m)[..., None] - now) ** 2 / totals, 0.0)
        statistic = terms.sum(axis=-1) * m / n
        effective = n * m / (n + m)
        is_valid = (degrees > 0) & (n > 0)
        df = np.maximum(degrees, 1.0)
        scaled = np.where(is_valid, statistic / phi, 0.0)
        finite = np.minimum(nu, LARGEST_NU)
        by_f = fdtrc(*np.broadcast_arrays(df, finite, scaled / df))
        p_values = np.where(nu > LARGEST_NU, chdtrc(df, scaled), by_f)
        effects = np.sqrt(np.maximum(0.0, statistic - phi * degrees) / effective)
    w: NDArray[np.float64] = np.where(is_valid, effects, 0.0)
    p: NDArray[np.float64] = np.where(is_valid, p_values, 1.0)
    return p, w


def _pools(panel: NumericPanel, n: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return which bins are pooled, shape (d, bins, pools), so that each pool expects ten rows, and their number."""
    d, bins = panel.bin_counts.shape
    needed = SMALLEST_EXPECTED * panel.rows / np.maximum(n, 1.0)
    held, pool, of_bin = np.zeros(d), np.zeros(d, dtype=np.int64), np.zeros((d, bins), dtype=np.int64)
    for place in range(bins):
        begins = (held >= needed) & (panel.bin_counts[:, place] > 0)
        pool += begins
        held = np.where(begins, 0.0, held) + panel.bin_counts[:, place]
        of_bin[:, place] = pool
    last = pool - ((held < needed) & (pool > 0))
    of_bin = np.minimum(of_bin, last[:, None])
    labels: NDArray[np.float64] = (of_bin[:, :, None] == np.arange(bins)).astype(np.float64)
    return labels, (last + 1).astype(np.float64)


def _tail_counts(ordered: NDArray[np.float64], cuts: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many values are at most each of the lower cuts, and above each of the upper ones."""
    at_most = ordered.searchsorted(cuts, "right")
    counts: NDArray[np.int64] = np.where(np.arange(TAILS) < len(LOWER_TAILS), at_most, ordered.size - at_most)
    return counts


def _boundaries(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the upper ends of the bins: frequent values alone, and the deciles of the values between them."""
    values, counts = np.unique(ordered, return_counts=True)
    atoms = values[counts > ATOM_SHARE * ordered.size]
    others = ordered[~np.isin(ordered, atoms)]
    cuts = np.quantile(others, np.arange(1, 10) / 10, method="inverted_cdf") if others.size else np.zeros(0)
    boundaries = np.unique(np.concatenate([cuts, atoms, np.nextafter(atoms, -np.inf)]))
    inner: NDArray[np.float64] = boundaries[boundaries < ordered[-1]]
    return inner  # the last bin ends at infinity
