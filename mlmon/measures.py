"""The measures of drift: for each its name, its definition, its formula, and what it is computed from.

To add a measure, add a member of `Method` and an entry of `MEASURES`, and follow the recipe in docs/architecture.md.
Scores, policies, API, pages and reports read them from here.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

from mlmon.statistics.bins import LARGEST
from mlmon.statistics.counts import side_by_side

if TYPE_CHECKING:
    from mlmon.windows import CategoricalWindow, NumericWindow

PSEUDO_COUNT = 0.5  # rows added to each bin of both samples, so that an empty bin does not make PSI infinite
SMALLEST_STANDARD_DEVIATION = 1e-3  # evidently's floor: a constant reference would make any distance infinite

Counts: TypeAlias = NDArray[np.int64]
Pair: TypeAlias = tuple[Counts, Counts]  # of the reference and of the window, in the same bins or categories


class Method(StrEnum):
    """The measure that is the score of a feature."""

    KOLMOGOROV_SMIRNOV = "kolmogorov_smirnov"
    CHI_SQUARED = "chi_squared"
    WASSERSTEIN = "wasserstein"
    POPULATION_STABILITY_INDEX = "population_stability_index"
    JENSEN_SHANNON_DISTANCE = "jensen_shannon_distance"
    JENSEN_SHANNON_DIVERGENCE = "jensen_shannon_divergence"
    HELLINGER = "hellinger"
    L_INFINITY = "l_infinity"


@dataclass(frozen=True, slots=True)
class Measure:
    """One number about two distributions.

    Attributes
    ----------
    value
        The number. Null if it is not defined for these data.
    parameters
        How it was computed here, such as {"bins": 12}.
    """

    value: float | None
    parameters: Mapping[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MeasureDefinition:
    """What a measure is, and how it is computed.

    Attributes
    ----------
    name
        As pages and forms show it.
    text
        Formula, bins and logarithm, in a sentence or two. p is the reference's share, q the window's.
    largest
        The largest possible value; infinite if there is no bound that holds for all samples.
    oracle
        The software whose figures it equals.
    numeric
        Computes it for columns of numbers, which costs less for several at once.
    categorical
        Computes it for columns of categories; None if it needs an order.
    """

    name: str
    text: str
    largest: float
    oracle: str
    numeric: "Callable[[Sequence[NumericWindow]], list[Measure]]"
    categorical: "Callable[[Sequence[CategoricalWindow]], list[Measure]] | None"


def hellinger_distance(reference: Counts, current: Counts) -> NDArray[np.float64]:
    """Return sqrt(1/2 sum (sqrt p - sqrt q)^2) of two rows of counts: 0 for equal shares, 1 for disjoint ones.

    Parameters
    ----------
    reference, current
        Counts (or shares), shape (..., k), not negative. ValueError if a sample has no rows.
    """
    difference = np.sqrt(_shares(reference)) - np.sqrt(_shares(current))
    distance: NDArray[np.float64] = np.sqrt((difference * difference).sum(axis=-1) / 2.0)
    return np.minimum(1.0, distance)


def l_infinity_distance(reference: Counts, current: Counts) -> NDArray[np.float64]:
    """Return max |p - q| of two rows of counts, the largest change of a single share, in [0, 1].

    Parameters
    ----------
    reference, current
        Counts (or shares), shape (..., k), not negative. ValueError if a sample has no rows.
    """
    largest: NDArray[np.float64] = np.abs(_shares(reference) - _shares(current)).max(axis=-1)
    return largest


def jensen_shannon_divergence(reference: Counts, current: Counts) -> NDArray[np.float64]:
    """Return the divergence of two rows of counts, natural logarithm: 0 for equal shares, ln 2 for disjoint ones.

    Parameters
    ----------
    reference, current
        Counts (or shares), shape (..., k), not negative. ValueError if a sample has no rows.

    Returns
    -------
    NDArray
        In nats, in [0, ln 2], shape (...): the square of ``scipy.spatial.distance.jensenshannon``.

    Examples
    --------
    >>> float(jensen_shannon_divergence(np.array([50, 50]), np.array([80, 20])).round(4))
    0.0507
    """
    p, q = _shares(reference), _shares(current)
    mean = (p + q) / 2
    divergence: NDArray[np.float64] = (rel_entr(p, mean) + rel_entr(q, mean)).sum(axis=-1) / 2
    return np.clip(divergence, 0.0, math.log(2.0))  # rounding gives -1e-17 for equal shares


def jensen_shannon_distance(reference: Counts, current: Counts) -> NDArray[np.float64]:
    """Return the root of `jensen_shannon_divergence`: 0 for equal shares, sqrt(ln 2) = .8326 for disjoint ones.

    It is a metric (D. M. Endres and J. E. Schindelin, *A new metric for probability distributions*, 2003), and what
    evidently calls "jensenshannon". nannyml uses the logarithm to base 2: its figures are 1 / sqrt(ln 2) = 1.2011 times
    as large, over other bins.
    """
    return np.sqrt(jensen_shannon_divergence(reference, current))


def population_stability_index(reference: Counts, current: Counts) -> NDArray[np.float64]:
    """Return sum (p - q) ln(p / q), with half a row added to every bin of both samples.

    Parameters
    ----------
    reference, current
        Counts, shape (..., k), not negative. Bins that are empty in both are left out, so that naming a category
        without rows changes nothing. ValueError if a sample has no rows.

    Returns
    -------
    NDArray
        Shape (...), at least 0, without an upper bound: the sum of both Kullback-Leibler divergences (H. Jeffreys,
        1946), in nats. Because of the half row, samples of equal shares but different sizes differ a little: by less
        than k / (4 n) with n rows in the smaller one.
    """
    m, n = reference.sum(axis=-1, keepdims=True), current.sum(axis=-1, keepdims=True)
    if not (m.all() and n.all()):
        raise ValueError("Both samples need at least one row.")
    is_filled = (reference + current) > 0
    added = PSEUDO_COUNT * is_filled.sum(axis=-1, keepdims=True)
    p = (reference + PSEUDO_COUNT) / (m + added)
    q = (current + PSEUDO_COUNT) / (n + added)
    index: NDArray[np.float64] = np.where(is_filled, (p - q) * np.log(p / q), 0.0).sum(axis=-1)
    return np.maximum(0.0, index)


def wasserstein_distance(reference: NDArray[np.float64], current: NDArray[np.float64]) -> float:
    """Return W1, the integral of |F - G|: how far a value has to move on average to turn one sample into the other.

    It is also the integral of the distance of the two quantile functions. Those are steps of width 1/m and 1/n whose
    places do not depend on the values, so the two samples need not be merged.

    Parameters
    ----------
    reference, current
        Shapes (m,) and (n,), sorted ascending, finite, not empty.

    Returns
    -------
    float
        In the values' unit, in [0, range]: ``scipy.stats.wasserstein_distance``. Infinite only if the distance itself
        is beyond the largest float64.

    Raises
    ------
    ValueError
        A sample is empty or not finite.
    """
    if not reference.size or not current.size:
        raise ValueError("Both samples need at least one value.")
    ends = (float(reference[0]), float(reference[-1]), float(current[0]), float(current[-1]))
    if not all(map(math.isfinite, ends)):
        raise ValueError("The Wasserstein distance needs finite values.")
    longer, shorter = (reference, current) if reference.size >= current.size else (current, reference)
    m, n, scale = longer.size, shorter.size, 1.0
    if max(ends) - min(ends) >= LARGEST / m:  # the sum over all values would not fit into a float64
        scale = 2.0 ** (m.bit_length() + 2)
        longer, shorter = longer / scale, shorter / scale
    if m % n == 0:
        return scale * (float(np.abs(longer.reshape(n, m // n) - shorter[:, None]).sum()) / m)
    steps = _quantile_steps(m, n)
    total = float(np.abs(longer - shorter[steps.of_shorter]).sum()) / m
    straddling = longer[steps.straddling]
    correction = np.abs(straddling - shorter[1:]) - np.abs(straddling - shorter[:-1])
    return scale * (total + float(steps.beyond @ correction))


@dataclass(frozen=True, slots=True, eq=False)
class _QuantileSteps:
    """How the n steps of one quantile function lie among the m >= n steps of another.

    Step i of the longer sample, [i/m, (i+1)/m), lies in step floor(i n / m) of the shorter one, except for the steps
    that contain a break k/n: what is beyond the break belongs to the next step.

    Attributes
    ----------
    of_shorter
        floor(i n / m), shape (m,).
    straddling
        By break: the step that ends at it or beyond it, shape (n - 1,).
    beyond
        By break: the width of that step's part beyond it, shape (n - 1,).
    """

    of_shorter: NDArray[np.int64]
    straddling: NDArray[np.int64]
    beyond: NDArray[np.float64]


@functools.lru_cache(maxsize=4)  # the columns of a window have few different numbers of missing values
def _quantile_steps(m: int, n: int) -> _QuantileSteps:
    breaks = np.arange(1, n, dtype=np.int64)
    first_after = -(-breaks * m // n)  # ceil(k m / n): the first step that begins at the break or after it
    return _QuantileSteps(
        of_shorter=np.repeat(np.arange(n), np.diff(first_after, prepend=0, append=m)),
        straddling=first_after - 1,
        beyond=(first_after * n - breaks * m) / (float(m) * n),
    )


def _shares(counts: Counts) -> NDArray[np.float64]:
    rows = counts.sum(axis=-1, keepdims=True)
    if not rows.all():
        raise ValueError("Both samples need at least one row.")
    shares: NDArray[np.float64] = counts / rows
    return shares


def _normalised_wasserstein(window: "NumericWindow") -> Measure:
    reference, current = window.reference, window.finite
    if not (current.size and reference.finite.size):
        return Measure(None)
    std = reference.profile.std
    distance = wasserstein_distance(reference.finite, current) / max(std, SMALLEST_STANDARD_DEVIATION)
    return Measure(distance if math.isfinite(distance) else None, {"reference_standard_deviation": std})


def _effects(windows: "Sequence[NumericWindow] | Sequence[CategoricalWindow]") -> list[Measure]:
    tests = [window.test for window in windows]
    return [
        Measure(
            test.cohens_w,
            {"statistic": test.statistic, "degrees_of_freedom": test.degrees_of_freedom, "p_value": test.p_value},
        )
        for test in tests
    ]


def _of_counts(
    formula: "Callable[[Counts, Counts], NDArray[np.float64]]", pairs: Sequence[Pair | None], unit: str
) -> list[Measure]:
    """Return a formula of several pairs of counts; `unit` is what they count in."""
    given = [pair for pair in pairs if pair is not None]
    if not given:
        return [Measure(None) for _ in pairs]
    values = iter(formula(*side_by_side(given)).tolist())
    return [Measure(None) if pair is None else Measure(next(values), {unit: pair[0].size}) for pair in pairs]


def _by_category(
    formula: "Callable[[Counts, Counts], NDArray[np.float64]]", windows: "Sequence[CategoricalWindow]"
) -> list[Measure]:
    counts = [(window.categories.reference, window.categories.current) for window in windows]
    return _of_counts(formula, counts, "categories")


MEASURES: Mapping[Method, MeasureDefinition] = {
    Method.KOLMOGOROV_SMIRNOV: MeasureDefinition(
        name="KS statistic D",
        text="The largest distance of the two distribution functions, sup |F - G|. Its p-value is that of independent "
        "rows.",
        largest=1.0,
        oracle="scipy.stats.ks_2samp",
        numeric=lambda windows: [
            Measure(test.statistic, {"p_value": test.p_value}) for test in (window.simple_test for window in windows)
        ],
        categorical=None,
    ),
    Method.CHI_SQUARED: MeasureDefinition(
        name="Cohen's w, debiased",
        text="sqrt(max(0, (X2 - df) / N)) with N = n m / (n + m): the size of the two-sample chi-squared statistic, "
        "less what chance adds. Of categories, pooled until each expects 20 rows of the window; of numbers with more "
        "than 20 values, between the reference's deciles.",
        largest=math.inf,  # about sqrt((n + m) / N)
        oracle="scipy.stats.chi2_contingency, without continuity correction",
        numeric=_effects,
        categorical=_effects,
    ),
    Method.WASSERSTEIN: MeasureDefinition(
        name="Wasserstein distance, normalised",
        text="How far a value has to move on average to turn one sample into the other, integral |F - G|, in standard "
        "deviations of the reference (ddof 0, at least .001).",
        largest=math.inf,
        oracle="evidently",
        numeric=lambda windows: [_normalised_wasserstein(window) for window in windows],
        categorical=None,
    ),
    Method.POPULATION_STABILITY_INDEX: MeasureDefinition(
        name="Population stability index",
        text="Sum of (p - q) ln(p / q) over the reference's deciles, or the categories, with half a row added to each "
        "bin.",
        largest=math.inf,
        oracle="its formula; N(0,1) against N(1,1) in deciles is .926",
        numeric=lambda windows: _of_counts(
            population_stability_index, [window.counts.deciles for window in windows], "bins"
        ),
        categorical=lambda windows: _by_category(population_stability_index, windows),
    ),
    Method.JENSEN_SHANNON_DISTANCE: MeasureDefinition(
        name="Jensen-Shannon distance",
        text="The root of the Jensen-Shannon divergence, natural logarithm, over Sturges' bins of both samples, or "
        "categories.",
        largest=math.sqrt(math.log(2.0)),
        oracle="evidently",
        numeric=lambda windows: _of_counts(
            jensen_shannon_distance, [window.counts.sturges for window in windows], "bins"
        ),
        categorical=lambda windows: _by_category(jensen_shannon_distance, windows),
    ),
    Method.JENSEN_SHANNON_DIVERGENCE: MeasureDefinition(
        name="Jensen-Shannon divergence",
        text="Half the sum of the Kullback-Leibler divergences from the mean of both distributions, natural "
        "logarithm, over Sturges' bins of both samples, or categories.",
        largest=math.log(2.0),
        oracle="scipy.spatial.distance.jensenshannon, squared",
        numeric=lambda windows: _of_counts(
            jensen_shannon_divergence, [window.counts.sturges for window in windows], "bins"
        ),
        categorical=lambda windows: _by_category(jensen_shannon_divergence, windows),
    ),
    Method.HELLINGER: MeasureDefinition(
        name="Hellinger distance",
        text="sqrt(1/2 sum (sqrt p - sqrt q)^2) over Doane's bins of the reference and one for all values outside, or "
        "categories.",
        largest=1.0,
        oracle="nannyml",
        numeric=lambda windows: _of_counts(hellinger_distance, [window.counts.doane for window in windows], "bins"),
        categorical=lambda windows: _by_category(hellinger_distance, windows),
    ),
    Method.L_INFINITY: MeasureDefinition(
        name="L-infinity distance",
        text="The largest change of a single share, max |p - q|, over the categories, or the bins of the Hellinger "
        "distance.",
        largest=1.0,
        oracle="nannyml",
        numeric=lambda windows: _of_counts(l_infinity_distance, [window.counts.doane for window in windows], "bins"),
        categorical=lambda windows: _by_category(l_infinity_distance, windows),
    ),
}

P_VALUE = (
    "The probability of a change at least as large by chance. The verdict's is corrected for dependence in time (phi), "
    "and for the number of its tests and windows."
)
PHI = (
    "phi: how many times the means of windows vary more than those of independent rows, measured on the reference in "
    "its own order; nu: how sure that is, in degrees of freedom."
)
EFFECT = (
    "How large the change is: in standard deviations of the ranks' normal scores, or Cohen's w for shapes and "
    "categories; below .15 it is never an alarm. Of missing values: the difference of the shares, at least .02."
)
