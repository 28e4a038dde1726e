"""Whether a model makes more errors than on its baseline, or larger ones: one test for each window.

A classifier's errors are shares, compared by the share test. A regression's absolute errors are compared by the mean of
their normal scores. The budget is separate from that of drift, and there is no smallest effect: any rise of errors
matters that is not chance.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from mlmon.detection.dependence import SeriesDependence, series_dependence
from mlmon.detection.numeric import ScoreCells, mean_p_values, score_cells
from mlmon.detection.shares import share_p_values
from mlmon.figures import number_text, share_text

SMALLEST_BASELINE = 1_000  # rows; from fewer, dispersion in windows of hundreds of rows cannot be measured
SMALLEST_WINDOW = 100  # rows; with an error rate of 10 % in the baseline, fewer could only show one of more than 25 %
LONG_WINDOW = 5_000  # rows, which show small drops
BLOCK_TIMES = 5  # times phi: the rows of a block from whose means skewness is measured
FEWEST_BLOCKS = 20
CLOSING_P_VALUE = 0.01  # a drop lasts while the errors of the other windows are larger at this alpha


class DropStatus(StrEnum):
    """The result of a judgement; only `DROP` is an alarm."""

    DROP = "drop"
    NO_DROP = "no_drop"
    IMPROVEMENT = "improvement"
    INSUFFICIENT_DATA = "insufficient_data"


@dataclass(frozen=True, slots=True)
class PerformanceDrop:
    """The judgement of a model's latest errors, with the figures of the window that shows the most.

    Attributes
    ----------
    status
        `DropStatus.IMPROVEMENT`: the errors are fewer or smaller, at the alpha of an alarm. It is not an alarm.
    is_share
        Whether errors are wrong predictions; otherwise they are absolute differences from the ground truth.
    baseline
        What the rows are compared with, for a sentence: "reference 3, reference.parquet".
    baseline_rows, window_rows
        Rows with ground truth. `window_rows` are all that have arrived if there are too few.
    baseline_error, window_error
        Share of wrong predictions, or median absolute error in the unit of the target; None without rows.
    p_value, alpha
        Of the two-sided test, and the largest p-value that is an alarm: 1 / (budget * windows).
    windows
        The number of windows that were compared.
    phi, nu
        Dispersion of errors in the window, and its degrees of freedom; nu is None if they are infinite.
    reason
        Why there is no judgement, and what to do.
    """

    status: DropStatus
    is_share: bool
    baseline: str
    baseline_rows: int
    baseline_error: float | None
    window_rows: int
    window_error: float | None = None
    p_value: float | None = None
    alpha: float | None = None
    windows: int = 0
    phi: float | None = None
    nu: float | None = None
    reason: str = ""

    @property
    def sentence(self) -> str:
        """What was found, in one sentence or two."""
        if self.window_error is None or self.baseline_error is None or self.p_value is None or self.alpha is None:
            return self.reason
        what = "share of wrong predictions" if self.is_share else "median absolute error"
        now, before = (
            share_text(value, 3) if self.is_share else number_text(value, 4)
            for value in (self.window_error, self.baseline_error)
        )
        verdict = {
            DropStatus.DROP: f"{'More predictions are wrong' if self.is_share else 'Errors are larger'} than before",
            DropStatus.IMPROVEMENT: f"{'Fewer predictions are wrong' if self.is_share else 'Errors are smaller'} than "
            "before",
        }.get(self.status, "No drop is confirmed")
        return (
            f"{verdict}: the {what} is {now} in the latest {self.window_rows:,} labelled predictions, and {before} in "
            f"{self.baseline} ({self.baseline_rows:,} rows). p = {self.p_value:.2g}; an alarm needs at most "
            f"{self.alpha:.2g}."
        )


@dataclass(frozen=True, slots=True, eq=False)
class ErrorBaseline:
    """The errors that later ones are compared with, prepared for the tests.

    Attributes
    ----------
    name, is_share
        As `PerformanceDrop.baseline` and `PerformanceDrop.is_share`.
    ordered
        The errors in ascending order, shape (m,).
    cells
        Their normal scores; None if a share is compared.
    larger_than
        The share of errors above this value is compared; None if the location of errors is.
    mean, deviation
        Of the normal scores of errors, or of the indicators of larger ones.
    skewness
        Of independent normal scores whose means would be skewed as those of these dependent ones.
    dependence
        Of the same, in the order of the rows; None if m is below `SMALLEST_BASELINE`.
    """

    name: str
    is_share: bool
    ordered: NDArray[np.float64]
    cells: ScoreCells | None
    larger_than: float | None
    mean: float
    deviation: float
    skewness: float
    dependence: SeriesDependence | None

    def p_value(self, errors: NDArray[np.float64], phi: float, nu: float) -> tuple[float, bool]:
        """Return the two-sided p-value of a window, and whether its errors are larger than those of the baseline."""
        n, m = errors.size, self.ordered.size
        if self.larger_than is not None:
            k, before = int((errors > self.larger_than).sum()), int((self.ordered > self.larger_than).sum())
            return float(share_p_values(k, n, before, m, phi=phi, nu=nu)), k * m > before * n
        scores = (self.cells or score_cells(self.ordered)).of_rows(errors)
        effect = (float(scores.mean()) - self.mean) / self.deviation
        arguments = (effect, self.skewness, n * m / (n + m) / phi, (m - n) / (m + n), nu)
        return float(mean_p_values(*(np.array([value]) for value in arguments))[0]), effect > 0


def error_baseline(name: str, errors: NDArray[np.float64], *, is_share: bool, window_rows: int) -> ErrorBaseline:
    """Return the baseline of errors.

    Parameters
    ----------
    name
        As `PerformanceDrop.baseline`.
    errors
        In the order of the rows, shape (m,): 0 and 1, or absolute errors, finite. Absolute errors that are all equal
        are compared by the share of larger ones.
    is_share
        Whether errors are 0 and 1.
    window_rows
        Length of the window.
    """
    ordered = np.sort(errors)
    if errors.size < SMALLEST_BASELINE:
        return ErrorBaseline(name, is_share, ordered, None, 0.0, 0.0, 0.0, 0.0, None)
    larger_than = 0.0 if is_share else float(ordered[0]) if ordered[0] == ordered[-1] else None
    cells = score_cells(ordered) if larger_than is None else None
    scores = (errors > (larger_than or 0.0)).astype(np.float64) if cells is None else cells.of_rows(errors)
    mean, deviation = float(scores.mean()), float(scores.std())
    longest = max(*_lengths(window_rows), LONG_WINDOW)
    dependence = series_dependence(scores[:, None], are_indicators=larger_than is not None)
    skewness = 0.0
    if larger_than is None:
        # Means of dependent rows can be skewed although the rows are not: large errors may last longer than small ones.
        # A mean of n rows has the skewness of one of b rows times sqrt(b phi_n / (n phi_b)).
        b = min(math.ceil(BLOCK_TIMES * dependence.at(longest).phi), errors.size // FEWEST_BLOCKS)
        blocks = (scores[: errors.size // b * b] - mean).reshape(-1, b).mean(axis=1)
        variance = float((blocks**2).mean())
        skewness = float((blocks**3).mean()) * deviation / variance**2 if variance > 0 else 0.0
    return ErrorBaseline(name, is_share, ordered, cells, larger_than, mean, deviation, skewness, dependence)


def judge_performance(
    baseline: ErrorBaseline,
    errors: NDArray[np.float64],
    *,
    window_rows: int,
    false_alarm_budget: int,
    was_drop: bool = False,
) -> PerformanceDrop:
    """Return whether the latest errors are larger than those of the baseline.

    The windows are the latest `window_rows` rows and half of them, or as many as there are, and 5,000 rows if there are
    so many. By Bonferroni's inequality, at most one judgement in `false_alarm_budget` is a false alarm.

    Parameters
    ----------
    errors
        The latest errors, oldest first, as those of the baseline, shape (n,); the last max(5000, window_rows) count.
    window_rows
        The same as the baseline's.
    false_alarm_budget
        A: at most one false alarm in A judgements.
    was_drop
        Whether the previous judgement was a drop. It then lasts while the errors of a window of at most `window_rows`
        rows are larger with p < .01, so that a drop close to alpha does not come and go.

    Examples
    --------
    >>> before = np.resize([1.0, *[0.0] * 9], 2000)
    >>> reference = error_baseline("the reference", before, is_share=True, window_rows=1000)
    >>> now = np.resize([1.0, *[0.0] * 4], 1000)
    >>> judge_performance(reference, now, window_rows=1000, false_alarm_budget=10_000).status.value
    'drop'
    """
    m, n = baseline.ordered.size, errors.size
    insufficient = PerformanceDrop(
        status=DropStatus.INSUFFICIENT_DATA,
        is_share=baseline.is_share,
        baseline=baseline.name,
        baseline_rows=m,
        baseline_error=_typical(baseline.ordered, baseline.is_share),
        window_rows=n,
    )
    if baseline.dependence is None:
        reason = (
            f"The {m:,} labelled rows of {baseline.name} are too few to compare with. Upload reference data with at "
            f"least {SMALLEST_BASELINE:,} labelled rows."
        )
        return replace(insufficient, reason=reason)
    if n < SMALLEST_WINDOW:
        reason = (
            f"{n:,} labelled predictions can be compared with {baseline.name}; at least {SMALLEST_WINDOW} are needed. "
            "Send more ground truth."
        )
        return replace(insufficient, reason=reason)
    lengths = {min(n, length) for length in _lengths(window_rows)} | ({LONG_WINDOW} if n >= LONG_WINDOW else set())
    dispersion = {length: baseline.dependence.at(length) for length in sorted(lengths)}
    usable = {length: found for length, found in dispersion.items() if not found.is_insufficient}
    if not usable:
        reason = (
            f"The errors in {baseline.name} depend on each other over too many rows to judge {max(lengths):,} rows by "
            "them. Upload a longer labelled reference in the order of time; shuffle one that is sorted by another "
            "column."
        )
        return replace(insufficient, reason=reason)
    alpha = 1.0 / (false_alarm_budget * len(usable))
    judged = []
    for length, found in usable.items():
        p_value, is_larger = baseline.p_value(errors[-length:], found.phi, found.nu)
        result = replace(
            insufficient,
            status=DropStatus.NO_DROP,
            window_rows=length,
            window_error=_typical(errors[-length:], baseline.is_share),
            p_value=p_value,
            alpha=alpha,
            windows=len(usable),
            phi=found.phi,
            nu=found.nu if math.isfinite(found.nu) else None,
        )
        holds = was_drop and length <= max(_lengths(window_rows)) and p_value < CLOSING_P_VALUE
        if is_larger and (p_value <= alpha or holds):
            result = replace(result, status=DropStatus.DROP)
        elif not is_larger and p_value <= alpha:
            result = replace(result, status=DropStatus.IMPROVEMENT)
        judged.append(result)
    order = (DropStatus.DROP, DropStatus.IMPROVEMENT, DropStatus.NO_DROP)
    return min(judged, key=lambda result: (order.index(result.status), result.p_value))


def _lengths(window_rows: int) -> tuple[int, int]:
    """Return the lengths of the two shorter windows, in rows."""
    return max(SMALLEST_WINDOW, window_rows), max(SMALLEST_WINDOW, window_rows // 2)


def _typical(errors: NDArray[np.float64], is_share: bool) -> float | None:
    """Return the error of rows as a person reads it: a share of wrong predictions, or the median absolute error."""
    if not errors.size:
        return None
    return float(errors.mean() if is_share else np.median(errors))
