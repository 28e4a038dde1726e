"""The benchmark of rollouts, with few of them."""

import json
import math

import numpy as np
import pytest

from benchmarks.rollouts import (
    CHANGES,
    COUNTINGS,
    STEP_CHALLENGER_REQUESTS,
    STEPS,
    conditional_share,
    controlled_steps,
    figures_of,
    independent,
    missed,
    seeded,
    text_of,
    with_keys,
)


def test_a_much_worse_challenger_is_rolled_back_soon() -> None:
    """The documented medians are 9 and 137 requests."""
    for name, most in (("slow requests 5 to 50 %", 40), ("wrong predictions 10 to 20 %", 600)):
        champion, challenger, _ = CHANGES[name]
        assert all(independent(seeded(number), champion, challenger) < most for number in range(5))


def test_a_better_challenger_is_not_rolled_back() -> None:
    assert math.isinf(independent(seeded(1), 0.2, 0.1))


def test_counting_every_event_of_a_key_rolls_back_equal_versions() -> None:
    outcomes = [with_keys(seeded(number), "visits", 0.1) for number in range(10)]
    shares = {name: sum(math.isfinite(one[name]) for one in outcomes) for name in COUNTINGS}
    assert shares["every event"] >= 3
    assert shares["conditional share"] == 0


def test_steps_end_with_the_least_number_of_challenger_requests() -> None:
    values = np.random.default_rng(1).random(30_000)
    steps, end = controlled_steps(values)
    for step, share in enumerate(STEPS):
        of_step = np.flatnonzero(steps == step)
        if step < STEPS.size - 1:
            received = np.count_nonzero(values[of_step] < share)
            assert received == STEP_CHALLENGER_REQUESTS if share < 0.2 else received > STEP_CHALLENGER_REQUESTS
        assert of_step.size >= 2_500
    assert np.all(np.diff(steps) >= 0)
    assert end < 30_000


def test_the_conditional_shares_are_those_of_a_loop_over_all_events() -> None:
    """Oracle: the rule as documented, event by event."""
    rng = np.random.default_rng(2)
    keys = rng.integers(0, 60, 4_000)
    steps = np.arange(4_000) * 4 // 4_000
    values = rng.random(60)
    belongs = values[keys] < STEPS[steps]
    events = np.flatnonzero(rng.random(4_000) < 0.05)
    known: dict[int, float] = {}
    expected = []
    for place in events.tolist():
        share, before = float(STEPS[steps[place]]), known.get(int(keys[place]), 0.0)
        if share > before:
            expected.append((place, (share - before) / (1 - before)))
            known[int(keys[place])] = 1.0 if belongs[place] else share
    places, shares = conditional_share(events, keys, steps, belongs)
    assert places.tolist() == [place for place, _ in expected]
    assert shares == pytest.approx([share for _, share in expected])
    assert len(set(shares.round(6).tolist())) > 4


def test_the_figures_state_what_was_missed() -> None:
    figures = json.loads(json.dumps(figures_of(3) | {"seconds": 1.0}, allow_nan=False))
    assert set(figures["median_challenger_requests"]) == set(CHANGES)
    assert "slow requests 5 to 50 %" in text_of(figures)
    figures["false_rollbacks"]["0.1"] = 0.02
    figures["median_challenger_requests"]["errors 0 to 1 %"] = 400
    figures["median_challenger_requests"]["errors .1 to 2 %"] = None
    figures["false_rollbacks_with_keys"]["conditional share"]["regulars"]["0.3"] = 0.016
    expected = {
        "equal versions at 0.1",
        "errors 0 to 1 %",
        "errors .1 to 2 %",
        "conditional share, regulars at 0.3",
    }
    assert expected <= set(missed(figures))
    assert "never" in text_of(figures)
