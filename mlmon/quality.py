"""Faults in a column's data, whatever its distribution: each with its count, its share, and a gate."""

import numpy as np
from numpy.typing import NDArray

from mlmon.results import QualityEvent, QualityFinding
from mlmon.statistics.levels import LevelCounts
from mlmon.statistics.missing_values import MissingCounts
from mlmon.verdict import SMALLEST_MISSING_DIFFERENCE

SMALLEST_SHARE = 0.01
SIGNIFICANCE = 1e-3
LEVELS_SHOWN = 3


def missing_finding(counts: MissingCounts, p_value: float) -> QualityFinding | None:
    """Return that more values are missing than in the reference; None where no more are."""
    if counts.difference <= 0:
        return None
    share = counts.current_missing / counts.current_rows
    return QualityFinding(
        event=QualityEvent.MISSING_VALUES,
        count=counts.current_missing,
        share=share,
        detail=f"{share:.1%} are missing, {counts.reference_missing / counts.reference_rows:.1%} in the reference.",
        is_notable=counts.difference >= SMALLEST_MISSING_DIFFERENCE and p_value <= SIGNIFICANCE,
    )


def range_finding(reference: NDArray[np.float64], current: NDArray[np.float64]) -> QualityFinding | None:
    """Return that values lie beyond the reference's smallest and largest; None where none do.

    Parameters
    ----------
    reference, current
        Ascending, without NaN, not empty.
    """
    low, high = float(reference[0]), float(reference[-1])
    below = int(current.searchsorted(low))
    above = current.size - int(current.searchsorted(high, "right"))
    if not below and not above:
        return None
    share = (below + above) / current.size
    sides = [f"{below} below {low:g}"] * bool(below) + [f"{above} above {high:g}"] * bool(above)
    p_value = _beyond_p_value(below, above, n=current.size, m=reference.size)
    return QualityFinding(
        event=QualityEvent.OUT_OF_RANGE,
        count=below + above,
        share=share,
        detail=f"{' and '.join(sides)}, where the reference ends.",
        is_notable=share >= SMALLEST_SHARE and p_value <= SIGNIFICANCE,
    )


def unseen_finding(counts: LevelCounts, *, stands_alone: bool) -> QualityFinding | None:
    """Return that there are levels which the reference does not have; None where there are none.

    Parameters
    ----------
    stands_alone
        Whether they are more than the reference's own rare levels predict, and at least 1 %.
    """
    if not counts.unseen:
        return None
    shown = ", ".join(repr(level) for level in counts.unseen_levels[:LEVELS_SHOWN])
    more = len(counts.unseen_levels) - LEVELS_SHOWN
    return QualityFinding(
        event=QualityEvent.UNSEEN_CATEGORIES,
        count=counts.unseen,
        share=counts.unseen / int(counts.current.sum()),
        detail=f"{shown}{f' and {more} more' if more > 0 else ''}.",
        is_notable=stands_alone,
    )


def constant_finding(name: str, *, rows: int, reference_share: float) -> QualityFinding | None:
    """Return that a column which varied has one value now; None where the reference makes that likely.

    Parameters
    ----------
    name
        The value.
    rows
        Of the window that have it.
    reference_share
        Its share in the reference, below 1.
    """
    if reference_share**rows > SIGNIFICANCE:
        return None
    return QualityFinding(
        event=QualityEvent.BECAME_CONSTANT,
        count=rows,
        share=1.0,
        detail=f"Every value is {name}; {reference_share:.1%} of the reference are.",
        is_notable=True,
    )


def column_finding(event: QualityEvent, rows: int, detail: str) -> QualityFinding:
    """Return a fault of the whole column."""
    return QualityFinding(event=event, count=rows, share=1.0, detail=detail, is_notable=True)


def _beyond_p_value(below: int, above: int, *, n: int, m: int) -> float:
    """Return how likely so many rows of a window are the most extreme of both samples, on both sides at once."""
    return float((n / (n + m)) ** (below + above)) * (1 + below + above)
