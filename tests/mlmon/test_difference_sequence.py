"""Confidence sequences for differences: SciPy's integrals and direct simulation are the oracles."""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.stats import norm, ttest_ind

from mlmon.rollout_evidence import Difference, Sums, difference_sequence, paired_difference_sequence

SHARES = np.array([0.05, 0.1, 0.25, 0.5])
ROWS = 20_000
ROLLOUTS = 200
MOST_MISSED = 0.05 + 3 * math.sqrt(0.05 * 0.95 / ROLLOUTS)
Floats: TypeAlias = NDArray[np.float64]
Draw: TypeAlias = Callable[[np.random.Generator, NDArray[np.bool_]], Floats]


def readings(rng: np.random.Generator, draw: Draw, is_rate: bool, alpha: float = 0.05) -> list[Difference]:
    """Return 25 readings of one rollout through four shares."""
    places = np.arange(ROWS) * SHARES.size // ROWS
    is_challenger = rng.random(ROWS) < SHARES[places]
    values = draw(rng, is_challenger)
    found = []
    for rows in np.geomspace(400, ROWS, 25).astype(int):
        sides = []
        for which in (False, True):
            chosen = np.flatnonzero(is_challenger[:rows] == which)
            n, total, squares = (
                np.bincount(places[chosen], weights, SHARES.size)
                for weights in (np.ones(chosen.size), values[chosen], values[chosen] ** 2)
            )
            sides.append(Sums.of_events(n, total) if is_rate else Sums(n, total, squares))
        found.append(difference_sequence(SHARES, sides[0], sides[1], alpha=alpha))
    return found


def misses(found: list[Difference], truth: float) -> bool:
    return any(not (one.low or 0.0) <= truth <= (one.high or 0.0) for one in found if one.low is not None)


def rate(champion: float, challenger: float) -> Draw:
    return lambda rng, which: (rng.random(which.size) < np.where(which, challenger, champion)).astype(np.float64)


@pytest.mark.parametrize(
    ("draw", "is_rate", "truth"),
    [
        (rate(0.02, 0.02), True, 0.0),
        (rate(0.1, 0.2), True, 0.1),
        (lambda rng, which: np.abs(rng.normal(0, np.where(which, 2.0, 1.0))), False, math.sqrt(2 / math.pi)),
        (lambda rng, which: rng.lognormal(0.0, 0.5, which.size) + 0.1 * which, False, 0.1),
    ],
    ids=["equal rates", "rates", "absolute errors", "latencies"],
)
def test_the_sequence_contains_the_difference_at_all_times(draw: Draw, is_rate: bool, truth: float) -> None:
    """Direct simulation: a rollout misses if any of its readings does."""
    rng = np.random.default_rng(11)
    found = [readings(rng, draw, is_rate) for _ in range(ROLLOUTS)]
    assert sum(misses(one, truth) for one in found) / ROLLOUTS <= MOST_MISSED
    assert all(one[-1].low is not None for one in found)


def test_the_simulation_shows_sequences_that_are_too_narrow() -> None:
    rng = np.random.default_rng(11)
    missed = sum(misses(readings(rng, rate(0.1, 0.1), True, alpha=0.5), 0.0) for _ in range(ROLLOUTS))
    assert missed / ROLLOUTS > MOST_MISSED


def width(difference: Difference) -> float:
    assert difference.low is not None
    assert difference.high is not None
    return difference.high - difference.low


def standard_pairs(n: int) -> Sums:
    """Return sums of n values with mean 0 and variance 1."""
    return Sums([n], [0], [n - 1])


@pytest.mark.parametrize("n", [500, 2_000, 100_000])
def test_the_boundary_is_that_of_a_normal_mixture(n: int) -> None:
    """Oracle: the mixture integrated by SciPy is 1 / alpha where the sequence ends."""
    tightest_at, alpha = 1_000, 0.05
    rho = tightest_at / (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha)))
    end = n * width(paired_difference_sequence(standard_pairs(n), alpha=alpha, tightest_at=tightest_at)) / 2

    def mixed(slope: float) -> float:
        return math.exp(slope * end - slope**2 * n / 2) * float(norm.pdf(slope, scale=rho**-0.5))

    peak = end / (n + rho)
    reach = 12 / math.sqrt(n + rho)
    assert quad(mixed, peak - reach, peak + reach, epsabs=0)[0] == pytest.approx(1 / alpha, rel=1e-6)


def test_the_sequence_is_tightest_where_it_was_asked_to_be() -> None:
    sums = standard_pairs(4_000)
    widths = {at: width(paired_difference_sequence(sums, tightest_at=at)) for at in np.geomspace(400, 40_000, 41)}
    assert width(paired_difference_sequence(sums, tightest_at=4_000)) == pytest.approx(min(widths.values()), rel=1e-3)
    assert width(paired_difference_sequence(sums, tightest_at=400)) > 1.05 * min(widths.values())


def test_a_trend_does_not_look_like_a_difference() -> None:
    """The error rate of both versions rises from 2 to 20 % while the challenger's share does."""
    rates, n = np.array([0.02, 0.05, 0.1, 0.2]), np.full(4, 10_000.0)
    champion, challenger = n * (1 - SHARES), n * SHARES
    found = difference_sequence(
        SHARES,
        Sums.of_events(champion, np.round(champion * rates)),
        Sums.of_events(challenger, np.round(challenger * rates)),
    )
    assert found.estimate == pytest.approx(0.0, abs=1e-3)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0 < found.high
    pooled = (challenger * rates).sum() / challenger.sum() - (champion * rates).sum() / champion.sum()
    assert pooled > found.high


def test_shares_have_the_weights_of_cochran_mantel_and_haenszel() -> None:
    """By hand: differences of .1 and 0 with weights 900 x 100 / 1,000 and 500 x 500 / 1,000."""
    found = difference_sequence([0.1, 0.5], Sums.of_events([900, 500], [90, 50]), Sums.of_events([100, 500], [20, 50]))
    assert found.estimate == pytest.approx(0.1 * 90 / (90 + 250))


def test_intervals_with_the_same_share_are_one() -> None:
    split = difference_sequence(
        [0.1, 0.5, 0.1], Sums.of_events([900, 500, 400], [9, 5, 8]), Sums.of_events([100, 500, 50], [3, 9, 0])
    )
    merged = difference_sequence([0.1, 0.5], Sums.of_events([1300, 500], [17, 5]), Sums.of_events([150, 500], [3, 9]))
    assert split == merged


def test_with_one_share_the_estimate_is_the_difference_of_the_means() -> None:
    """Oracle: SciPy's Welch test for the standard error, of which the sequence is a multiple."""
    rng = np.random.default_rng(3)
    champion, challenger = rng.gamma(2.0, 1.0, 5_000), rng.gamma(2.0, 1.5, 1_000)
    found = difference_sequence(
        [0.2], *(Sums([x.size], [x.sum()], [np.square(x).sum()]) for x in (champion, challenger)), alpha=0.05
    )
    assert found.estimate == pytest.approx(challenger.mean() - champion.mean())
    assert (found.champion_rows, found.challenger_rows) == (5_000, 1_000)
    fixed = ttest_ind(challenger, champion, equal_var=False).confidence_interval(0.95)
    assert 1.3 < width(found) / (fixed.high - fixed.low) < 1.6


@pytest.mark.parametrize("discordant", [0.004, 0.05])
def test_paired_sequences_contain_the_difference_at_all_times(discordant: float) -> None:
    """Direct simulation: one version is wrong in `discordant` of the pairs, the challenger in 70 % of these."""
    rng = np.random.default_rng(5)
    truth, missed = 0.4 * discordant, 0
    ends = np.geomspace(100, ROWS, 40).astype(int)
    for _ in range(ROLLOUTS):
        is_one_wrong, is_challenger = rng.random(ROWS) < discordant, rng.random(ROWS) < 0.7
        ours, theirs = (np.cumsum(is_one_wrong & which)[ends - 1] for which in (is_challenger, ~is_challenger))
        found = [
            paired_difference_sequence(Sums.of_pairs([n], [champion], [challenger]))
            for n, champion, challenger in zip(ends, theirs, ours, strict=True)
        ]
        assert all(one.low is not None and one.high is not None for one in found)
        missed += misses(found, truth)
    assert missed / ROLLOUTS <= MOST_MISSED


def test_too_few_rows_have_no_interval() -> None:
    few = difference_sequence([0.5], Sums.of_events([99], [3]), Sums.of_events([500], [6]))
    assert (few.low, few.high) == (None, None)
    assert few.estimate == pytest.approx(6 / 500 - 3 / 99)
    assert difference_sequence([0.5], Sums.of_events([100], [3]), Sums.of_events([500], [6])).low is not None
    assert difference_sequence([0.5], Sums([499], [3], [3]), Sums([500], [6], [6])).low is None
    assert paired_difference_sequence(standard_pairs(499)).low is None
    assert paired_difference_sequence(Sums.of_pairs([99], [1], [1])).low is None


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_one_version_alone_cannot_be_compared(share: float) -> None:
    alone = difference_sequence([share], Sums([600], [3], [3]), Sums([600], [6], [6]))
    assert alone == Difference(None, None, None, 600, 600)
    assert difference_sequence([], Sums([], [], []), Sums([], [], [])) == Difference(None, None, None, 0, 0)
    assert paired_difference_sequence(Sums([], [], [])) == Difference(None, None, None, 0, 0)


def test_no_event_at_all_leaves_a_wide_interval() -> None:
    """The rule of three: 100 rows without an event are compatible with a rate of 3 %."""
    none = difference_sequence([0.5], Sums.of_events([100], [0]), Sums.of_events([100], [0]))
    assert none.estimate == 0.0
    assert none.high is not None
    assert none.high > 0.03
