"""Compare the durations of two functions on a machine that also does other work.

The two sides run alternately, A, B, A, B, …, and each pair gives one ratio, because other load slows both sides of a
pair. The result is the median of the ratios, never a single time.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FEWEST_PAIRS = 3


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, quartiles and minimum of some numbers."""

    median: float
    lower_quartile: float
    upper_quartile: float
    minimum: float


@dataclass(frozen=True, slots=True)
class Elapsed:
    """Duration of one run.

    Attributes
    ----------
    seconds
        Wall-clock time.
    cpu_seconds
        CPU time of all threads of the process.
    """

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Pair:
    """One run of each side, directly after each other."""

    ours: Elapsed
    theirs: Elapsed


@dataclass(frozen=True, slots=True)
class PairedTimes:
    """All pairs of one comparison, in the order in which they ran."""

    pairs: tuple[Pair, ...]

    @property
    def ratio(self) -> Spread:
        """Our wall-clock time divided by theirs, pair by pair."""
        return spread([pair.ours.seconds / pair.theirs.seconds for pair in self.pairs])

    @property
    def cpu_ratio(self) -> Spread:
        """Our CPU time divided by theirs, pair by pair."""
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
    """Return the spread of at least one number; quartiles are interpolated linearly, as in NumPy's default."""
    if len(numbers) == 1:
        return Spread(numbers[0], numbers[0], numbers[0], numbers[0])
    lower, median, upper = statistics.quantiles(numbers, n=4, method="inclusive")
    return Spread(median=median, lower_quartile=lower, upper_quartile=upper, minimum=min(numbers))


def spread_text(numbers: Spread) -> str:
    """Return the quartiles with three significant digits."""
    return f"{numbers.lower_quartile:.3g} to {numbers.upper_quartile:.3g}"


def paired(
    ours: Callable[[], Elapsed], theirs: Callable[[], Elapsed], *, pairs: int, budget_seconds: float
) -> PairedTimes:
    """Run two sides alternately, ours first.

    Parameters
    ----------
    ours, theirs
        Functions that run one side once and return its duration. Set-up must be done before.
    pairs
        Number of pairs, at least 3.
    budget_seconds
        No pair starts after this time, except for the first 3.
    """
    measured: list[Pair] = []
    spent = 0.0
    for index in range(max(pairs, FEWEST_PAIRS)):
        if index >= FEWEST_PAIRS and spent >= budget_seconds:
            break
        measured.append(Pair(ours=ours(), theirs=theirs()))
        spent += measured[-1].ours.seconds + measured[-1].theirs.seconds
    return PairedTimes(tuple(measured))


def paired_calls(
    ours: Callable[[], Any], theirs: Callable[[], Any], *, pairs: int, budget_seconds: float
) -> PairedTimes:
    """Time two functions of this process alternately, as in `paired`."""
    return paired(lambda: timed(ours)[0], lambda: timed(theirs)[0], pairs=pairs, budget_seconds=budget_seconds)


def timed(
    function: Callable[[], Any],
    *,
    clock: Callable[[], float] = time.perf_counter,
    cpu_clock: Callable[[], float] = time.process_time,
) -> tuple[Elapsed, Any]:
    """Run `function` once; return its duration and its result."""
    cpu_started, started = cpu_clock(), clock()
    result = function()
    seconds, cpu_seconds = clock() - started, cpu_clock() - cpu_started
    return Elapsed(seconds=seconds, cpu_seconds=cpu_seconds), result
