"""Evidence about a challenger that may be read at any time, from counts of each interval.

An *event* is something unwanted in one request: an error, a latency over the limit, a wrong prediction. If both
versions have the same event rate, an event belongs to the challenger with probability w, the challenger's share of the
traffic. If the challenger's rate is theta times the champion's, the probability is w theta / (w theta + 1 - w). The
likelihood ratio of the two is a martingale under equality (Wald 1945); its mean over several theta is one too (Robbins
1970), and stays below 1 / alpha at all times with a probability of at least 1 - alpha (Ville 1939).

What a caller must count, so that the probability is w under equality (docs/adr/0043-evidence-of-rollouts.md):

- only requests that the share routed: neither those that name their version, nor those of a third version. They count
  with the share that they were routed by;
- one event of a request, however many rows it has;
- one event of a routing key, and later ones with the share that `share_of_next_event` returns;
- an event that is known later (a wrong prediction) in the interval of its prediction, and once.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlmon.exceptions import EvidenceInputError

RATE_RATIOS = (1.25, 1.5, 2, 3, 5, 10, 20)  # theta; the evidence is the mean over them
ALPHA = 0.01  # of all guardrails of a rollout together
FEWEST_ROWS = 500  # of each version, or pairs; the mean of fewer values may be far from normal
FEWEST_ROWS_OF_RATE = 100  # its added rows keep an interval wide while there are few events
TIGHTEST_AT = 500  # n1 n0 / (n1 + n0) of the rows with which a confidence sequence is tightest: 1,000 at a share of .5

Floats = NDArray[np.float64]


def log10_evidence(
    shares: ArrayLike, champion_events: ArrayLike, challenger_events: ArrayLike, *, is_better: bool = False
) -> float:
    """Return log10 of the evidence that the challenger's event rate is higher than the champion's.

    The order of the intervals does not matter, and intervals with the same share may be merged.

    Parameters
    ----------
    shares
        The challenger's share of the traffic in each interval, shape (n,), from 0 to 1; 0.5 for the pairs of a shadow.
        Intervals with 0 or 1 are no evidence: all requests go to one version there, and so do all events, whatever the
        rates are.
    champion_events, challenger_events
        Number of events of each version in each interval, shape (n,). Of pairs, count those in which only this version
        has the event.
    is_better
        Exchange the roles: the evidence that the champion's event rate is higher.

    Raises
    ------
    EvidenceInputError
        A share or a number of events is impossible, or their lengths differ.

    Examples
    --------
    >>> round(log10_evidence([0.05, 0.1], [90, 80], [5, 9]), 2)
    -0.78
    >>> log10_evidence([0.05, 0.1], [90, 80], [15, 30]) > limit_log10(3)
    True
    """
    path = log10_evidence_path(shares, champion_events, challenger_events, is_better=is_better)
    return float(path[-1]) if path.size else 0.0


def log10_evidence_path(
    shares: ArrayLike, champion_events: ArrayLike, challenger_events: ArrayLike, *, is_better: bool = False
) -> Floats:
    """Return `log10_evidence` after each interval, shape (n,).

    It is what the evidence was at those times only if the events of an interval do not arrive later than the next ones.
    """
    w = _shares(shares)
    events = [
        _whole_numbers(name, counts, w.size)
        for name, counts in (("champion_events", champion_events), ("challenger_events", challenger_events))
    ]
    total = events[0] + events[1]
    mine, share = (events[0], 1.0 - w) if is_better else (events[1], w)
    mine, total = (np.where((w > 0) & (w < 1), counts, 0.0) for counts in (mine, total))
    theta = np.array(RATE_RATIOS, dtype=np.float64)[:, None]
    # c log(p / w) + (k - c) log((1 - p) / (1 - w)) with p = w theta / (1 + w (theta - 1)), without its cancellations.
    ratios = np.cumsum(mine * np.log(theta) - total * np.log1p(share * (theta - 1.0)), axis=1)
    largest = ratios.max(axis=0)
    path: Floats = (largest + np.log(np.exp(ratios - largest).mean(axis=0))) / math.log(10.0)
    return path


def limit_log10(guardrails: int, alpha: float = ALPHA) -> float:
    """Return the log10 of evidence from which a guardrail rolls back: log10(guardrails / alpha).

    If no event rate of the challenger is higher, any of the guardrails reaches it with probability alpha at most, in a
    rollout of any length.

    Raises
    ------
    EvidenceInputError
        There is no guardrail, or alpha is not between 0 and 1.
    """
    if guardrails < 1:
        raise EvidenceInputError(f"guardrails: expected 1 or more, got {guardrails}.")
    _check_alpha(alpha)
    return math.log10(guardrails / alpha)


def share_of_next_event(share: float, known: float = 0.0) -> float:
    """Return the share with which an event of a routing key counts; 0 if it is no evidence.

    A key belongs to the challenger while its hash value, uniform between 0 and 1, is below the share. Each counted
    event tells something about that value. The next one counts with the probability that it belongs to the challenger
    given what is known, so that it does not count the same luck again.

    Parameters
    ----------
    share
        That the request was routed by.
    known
        A bound below which the hash value is not: 0 before the first counted event of the key, the largest share of
        those that belonged to the champion, and 1 after one that belonged to the challenger.

    Raises
    ------
    EvidenceInputError
        One of them is not between 0 and 1.

    Examples
    --------
    >>> share_of_next_event(0.1)
    0.1
    >>> share_of_next_event(0.1, known=0.1)  # the champion's again: that was certain
    0.0
    >>> share_of_next_event(0.25, known=0.1)  # a sixth of the keys that the champion had at 0.1 have moved
    0.16666666666666666
    """
    for name, value in (("share", share), ("known", known)):
        if not 0.0 <= value <= 1.0:
            raise EvidenceInputError(f"{name}: expected a number from 0 to 1, got {value}.")
    return (share - known) / (1.0 - known) if share > known else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What is known of a version's values: their number, sum and sum of squares in each interval, shape (n,).

    Values are absolute errors or latencies, or 0 and 1 for a rate; for shadows the challenger's minus the champion's.

    Attributes
    ----------
    added
        Rows, total and squares that count for the variance of a rate, so that it is not 0 before the first event
        (Agresti and Coull 1998): two events and two rows without one, or one pair for each version and two without.
    """

    rows: ArrayLike
    total: ArrayLike
    squares: ArrayLike
    added: tuple[int, int, int] = (0, 0, 0)

    @classmethod
    def of_events(cls, rows: ArrayLike, events: ArrayLike) -> Self:
        """Return the sums of a rate from the number of rows and of those with an event."""
        n = _whole_numbers("rows", rows)
        found = _whole_numbers("events", events, n.size)
        _check_most("rows", n, found)
        return cls(n, found, found, (4, 2, 2))

    @classmethod
    def of_pairs(cls, pairs: ArrayLike, champion_only: ArrayLike, challenger_only: ArrayLike) -> Self:
        """Return the sums of differences from the number of pairs, and of those with an event of one version only."""
        n = _whole_numbers("pairs", pairs)
        champion = _whole_numbers("champion_only", champion_only, n.size)
        challenger = _whole_numbers("challenger_only", challenger_only, n.size)
        _check_most("pairs", n, champion + challenger)
        return cls(n, challenger - champion, challenger + champion, (4, 0, 2))

    @property
    def fewest_rows(self) -> int:
        """The number of rows from which a confidence sequence may be read."""
        return FEWEST_ROWS_OF_RATE if any(self.added) else FEWEST_ROWS


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of means, the challenger's minus the champion's, in the unit of the values.

    Attributes
    ----------
    estimate
        None if no interval has rows of both versions.
    low, high
        The confidence sequence; None while it may not be read.
    champion_rows, challenger_rows
        The number of rows, both that of pairs for a shadow.
    """

    estimate: float | None
    low: float | None
    high: float | None
    champion_rows: int
    challenger_rows: int


def difference_sequence(
    shares: ArrayLike, champion: Sums, challenger: Sums, *, alpha: float = 0.05, tightest_at: float = TIGHTEST_AT
) -> Difference:
    """Return the difference of two means with a confidence sequence, which may be read at any time.

    Versions are compared within each share, and the differences are averaged with the weights n1 n0 / (n1 + n0) of
    Cochran, Mantel and Haenszel. The means of all rows could differ only because the values change over time and the
    challenger receives more of the later rows.

    The sequence contains the true difference at all times together with probability 1 - alpha (normal mixture: Robbins
    1970; Howard et al. 2021, eq. 14; with an estimated variance: Waudby-Smith et al. 2021). It is asymptotic: None
    until each version has 100 rows of a rate or 500 of other values, and heavy tails need more (with lognormal values
    of sigma 1.5 it misses in 7 % of rollouts instead of 5 %). It assumes that the share alone decides which version a
    request gets, that requests are independent, and that values have a variance. With routing keys, the rows of a key
    are not independent: pass the mean of each key as one value, from the current share only.

    Parameters
    ----------
    shares
        As for `log10_evidence`.
    champion, challenger
        Of the rows of each version in each interval, shape (n,).
    alpha
        Of the sequence.
    tightest_at
        The n1 n0 / (n1 + n0) at which it is tightest. Choose it before the rollout.

    Raises
    ------
    EvidenceInputError
        A share or a sum is impossible, or their lengths differ.
    """
    _check_alpha(alpha, tightest_at)
    strata, places = np.unique(_shares(shares), return_inverse=True)
    n0, mean0, variance0 = _moments("champion", champion, places, strata.size)
    n1, mean1, variance1 = _moments("challenger", challenger, places, strata.size)
    is_compared = (n0 > 0) & (n1 > 0) & (strata > 0) & (strata < 1)
    rows = int(n0.sum()), int(n1.sum())
    if not is_compared.any():
        return Difference(None, None, None, *rows)
    n0, n1 = n0[is_compared], n1[is_compared]
    weights = n0 * n1 / (n0 + n1)
    size = float(weights.sum())
    estimate = float(weights @ (mean1 - mean0)[is_compared]) / size
    variance = float(weights**2 @ (variance0[is_compared] / n0 + variance1[is_compared] / n1)) / size
    if n0.sum() < champion.fewest_rows or n1.sum() < challenger.fewest_rows:
        return Difference(estimate, None, None, *rows)
    radius = _radius(variance, size, alpha, tightest_at)
    return Difference(estimate, estimate - radius, estimate + radius, *rows)


def paired_difference_sequence(
    differences: Sums, *, alpha: float = 0.05, tightest_at: float = 2 * TIGHTEST_AT
) -> Difference:
    """Return the mean difference of pairs with a confidence sequence, for shadows.

    As `difference_sequence`, for requests that both versions predicted; 100 or 500 is the number of pairs.

    Parameters
    ----------
    differences
        The challenger's value minus the champion's, of the pairs in each interval.
    tightest_at
        The number of pairs at which it is tightest.
    """
    _check_alpha(alpha, tightest_at)
    places = np.zeros(np.size(differences.rows), dtype=np.intp)
    (n,), (mean,), (variance,) = _moments("differences", differences, places, 1)
    if n < 1:
        return Difference(None, None, None, 0, 0)
    if n < differences.fewest_rows:
        return Difference(float(mean), None, None, int(n), int(n))
    radius = _radius(float(variance), float(n), alpha, tightest_at)
    return Difference(float(mean), float(mean) - radius, float(mean) + radius, int(n), int(n))


def _radius(variance: float, size: float, alpha: float, tightest_at: float) -> float:
    """Return half the width of a confidence sequence for a mean of `size` values with this variance."""
    # Howard et al. 2021, eq. 12: the best rho for an intrinsic time, with the usual expansion of Lambert's W.
    spread = -2.0 * math.log(alpha)
    rho = tightest_at / (spread + math.log1p(spread))
    return math.sqrt(variance * (size + rho) * (math.log1p(size / rho) + spread)) / size


def _moments(name: str, sums: Sums, places: NDArray[np.intp], strata: int) -> tuple[Floats, Floats, Floats]:
    """Return the number of rows, their mean and their variance in each stratum; 0 where there are no rows."""
    rows = _whole_numbers(f"{name}.rows", sums.rows, places.size)
    total = _numbers(f"{name}.total", sums.total, places.size)
    squares = _numbers(f"{name}.squares", sums.squares, places.size)
    # Cauchy and Schwarz, with room for the rounding of sums
    if (wrong := np.flatnonzero(squares * rows * (1 + 1e-9) < total**2)).size:
        raise EvidenceInputError(
            f"{name}.squares[{wrong[0]}]: a sum of squares of {squares[wrong[0]]:g} is too small for the sum "
            f"{total[wrong[0]]:g} of {rows[wrong[0]]:,.0f} values."
        )
    n, sum_, sum_of_squares = (np.bincount(places, each, strata).astype(np.float64) for each in (rows, total, squares))
    more, more_total, more_squares = sums.added
    size = np.maximum(n + more, 1.0)
    deviations = np.maximum(sum_of_squares + more_squares - (sum_ + more_total) ** 2 / size, 0.0)
    return n, sum_ / np.maximum(n, 1.0), deviations / np.maximum(size - 1.0, 1.0)


def _check_alpha(alpha: float, tightest_at: float = 1.0) -> None:
    if not 0.0 < alpha < 1.0:
        raise EvidenceInputError(f"alpha: expected a number between 0 and 1, got {alpha}.")
    if not 0.0 < tightest_at < math.inf:
        raise EvidenceInputError(f"tightest_at: expected a number above 0, got {tightest_at}.")


def _check_most(name: str, rows: Floats, events: Floats) -> None:
    if (wrong := np.flatnonzero(events > rows)).size:
        at = wrong[0]
        raise EvidenceInputError(f"{name}[{at}]: {rows[at]:,.0f} are fewer than the {events[at]:,.0f} with an event.")


def _shares(shares: ArrayLike) -> Floats:
    w = _numbers("shares", shares)
    if (wrong := np.flatnonzero(~((w >= 0) & (w <= 1)))).size:
        raise EvidenceInputError(f"shares[{wrong[0]}]: expected a number from 0 to 1, got {w[wrong[0]]:g}.")
    return w


def _whole_numbers(name: str, values: ArrayLike, size: int | None = None) -> Floats:
    counts = _numbers(name, values, size)
    if (wrong := np.flatnonzero((counts < 0) | (counts != np.floor(counts)))).size:
        raise EvidenceInputError(f"{name}[{wrong[0]}]: expected a whole number from 0, got {counts[wrong[0]]:g}.")
    return counts


def _numbers(name: str, values: ArrayLike, size: int | None = None) -> Floats:
    """Return finite numbers, shape (size,)."""
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise EvidenceInputError(f"{name}: expected a list of numbers.") from error
    if numbers.ndim != 1:
        raise EvidenceInputError(f"{name}: expected a list with one number for each interval.")
    if size is not None and numbers.size != size:
        raise EvidenceInputError(f"{name}: expected {size} numbers, one for each interval, got {numbers.size}.")
    if (wrong := np.flatnonzero(~np.isfinite(numbers))).size:
        raise EvidenceInputError(f"{name}[{wrong[0]}]: expected a finite number, got {numbers[wrong[0]]}.")
    return numbers
