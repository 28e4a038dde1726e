"""Features over the last checks: how far each was above or below its threshold in each check."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from drift.models import FeatureDrift
from mlmon import results
from mlmon.figures import number_text, share_text
from mlmon.report.views import status_words

# Where each step of the scale begins, as a share of the threshold. The last two steps are above it.
STEPS = (0.0, 0.25, 0.5, 1.0, 2.0)
LISTED, ABOVE, NOT_COMPARED = "listed", "above", "not compared"


@dataclass(frozen=True, slots=True)
class HeatColumn:
    """One check; `is_shown` if the page is about this check."""

    check_id: int
    checked_at: datetime
    is_shown: bool


@dataclass(frozen=True, slots=True)
class HeatCell:
    """One feature in one check.

    Attributes
    ----------
    step
        Index in `STEPS`; None if there is no score.
    mark
        `LISTED` by the verdict's alarm, `ABOVE` its threshold, `NOT_COMPARED` although monitored, or "".
    text
        The score, the threshold and the mark in words.
    """

    step: int | None
    mark: str
    text: str


@dataclass(frozen=True, slots=True)
class HeatRow:
    """One feature: its cells, oldest first, and their summary."""

    name: str
    cells: list[HeatCell]
    summary: str


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Features by check, and the meaning of the colours."""

    columns: list[HeatColumn]
    rows: list[HeatRow]
    legend: list[tuple[int, str]]


def heat_map(
    names: Sequence[str], columns: Sequence[HeatColumn], scores: Mapping[tuple[int, str], FeatureDrift]
) -> HeatMap | None:
    """Return the features over the checks; None with fewer than two checks.

    Parameters
    ----------
    columns
        Oldest first.
    scores
        Rows by check id and feature. A feature may be missing in a check.
    """
    if len(columns) < 2:
        return None
    rows = []
    for name in names:
        past = [scores.get((column.check_id, name)) for column in columns]
        above = sum(row is not None and row.is_drifted for row in past)
        listed = sum(row is not None and row.is_confirmed for row in past)
        failed = sum(row is not None and row.status in results.NOT_COMPARED for row in past)
        summary = f"above its threshold in {above} of {len(past)} checks, listed by the verdict in {listed}"
        summary += f", not compared in {failed}" if failed else ""
        rows.append(HeatRow(name, [_cell(row) for row in past], summary))
    legend = [f"{begin:g} to {end:g} of the threshold" for begin, end in pairwise(STEPS)]
    legend.append(f"{STEPS[-1]:g} times the threshold or more")
    return HeatMap(list(columns), rows, list(enumerate(legend)))


def _cell(past: FeatureDrift | None) -> HeatCell:
    if past is None:
        return HeatCell(None, "", "not measured")
    if past.status in results.NOT_COMPARED:
        return HeatCell(None, NOT_COMPARED, f"not compared: {status_words(results.ResultStatus(past.status))}")
    if past.score is None:
        missing = f", {share_text(past.missing_share)} missing" if past.missing_share else ""
        return HeatCell(None, LISTED if past.is_confirmed else "", f"no score{missing}")
    share = past.score / past.threshold if past.threshold else float(past.score > 0) * STEPS[-1]
    step = max(place for place, begin in enumerate(STEPS) if share >= begin or not place)
    mark = LISTED if past.is_confirmed else ABOVE if past.is_drifted else ""
    text = f"score {number_text(past.score)}, threshold {number_text(past.threshold)}"
    return HeatCell(step, mark, f"{text}; {mark}" if mark else text)
