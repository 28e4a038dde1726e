"""How much more means of windows vary than those of independent rows, and how well a reference shows it.

A window of n rows in bursts or cycles says as little as n / phi independent rows. phi is measured on the reference in
its own order, from autocorrelations and from the variance of the means of chunks; nu, its degrees of freedom, says how
sure it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import chdtri

STEP_ROWS = 100  # between the chunks whose means are compared
CHUNK_ROWS = (100, 200, 500, 1000, 2000, 5000)
FLAG_LEVEL = 0.02  # of all series of a feature together
TIMES_OF_CORRELATION = 5  # the window of lags is at least as many autocorrelation times long (Sokal's rule)
FEWEST_DEGREES = 8.0  # with fewer the reference is too short for a verdict


@dataclass(frozen=True, slots=True)
class Dependence:
    """The dispersion of a feature in windows of one length.

    Attributes
    ----------
    phi
        How many times the variance of a window's mean is that of independent rows, at least 1.
    nu
        Degrees of freedom of phi; infinite if chunks show that it is at most this.
    is_insufficient
        Whether the reference is too short to judge windows of this length.
    """

    phi: float
    nu: float
    is_insufficient: bool


@dataclass(frozen=True, slots=True)
class SeriesDependence:
    """What a reference of m rows shows about the dependence of one series or several.

    Attributes
    ----------
    rows
        m.
    autocorrelations
        For each series, rho at the lags 1 to W, where W is the window of lags that Sokal's rule chooses.
    rarer
        For each series, the rarer outcome's rows if it is an indicator, else m.
    chunk_rows, chunk_ratios
        Lengths b, and for each series and length b the variance of the means of b rows over that of independent rows.
    """

    rows: int
    autocorrelations: tuple[NDArray[np.float64], ...]
    rarer: NDArray[np.float64]
    chunk_rows: NDArray[np.int64]
    chunk_ratios: NDArray[np.float64]

    def at(self, n: int) -> Dependence:
        """Return the dispersion of windows of n rows: the largest phi and the smallest nu over the series."""
        found = [self._of_series(index, n) for index in range(len(self.autocorrelations))]
        if not found:
            return Dependence(1.0, np.inf, False)
        phi, nu = max(each.phi for each in found), min(each.nu for each in found)
        return Dependence(phi, nu, nu < FEWEST_DEGREES or any(each.is_insufficient for each in found))

    def _of_series(self, index: int, n: int) -> Dependence:
        phi, nu = self._by_autocorrelation(index, n)
        level = FLAG_LEVEL / len(self.autocorrelations)
        is_flagged = False
        for place, b in enumerate(self.chunk_rows.tolist()):
            degrees = self.rows // b - 1
            limit = self._by_autocorrelation(index, b)[0] * chdtri(degrees, level) / degrees
            is_flagged = is_flagged or self.chunk_ratios[index, place] > limit
        places = np.flatnonzero(self.chunk_rows == n)
        if not places.size:  # no two chunks of this length
            return Dependence(phi, nu, is_flagged)
        ratio, degrees = float(self.chunk_ratios[index, places[0]]), self.rows // n - 1
        if is_flagged:
            return Dependence(max(phi, ratio), min(nu, degrees), False)
        largest = max(1.0, ratio * degrees / float(chdtri(degrees, 1 - level)))
        return Dependence(largest, np.inf, False) if phi > largest else Dependence(phi, nu, False)

    def _by_autocorrelation(self, index: int, n: int) -> tuple[float, float]:
        rho = self.autocorrelations[index]
        share = (2 * rho.size + 1) / self.rows
        weights = np.maximum(0.0, 1 - np.arange(1, rho.size + 1) / n)
        phi = max(1.0, (1 + 2 * float((weights * rho).sum())) * (1 + share))
        return phi, 1 / (share + (phi - 1) / self.rarer[index])


def series_dependence(
    series: NDArray[np.float64], window_rows: Sequence[int], *, are_indicators: bool
) -> SeriesDependence:
    """Measure the dependence of series on a reference.

    Parameters
    ----------
    series
        The reference's rows in their order, shape (m, series). Constant series are left out.
    window_rows
        Lengths of windows that will be compared.
    are_indicators
        Whether the values are 0 and 1.
    """
    series = series[:, series.std(axis=0) > 0]
    m, count = series.shape
    centred = series - series.mean(axis=0)
    variance = (centred**2).mean(axis=0)
    size = next_fast_len(m + m // 2 + 1, real=True)
    spectrum = rfft(centred, size, axis=0)
    covariance = irfft(np.abs(spectrum) ** 2, size, axis=0)[1 : m // 2 + 1]
    rho = covariance / (m * variance)
    correlation_time = 1 + 2 * np.cumsum(rho, axis=0)
    lags = np.arange(1, m // 2 + 1)
    qualifies = lags[:, None] >= TIMES_OF_CORRELATION * correlation_time
    last = np.where(qualifies.any(axis=0), qualifies.argmax(axis=0), m // 2 - 1) + 1
    chunk_rows = np.array(sorted({b for b in (*CHUNK_ROWS, *window_rows) if b <= m // 2}), dtype=np.int64)
    sums = np.concatenate([np.zeros((1, count)), np.cumsum(centred, axis=0)])
    ratios = np.empty((count, chunk_rows.size))
    for place, b in enumerate(chunk_rows.tolist()):
        starts = np.arange(0, m - b + 1, STEP_ROWS)
        means = (sums[starts + b] - sums[starts]) / b
        ratios[:, place] = b * (means**2).mean(axis=0) / variance / (1 - b / m)
    successes = series.sum(axis=0)
    rarer = np.minimum(successes, m - successes) if are_indicators else np.full(count, float(m))
    return SeriesDependence(
        m, tuple(rho[: last[index], index].copy() for index in range(count)), rarer, chunk_rows, ratios
    )
