"""Tests of the correlations between numeric features, from sums of products of their normal scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, ndtr, stdtr

from mlmon.detection.dependence import STEP_ROWS, SeriesDependence

CHUNK_LEVEL = 0.001  # at which the variance between chunks counts instead of the autocorrelations
LARGEST_CORRELATION = 0.999999  # its Fisher transform is finite


@dataclass(frozen=True, slots=True, eq=False)
class CorrelationScores:
    """The correlations of a reference between d numeric features.

    Attributes
    ----------
    rows
        m.
    means, deviations
        Of the normal scores, shape (d,).
    rho
        Correlations, shape (d, d).
    spread
        sd(a_i a_j - rho (a_i^2 + a_j^2) / 2) / (1 - rho^2) of standardised scores: the standard deviation of the Fisher
        transform of r, times the square root of the rows, shape (d, d).
    phi, nu
        By length of the window, shape (d, d) each.
    """

    rows: int
    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    rho: NDArray[np.float64]
    spread: NDArray[np.float64]
    phi: dict[int, NDArray[np.float64]]
    nu: dict[int, NDArray[np.float64]]

    def standardised(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return normal scores standardised by the reference, shape (n, d); a missing value, NaN, is the mean."""
        with np.errstate(divide="ignore", invalid="ignore"):
            standardised = np.where(self.deviations > 0, (scores - self.means) / self.deviations, 0.0)
        return np.nan_to_num(standardised)


def correlation_scores(
    scores: NDArray[np.float64], dependence: Sequence[SeriesDependence], window_rows: Sequence[int]
) -> CorrelationScores:
    """Return what the tests need to know of a reference.

    Parameters
    ----------
    scores
        Normal scores of its rows, shape (m, d); NaN is missing.
    dependence
        Of each feature; its first series is the normal score.
    window_rows
        Lengths of windows that will be compared.
    """
    m, d = scores.shape
    means = np.array([np.nanmean(column) for column in scores.T])
    deviations = np.array([np.nanstd(column) for column in scores.T])
    empty = CorrelationScores(m, means, deviations, np.zeros((d, d)), np.zeros((d, d)), {}, {})
    z = empty.standardised(scores)
    rho = np.clip(z.T @ z / m, -1, 1)
    np.fill_diagonal(rho, 0.0)
    squares = z * z
    spread = np.zeros((d, d))
    for i in range(d):
        residuals = z[:, i : i + 1] * z - rho[i] * (squares[:, i : i + 1] + squares) / 2
        spread[i] = residuals.std(axis=0)
    with np.errstate(divide="ignore"):
        spread = np.where(rho**2 < LARGEST_CORRELATION**2, spread / (1 - rho**2), 0.0)
    longest = max((each.autocorrelations[0].size for each in dependence if each.autocorrelations), default=1)
    lags = np.zeros((d, longest))
    for place, each in enumerate(dependence):
        if each.autocorrelations:
            lags[place, : each.autocorrelations[0].size] = each.autocorrelations[0]
    widths = np.array([each.autocorrelations[0].size if each.autocorrelations else 1 for each in dependence])
    sums = _block_sums(z)
    phi, nu = {}, {}
    for n in window_rows:
        weights = np.maximum(0.0, 1 - np.arange(1, longest + 1) / n)
        by_lags = np.maximum(1.0, 1 + 2 * (lags * weights) @ lags.T)
        degrees = m / (2 * np.maximum.outer(widths, widths) + 1.0)
        if n <= m // 2:
            chunks = m // n - 1
            steps = n // STEP_ROWS
            windows = [sums[start + steps] - sums[start] for start in range(sums.shape[0] - steps)]
            found = np.array([_fisher(window, n) for window in windows]) - np.arctanh(_limited(rho))
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = n * (found**2).mean(axis=0) / spread**2 / (1 - n / m)
            is_larger = np.nan_to_num(ratio) > by_lags * chdtri(chunks, CHUNK_LEVEL) / chunks
            by_lags, degrees = np.where(is_larger, ratio, by_lags), np.where(is_larger, chunks, degrees)
        phi[n], nu[n] = by_lags, degrees
    return CorrelationScores(m, means, deviations, rho, spread, phi, nu)


def product_sums(standardised: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of standardised scores and of their products, shape (d + 1, d); sums of parts add up."""
    return np.vstack([standardised.sum(axis=0), standardised.T @ standardised])


def correlation_p_values(
    reference: CorrelationScores, sums: NDArray[np.float64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the p-values and effects of all pairs, shape (..., d, d); the effect is a difference of Fisher transforms.

    Parameters
    ----------
    sums
        Of windows of n rows (`product_sums`), shape (..., d + 1, d).
    """
    effects = _fisher(sums, n) - np.arctanh(_limited(reference.rho))
    m = reference.rows
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.abs(effects) / reference.spread * np.sqrt(n * m / (n + m) / reference.phi[n])
    size = np.nan_to_num(np.where(reference.spread > 0, size, 0.0))
    nu = np.minimum(reference.nu[n], 1e9)
    p_values = np.minimum(1.0, 2 * np.where(np.isinf(nu), ndtr(-size), stdtr(nu, -size)))
    diagonal = np.arange(effects.shape[-1])
    p_values[..., diagonal, diagonal], effects[..., diagonal, diagonal] = 1.0, 0.0
    return p_values, effects


def _block_sums(standardised: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the running sums at each hundredth row."""
    blocks = standardised.shape[0] // STEP_ROWS
    d = standardised.shape[1]
    parts = standardised[: blocks * STEP_ROWS].reshape(blocks, STEP_ROWS, d)
    products = np.concatenate([parts.sum(axis=1)[:, None, :], np.einsum("bri,brj->bij", parts, parts)], axis=1)
    return np.concatenate([np.zeros((1, d + 1, d)), np.cumsum(products, axis=0)])


def _fisher(sums: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return the Fisher transforms of the correlations about the window's own means."""
    means = sums[..., 0, :] / n
    covariance = sums[..., 1:, :] / n - means[..., :, None] * means[..., None, :]
    variance = np.diagonal(covariance, axis1=-2, axis2=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = covariance / np.sqrt(variance[..., :, None] * variance[..., None, :])
    return np.arctanh(_limited(np.nan_to_num(r)))


def _limited(r: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(r, -LARGEST_CORRELATION, LARGEST_CORRELATION)
