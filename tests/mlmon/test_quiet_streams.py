"""Streams without drift: no alarm in overlapping checks, whatever the dependence and shape of the data.

The kinds are those of the simulations behind the verdict. A few seeds of each find a rule that is wrong, not one false
alarm in 10,000 checks.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from mlmon.results import VerdictStatus
from tests.mlmon.judged_windows import TWO_WINDOWS, Values, judged, reference_of

M, N, STEP, CHECKS = 10_000, 1000, 100, 50
ROWS = M + N + STEP * CHECKS
Stream: TypeAlias = Callable[[np.random.Generator], Values]


def _autoregressive(rho: float, rng: np.random.Generator) -> NDArray[np.float64]:
    noise = rng.normal(size=ROWS + 2000) * np.sqrt(1 - rho * rho)
    filtered: NDArray[np.float64] = lfilter([1], [1, -rho], noise)[2000:]
    return filtered


def _cycle(period: int, rng: np.random.Generator) -> NDArray[np.float64]:
    wave: NDArray[np.float64] = np.sin(2 * np.pi * (np.arange(ROWS) / period + rng.random())) + rng.normal(size=ROWS)
    return wave


def _names(codes: NDArray[np.int64]) -> NDArray[np.str_]:
    return np.array([f"c{code}" for code in codes.tolist()])


def _with_missing(share: float, burst: int, rng: np.random.Generator) -> NDArray[np.float64]:
    values = rng.normal(size=ROWS)
    values[np.repeat(rng.random(ROWS // burst) < share, burst)] = np.nan
    return values


def _zipf(rng: np.random.Generator) -> NDArray[np.str_]:
    weights = 1 / np.arange(1, 1001)
    return _names(rng.choice(1000, ROWS, p=weights / weights.sum()))


def _five(rng: np.random.Generator) -> NDArray[np.str_]:
    """Return five categories, and ten rare ones with .1 % of the rows together."""
    return _names(rng.choice(15, ROWS, p=[0.4, 0.25, 0.2, 0.1, 0.049, *[0.0001] * 10]))


STREAMS: dict[str, Stream] = {
    "independent": lambda rng: rng.normal(size=ROWS),
    "ar_5": lambda rng: _autoregressive(0.5, rng),
    "ar_9": lambda rng: _autoregressive(0.9, rng),
    "ar_95": lambda rng: _autoregressive(0.95, rng),
    "cycle_100": lambda rng: _cycle(100, rng),
    "cycle_500": lambda rng: _cycle(500, rng),
    "cycle_1000": lambda rng: _cycle(1000, rng),
    "equal_categories": lambda rng: _names(rng.integers(0, 1000, ROWS)),
    "zipf_categories": _zipf,
    "five_categories": _five,
    "dependent_categories": lambda rng: _names(np.digitize(_autoregressive(0.9, rng), [-1, 0, 0.5, 1.5])),
    "missing_at_random": lambda rng: _with_missing(0.05, 1, rng),
    "missing_in_bursts": lambda rng: _with_missing(0.05, 20, rng),
    "zero_inflated": lambda rng: np.where(rng.random(ROWS) < 0.9, 0.0, rng.exponential(size=ROWS)),
    "heavy_tails": lambda rng: rng.standard_t(2, size=ROWS),
    "poisson": lambda rng: rng.poisson(3, size=ROWS),
    "negative_binomial": lambda rng: rng.negative_binomial(1, 0.02, size=ROWS),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_no_check_of_a_quiet_stream_is_an_alarm(kind: str) -> None:
    """Five features in two references each, and a model that predicts by chance."""
    for seed in range(2):
        rng = np.random.default_rng([seed, *kind.encode()])
        columns = {f"x{place}": STREAMS[kind](rng) for place in range(5)}
        predictions = rng.choice(["yes", "no"], ROWS, p=[0.3, 0.7])
        reference = reference_of({name: each[:M] for name, each in columns.items()}, predictions[:M])
        statuses = set()
        for end in range(M + N, ROWS, STEP):
            window = {name: each[end - N : end] for name, each in columns.items()}
            result = judged(reference, window, predictions[end - N : end], TWO_WINDOWS)
            statuses.add(result.verdict.status)
            assert VerdictStatus.ALARM not in statuses, [found.key for found in result.listed_hypotheses]
            judged_features = sum(feature.verdict is not None for feature in result.features)
            assert judged_features >= 3, kind  # a few are insufficient by chance
        assert statuses == {VerdictStatus.QUIET}


def test_a_common_factor_with_dependence_is_quiet() -> None:
    """Ten features that share a factor: 45 pairs, none of which changes."""
    rng = np.random.default_rng(5)
    factor = _autoregressive(0.9, rng)
    columns = {f"x{place}": factor + _autoregressive(0.5, rng) for place in range(10)}
    reference = reference_of({name: each[:M] for name, each in columns.items()})
    for end in range(M + N, ROWS, STEP):
        window = {name: each[end - N : end] for name, each in columns.items()}
        result = judged(reference, window, criteria=TWO_WINDOWS)
        assert result.verdict.status is VerdictStatus.QUIET
        assert result.correlations is not None
