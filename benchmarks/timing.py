"""Comparing how long two things take, fairly on a machine that does other things too.

The two sides run alternately, A, B, A, B, …, and each pair gives one ratio: what slows the machine for a while slows
both sides of a pair. The median of the ratios is the result; a single time never is.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

FEWEST_PAIRS = 3


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, quartiles and smallest of some numbers."""

    median: float
    lower_quartile: float
    upper_quartile: float
    minimum: float


@dataclass(frozen=True, slots=True)
class Elapsed:
    """What one run took.

    Attributes
    ----------
    seconds
        On the wall clock.
    cpu_seconds
        Of all threads of the process together.
    """

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Pair:
    """One run of each side, one straight after the other."""

    ours: Elapsed
    theirs: Elapsed


@dataclass(frozen=True, slots=True)
class PairedTimes:
    """All pairs of one comparison, in the order in which they ran."""

    pairs: tuple[Pair, ...]

    @property
    def ratio(self) -> Spread:
        """Ours divided by theirs, wall clock, pair by pair."""
        return spread([pair.ours.seconds / pair.theirs.seconds for pair in self.pairs])

    @property
    def cpu_ratio(self) -> Spread:
        """Ours divided by theirs, processor time, pair by pair."""
        return spread([pair.ours.cpu_seconds / pair.theirs.cpu_seconds for pair in self.pairs])

    @property
    def ours_seconds(self) -> Spread:
        """Wall-clock times of our side."""
        return spread([pair.ours.seconds for pair in self.pairs])

    @property
    def theirs_seconds(self) -> Spread:
        """Wall-clock times of the other side."""
        return spread([pair.theirs.seconds for pair in self.pairs])


def spread(numbers: list[float]) -> Spread:
    """Return the spread of at least one number; quartiles are interpolated linearly, as numpy's default does."""
    if len(numbers) == 1:
        return Spread(numbers[0], numbers[0], numbers[0], numbers[0])
    lower, median, upper = statistics.quantiles(numbers, n=4, method="inclusive")
    return Spread(median=median, lower_quartile=lower, upper_quartile=upper, minimum=min(numbers))


def paired(
    ours: Callable[[], Elapsed], theirs: Callable[[], Elapsed], *, pairs: int, budget_seconds: float
) -> PairedTimes:
    """Run two sides alternately, ours first.

    Parameters
    ----------
    ours, theirs
        Run a side once and say what it took; what the side needs only once is done before.
    pairs
        How many pairs to run, at least 3.
    budget_seconds
        No pair is begun once they have taken so long, except that there are never fewer than 3.
    """
    return PairedTimes(tuple(_pairs(ours, theirs, max(pairs, FEWEST_PAIRS), budget_seconds)))


def _pairs(
    ours: Callable[[], Elapsed], theirs: Callable[[], Elapsed], pairs: int, budget_seconds: float
) -> Iterator[Pair]:
    spent = 0.0
    for index in range(pairs):
        if index >= FEWEST_PAIRS and spent >= budget_seconds:
            return
        pair = Pair(ours=ours(), theirs=theirs())
        spent += pair.ours.seconds + pair.theirs.seconds
        yield pair


def timed(
    function: Callable[[], Any],
    *,
    clock: Callable[[], float] = time.perf_counter,
    cpu_clock: Callable[[], float] = time.process_time,
) -> tuple[Elapsed, Any]:
    """Run `function` once; return what it took, and its answer."""
    cpu_started, started = cpu_clock(), clock()
    answer = function()
    seconds, cpu_seconds = clock() - started, cpu_clock() - cpu_started
    return Elapsed(seconds=seconds, cpu_seconds=cpu_seconds), answer
