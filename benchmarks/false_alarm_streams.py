"""Simulated streams of observations: quiet ones, and ones in which something changes.

A stream is a reference, one window of 1,000 rows like it, and the rows that follow. Where nothing else is said, a
stream has ten features of one kind, of which the first one changes. docs/benchmarks.md has the list and the results.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtri

FEATURES = 10
QUIET_CHECKS, CHANGED_CHECKS = 200, 60
FIVE = np.array([0.4, 0.25, 0.2, 0.1, 0.05])
PREDICTIONS = "predictions"  # among the columns
BURN_IN_ROWS = 5_000

Generator: TypeAlias = np.random.Generator
Matrix: TypeAlias = NDArray[np.float64]
# By name: numbers as float64, NaN is missing; categories as int64, -1 is missing. All have the same length.
Columns: TypeAlias = dict[str, NDArray[Any]]
Make: TypeAlias = Callable[[Generator, int], Columns]
Change: TypeAlias = Callable[[Generator, Columns], Columns]


@dataclass(frozen=True, slots=True)
class Stream:
    """A kind of stream.

    Attributes
    ----------
    make
        Returns this many rows.
    change
        Returns the rows that follow the first window, changed; None for a quiet stream.
    weight
        Times the number of streams that a run simulates of most kinds.
    """

    make: Make
    change: Change | None = None
    reference_rows: int = 10_000
    weight: float = 1.0

    @property
    def checks(self) -> int:
        """How many checks there are, one every 100 rows."""
        return QUIET_CHECKS if self.change is None else CHANGED_CHECKS


def numbers(draw: Callable[[Generator, int], Matrix]) -> Make:
    """Return numeric features from their values, shape (rows, features)."""
    return lambda rng, rows: {f"number_{place}": column for place, column in enumerate(draw(rng, rows).T)}


def autoregressive(rho: float, features: int = FEATURES) -> Callable[[Generator, int], Matrix]:
    """Return AR(1) with mean 0 and variance 1; a random walk with steps of variance 1 for rho = 1."""

    def draw(rng: Generator, rows: int) -> Matrix:
        if not rho:
            return rng.normal(size=(rows, features))
        noise = rng.normal(size=(rows + BURN_IN_ROWS, features)) * (np.sqrt(1 - rho * rho) if rho < 1 else 1.0)
        filtered: Matrix = lfilter([1], [1, -rho], noise, axis=0)[BURN_IN_ROWS:]
        return filtered

    return draw


def cycles(length: int, *, is_common: bool = False) -> Callable[[Generator, int], Matrix]:
    """Return sines of amplitude 2 plus noise of variance 1. Each has a phase of its own, unless all have a common one.

    Parameters
    ----------
    length
        In rows.
    """

    def draw(rng: Generator, rows: int) -> Matrix:
        phases = np.arange(rows)[:, None] / length + rng.random(1 if is_common else FEATURES)
        return 2 * np.sin(2 * np.pi * phases) + rng.normal(size=(rows, FEATURES))

    return draw


def common_factor(share: float) -> Callable[[Generator, int], Matrix]:
    """Return features that share a part of their variance, which is then the correlation of every two of them."""

    def draw(rng: Generator, rows: int) -> Matrix:
        factor, own = rng.normal(size=(rows, 1)), rng.normal(size=(rows, FEATURES))
        features: Matrix = np.sqrt(share) * factor + np.sqrt(1 - share) * own
        return features

    return draw


def correlated(rho: float) -> Callable[[Generator, int], Matrix]:
    """Return independent features but for the first two, which have this correlation."""

    def draw(rng: Generator, rows: int) -> Matrix:
        drawn = rng.normal(size=(rows, FEATURES))
        drawn[:, 1] = rho * drawn[:, 0] + np.sqrt(1 - rho * rho) * drawn[:, 1]
        return drawn

    return draw


def zero_inflated(share: float) -> Callable[[Generator, int], Matrix]:
    """Return features of which a share is 0 and the rest exponential."""

    def draw(rng: Generator, rows: int) -> Matrix:
        is_zero = rng.random((rows, FEATURES)) < share
        return np.where(is_zero, 0.0, rng.exponential(size=(rows, FEATURES)))

    return draw


def categories(shares: NDArray[np.float64], rho: float = 0.0) -> Make:
    """Return categorical features with these shares, cut from AR(1)."""
    cuts = ndtri(np.cumsum(shares)[:-1] / np.sum(shares))

    def make(rng: Generator, rows: int) -> Columns:
        drawn = autoregressive(rho)(rng, rows)
        return {f"category_{place}": np.searchsorted(cuts, column) for place, column in enumerate(drawn.T)}

    return make


def with_missing(share: float, burst_rows: float = 1, correlation: float = 0.0) -> Make:
    """Return normal features of which a share is missing, at random or in bursts of this mean length."""

    def make(rng: Generator, rows: int) -> Columns:
        drawn = common_factor(correlation)(rng, rows)
        if burst_rows == 1:
            drawn[rng.random(drawn.shape) < share] = np.nan
        else:
            for feature in range(FEATURES):
                for start in rng.integers(0, rows, rng.poisson(rows * share / burst_rows)).tolist():
                    drawn[start : start + rng.geometric(1 / burst_rows), feature] = np.nan
        return numbers(lambda _rng, _rows: drawn)(rng, rows)

    return make


def with_predictions(share: float) -> Make:
    """Return independent normal features with two predicted classes, of which the second one has this share."""

    def make(rng: Generator, rows: int) -> Columns:
        return NORMAL(rng, rows) | {PREDICTIONS: (rng.random(rows) < share).astype(np.int64)}

    return make


def shuffled_mixture(rng: Generator, rows: int) -> Columns:
    """Return AR(1) numbers and categories with missing values and predictions that depend on them, all rows shuffled.

    The order of such a table says nothing, like that of an export that was sorted by a hash.
    """
    drawn = autoregressive(0.9)(rng, rows)[rng.permutation(rows)]
    columns: Columns = {}
    for place in range(5):
        columns[f"number_{place}"] = np.where(rng.random(rows) < 0.04 * place, np.nan, np.exp(drawn[:, place]))
    for place, shares in enumerate((FIVE, np.ones(2), ZIPF[:50], ZIPF[:300])):
        cuts = ndtri(np.cumsum(shares)[:-1] / shares.sum())
        codes = np.searchsorted(cuts, drawn[:, 5 + place])
        columns[f"category_{place}"] = np.where(rng.random(rows) < 0.02 * place, -1, codes)
    columns["number_5"] = np.where(drawn[:, 0] > 1, np.nan, np.round(2 * drawn[:, 9]))  # missing where another is large
    return columns | {PREDICTIONS: (drawn.mean(axis=1) + 0.3 * rng.normal(size=rows) > 0).astype(np.int64)}


def of_first(change: Callable[[Generator, NDArray[Any]], NDArray[Any]]) -> Change:
    """Return a change of the first column alone."""

    def changed(rng: Generator, columns: Columns) -> Columns:
        first = next(iter(columns))
        return columns | {first: change(rng, columns[first])}

    return changed


def chosen(rng: Generator, values: NDArray[Any], share: float) -> NDArray[np.bool_]:
    """Return a random choice of this share of the values."""
    return rng.random(values.size) < share


def redrawn(make: Make) -> Change:
    """Return a change to other rows altogether."""
    return lambda rng, columns: make(rng, next(iter(columns.values())).size)


def added(standard_deviations: float) -> Change:
    """Return a shift of the first feature, whose standard deviation is 1."""
    return of_first(lambda _rng, x: x + standard_deviations)


def replaced(share: float, category: int) -> Change:
    """Return a change in which a share of the first feature's values become this category."""
    return of_first(lambda rng, x: np.where(chosen(rng, x, share), category, x))


NORMAL = numbers(autoregressive(0.0))
ZIPF = 1 / np.arange(1, 3001)
RARE = np.append(FIVE * 0.99, np.full(10, 0.001))  # five categories and ten rare ones
SHORT = 2_000
_NUMBERS: Mapping[str, Make] = {
    **{f"zeros {share:.0%}": numbers(zero_inflated(share)) for share in (0.9, 0.95)},
    "heavy tails": numbers(lambda rng, rows: rng.standard_t(3, size=(rows, FEATURES))),
    "Poisson": numbers(lambda rng, rows: rng.poisson(3, (rows, FEATURES)).astype(float)),
    "negative binomial": numbers(lambda rng, rows: rng.negative_binomial(2, 0.1, (rows, FEATURES)).astype(float)),
}
_LONG: Mapping[str, Stream] = {
    "independent": Stream(NORMAL, weight=2),
    "independent, 1 feature": Stream(numbers(autoregressive(0.0, 1)), weight=3),
    "independent, 100 features": Stream(numbers(autoregressive(0.0, 100)), weight=0.2),
    **{f"AR {rho}": Stream(numbers(autoregressive(rho))) for rho in (0.5, 0.8, 0.9, 0.95, 0.99)},
    "random walk": Stream(numbers(autoregressive(1.0))),
    **{f"cycle of {length:,}": Stream(numbers(cycles(length))) for length in (100, 500, 1_000, 5_000)},
    "five categories": Stream(categories(FIVE)),
    "five categories and ten of .1 %": Stream(categories(RARE)),
    "AR 0.9 categories": Stream(categories(FIVE, 0.9)),
    "1,000 equal categories": Stream(categories(np.ones(1000)), weight=0.5),
    "Zipf 1,000": Stream(categories(ZIPF[:1000]), weight=0.5),
    **{f"missing {share:.0%}": Stream(with_missing(share)) for share in (0.01, 0.05, 0.2)},
    **{f"missing {share:.0%} in bursts": Stream(with_missing(share, 10)) for share in (0.01, 0.05, 0.2)},
    **{name: Stream(make) for name, make in _NUMBERS.items()},
    "common factor": Stream(numbers(common_factor(0.5))),
    "common factor, missing 2% in bursts of 30": Stream(with_missing(0.02, 30, 0.8)),
    "common cycle of 500": Stream(numbers(cycles(500, is_common=True))),
    "shuffled mixture": Stream(shuffled_mixture),
}
_SHORT: Mapping[str, Make] = {
    "independent": NORMAL,
    **{f"AR {rho}": numbers(autoregressive(rho)) for rho in (0.9, 0.99)},
    "random walk": numbers(autoregressive(1.0)),
    **{f"cycle of {length:,}": numbers(cycles(length)) for length in (1_000, 5_000)},
    "AR 0.9 categories": categories(FIVE, 0.9),
    "1,000 equal categories": categories(np.ones(1000)),
    "Zipf 1,000": categories(ZIPF[:1000]),
    **{f"missing {share:.0%} in bursts": with_missing(share, 10) for share in (0.01, 0.05, 0.2)},
    **_NUMBERS,
}
QUIET: Mapping[str, Stream] = {
    **_LONG,
    **{
        f"{name}, m = 2,000": Stream(make, reference_rows=SHORT, weight=_LONG[name].weight if name in _LONG else 1.0)
        for name, make in _SHORT.items()
    },
}
CHANGED: Mapping[str, Stream] = {
    "mean + .25 sd": Stream(NORMAL, added(0.25)),
    "variance x 1.5": Stream(NORMAL, of_first(lambda _rng, x: x * np.sqrt(1.5))),
    "10 % at + 3 sd": Stream(NORMAL, of_first(lambda rng, x: x + 3 * chosen(rng, x, 0.1))),
    "2 % at + 8 sd": Stream(NORMAL, of_first(lambda rng, x: x + 8 * chosen(rng, x, 0.02))),
    "gradual + .5 sd over 5,000 rows": Stream(
        NORMAL, of_first(lambda _rng, x: x + 0.5 * np.minimum(1, np.arange(x.size) / 5_000))
    ),
    "new category 2 %": Stream(categories(FIVE), replaced(0.02, 5)),
    "new category 2 % beside 1,000": Stream(categories(ZIPF[:1000]), replaced(0.02, 1000)),
    "new category 2 % beside 3,000": Stream(categories(ZIPF), replaced(0.02, 3000)),
    "rare category x 30": Stream(categories(RARE), replaced(0.029 / 0.999, 14)),
    "category + 10 points": Stream(categories(FIVE), replaced(0.125, 2)),
    "missing 5 to 10 %": Stream(
        with_missing(0.05), of_first(lambda rng, x: np.where(chosen(rng, x, 0.05 / 0.95), np.nan, x))
    ),
    "predictions 30 to 40 %": Stream(with_predictions(0.3), redrawn(with_predictions(0.4))),
    "correlation 0 to .5": Stream(numbers(correlated(0.0)), redrawn(numbers(correlated(0.5)))),
    "correlation .8 to .4": Stream(numbers(correlated(0.8)), redrawn(numbers(correlated(0.4)))),
    **{
        f"mean + .5 sd under a cycle of {length:,}": Stream(numbers(cycles(length)), added(0.5 * np.sqrt(3)))
        for length in (100, 500, 1_000)
    },
}
