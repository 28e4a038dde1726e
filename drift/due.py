"""When a check is due: by the rows that a version has seen, never only because time has passed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckedUpTo:
    """Where the last check of a version ended, and what it compared with."""

    rows_seen: int
    reference_id: int


def is_check_due(
    *, rows_seen: int, reference_id: int, last: CheckedUpTo | None, minimum_rows: int, interval_rows: int
) -> bool:
    """Return whether there is enough new to compare.

    Parameters
    ----------
    rows_seen
        Observations of the version, ever. It starts again from 0 where Redis has lost its data.
    reference_id
        The reference in force; with another one than last time, the first new row is enough.
    last
        The last check, succeeded or failed; None before the first.
    minimum_rows, interval_rows
        Of the policy.
    """
    if last is None:
        return rows_seen >= minimum_rows
    if rows_seen < last.rows_seen:
        return rows_seen >= minimum_rows
    if reference_id != last.reference_id:
        return rows_seen > last.rows_seen
    return rows_seen - last.rows_seen >= interval_rows
