"""Pairs and their ratios, with a clock that the test controls."""

import pytest

from benchmarks.timing import Elapsed, paired, spread, timed


class Clock:
    """A clock that moves only when a side runs."""

    def __init__(self) -> None:
        self.now = 0.0
        self.runs: list[str] = []

    def side(self, name: str, *seconds: float) -> "Side":
        return Side(self, name, list(seconds))


class Side:
    def __init__(self, clock: Clock, name: str, seconds: list[float]) -> None:
        self._clock, self._name, self._seconds = clock, name, seconds

    def __call__(self) -> Elapsed:
        def work() -> None:
            self._clock.runs.append(self._name)
            self._clock.now += self._seconds.pop(0)

        return timed(work, clock=lambda: self._clock.now, cpu_clock=lambda: 3 * self._clock.now)[0]


def test_sides_run_alternately_and_each_pair_gives_one_ratio() -> None:
    clock = Clock()
    ours, theirs = clock.side("ours", 1.0, 4.0, 2.0), clock.side("theirs", 10.0, 16.0, 4.0)

    times = paired(ours, theirs, pairs=3, budget_seconds=1000)

    assert clock.runs == ["ours", "theirs"] * 3
    # By hand: 1/10, 4/16 and 2/4. The ratio of the medians would be 2/10.
    assert times.ratio.median == pytest.approx(0.25)
    assert times.ratio.minimum == pytest.approx(0.1)
    assert (times.ours_seconds.median, times.theirs_seconds.median) == (2.0, 10.0)
    assert times.cpu_ratio == times.ratio
    assert times.pairs[1].ours.cpu_seconds == pytest.approx(12.0)


def test_a_slow_minute_affects_both_sides_of_a_pair() -> None:
    clock = Clock()
    ours, theirs = clock.side("ours", 1.0, 8.0, 1.0), clock.side("theirs", 2.0, 16.0, 2.0)

    ratio = paired(ours, theirs, pairs=3, budget_seconds=1000).ratio

    assert (ratio.minimum, ratio.median, ratio.upper_quartile) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("pairs", "budget_seconds", "expected"),
    [(6, 1000, 6), (6, 7, 4), (6, 0, 3), (1, 1000, 3)],
    ids=["all", "until the budget is spent", "never fewer than three", "three if one is requested"],
)
def test_the_number_of_pairs(pairs: int, budget_seconds: float, expected: int) -> None:
    clock = Clock()
    ours, theirs = clock.side("ours", *[1.0] * 6), clock.side("theirs", *[1.0] * 6)

    assert len(paired(ours, theirs, pairs=pairs, budget_seconds=budget_seconds).pairs) == expected


def test_quartiles_equal_those_of_r() -> None:
    # R: quantile(c(7, 1, 3, 10), c(.25, .5, .75)), type 7, numpy's default.
    found = spread([7.0, 1.0, 3.0, 10.0])

    assert (found.lower_quartile, found.median, found.upper_quartile, found.minimum) == (2.5, 5.0, 7.75, 1.0)


def test_one_number_is_its_own_spread() -> None:
    found = spread([2.0])

    assert {found.lower_quartile, found.median, found.upper_quartile, found.minimum} == {2.0}


def test_the_result_of_a_timed_function_is_returned() -> None:
    elapsed, result = timed(lambda: sum(range(1000)))

    assert result == 499_500
    assert elapsed.seconds > 0
