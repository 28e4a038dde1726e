"""What a test saw, in figures that people know: a median before and after, or the share of an outcome."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mlmon.detection.numeric import LOWER_TAILS, TAILS
from mlmon.detection.seasons import window_weights
from mlmon.figures import category_text, listing, number_pair, short_number_text
from mlmon.results import Channel, HypothesisResult, Test
from mlmon.statistics.bins import quantiles_of_sorted
from mlmon.window_tests import Candidate
from mlmon.windowed_columns import WindowedCategories, WindowedNumbers

LARGEST_EXPLAINED = 0.05  # p-value; what is larger is no change
MOST_CATEGORIES_NAMED = 3
LEAST_CONTRIBUTION = 1 / 3  # of the category that changed most; others with less are not named with it
LEAST_REFERENCE_SHARE = 0.01  # a category's change is measured by at least this share, so that a few rows do not count


def explained(result: HypothesisResult, tested: Candidate) -> HypothesisResult:
    """Return a hypothesis with the outcome that its test is about, and its figures in both samples.

    Parameters
    ----------
    result
        The hypothesis.
    tested
        What its test saw.
    """
    column = tested.column
    if tested.correlations is not None:
        before, now = tested.correlations
        return replace(result, outcome="correlation", reference_value=before, current_value=now)
    if column is None or (result.p_value > LARGEST_EXPLAINED and not result.is_listed):
        return result
    window = int(np.flatnonzero(column.rows == result.window_rows)[0])
    if result.channel is Channel.MISSING_VALUES:
        missing = result.window_rows - int(column.present[window])
        share = missing / result.window_rows
        return replace(result, outcome="missing", reference_value=share - result.effect, current_value=share)
    if isinstance(column, WindowedCategories):
        return _explained_categories(result, tested.mark, column, window)
    return _explained_numbers(result, tested.mark, column, window)


def _explained_numbers(result: HypothesisResult, mark: int, column: WindowedNumbers, window: int) -> HypothesisResult:
    own, sums = column.own, column.sums[window]
    if column.season is not None and result.test is not Test.INFINITIES:
        return _explained_residuals(result, mark, column, window)
    if result.test is Test.INFINITIES:
        outcome = "infinity" if mark else "-infinity"
        before = column.reference_infinities[mark] / column.reference.n_values
        now = column.infinities[window, mark] / max(1, column.present[window])
    elif result.test is Test.TAILS:
        side = "at most" if mark < len(LOWER_TAILS) else "above"
        outcome = f"{side} {short_number_text(float(own.tail_cuts[mark]))}"
        before, now = own.tail_counts[mark] / own.rows, sums[3 + mark] / sums[0]
    elif result.test is Test.SHAPE:
        counts = sums[3 + TAILS : 3 + TAILS + own.bin_counts.size]
        shares, current_shares = own.bin_counts / own.rows, counts / sums[0]
        outcome, first, last = _changed_bins(own.boundaries, current_shares - shares)
        before, now = shares[first:last].sum(), current_shares[first:last].sum()
    else:
        part = column.values[column.values.size - result.window_rows :]
        finite = part[np.isfinite(part)]
        for name, statistic in CENTRES if result.test is Test.LOCATION else SPREADS:
            both = statistic(column.reference.finite), statistic(np.sort(finite))
            # A statistic that did not move, or moved the other way, would not say what the test saw.
            if (both[1] - both[0]) * result.effect > 0 and np.isfinite(both).all():
                return replace(result, outcome=name, reference_value=both[0], current_value=both[1])
        return result
    return replace(result, outcome=outcome, reference_value=float(before), current_value=float(now))


def _explained_residuals(result: HypothesisResult, mark: int, column: WindowedNumbers, window: int) -> HypothesisResult:
    """Explain a change of values compared with those of their phase; only the tails have shares to show."""
    if result.test is not Test.TAILS or column.season is None or column.phase_rows is None:
        return result
    weights, _ = window_weights(column.season.rows, column.phase_rows[window])
    side = "low" if mark < len(LOWER_TAILS) else "high"
    return replace(
        result,
        outcome=f"unusually {side} for their {result.season.replace('_', ' ')}",
        reference_value=float(weights @ column.season.tail_shares[:, mark]),
        current_value=float(column.sums[window, 3 + mark] / column.sums[window, 0]),
    )


def _median(ordered: NDArray[np.float64]) -> float:
    return quantiles_of_sorted(ordered, (0.5,))[0]


def _interquartile_range(ordered: NDArray[np.float64]) -> float:
    low, high = quantiles_of_sorted(ordered, (0.25, 0.75))
    return high - low


def _mean(ordered: NDArray[np.float64]) -> float:
    return float(ordered.mean())


def _standard_deviation(ordered: NDArray[np.float64]) -> float:
    return float(ordered.std())


CENTRES = (("median", _median), ("mean", _mean))
SPREADS = (("interquartile range", _interquartile_range), ("standard deviation", _standard_deviation))


def _changed_bins(boundaries: NDArray[np.float64], differences: NDArray[np.float64]) -> tuple[str, int, int]:
    """Return the range of neighbouring bins whose share changed most, in words and by place, its end excluded."""
    # The largest sum of neighbours, of either sign: ends where the running sum is furthest from where it began.
    running = np.concatenate([[0.0], np.cumsum(differences)])
    low, high = int(running.argmin()), int(running.argmax())
    first, last = min(low, high), max(low, high)
    if first == last:
        return "", first, last
    ends = np.concatenate([[-np.inf], boundaries, [np.inf]])
    lower, upper = float(ends[first]), float(ends[last])
    if np.nextafter(upper, -np.inf) == lower:
        return f"equal to {short_number_text(upper)}", first, last
    if np.isinf(lower):
        return f"at most {short_number_text(upper)}", first, last
    if np.isinf(upper):
        return f"above {short_number_text(lower)}", first, last
    return "from {} to {}".format(*number_pair(lower, upper)), first, last


def _explained_categories(
    result: HypothesisResult, mark: int, column: WindowedCategories, window: int
) -> HypothesisResult:
    expected, counts = column.expected_counts[window], column.counts[window]
    before, now = expected / expected.sum(), counts / counts.sum()
    named = [mark]
    if result.test is Test.CATEGORIES:
        difference = now - before
        contribution = difference**2 / np.maximum(before, LEAST_REFERENCE_SHARE)  # to X-squared against the reference
        order = np.argsort(-contribution, kind="stable")
        strongest = order[0]
        named = [
            int(index)
            for index in order[: 4 * MOST_CATEGORIES_NAMED]
            if difference[index] * difference[strongest] > 0
            and contribution[index] >= LEAST_CONTRIBUTION * contribution[strongest]
        ][:MOST_CATEGORIES_NAMED]
    outcome = listing([category_text(column.categories[index]) for index in named], "or")
    if result.test is Test.CATEGORY and not column.reference_counts[mark]:
        outcome = f"{outcome}, a new category"
    return replace(
        result,
        outcome=outcome,
        reference_value=float(before[named].sum()),
        current_value=float(now[named].sum()),
    )
