"""Simulated streams of ten features, and the first alarm of the rule of `mlmon.detection`.

A stream is a reference and the rows that follow it; it is quiet, or one feature changes. Checks come every 100 rows,
with windows of the latest 1,000 and 500 rows. docs/benchmarks.md has the results.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from mlmon.detection.categorical import categorical_p_values, categorical_scores
from mlmon.detection.correlation import correlation_p_values, correlation_scores, product_sums
from mlmon.detection.dependence import series_dependence
from mlmon.detection.numeric import normal_scores, numeric_p_values, numeric_scores, panel_of
from mlmon.detection.rule import (
    CATEGORICAL_TESTS,
    NUMERIC_TESTS,
    SMALLEST_EFFECT,
    SMALLEST_MISSING_DIFFERENCE,
    largest_p_value,
)
from mlmon.detection.shares import share_p_values

WINDOWS = (1_000, 500)
STEP_ROWS = 100
FEATURES = 10
CHECKS = 200
BUDGET = 10_000
FIVE = (0.4, 0.25, 0.2, 0.1, 0.05)
Rows: TypeAlias = NDArray[Any]
Generator: TypeAlias = np.random.Generator
Make: TypeAlias = Callable[[Generator, int], Rows]


@dataclass(frozen=True, slots=True)
class Stream:
    """A kind of stream.

    Attributes
    ----------
    kind
        "numbers", "categories", "missing" (1.0 for a missing value) or "correlations".
    make
        Returns all rows, shape (rows, features).
    change
        Returns the rows after the first windows, changed; None for a quiet stream.
    reference_rows, checks
        Lengths.
    categories
        Number of categories in the reference.
    """

    kind: str
    make: Make
    change: Callable[[Generator, Rows], Rows] | None = None
    reference_rows: int = 10_000
    checks: int = CHECKS
    categories: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The rows until the first alarm, None without one, and the share of insufficient references."""

    rows: int | None
    insufficient: float


def outcome_of(stream: Stream, seed: int) -> Outcome:
    """Return what the rule finds in one stream."""
    rng = np.random.default_rng([seed, 19])
    m = stream.reference_rows
    rows = stream.make(rng, m + WINDOWS[0] + STEP_ROWS * stream.checks)
    if stream.change is not None:
        rows[m + WINDOWS[0] :] = stream.change(rng, rows[m + WINDOWS[0] :])
    judged = {
        "numbers": _numbers,
        "categories": _categories,
        "missing": _missing,
        "correlations": _correlations,
    }[stream.kind](stream, rows)
    alarms = np.logical_or.reduce([alarm for alarm, _ in judged])
    first = int(alarms.argmax()) * STEP_ROWS if alarms.any() else None
    return Outcome(first, float(np.mean([insufficient for _, insufficient in judged])))


def _window_sums(blocks: NDArray[Any], n: int) -> NDArray[Any]:
    """Return the sums of the window of n rows at each check, from those of blocks of 100 rows."""
    running = np.concatenate([np.zeros((1, *blocks.shape[1:]), dtype=blocks.dtype), np.cumsum(blocks, axis=0)])
    last = WINDOWS[0] // STEP_ROWS
    sums: NDArray[Any] = running[last:] - running[last - n // STEP_ROWS : running.shape[0] - n // STEP_ROWS]
    return sums


def _blocks(rows: Rows) -> Rows:
    return rows.reshape(-1, STEP_ROWS, rows.shape[1])


def _numbers(stream: Stream, rows: Rows) -> list[tuple[Any, float]]:
    m, d = stream.reference_rows, rows.shape[1]
    scores = [numeric_scores(column[:m], WINDOWS) for column in rows.T]
    panel, parts = panel_of(scores), _blocks(rows[m:])
    blocks = np.zeros((parts.shape[0], d, panel.width))
    for feature, own in enumerate(scores):
        for place, part in enumerate(parts):
            sums = own.sums(part[:, feature])
            blocks[place, feature, : sums.size] = sums
    judged = []
    for n in WINDOWS:
        found = [own.dependence.at(n) for own in scores]
        phi, nu = np.array([each.phi for each in found]), np.array([each.nu for each in found])
        p_values, effects = numeric_p_values(panel, _window_sums(blocks, n), phi, nu)
        usable = np.array([not each.is_insufficient for each in found])
        limit = largest_p_value(BUDGET, tests=NUMERIC_TESTS * d, windows=len(WINDOWS))
        alarm = (p_values <= limit) & (np.abs(effects) >= SMALLEST_EFFECT) & usable[:, None]
        judged.append((alarm.any(axis=(1, 2)), float(1 - usable.mean())))
    return judged


def _categories(stream: Stream, rows: Rows) -> list[tuple[Any, float]]:
    m, d = stream.reference_rows, rows.shape[1]
    judged = []
    codes = max(stream.categories, int(rows.max()) + 1)
    for column in rows.T:
        scores = categorical_scores(column[:m], stream.categories, WINDOWS)
        blocks = np.array([np.bincount(part, minlength=codes) for part in column[m:].reshape(-1, STEP_ROWS)])
        for n in WINDOWS:
            found = scores.dependence.at(n)
            p_values, effects, _ = categorical_p_values(scores, _window_sums(blocks, n), found.phi, found.nu)
            limit = largest_p_value(BUDGET, tests=CATEGORICAL_TESTS * d, windows=len(WINDOWS))
            alarm = (p_values <= limit) & (effects >= SMALLEST_EFFECT) & (not found.is_insufficient)
            judged.append((alarm.any(axis=1), float(found.is_insufficient)))
    return judged


def _missing(stream: Stream, rows: Rows) -> list[tuple[Any, float]]:
    m, d = stream.reference_rows, rows.shape[1]
    judged = []
    for column in rows.T:
        dependence = series_dependence(column[:m, None], WINDOWS, are_indicators=True)
        blocks, before = column[m:].reshape(-1, STEP_ROWS).sum(axis=1), column[:m].sum()
        for n in WINDOWS:
            found, missing = dependence.at(n), _window_sums(blocks, n)
            p_values = share_p_values(missing, n, before, m, phi=found.phi, nu=found.nu)
            limit = largest_p_value(BUDGET, tests=d, windows=len(WINDOWS))
            is_large = np.abs(missing / n - before / m) >= SMALLEST_MISSING_DIFFERENCE
            alarm = (p_values <= limit) & is_large & (not found.is_insufficient)
            judged.append((alarm, float(found.is_insufficient)))
    return judged


def _correlations(stream: Stream, rows: Rows) -> list[tuple[Any, float]]:
    m, d = stream.reference_rows, rows.shape[1]
    scores = [numeric_scores(column[:m], WINDOWS) for column in rows.T]
    normal = np.column_stack([normal_scores(own.ordered, column) for own, column in zip(scores, rows.T, strict=True)])
    reference = correlation_scores(normal[:m], [own.dependence for own in scores], WINDOWS)
    blocks = np.array([product_sums(reference.standardised(part)) for part in _blocks(normal[m:])])
    judged = []
    for n in WINDOWS:
        p_values, effects = correlation_p_values(reference, _window_sums(blocks, n), n)
        limit = largest_p_value(BUDGET, tests=d * (d - 1) // 2, windows=len(WINDOWS))
        alarm = (p_values <= limit) & (np.abs(effects) >= SMALLEST_EFFECT)
        judged.append((alarm.any(axis=(1, 2)), 0.0))
    return judged


def autoregressive(rho: float) -> Make:
    """Return AR(1) features with mean 0 and variance 1; a random walk for rho = 1."""

    def make(rng: Generator, rows: int) -> Rows:
        noise = rng.normal(size=(rows + 5_000, FEATURES)) * (np.sqrt(1 - rho * rho) if rho < 1 else 1.0)
        filtered: Rows = lfilter([1], [1, -rho], noise, axis=0)[5_000:]
        return filtered

    return make


def cycles(length: int, amplitude: float = 2.0) -> Make:
    """Return sines of a length in rows, each feature with a phase of its own, plus noise of one standard deviation."""

    def make(rng: Generator, rows: int) -> Rows:
        phases = np.arange(rows)[:, None] / length + rng.random(FEATURES)
        return amplitude * np.sin(2 * np.pi * phases) + rng.normal(size=(rows, FEATURES))

    return make


def categories(shares: Any) -> Make:
    """Return independent categories with these shares."""
    edges = np.cumsum(shares)[:-1] / np.sum(shares)
    return lambda rng, rows: np.searchsorted(edges, rng.random((rows, FEATURES)), "right")


def dependent_categories(rng: Generator, rows: int) -> Rows:
    """Return five categories cut from AR(1) features with rho = .9."""
    from scipy.special import ndtri

    cuts = ndtri(np.cumsum(FIVE)[:-1])
    codes: Rows = np.searchsorted(cuts, autoregressive(0.9)(rng, rows))
    return codes


def missing(share: float, burst_rows: int = 1) -> Make:
    """Return missing values at random, or in bursts of a mean length."""

    def make(rng: Generator, rows: int) -> Rows:
        if burst_rows == 1:
            return (rng.random((rows, FEATURES)) < share).astype(np.float64)
        marks = np.zeros((rows, FEATURES))
        for feature in range(FEATURES):
            for start in rng.integers(0, rows, rng.poisson(rows * share / burst_rows)).tolist():
                marks[start : start + rng.geometric(1 / burst_rows), feature] = 1.0
        return marks

    return make


def zero_inflated(share: float) -> Make:
    """Return features of which a share is 0 and the rest exponential."""

    def make(rng: Generator, rows: int) -> Rows:
        is_zero = rng.random((rows, FEATURES)) < share
        return np.where(is_zero, 0.0, rng.exponential(size=(rows, FEATURES)))

    return make


def common_factor(rng: Generator, rows: int) -> Rows:
    """Return features that share half of their variance."""
    factor, own = rng.normal(size=(rows, 1)), rng.normal(size=(rows, FEATURES))
    features: Rows = np.sqrt(0.5) * (factor + own)
    return features


def correlated(rho: float) -> Make:
    """Return independent features but for the first two, which have this correlation."""

    def make(rng: Generator, rows: int) -> Rows:
        found = rng.normal(size=(rows, FEATURES))
        found[:, 1] = rho * found[:, 0] + np.sqrt(1 - rho * rho) * found[:, 1]
        return found

    return make


def _first(change: Callable[[Generator, Rows], Rows]) -> Callable[[Generator, Rows], Rows]:
    """Return a change of the first feature alone."""

    def changed(rng: Generator, rows: Rows) -> Rows:
        rows = rows.copy()
        rows[:, 0] = change(rng, rows[:, 0])
        return rows

    return changed


def _share(rng: Generator, x: Rows, share: float) -> NDArray[np.bool_]:
    return rng.random(x.size) < share


NORMAL = autoregressive(0.0)
ZIPF = 1 / np.arange(1, 1001)
QUIET: Mapping[str, Stream] = {
    "independent": Stream("numbers", NORMAL),
    "independent, m = 2,000": Stream("numbers", NORMAL, reference_rows=2_000),
    **{f"AR {rho}": Stream("numbers", autoregressive(rho)) for rho in (0.5, 0.8, 0.9, 0.95, 0.99)},
    "AR 0.9, m = 2,000": Stream("numbers", autoregressive(0.9), reference_rows=2_000),
    "random walk": Stream("numbers", autoregressive(1.0)),
    **{f"cycle of {length}": Stream("numbers", cycles(length)) for length in (100, 500, 1_000, 5_000)},
    "five categories": Stream("categories", categories(FIVE), categories=5),
    "AR 0.9 categories": Stream("categories", dependent_categories, categories=5),
    "AR 0.9 categories, m = 2,000": Stream("categories", dependent_categories, categories=5, reference_rows=2_000),
    "1,000 equal categories": Stream("categories", categories(np.ones(1000)), categories=1000),
    "1,000 equal categories, m = 2,000": Stream(
        "categories", categories(np.ones(1000)), categories=1000, reference_rows=2_000
    ),
    "Zipf 1,000": Stream("categories", categories(ZIPF), categories=1000),
    "Zipf 1,000, m = 2,000": Stream("categories", categories(ZIPF), categories=1000, reference_rows=2_000),
    **{f"missing {share:.0%}": Stream("missing", missing(share)) for share in (0.01, 0.05, 0.2)},
    **{f"missing {share:.0%} in bursts": Stream("missing", missing(share, 10)) for share in (0.01, 0.05, 0.2)},
    **{
        f"missing {share:.0%} in bursts, m = 2,000": Stream("missing", missing(share, 10), reference_rows=2_000)
        for share in (0.01, 0.05, 0.2)
    },
    **{f"zeros {share:.0%}": Stream("numbers", zero_inflated(share)) for share in (0.9, 0.95)},
    "heavy tails": Stream("numbers", lambda rng, rows: rng.standard_t(3, size=(rows, FEATURES))),
    "Poisson": Stream("numbers", lambda rng, rows: rng.poisson(3, (rows, FEATURES)).astype(float)),
    "negative binomial": Stream("numbers", lambda rng, rows: rng.negative_binomial(2, 0.1, (rows, FEATURES)) * 1.0),
    "correlations, independent": Stream("correlations", NORMAL),
    "correlations, common factor": Stream("correlations", common_factor),
    **{f"correlations, AR {rho}": Stream("correlations", autoregressive(rho)) for rho in (0.5, 0.9, 0.99)},
    "correlations, cycle of 500": Stream("correlations", cycles(500)),
}
CHANGED: Mapping[str, Stream] = {
    name: Stream(kind, make, change, checks=60, categories=count)
    for name, kind, make, change, count in (
        ("mean + .25 sd", "numbers", NORMAL, _first(lambda rng, x: x + 0.25), 0),
        ("variance x 1.5", "numbers", NORMAL, _first(lambda rng, x: x * np.sqrt(1.5)), 0),
        ("10 % at + 3 sd", "numbers", NORMAL, _first(lambda rng, x: x + 3 * _share(rng, x, 0.1)), 0),
        ("2 % at + 8 sd", "numbers", NORMAL, _first(lambda rng, x: x + 8 * _share(rng, x, 0.02)), 0),
        (
            "new category 2 %",
            "categories",
            categories(FIVE),
            _first(lambda rng, x: np.where(_share(rng, x, 0.02), 5, x)),
            5,
        ),
        (
            "category + 10 points",
            "categories",
            categories(FIVE),
            _first(lambda rng, x: np.where(_share(rng, x, 0.125), 2, x)),
            5,
        ),
        (
            "missing 5 to 10 %",
            "missing",
            missing(0.05),
            _first(lambda rng, x: np.maximum(x, _share(rng, x, 0.05 / 0.95))),
            0,
        ),
        (
            "correlation 0 to .5",
            "correlations",
            correlated(0.0),
            lambda rng, rows: correlated(0.5)(rng, rows.shape[0]),
            0,
        ),
        (
            "correlation .8 to .4",
            "correlations",
            correlated(0.8),
            lambda rng, rows: correlated(0.4)(rng, rows.shape[0]),
            0,
        ),
        *(
            (
                f"mean + .5 sd under a cycle of {length}",
                "numbers",
                cycles(length),
                _first(lambda rng, x: x + 0.5 * np.sqrt(3)),
                0,
            )
            for length in (100, 500, 1_000)
        ),
    )
}
