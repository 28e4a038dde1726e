"""How much more the counts of windows vary than those of independent rows: the dispersion phi of a reference column.

If rows come in bursts or by season, neighbours resemble each other. A window of n such rows says as little as n / phi
independent rows, and a test that ignores this raises false alarms. phi is measured in two ways on the reference in its
own order, without a model of the dependence:

- by autocorrelation: phi = 1 + 2 * (sum of the autocorrelations of the indicators "value <= cut"). It is precise
  because it uses every row, but it misses dependence beyond its longest lag.
- by chunks: n * variance over chunks of n rows of the share of such values, over F (1 - F). It detects every kind of
  dependence, but with ten chunks its standard error is a half.

The first one counts unless the second one is larger than chance explains (docs/adr/0010).

Categories have no order, and dependence may act on some contrasts of them far more than on others. X-squared is then a
sum of chi-squared variables with unequal weights: its mean is phi, but its tail is that of the largest weight. So phi
of categories is the largest weight, and dividing by it is conservative for every pooling of them (J. N. K. Rao and A.
J. Scott, *Journal of the American Statistical Association* 76, 1981).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from mlmon.profile import INDEPENDENT, Dispersion

FEWEST_CHUNKS = 10
SHORTEST_CHUNK = 500
SEGMENT_ROWS = 16_384  # of one Fourier transform
MOST_SEGMENTS = 8
MOST_INDICATORS = 20  # the most frequent categories
LARGEST_LAG_SHARE = 0.1  # of a segment; more lags add noise
# The ratio of the two exceeds this by chance in at most one of a hundred references with ten chunks: simulated for
# independent rows and for AR(1) rows with a coefficient of .5 and .8.
LARGEST_CHANCE_RATIO = 2.2


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


def nominal_dispersion(codes: NDArray[np.int64], categories: int) -> Dispersion:
    """Return phi of categories: of the contrast between them that varies most beyond chance.

    Parameters
    ----------
    codes
        The category of each value in the reference's order, 0 to categories - 1, shape (m,).
    categories
        Number of categories.
    """
    return _dispersion(codes, categories, is_ordered=False)


def missing_dispersion(is_missing: NDArray[np.bool_]) -> Dispersion:
    """Return phi of missing values, from the reference's rows in their order, shape (m,)."""
    return nominal_dispersion(is_missing.astype(np.int64), 2)


def _dispersion(codes: NDArray[np.int64], bins: int, *, is_ordered: bool) -> Dispersion:
    shares = _shares(codes, bins, is_ordered=is_ordered)
    varies = (shares > 0) & (shares < 1)
    if not varies.any():
        return INDEPENDENT
    correlated = _by_autocorrelation(codes, shares, varies, is_ordered=is_ordered)
    phi = max(1.0, correlated.phi)
    lengths = _chunk_lengths(codes.size)
    by_chunks = [_by_chunks(codes, rows, shares, varies, is_ordered=is_ordered) for rows in lengths]
    credible = [chunks if chunks > LARGEST_CHANCE_RATIO * phi else phi for chunks in by_chunks]
    return Dispersion(
        np.array(lengths, dtype=np.int64), correlated.inflation * np.array(credible), correlated.inflation * phi
    )


@dataclass(frozen=True, slots=True)
class _Correlated:
    """phi by autocorrelation.

    Attributes
    ----------
    phi
        The weighted mean over the indicators.
    inflation
        The largest phi of a contrast between categories over the mean; 1 for ordered quantities.
    """

    phi: float
    inflation: float = 1.0


def _shares(codes: NDArray[np.int64], bins: int, *, is_ordered: bool) -> NDArray[np.float64]:
    """Return the share of values up to each bin except the last, or in each category."""
    counts = np.bincount(codes, minlength=bins)
    if is_ordered:
        counts = np.cumsum(counts)[:-1]
    shares: NDArray[np.float64] = counts / max(codes.size, 1)
    return shares


def _weights(shares: NDArray[np.float64], *, is_ordered: bool) -> NDArray[np.float64]:
    """Return the weight of each indicator's phi: equal for cuts; for a category its part of E[X-squared]."""
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
) -> _Correlated:
    """Return 1 + 2 * (sum of autocorrelations), up to the lag from which they are noise.

    Sums of neighbouring pairs of autocorrelations are positive and fall for a reversible chain; the sum ends at the
    first pair that is not positive, and no pair counts more than the one before (C. J. Geyer, *Statistical Science* 7,
    1992: the initial monotone sequence).
    """
    indicators = np.flatnonzero(varies)
    if not is_ordered:
        indicators = indicators[np.argsort(-shares[indicators], kind="stable")][:MOST_INDICATORS]
    f = shares[indicators]
    weights = _weights(f, is_ordered=is_ordered) / (f * (1 - f))
    segments = list(_segments(codes))
    lags = max(2, int(segments[0].size * LARGEST_LAG_SHARE))
    total = np.zeros(lags)
    for part in segments:
        matches = part[None, :] <= indicators[:, None] if is_ordered else part[None, :] == indicators[:, None]
        total += _autocovariance(matches - f[:, None], weights, lags)
    if total[0] <= 0:
        return _Correlated(1.0)
    correlations = total / total[0]
    pairs = correlations[: lags // 2 * 2].reshape(-1, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0)
    positive = np.minimum.accumulate(pairs[: ends[0] if ends.size else pairs.size])
    phi = float(2 * positive.sum() - 1)
    if is_ordered or f.size < 2:
        return _Correlated(phi)
    return _Correlated(phi, _inflation(segments, indicators, f, last_lag=2 * positive.size - 1))


def _segments(codes: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Yield evenly spaced parts of the reference, in its order."""
    rows = min(codes.size, SEGMENT_ROWS)
    for start in np.unique(np.linspace(0, codes.size - rows, MOST_SEGMENTS).astype(np.int64)):
        yield codes[start : start + rows]


def _inflation(
    segments: Sequence[NDArray[np.int64]], categories: NDArray[np.int64], shares: NDArray[np.float64], *, last_lag: int
) -> float:
    """Return the largest eigenvalue of the design effects of categories over their mean.

    The design effects are the sum over the lags of the categories' cross-covariances, in units of those of independent
    rows. In the frequency domain that sum is one product of matrices. All further categories count as one.
    """
    rows, is_rest = segments[0].size, shares.sum() < 1 - 1e-12
    length = next_fast_len(rows + last_lag + 1, real=True)
    frequencies = np.pi * np.arange(length // 2 + 1) / length
    with np.errstate(invalid="ignore"):
        window = np.sin((2 * last_lag + 1) * frequencies) / np.sin(frequencies)  # 1 + 2 sum of cos, Dirichlet's kernel
    window[0] = 2 * last_lag + 1
    window[1 : (length + 1) // 2] *= 2  # the other half of the spectrum
    covariance = np.zeros((shares.size + is_rest, shares.size + is_rest))
    for part in segments:
        spectrum = rfft((part[None, :] == categories[:, None]) - shares[:, None], length, axis=1)
        if is_rest:
            spectrum = np.vstack([spectrum, -spectrum.sum(axis=0)])
        covariance += ((spectrum * window) @ spectrum.conj().T).real
    covariance /= length * rows * len(segments)
    every = np.append(shares, 1 - shares.sum()) if is_rest else shares
    effects = np.linalg.eigvalsh(covariance / np.sqrt(np.outer(every, every)))
    mean = effects.sum() / (every.size - 1)
    return max(1.0, float(effects[-1] / mean)) if mean > 0 else 1.0


def _autocovariance(series: NDArray[np.float64], weights: NDArray[np.float64], lags: int) -> NDArray[np.float64]:
    """Return the weighted sum of the rows' autocovariances up to `lags`, by one Fourier transform of each."""
    length = next_fast_len(series.shape[1] + lags, real=True)
    spectrum = np.abs(rfft(series, length, axis=1)) ** 2
    covariance: NDArray[np.float64] = irfft(weights @ spectrum, length)[:lags] / series.shape[1]
    return covariance
