"""How much more means of windows vary than those of independent rows, and how well a reference shows it.

A window of n rows in bursts or cycles says as little as n / phi independent rows. phi is measured on the reference in
its own order, from autocorrelations and from the variance of the means of chunks; nu, its degrees of freedom, says how
sure it is.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import chdtri

STEP_ROWS = 100  # between the chunks whose means are compared; also the rows of a block
CHUNK_ROWS = (100, 200, 500, 1000, 2000, 5000)
FLAG_LEVEL = 0.02  # of all series of a feature together
TIMES_OF_CORRELATION = 5  # the window of lags is at least as many autocorrelation times long (Sokal's rule)
FEWEST_DEGREES = 8.0  # with fewer the reference is too short for a verdict
BURSTY_PHI = 10.0  # beyond it longer windows are needed
ROUNDED_TO = 1000  # rows that a reference would need
GROUPS = 5  # of categories whose dependence is measured
LARGEST_ROUNDING = 1e-12  # standard deviation of a constant series, relative to its size
# Of a block in which an outcome is one event: if the reference never has it, and if it shows long or few bursts of it.
EVENT_ROWS, LONG_EVENT_ROWS = 20, 100
FEWEST_STEPS = 20  # of a column that looks sorted by more than its few values
MOST_OUT_OF_ORDER = 0.01  # share of its steps


@dataclass(frozen=True, slots=True)
class Dependence:
    """The dispersion of a feature in windows of one length.

    Attributes
    ----------
    phi
        How many times the variance of a window's mean is that of independent rows, at least 1.
    nu
        Degrees of freedom of phi; infinite if chunks show that it is at most this.
    needed_rows
        About how many rows a reference with this dependence needs; 0 if this one is long enough.
    """

    phi: float
    nu: float
    needed_rows: int = 0

    @property
    def is_insufficient(self) -> bool:
        """Whether the reference is too short to judge windows of this length."""
        return self.needed_rows > 0


@dataclass(frozen=True, slots=True, eq=False)
class SeriesDependence:
    """What a reference of m rows shows about the dependence of one series or several.

    Attributes
    ----------
    rows
        m.
    autocorrelations
        For each series, rho at the lags 1 to W, where W is the window of lags that Sokal's rule chooses.
    rarer
        For each series, the rarer outcome's rows if it is an indicator, else m, shape (series,).
    block_sums
        Sums of the standardised series over blocks of 100 rows, shape (series, m // 100).
    """

    rows: int
    autocorrelations: tuple[NDArray[np.float64], ...]
    rarer: NDArray[np.float64]
    block_sums: NDArray[np.float64]

    def at(self, n: int) -> Dependence:
        """Return the dispersion of windows of n rows: the largest phi and the smallest nu over the series."""
        return dependences_at([self], n)[0]

    def to_array(self) -> NDArray[np.float64]:
        """Return everything as one array, which `dependence_of_array` reads."""
        lags = [each.size for each in self.autocorrelations]
        head = np.array([self.rows, len(lags), *lags, *self.rarer], dtype=np.float64)
        return np.concatenate([head, self.block_sums.ravel(), *self.autocorrelations])


def dependences_at(series: Sequence[SeriesDependence], n: int) -> list[Dependence]:
    """Return `SeriesDependence.at` of several features side by side, which costs less than one after the other."""
    found = [Dependence(1.0, math.inf)] * len(series)
    by_rows: dict[int, list[int]] = {}
    for place, each in enumerate(series):
        if each.autocorrelations:
            by_rows.setdefault(each.rows, []).append(place)
    for m, places in by_rows.items():
        for place, dependence in zip(places, _dependences([series[place] for place in places], m, n), strict=True):
            found[place] = dependence
    return found


def _dependences(features: Sequence[SeriesDependence], m: int, n: int) -> list[Dependence]:
    """Return the dispersion of features with one series or more each, all of references of m rows."""
    chunk = max(STEP_ROWS, STEP_ROWS * round(n / STEP_ROWS))
    lengths = [b for b in sorted({*CHUNK_ROWS, chunk}) if b <= m // 2]
    counts = [len(each.autocorrelations) for each in features]
    limits = [_chunk_limits(m, tuple(lengths), FLAG_LEVEL / count) for count in counts]
    degrees = limits[0][0]
    least, most = (np.repeat(np.stack([each[of] for each in limits]), counts, axis=0) for of in (1, 2))
    by_lags, nus = _by_autocorrelation(features, m, np.array([*lengths, n]))
    ratios = _chunk_ratios(np.concatenate([each.block_sums for each in features]), m, lengths)
    is_flagged = (ratios > by_lags[:, :-1] * most / degrees).any(axis=1)
    phi, nu = by_lags[:, -1], nus[:, -1]
    if chunk in lengths:
        place = lengths.index(chunk)
        own = ratios[:, place]
        largest = np.maximum(1.0, own * degrees[place] / least[:, place])
        nu = np.where(is_flagged, np.minimum(nu, degrees[place]), np.where(phi > largest, np.inf, nu))
        phi = np.where(is_flagged, np.maximum(phi, own), np.minimum(phi, largest))
    else:  # no two chunks of this length, so that nothing shows how much flagged series vary
        nu = np.where(is_flagged, 0.0, nu)
    starts = np.cumsum([0, *counts[:-1]])
    found = []
    for largest_phi, smallest in zip(
        np.maximum.reduceat(phi, starts).tolist(), np.minimum.reduceat(nu, starts).tolist(), strict=True
    ):
        needed = 0.0
        if smallest < FEWEST_DEGREES:
            needed = max(m * FEWEST_DEGREES / smallest if smallest else 0.0, (FEWEST_DEGREES + 1) * n)
        found.append(Dependence(largest_phi, smallest, ROUNDED_TO * math.ceil(needed / ROUNDED_TO)))
    return found


def _by_autocorrelation(
    features: Sequence[SeriesDependence], m: int, lengths: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return phi and nu by the autocorrelations, for windows of these lengths, shape (series, lengths) each."""
    series = [rho for each in features for rho in each.autocorrelations]
    widths = np.array([rho.size for rho in series])
    starts = np.cumsum(widths) - widths
    rho = np.concatenate([*series, [0.0]])
    weights = rho * np.concatenate([*(np.arange(1, width + 1) for width in widths.tolist()), [0]])
    sums, weighted = np.empty((2, widths.size, lengths.size))
    for place, length in enumerate(lengths.tolist()):
        # Each sum is that of its own series, so that no other feature has a part in its rounding.
        lags = np.minimum(widths, length - 1)
        ends = np.stack([starts, starts + lags], axis=1).ravel()
        sums[:, place], weighted[:, place] = (np.add.reduceat(each, ends)[::2] * (lags > 0) for each in (rho, weights))
    shares = (2 * widths[:, None] + 1) / m
    phi = np.maximum(1.0, (1 + 2 * (sums - weighted / lengths)) * (1 + shares))
    return phi, 1 / (shares + (phi - 1) / np.concatenate([each.rarer for each in features])[:, None])


def _chunk_ratios(block_sums: NDArray[np.float64], m: int, lengths: Sequence[int]) -> NDArray[np.float64]:
    """Return the variance of the means of all windows over that of independent rows, shape (series, lengths)."""
    count, blocks = block_sums.shape
    running = np.zeros((count, blocks + 1))
    np.cumsum(block_sums, axis=1, out=running[:, 1:])
    ratios = np.empty((count, len(lengths)))
    for place, b in enumerate(lengths):
        steps = b // STEP_ROWS
        sums = running[:, steps:] - running[:, :-steps]
        ratios[:, place] = (sums * sums).mean(axis=1) / b / (1 - b / m)
    return ratios


@dataclass(frozen=True, slots=True)
class OutcomeBlocks:
    """Blocks of rows in which an outcome is one event, however many rows of the block have it.

    For an outcome that the reference has never, or too seldom to show how it comes: its rows may come in bursts, but
    blocks longer than the bursts have it independently of each other.

    Attributes
    ----------
    rows
        Of a block.
    reference_events, reference_blocks
        Blocks of the reference with the outcome, and all of them: real numbers.
    """

    rows: int
    reference_events: float
    reference_blocks: float

    def counts(self, outcomes: NDArray[np.bool_]) -> tuple[float, float, float, float]:
        """Return what `mlmon.detection.shares.share_p_values` compares: events and blocks of a window and a reference.

        If the window has relatively fewer events, as many as expected: the reference's are an upper bound.

        Parameters
        ----------
        outcomes
            Whether each row of the window has the outcome, the latest last, shape (n,), n at least 1.
        """
        has_outcome = np.bitwise_or.reduceat(outcomes[::-1], np.arange(0, outcomes.size, self.rows))
        blocks, expected_share = float(has_outcome.size), self.reference_events / self.reference_blocks
        events = max(float(np.count_nonzero(has_outcome)), expected_share * blocks)
        return events, blocks, self.reference_events, self.reference_blocks


def outcome_blocks(series: SeriesDependence, *, outcomes: int, rows: int) -> OutcomeBlocks:
    """Return the blocks of an outcome of which a reference shows too little.

    Parameters
    ----------
    series
        Of the outcome's indicator; without any if it is constant.
    outcomes, rows
        Rows of the reference with the outcome, and all of them.
    """
    if not series.autocorrelations:
        return OutcomeBlocks(EVENT_ROWS, outcomes / EVENT_ROWS, rows / EVENT_ROWS)
    # An indicator with this autocorrelation at lag 1 has so many runs; a run touches at most one block more than it
    # fills.
    runs = outcomes * (1 - outcomes / rows) * (1 - float(series.autocorrelations[0][0]))
    blocks = rows / LONG_EVENT_ROWS
    return OutcomeBlocks(LONG_EVENT_ROWS, min(blocks, runs + outcomes / LONG_EVENT_ROWS), blocks)


@functools.lru_cache(maxsize=256)  # references of a fleet have few different sizes
def _chunk_limits(
    rows: int, lengths: tuple[int, ...], level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return C - 1 for chunks of these lengths, and the limits that chi-squared passes with 1 - `level` and `level`."""
    degrees = np.array([rows // b - 1 for b in lengths], dtype=np.float64)
    least: NDArray[np.float64] = chdtri(degrees, 1 - level).astype(np.float64)
    most: NDArray[np.float64] = chdtri(degrees, level).astype(np.float64)
    return degrees, least, most


NO_SERIES = SeriesDependence(0, (), np.zeros(0), np.zeros((0, 0)))


def dependence_of_array(stored: NDArray[np.float64]) -> SeriesDependence:
    """Return what `SeriesDependence.to_array` wrote; an empty array has no series."""
    if not stored.size:
        return NO_SERIES
    rows, count = int(stored[0]), int(stored[1])
    lags, rarer = stored[2 : 2 + count].astype(np.int64), stored[2 + count : 2 + 2 * count]
    blocks = rows // STEP_ROWS
    start = 2 + 2 * count
    sums = stored[start : start + count * blocks].reshape(count, blocks)
    parts = np.split(stored[start + count * blocks :], np.cumsum(lags)[:-1]) if count else []
    return SeriesDependence(rows, tuple(parts), rarer, sums)


def series_dependence(series: NDArray[np.float64], *, are_indicators: bool) -> SeriesDependence:
    """Measure the dependence of series on a reference.

    Parameters
    ----------
    series
        The reference's rows in their order, shape (m, series). Constant series are left out.
    are_indicators
        Whether the values are 0 and 1.
    """
    if not series.size:
        return NO_SERIES
    series = series[:, series.std(axis=0) > LARGEST_ROUNDING * np.abs(series).max(axis=0)]
    m, count = series.shape
    if not count:
        return NO_SERIES
    centred = series - series.mean(axis=0)
    variance = (centred**2).mean(axis=0)
    half = m // 2
    size = next_fast_len(m + half + 1, real=True)
    last, correlations = np.full(count, half), []
    for index in range(count):
        spectrum = rfft(centred[:, index], size)
        covariance = irfft(spectrum.real**2 + spectrum.imag**2, size)[1 : half + 1]
        rho = covariance / (m * variance[index])
        correlation_time = 1 + 2 * np.cumsum(rho)
        qualifies = np.arange(1, half + 1) >= TIMES_OF_CORRELATION * correlation_time
        last[index] = int(qualifies.argmax()) + 1 if qualifies.any() else half
        correlations.append(rho[: last[index]].copy())
    blocks = m // STEP_ROWS
    parts = (centred[: blocks * STEP_ROWS] / np.sqrt(variance)).reshape(blocks, STEP_ROWS, count)
    successes = series.sum(axis=0)
    rarer = np.minimum(successes, m - successes) if are_indicators else np.full(count, float(m))
    return SeriesDependence(m, tuple(correlations), rarer, parts.sum(axis=1).T.copy())


def category_groups(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a group for each category: up to five with about equal shares, of categories with similar counts.

    Parameters
    ----------
    counts
        Rows of each category, shape (k,).
    """
    # Codes may be in the order of appearance, so that equally frequent categories must not be taken in their order.
    order = np.lexsort([np.random.default_rng(0).permutation(counts.size), -counts])
    # A category belongs to the group in which the middle of its share lies.
    middles = (np.cumsum(counts[order]) - counts[order] / 2) / max(1, counts.sum())
    groups = np.empty(counts.size, dtype=np.int64)
    groups[order] = np.minimum((GROUPS * middles).astype(np.int64), GROUPS - 1)
    return groups


def group_dependence(codes: NDArray[np.int64], groups: NDArray[np.int64]) -> SeriesDependence:
    """Measure the dependence of categories: of the indicators of their groups.

    Parameters
    ----------
    codes
        The categories of the reference's rows in their order, 0 to k - 1, shape (m,).
    groups
        Of each category (`category_groups`), shape (k,).
    """
    indicators = (groups[codes][:, None] == np.arange(GROUPS)).astype(np.float64)
    return series_dependence(indicators, are_indicators=True)


def looks_sorted(codes: NDArray[np.float64] | NDArray[np.int64]) -> bool:
    """Return whether values rise or fall all the way, or equal ones lie together, as after sorting by them.

    The dependence of such a reference comes from its order, and says nothing about that of windows.
    """
    rising, falling = (int(np.count_nonzero(each)) for each in (codes[1:] > codes[:-1], codes[1:] < codes[:-1]))
    changes = rising + falling
    if changes < FEWEST_STEPS:
        # Few values: each of them begins once, in as many runs as there are values, and no run is short.
        values = np.unique(codes)
        return bool(1 < values.size == changes + 1 and codes.size >= FEWEST_STEPS * values.size)
    return min(rising, falling) <= MOST_OUT_OF_ORDER * changes
