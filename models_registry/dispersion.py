"""How much more the counts of windows vary than those of independent rows: the dispersion phi of a reference column.

Rows that come in bursts, hours or seasons make neighbours alike. A window of n such rows says as little as n / phi
independent ones, and a test that does not know it cries wolf. phi is measured in two ways on the reference in its own
order, and needs no model of the dependence:

- by autocorrelation: phi = 1 + 2 * (sum of the autocorrelations of the indicators "value <= cut"), precise because
  every row takes part, but blind beyond its longest lag;
- by chunks: n * variance over chunks of n rows of the share of such values, over F (1 - F), which sees every kind of
  dependence, but from ten chunks with a standard error of a half.

The first counts, unless the second is larger than chance explains (docs/adr/0010).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

FEWEST_CHUNKS = 10
SHORTEST_CHUNK = 500
SEGMENT_ROWS = 16_384  # of one Fourier transform
MOST_SEGMENTS = 8
MOST_INDICATORS = 20  # of levels, the commonest
LARGEST_LAG_SHARE = 0.1  # of a segment; more lags add noise
# The ratio of the two exceeds this by chance in at most one of a hundred references with ten chunks: simulated for
# independent rows and for AR(1) rows with a coefficient of .5 and .8.
LARGEST_CHANCE_RATIO = 2.2


@dataclass(frozen=True, slots=True, eq=False)
class Dispersion:
    """phi of one column, by length of the window.

    Attributes
    ----------
    chunk_rows
        Ascending lengths of windows of which the reference holds at least ten, shape (k,); empty where it holds ten of
        none.
    by_chunk_rows
        phi for each of them, at least 1, shape (k,).
    by_autocorrelation
        phi by autocorrelation alone, at least 1: for windows too long to be measured by chunks.
    """

    chunk_rows: NDArray[np.int64]
    by_chunk_rows: NDArray[np.float64]
    by_autocorrelation: float

    def at(self, rows: int) -> float:
        """Return phi for windows of `rows`: that of the next longer measured length, else of the longest."""
        if not self.chunk_rows.size:
            return self.by_autocorrelation
        index = min(int(np.searchsorted(self.chunk_rows, rows)), self.chunk_rows.size - 1)
        return float(self.by_chunk_rows[index])

    def is_measured_at(self, rows: int) -> bool:
        """Return whether the reference holds ten windows of `rows`."""
        return bool(self.chunk_rows.size) and rows <= int(self.chunk_rows[-1])


INDEPENDENT = Dispersion(np.array([], dtype=np.int64), np.array([]), 1.0)


def ordered_dispersion(codes: NDArray[np.int64], bins: int) -> Dispersion:
    """Return phi of an ordered quantity: the mean over the cuts between its bins.

    Parameters
    ----------
    codes
        The bin of each value in the reference's order, 0 to bins - 1, shape (m,).
    bins
        Number of bins.
    """
    return _dispersion(codes, bins, is_ordered=True)


def nominal_dispersion(codes: NDArray[np.int64], levels: int) -> Dispersion:
    """Return phi of levels: the mean of X-squared / df of chunks against the whole.

    Parameters
    ----------
    codes
        The level of each value in the reference's order, 0 to levels - 1, shape (m,).
    levels
        Number of levels.
    """
    return _dispersion(codes, levels, is_ordered=False)


def missing_dispersion(is_missing: NDArray[np.bool_]) -> Dispersion:
    """Return phi of being missing, from the reference's rows in their order, shape (m,)."""
    return nominal_dispersion(is_missing.astype(np.int64), 2)


def _dispersion(codes: NDArray[np.int64], bins: int, *, is_ordered: bool) -> Dispersion:
    shares = _shares(codes, bins, is_ordered=is_ordered)
    varies = (shares > 0) & (shares < 1)
    if not varies.any():
        return INDEPENDENT
    by_autocorrelation = max(1.0, _by_autocorrelation(codes, shares, varies, is_ordered=is_ordered))
    lengths = _chunk_lengths(codes.size)
    by_chunks = [_by_chunks(codes, rows, shares, varies, is_ordered=is_ordered) for rows in lengths]
    credible = [
        chunks if chunks > LARGEST_CHANCE_RATIO * by_autocorrelation else by_autocorrelation for chunks in by_chunks
    ]
    return Dispersion(np.array(lengths, dtype=np.int64), np.array(credible), by_autocorrelation)


def _shares(codes: NDArray[np.int64], bins: int, *, is_ordered: bool) -> NDArray[np.float64]:
    """Return the share of values at most in each bin but the last, or in each level."""
    counts = np.bincount(codes, minlength=bins)
    if is_ordered:
        counts = np.cumsum(counts)[:-1]
    shares: NDArray[np.float64] = counts / max(codes.size, 1)
    return shares


def _weights(shares: NDArray[np.float64], *, is_ordered: bool) -> NDArray[np.float64]:
    """Return what each indicator's phi counts: all cuts the same; a level what it adds to E[X-squared]."""
    weights: NDArray[np.float64] = np.ones_like(shares) if is_ordered else 1 - shares
    normalised: NDArray[np.float64] = weights / weights.sum()
    return normalised


def _chunk_lengths(rows: int) -> list[int]:
    longest = rows // FEWEST_CHUNKS
    lengths = []
    length = SHORTEST_CHUNK
    while length < longest:
        lengths.append(length)
        length *= 2
    return [*lengths, longest] if longest >= SHORTEST_CHUNK else []


def _by_chunks(
    codes: NDArray[np.int64], rows: int, shares: NDArray[np.float64], varies: NDArray[np.bool_], *, is_ordered: bool
) -> float:
    chunks = codes.size // rows
    bins = shares.size + 1 if is_ordered else shares.size
    keys = codes[: chunks * rows].reshape(chunks, rows) + bins * np.arange(chunks)[:, None]
    counts = np.bincount(keys.ravel(), minlength=chunks * bins).reshape(chunks, bins)
    if is_ordered:
        counts = np.cumsum(counts, axis=1)[:, :-1]
    f = shares[varies]
    phi = rows * np.var(counts[:, varies] / rows, axis=0, ddof=1) / (f * (1 - f))
    return float(phi @ _weights(f, is_ordered=is_ordered))


def _by_autocorrelation(
    codes: NDArray[np.int64], shares: NDArray[np.float64], varies: NDArray[np.bool_], *, is_ordered: bool
) -> float:
    """Return 1 + 2 * (sum of autocorrelations), up to where they are lost in noise.

    Sums of neighbouring pairs of autocorrelations are positive and fall for a reversible chain; the sum ends at the
    first pair that is not positive, and no pair counts more than the one before (C. J. Geyer, *Statistical Science* 7,
    1992: the initial monotone sequence).
    """
    indicators = np.flatnonzero(varies)
    if not is_ordered:
        indicators = indicators[np.argsort(-shares[indicators], kind="stable")][:MOST_INDICATORS]
    f = shares[indicators]
    weights = _weights(f, is_ordered=is_ordered) / (f * (1 - f))
    segment = min(codes.size, SEGMENT_ROWS)
    lags = max(2, int(segment * LARGEST_LAG_SHARE))
    starts = np.unique(np.linspace(0, codes.size - segment, MOST_SEGMENTS).astype(np.int64))
    total = np.zeros(lags)
    for start in starts:
        part = codes[start : start + segment]
        matches = part[None, :] <= indicators[:, None] if is_ordered else part[None, :] == indicators[:, None]
        total += _autocovariance(matches - f[:, None], weights, lags)
    if total[0] <= 0:
        return 1.0
    correlations = total / total[0]
    pairs = correlations[: lags // 2 * 2].reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0)
    positive = np.minimum.accumulate(pairs[: ends[0] if ends.size else pairs.size])
    return float(2 * positive.sum() - 1)


def _autocovariance(series: NDArray[np.float64], weights: NDArray[np.float64], lags: int) -> NDArray[np.float64]:
    """Return the weighted sum of the rows' autocovariances up to `lags`, by one Fourier transform of each."""
    length = next_fast_len(series.shape[1] + lags, real=True)
    spectrum = np.abs(rfft(series, length, axis=1)) ** 2
    covariance: NDArray[np.float64] = irfft(weights @ spectrum, length)[:lags] / series.shape[1]
    return covariance
