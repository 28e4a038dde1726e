"""When an alarm becomes an incident, and when that is over: a pure state machine, one step for each check.

An incident latches: one alarm is one incident, however often it is raised again. It is over after three windows without
a row in common in which none of *its own* hypotheses has a p-value below .01. Not those of all features: of 200
hypotheses two fall below .01 in every window by chance, and no incident would ever close (docs/adr/0009).
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from mlmon.results import ComparisonResult, HypothesisResult, VerdictStatus

QUIET_WINDOWS = 3
QUIET_P_VALUE = 0.01


class Event(StrEnum):
    """What a check did to the incident of its version."""

    NONE = "none"
    OPENED = "opened"
    CONTINUED = "continued"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident that is open.

    Attributes
    ----------
    hypotheses
        What drifted, each as it was when it was strongest; strongest first.
    alarms
        Checks that raised the alarm.
    quiet_windows
        Windows in a row without a sign of it.
    counted_rows
        Rows seen at the end of the window that counted last: a window counts that begins there or later.
    """

    hypotheses: tuple[HypothesisResult, ...]
    alarms: int
    quiet_windows: int
    counted_rows: int


def step(incident: Incident | None, result: ComparisonResult, *, rows_seen: int) -> tuple[Incident | None, Event]:
    """Return the incident after a check, and what the check did to it.

    Parameters
    ----------
    incident
        The open one of the version, or None.
    result
        Of the check. Without a verdict, or with too few rows for one, nothing changes.
    rows_seen
        Observations of the version up to the window's end.
    """
    match result.verdict.status:
        case VerdictStatus.ALARM:
            return _alarmed(incident, result, rows_seen)
        case VerdictStatus.QUIET if incident is not None:
            return _without_alarm(incident, result, rows_seen)
        case _:
            return incident, Event.NONE


def _alarmed(incident: Incident | None, result: ComparisonResult, rows_seen: int) -> tuple[Incident, Event]:
    listed = result.listed_hypotheses
    if incident is None:
        return Incident(listed, alarms=1, quiet_windows=0, counted_rows=rows_seen), Event.OPENED
    strongest = {found.key: found for found in incident.hypotheses}
    for found in listed:
        if found.key not in strongest or found.p_value < strongest[found.key].p_value:
            strongest[found.key] = found
    hypotheses = sorted(strongest.values(), key=lambda found: (found.p_value, -abs(found.effect), found.key))
    return Incident(tuple(hypotheses), incident.alarms + 1, 0, rows_seen), Event.CONTINUED


def _without_alarm(incident: Incident, result: ComparisonResult, rows_seen: int) -> tuple[Incident | None, Event]:
    own = {found.key for found in incident.hypotheses}
    windows = max(1, len(result.verdict.window_rows))
    # Of several windows the most telling is known: its p-value counts for all of them.
    if any(windows * found.p_value < QUIET_P_VALUE for found in result.hypotheses if found.key in own):
        return replace(incident, quiet_windows=0, counted_rows=rows_seen), Event.CONTINUED
    longest = max(result.verdict.window_rows, default=result.n_current)
    has_restarted = rows_seen < incident.counted_rows  # Redis has lost its count
    if not has_restarted and rows_seen - longest < incident.counted_rows:
        return incident, Event.CONTINUED
    if incident.quiet_windows + 1 >= QUIET_WINDOWS:
        return None, Event.CLOSED
    return replace(incident, quiet_windows=incident.quiet_windows + 1, counted_rows=rows_seen), Event.CONTINUED
