"""The evidence of a guardrail over time, as the geometry of a drawing and as text. Pure: no Django, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 1000, 160  # of the drawing, in units of its SVG
ROOM = 0.15  # above the limit and below the lowest value, as a share of their distance


@dataclass(frozen=True, slots=True)
class EvidenceChart:
    """A line of the evidence below the line of its limit.

    Attributes
    ----------
    path
        SVG path of the evidence.
    limit_y
        Height of the limit, from the top.
    first, last
        The times at both ends.
    highest
        The largest log10 of the evidence.
    """

    path: str
    limit_y: float
    first: datetime
    last: datetime
    highest: float
    width: int = WIDTH
    height: int = HEIGHT


def evidence_chart(times: Sequence[datetime], evidence: NDArray[np.float64], limit: float) -> EvidenceChart | None:
    """Return the chart of a guardrail; None if there is no interval.

    Parameters
    ----------
    times
        The start of the rollout and the ends of the intervals, in ascending order, n of them.
    evidence
        log10 of the evidence at these times, shape (n,).
    limit
        log10 of the evidence from which the challenger is rolled back.
    """
    if len(times) < 2 or times[0] == times[-1]:
        return None
    low, high = min(0.0, float(evidence.min())), max(limit, float(evidence.max()))
    margin = ROOM * (high - low)
    seconds = np.array([(time - times[0]).total_seconds() for time in times])
    x = WIDTH * seconds / seconds[-1]

    def height_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return HEIGHT * (high + margin - values) / (high - low + 2 * margin)

    points = [f"{across:.1f} {down:.1f}" for across, down in zip(x, height_of(evidence), strict=True)]
    limit_y = float(height_of(np.array(limit)))
    return EvidenceChart(f"M{'L'.join(points)}", limit_y, times[0], times[-1], float(evidence.max()))
