"""Tests of the correlations between numeric features, from sums of products of their normal scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from mlmon.detection.dependence import CHUNK_ROWS, STEP_ROWS
from mlmon.detection.numeric import mean_p_values

CHUNK_LEVEL = 0.001  # at which the variance between chunks counts instead of the autocorrelations
LARGEST_CORRELATION = 0.999999  # its Fisher transform is finite
MOST_FEATURES = 100  # 4,950 pairs
MOST_ROWS = 25_000  # of a reference, the latest; the sums of its blocks take 80 MB
LARGEST_MISSING_SHARE = 0.2  # of a feature; others are left out
FEWEST_TOGETHER = 20  # rows of a reference in which both of two features that are mostly constant vary
SMALLEST_VARIANCE = 0.1  # of a feature in a window, in units of that of the reference


@dataclass(frozen=True, slots=True, eq=False)
class CorrelationScores:
    """The correlations of a reference between d numeric features.

    Attributes
    ----------
    rows
        m.
    means, deviations
        Of the normal scores, shape (d,).
    pair_rows
        Rows in which both features have a value, shape (d, d).
    rho
        Correlations in these rows, shape (d, d).
    spread
        sd(a_i a_j - rho (a_i^2 + a_j^2) / 2) / (1 - rho^2) of standardised scores: the standard deviation of the Fisher
        transform of r, times the square root of the rows, shape (d, d). 0 for a pair that is not tested.
    skewness
        Of the same statistic of a row, shape (d, d). It is large if the products of few rows decide about r.
    chunk_ratios
        For each of `CHUNK_ROWS` that two chunks of the reference hold: the variance of Fisher transforms of chunks over
        that of independent rows, shape (lengths, d, d).
    """

    rows: int
    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    pair_rows: NDArray[np.float64]
    rho: NDArray[np.float64]
    spread: NDArray[np.float64]
    skewness: NDArray[np.float64]
    chunk_ratios: NDArray[np.float64]

    def of(self, places: Sequence[int]) -> "CorrelationScores":
        """Return the correlations of some of the features."""
        both = np.ix_(places, places)
        return CorrelationScores(
            self.rows,
            self.means[places],
            self.deviations[places],
            self.pair_rows[both],
            self.rho[both],
            self.spread[both],
            self.skewness[both],
            self.chunk_ratios[:, both[0], both[1]],
        )

    def standardised(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return normal scores standardised by the reference, shape (n, d); NaN stays, and is missing."""
        with np.errstate(divide="ignore", invalid="ignore"):
            standardised: NDArray[np.float64] = (scores - self.means) / self.deviations
        standardised[:, self.deviations == 0] = 0.0
        return standardised


def correlation_scores(scores: NDArray[np.float64]) -> CorrelationScores:
    """Return what the tests need to know of a reference.

    Parameters
    ----------
    scores
        Normal scores of its rows in their order, shape (m, d); NaN is missing. Of more than 25,000 rows the latest ones
        are used.
    """
    scores = scores[max(0, scores.shape[0] - MOST_ROWS) :]
    m, d = scores.shape
    present = ~np.isnan(scores)
    counts = present.sum(axis=0)
    filled = np.where(present, scores, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = filled.sum(axis=0) / counts
        deviations = np.sqrt(np.where(present, (scores - means) ** 2, 0.0).sum(axis=0) / counts)
    is_tested = (counts >= (1 - LARGEST_MISSING_SHARE) * m) & (deviations > 0)
    deviations = np.where(is_tested, deviations, 0.0)
    z = CorrelationScores(m, means, deviations, *[np.zeros((0, 0))] * 5).standardised(scores)
    running = _block_sums(z)
    total = running[-1] + product_sums(z[(running.shape[0] - 1) * STEP_ROWS :])
    transformed = _fisher(total)
    rho = np.tanh(transformed)
    np.fill_diagonal(rho, 0.0)
    present, z = present & is_tested, np.where(present & is_tested, z, 0.0)
    deviation, skewness = _row_moments(z, present.astype(np.float64), rho)
    # Two features that are zero on all but shares p and q of the rows have kurtoses of 1 / p and 1 / q, and vary
    # together in m p q rows. If these are few, the reference does not show how much r varies.
    with np.errstate(divide="ignore", invalid="ignore"):
        kurtosis = np.nan_to_num((z**4).sum(axis=0) / counts)
    testable = (rho**2 < LARGEST_CORRELATION**2) & is_tested & is_tested[:, None]
    testable &= kurtosis[:, None] * kurtosis <= m / FEWEST_TOGETHER
    np.fill_diagonal(testable, False)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.where(testable, deviation / (1 - rho**2), 0.0)
    lengths = [b for b in CHUNK_ROWS if b <= m // 2]
    ratios = np.zeros((len(lengths), d, d))
    for place, b in enumerate(lengths):
        steps = b // STEP_ROWS
        windows = running.shape[0] - steps
        for start in range(windows):
            of_chunk = running[start + steps] - running[start]
            ratios[place] += of_chunk[0] * (_fisher(of_chunk) - transformed) ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios[place] /= spread**2 * (1 - b / m) * windows
    ratios = np.nan_to_num(ratios, posinf=0.0)
    return CorrelationScores(m, means, deviations, total[0], rho, spread, skewness, ratios)


def pair_dependence(
    reference: CorrelationScores, autocorrelations: Sequence[NDArray[np.float64]], n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return phi and nu of all pairs in windows of n rows, shape (d, d) each.

    Parameters
    ----------
    autocorrelations
        Of the normal score of each feature, up to its window of lags.
    """
    m, widths = reference.rows, np.array([max(1, each.size) for each in autocorrelations])
    longest = int(min(widths.max(initial=1), n - 1))
    lags = np.zeros((widths.size, longest))
    for place, each in enumerate(autocorrelations):
        lags[place, : min(each.size, longest)] = each[:longest]
    phi = np.maximum(1.0, 1 + 2 * (lags * (1 - np.arange(1, longest + 1) / n)) @ lags.T)
    nu = m / (2 * np.maximum.outer(widths, widths) + 1.0)
    measured = CHUNK_ROWS[: reference.chunk_ratios.shape[0]]
    if n <= m // 2 and measured:
        place = min(int(np.searchsorted(measured, n)), len(measured) - 1)  # the next longer one, or else the longest
        ratio, degrees = reference.chunk_ratios[place], m // measured[place] - 1
        is_larger = ratio > phi * float(chdtri(degrees, CHUNK_LEVEL)) / degrees
        phi, nu = np.where(is_larger, ratio, phi), np.where(is_larger, degrees, nu)
    return phi, nu


def product_sums(standardised: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sums over the rows in which both features of a pair have a value, shape (4, d, d); sums of parts add up.

    They are the number of rows, the sums of the first feature's scores and of their squares, and the sum of products.
    """
    n, d = standardised.shape
    is_missing = np.isnan(standardised)
    sums = np.empty((4, d, d))
    if not is_missing.any():
        sums[0] = n
        sums[1] = standardised.sum(axis=0)[:, None]
        sums[3] = standardised.T @ standardised
        sums[2] = np.diagonal(sums[3])[:, None]
        return sums
    z, present = np.where(is_missing, 0.0, standardised), (~is_missing).astype(np.float64)
    sums[0], sums[1] = present.T @ present, z.T @ present
    sums[2], sums[3] = (z * z).T @ present, z.T @ z
    return sums


def correlation_p_values(
    reference: CorrelationScores, sums: NDArray[np.float64], phi: NDArray[np.float64], nu: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the p-values, the effects and the window's correlations of all pairs, shape (..., d, d).

    The effect is a difference of Fisher transforms, with its sign.

    Parameters
    ----------
    sums
        Of windows (`product_sums`), shape (..., 4, d, d).
    phi, nu
        Of all pairs (`pair_dependence`).
    """
    transformed = _fisher(sums)
    effects = transformed - np.arctanh(_limited(reference.rho))
    n, m = sums[..., 0, :, :], reference.pair_rows
    with np.errstate(divide="ignore", invalid="ignore"):
        # Scores that hardly vary in the window have no correlation to speak of. Their scale is tested elsewhere.
        varies = sums[..., 2, :, :] / n - (sums[..., 1, :, :] / n) ** 2 >= SMALLEST_VARIANCE
        is_tested = (reference.spread > 0) & varies & np.swapaxes(varies, -1, -2)
        standardised = effects / reference.spread
    # Each pair once; the other triangle of the matrices is the same.
    pairs = np.triu(is_tested, k=1)
    (n, m, phi, nu, skewness) = (each[pairs] for each in np.broadcast_arrays(n, m, phi, nu, reference.skewness))
    p_values = np.ones(pairs.shape)
    p_values[pairs] = mean_p_values(standardised[pairs], skewness, n * m / (n + m) / phi, (m - n) / (m + n), nu)
    p_values = np.minimum(p_values, np.swapaxes(p_values, -1, -2))
    return p_values, np.where(is_tested, effects, 0.0), np.tanh(transformed)


def _row_moments(
    z: NDArray[np.float64], present: NDArray[np.float64], rho: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the standard deviation and the skewness of q - rho s over rows, of all pairs, shape (d, d) each.

    q is z_i z_j and s is (z_i^2 + z_j^2) / 2, in the rows in which both are present; z is 0 elsewhere. Powers of
    q - rho s are sums of products of powers of z_i and z_j, whose means are products of matrices.
    """
    m = np.maximum(1.0, present.T @ present)
    squares = z * z
    cubes, fourths = squares * z, squares * squares
    second, fourth, sixth = squares.T @ present / m, fourths.T @ present / m, (cubes * cubes).T @ present / m
    q, q_squared, q_cubed = z.T @ z / m, squares.T @ squares / m, cubes.T @ cubes / m
    of_third, of_fourth, of_fifth = cubes.T @ z / m, fourths.T @ squares / m, (fourths * z).T @ z / m
    s = (second + second.T) / 2
    s_squared = (fourth + fourth.T + 2 * q_squared) / 4
    s_cubed = (sixth + sixth.T + 3 * (of_fourth + of_fourth.T)) / 8
    q_s = (of_third + of_third.T) / 2
    q_squared_s = (of_fourth + of_fourth.T) / 2
    q_s_squared = (of_fifth + of_fifth.T + 2 * q_cubed) / 4
    mean = q - rho * s
    variance = np.maximum(0.0, q_squared - 2 * rho * q_s + rho**2 * s_squared - mean**2)
    cubed = q_cubed - 3 * rho * q_squared_s + 3 * rho**2 * q_s_squared - rho**3 * s_cubed
    with np.errstate(divide="ignore", invalid="ignore"):
        skewness = (cubed - 3 * mean * variance - mean**3) / variance**1.5
    return np.sqrt(variance), np.nan_to_num(skewness, posinf=0.0, neginf=0.0)


def _block_sums(standardised: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the running sums at each hundredth row, shape (blocks + 1, 4, d, d)."""
    blocks = standardised.shape[0] // STEP_ROWS
    d = standardised.shape[1]
    sums = np.zeros((blocks + 1, 4, d, d))
    for block in range(blocks):
        sums[block + 1] = sums[block] + product_sums(standardised[block * STEP_ROWS : (block + 1) * STEP_ROWS])
    return sums


def _fisher(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Fisher transforms of the correlations about the means of the pairs' own rows."""
    with np.errstate(divide="ignore", invalid="ignore"):
        means = sums[..., 1, :, :] / sums[..., 0, :, :]
        others = np.swapaxes(means, -1, -2)
        covariance = sums[..., 3, :, :] / sums[..., 0, :, :] - means * others
        variance = sums[..., 2, :, :] / sums[..., 0, :, :] - means * means
        r = covariance / np.sqrt(variance * np.swapaxes(variance, -1, -2))
    return np.arctanh(_limited(np.nan_to_num(r)))


def _limited(r: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(r, -LARGEST_CORRELATION, LARGEST_CORRELATION)
