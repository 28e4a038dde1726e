"""When a check is due: by the rows that a version has seen; where a policy says so, also after a long pause."""

from dataclasses import dataclass
from datetime import datetime

LONGEST_GAP_SECONDS = 0.1
SPREAD_SHARE = 0.8  # of the tick; the rest is left to those that start last, before the next tick takes them up


@dataclass(frozen=True, slots=True)
class CheckedUpTo:
    """Where the last check of a version ended, when that was, and what it compared with."""

    rows_seen: int
    reference_id: int
    at: datetime


@dataclass(frozen=True, slots=True)
class DueRule:
    """What a policy says.

    Attributes
    ----------
    minimum_rows
        Fewer observations are not compared.
    interval_rows
        So many new ones make a check due.
    longest_pause_seconds
        After so long a single new one does; None: never because of time.
    """

    minimum_rows: int
    interval_rows: int
    longest_pause_seconds: int | None = None


def is_check_due(*, rows_seen: int, reference_id: int, last: CheckedUpTo | None, rule: DueRule, now: datetime) -> bool:
    """Return whether there is enough new to compare.

    Parameters
    ----------
    rows_seen
        Observations of the version, ever. It starts again from 0 where Redis has lost its data.
    reference_id
        The reference in force; with another one than last time, the first new row is enough.
    last
        The last check, succeeded or failed; None before the first.
    """
    if last is None or rows_seen < last.rows_seen:
        return rows_seen >= rule.minimum_rows
    new_rows = rows_seen - last.rows_seen
    if reference_id != last.reference_id or _has_paused(last, rule, now):
        return new_rows > 0
    return new_rows >= rule.interval_rows


def start_delays(checks: int, tick_seconds: float) -> list[float]:
    """Return after how many seconds each of the checks of one tick starts, so that they do not come all at once.

    A large fleet is spread over most of the tick. A few checks follow each other closely: no one waits for nothing.
    """
    gap = min(LONGEST_GAP_SECONDS, SPREAD_SHARE * tick_seconds / max(1, checks))
    return [gap * number for number in range(checks)]


def _has_paused(last: CheckedUpTo, rule: DueRule, now: datetime) -> bool:
    pause = rule.longest_pause_seconds
    return pause is not None and (now - last.at).total_seconds() >= pause
