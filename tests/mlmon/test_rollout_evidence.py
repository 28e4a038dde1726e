"""The evidence about a challenger: exact enumeration, SciPy's binomial law and decimal arithmetic are the oracles."""

import math
from collections.abc import Callable, Sequence
from decimal import MAX_EMAX, MIN_EMIN, Decimal, localcontext
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from mlmon.exceptions import EvidenceInputError
from mlmon.rollout_evidence import (
    RATE_RATIOS,
    Sums,
    difference_sequence,
    limit_log10,
    log10_evidence,
    log10_evidence_path,
    paired_difference_sequence,
    share_of_next_event,
)

COUNTS = st.integers(0, 2_000)
INTERVALS = st.lists(st.tuples(st.sampled_from([0.001, 0.05, 0.1, 0.25, 0.5, 0.99]), COUNTS, COUNTS), min_size=1)
NOT_CONSTANT = (0.05, 0.3, 0.5)


def raw_evidence(shares: Sequence[float], champion: Sequence[int], challenger: Sequence[int]) -> float:
    """Return the evidence as the ratio of SciPy's binomial probabilities, the mean over the ratios of the rates."""
    ratios = []
    for theta in RATE_RATIOS:
        ratio = 1.0
        for w, other, c in zip(shares, champion, challenger, strict=True):
            p = w * theta / (w * theta + 1 - w)
            ratio *= binom.pmf(c, c + other, p) / binom.pmf(c, c + other, w)
        ratios.append(ratio)
    return float(np.mean(ratios))


@pytest.mark.parametrize(
    ("shares", "champion", "challenger"),
    [
        ([0.5], [0], [1]),
        ([0.05], [30], [6]),
        (NOT_CONSTANT, [100, 40, 7], [2, 30, 7]),
        ([0.25, 0.25, 0.9], [0, 12, 3], [0, 4, 40]),
    ],
)
def test_the_evidence_is_the_mean_ratio_of_likelihoods(
    shares: Sequence[float], champion: Sequence[int], challenger: Sequence[int]
) -> None:
    found = log10_evidence(shares, champion, challenger)
    assert found == pytest.approx(math.log10(raw_evidence(shares, champion, challenger)), abs=1e-9)


def test_the_evidence_of_requests_one_by_one() -> None:
    """Direct simulation: the likelihoods of each event's version, with the share that its request was routed by."""
    rng = np.random.default_rng(1)
    shares = np.repeat(NOT_CONSTANT, 700)
    is_challenger = rng.random(shares.size) < shares
    is_event = rng.random(shares.size) < np.where(is_challenger, 0.04, 0.02)
    ratios = np.ones(len(RATE_RATIOS))
    for w, belongs in zip(shares[is_event], is_challenger[is_event], strict=True):
        for place, theta in enumerate(RATE_RATIOS):
            p = w * theta / (w * theta + 1 - w)
            ratios[place] *= p / w if belongs else (1 - p) / (1 - w)
    counts = [
        [int(np.sum(is_event & (shares == w) & (is_challenger == which))) for w in NOT_CONSTANT]
        for which in (False, True)
    ]
    assert log10_evidence(NOT_CONSTANT, *counts) == pytest.approx(math.log10(ratios.mean()), abs=1e-9)


@pytest.mark.parametrize("is_better", [False, True])
def test_the_expectation_is_1_under_equality(is_better: bool) -> None:
    """Exact enumeration of all outcomes of 4, 3 and 6 events, with SciPy's binomial probabilities."""
    events = (4, 3, 6)
    expectation = 0.0
    for challenger in product(*(range(k + 1) for k in events)):
        probability = float(np.prod(binom.pmf(challenger, events, NOT_CONSTANT)))
        champion = np.array(events) - challenger
        expectation += probability * 10 ** log10_evidence(NOT_CONSTANT, champion, challenger, is_better=is_better)
    assert expectation == pytest.approx(1.0, abs=1e-12)


def constant(_: Sequence[bool]) -> float:
    return 0.3


def stepwise(before: Sequence[bool]) -> float:
    return (0.05, 0.1, 0.25, 0.5)[min(3, len(before) // 3)]


def falling_after_an_event(before: Sequence[bool]) -> float:
    """Return a share that a nervous person sets, who sees the events."""
    return 0.1 if before and before[-1] else 0.5


@pytest.mark.parametrize("share", [constant, stepwise, falling_after_an_event])
@pytest.mark.parametrize("is_better", [False, True])
def test_a_limit_is_reached_as_rarely_as_ville_says(share: Callable[[Sequence[bool]], float], is_better: bool) -> None:
    """Exact enumeration of all 8,192 sequences of 13 events, read after each; shares may depend on earlier events."""
    reached = dict.fromkeys((2.0, 5.0, 20.0), 0.0)
    expectation = 0.0
    for path in product([False, True], repeat=13):
        shares = np.array([share(path[:place]) for place in range(13)])
        belongs = np.array(path)
        probability = float(np.prod(np.where(belongs, shares, 1 - shares)))
        evidence = 10 ** log10_evidence_path(shares, ~belongs, belongs, is_better=is_better)
        expectation += probability * float(evidence[-1])
        for limit in reached:
            reached[limit] += probability * bool(evidence.max() >= limit)
    assert expectation == pytest.approx(1.0, abs=1e-9)
    assert reached[2.0] > 0.0
    assert all(probability <= 1 / limit for limit, probability in reached.items())


def test_a_key_that_moves_to_the_challenger_counts_with_its_conditional_share() -> None:
    """Exact enumeration of 20 equally likely hash values; the key has an event at each share."""
    conditional, repeated = 0.0, 0.0
    for value in np.arange(20) / 20 + 0.025:
        known, entries, naive = 0.0, [], []
        for share in (0.1, 0.1, 0.25, 0.2, 0.5):
            belongs = bool(value < share)
            entries.append((share_of_next_event(share, known), not belongs, belongs))
            naive.append((share, not belongs, belongs))
            known = 1.0 if belongs else max(known, share)
        conditional += 10 ** log10_evidence(*zip(*entries, strict=True)) / 20
        repeated += 10 ** log10_evidence(*zip(*naive, strict=True)) / 20
    assert conditional == pytest.approx(1.0, abs=1e-12)
    assert repeated > 1.2  # counted with its share each time, the same luck counts several times


def test_a_key_of_the_challenger_is_no_evidence_at_any_share() -> None:
    assert [share_of_next_event(share, known=1.0) for share in (0.0, 0.5, 1.0)] == [0.0, 0.0, 0.0]


@given(INTERVALS, st.randoms())
def test_order_and_merging_of_intervals_do_not_matter(intervals: list[tuple[float, int, int]], random: Any) -> None:
    shuffled = random.sample(intervals, len(intervals))
    merged: dict[float, list[int]] = {}
    for w, champion, challenger in intervals:
        entry = merged.setdefault(w, [0, 0])
        entry[0] += champion
        entry[1] += challenger
    expected = log10_evidence(*zip(*intervals, strict=True))
    assert log10_evidence(*zip(*shuffled, strict=True)) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    together = [(w, *counts) for w, counts in merged.items()]
    assert log10_evidence(*zip(*together, strict=True)) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(INTERVALS)
def test_the_roles_can_be_exchanged(intervals: list[tuple[float, int, int]]) -> None:
    shares, champion, challenger = zip(*intervals, strict=True)
    exchanged = log10_evidence([1 - w for w in shares], challenger, champion)
    better = log10_evidence(shares, champion, challenger, is_better=True)
    assert better == pytest.approx(exchanged, rel=1e-9, abs=1e-9)


@given(INTERVALS)
def test_an_event_of_the_challenger_is_evidence_and_one_of_the_champion_against_it(
    intervals: list[tuple[float, int, int]],
) -> None:
    before = log10_evidence(*zip(*intervals, strict=True))
    assert log10_evidence(*zip(*intervals, (0.25, 0, 1), strict=True)) > before
    assert log10_evidence(*zip(*intervals, (0.25, 1, 0), strict=True)) < before


@given(INTERVALS, st.sampled_from([0.0, 1.0]), COUNTS, COUNTS)
def test_without_two_versions_there_is_no_evidence(
    intervals: list[tuple[float, int, int]], share: float, champion: int, challenger: int
) -> None:
    for is_better in (False, True):
        before = log10_evidence(*zip(*intervals, strict=True), is_better=is_better)
        after = log10_evidence(*zip(*intervals, (share, champion, challenger), strict=True), is_better=is_better)
        assert after == before


@given(INTERVALS)
def test_the_path_ends_with_the_evidence_of_all(intervals: list[tuple[float, int, int]]) -> None:
    path = log10_evidence_path(*zip(*intervals, strict=True))
    for place in {0, len(intervals) // 2, len(intervals) - 1}:
        part = intervals[: place + 1]
        assert path[place] == pytest.approx(log10_evidence(*zip(*part, strict=True)), rel=1e-9, abs=1e-9)


def test_no_interval_is_no_evidence() -> None:
    assert log10_evidence([], [], []) == 0.0
    assert log10_evidence_path([], [], []).shape == (0,)
    assert log10_evidence([0.5], [0], [0]) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("share", "champion", "challenger"),
    [
        (0.5, 0, 10**9),
        (0.5, 10**9, 0),
        (0.5, 499_990_000, 500_010_000),
        (0.05, 950_000_000, 50_000_000),
        (1e-9, 10**9, 3),
        (1 - 1e-9, 3, 10**9),
    ],
)
def test_a_billion_events(share: float, champion: int, challenger: int) -> None:
    """Oracle: decimal arithmetic with 60 digits."""
    with localcontext() as context:
        context.prec, context.Emax, context.Emin = 60, MAX_EMAX, MIN_EMIN
        w = Decimal(share)
        total = Decimal(0)
        for theta in map(Decimal, map(str, RATE_RATIOS)):
            p = w * theta / (w * theta + 1 - w)
            total += (challenger * (p / w).ln() + champion * ((1 - p) / (1 - w)).ln()).exp()
        expected = float((total / len(RATE_RATIOS)).log10())
    assert log10_evidence([share], [champion], [challenger]) == pytest.approx(expected, rel=1e-12, abs=1e-5)


def test_the_limit_grows_with_the_number_of_guardrails() -> None:
    assert limit_log10(1) == pytest.approx(2.0)
    assert limit_log10(5, alpha=0.05) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: log10_evidence([0.5, 1.2], [1, 1], [1, 1]),
            r"^shares\[1\]: expected a number from 0 to 1, got 1\.2\.",
        ),
        (lambda: log10_evidence([-0.1], [1], [1]), r"^shares\[0\]: .* got -0\.1\."),
        (lambda: log10_evidence([math.nan], [1], [1]), r"^shares\[0\]: expected a finite number, got nan\."),
        (lambda: log10_evidence([0.5], [-1], [1]), r"^champion_events\[0\]: expected a whole number from 0, got -1\."),
        (lambda: log10_evidence([0.5], [1], [1.5]), r"^challenger_events\[0\]: expected a whole number .* got 1\.5\."),
        (lambda: log10_evidence([0.5], [1], [math.inf]), r"^challenger_events\[0\]: expected a finite number, got inf"),
        (lambda: log10_evidence([0.5], [1, 2], [1]), r"^champion_events: expected 1 numbers, .* got 2\."),
        (lambda: log10_evidence([0.5], ["many"], [1]), r"^champion_events: expected a list of numbers\."),
        (lambda: log10_evidence(0.5, 1, 1), r"^shares: expected a list with one number for each interval\."),
        (lambda: limit_log10(0), r"^guardrails: expected 1 or more, got 0\."),
        (lambda: limit_log10(1, alpha=1.0), r"^alpha: expected a number between 0 and 1, got 1\.0\."),
        (lambda: limit_log10(1, alpha=math.nan), r"^alpha: .* got nan\."),
        (lambda: share_of_next_event(1.5), r"^share: expected a number from 0 to 1, got 1\.5\."),
        (lambda: share_of_next_event(0.5, known=-1), r"^known: .* got -1\."),
        (lambda: Sums.of_events([10, 10], [1, 12]), r"^rows\[1\]: 10 are fewer than the 12 with an event\."),
        (lambda: Sums.of_events([10], [1, 1]), r"^events: expected 1 numbers, .* got 2\."),
        (lambda: Sums.of_pairs([10], [6], [5]), r"^pairs\[0\]: 10 are fewer than the 11 with an event\."),
        (
            lambda: difference_sequence([0.5], Sums([2], [4], [7]), Sums([2], [4], [8])),
            r"^champion\.squares\[0\]: a sum of squares of 7 is too small for the sum 4 of 2 values\.",
        ),
        (
            lambda: difference_sequence([0.5], Sums([2], [4], [8]), Sums([2], [math.nan], [8])),
            r"^challenger\.total\[0\]: expected a finite number, got nan\.",
        ),
        (
            lambda: difference_sequence([0.5], Sums([2], [4], [8]), Sums([2], [4], [8]), alpha=0),
            r"^alpha: expected a number between 0 and 1, got 0\.",
        ),
        (lambda: paired_difference_sequence(Sums([2], [0], [1]), tightest_at=0), r"^tightest_at: .* above 0, got 0\."),
    ],
)
def test_errors_name_the_field(call: Callable[[], object], message: str) -> None:
    with pytest.raises(EvidenceInputError, match=message):
        call()
