"""When a check is due."""

from datetime import UTC, datetime, timedelta

import pytest

from drift.models import DriftCheck, DriftPolicy

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
AT_500 = DriftCheck(rows_seen=500, reference_id=1, created_at=NOON)


@pytest.mark.parametrize(
    ("rows_seen", "reference_id", "last", "expected"),
    [
        (0, 1, None, False),
        (99, 1, None, False),
        (100, 1, None, True),
        (500, 1, AT_500, False),
        (549, 1, AT_500, False),
        (550, 1, AT_500, True),
        # Another reference: the first new row is enough, but no window is checked twice.
        (500, 2, AT_500, False),
        (501, 2, AT_500, True),
        # The counter restarted, because Redis lost its data.
        (99, 1, AT_500, False),
        (100, 1, AT_500, True),
        (99, 2, AT_500, False),
    ],
)
def test_due_by_rows(rows_seen: int, reference_id: int, last: DriftCheck | None, expected: bool) -> None:
    policy = DriftPolicy(minimum_rows=100, interval_rows=50)
    next_year = NOON + timedelta(days=365)  # time alone changes nothing
    is_due = policy.is_check_due(rows_seen=rows_seen, reference_id=reference_id, last=last, now=next_year)
    assert is_due is expected


@pytest.mark.parametrize(
    ("rows_seen", "seconds", "expected"), [(501, 59, False), (501, 60, True), (500, 3600, False), (550, 1, True)]
)
def test_after_the_longest_pause_a_single_new_row_is_enough(rows_seen: int, seconds: int, expected: bool) -> None:
    policy = DriftPolicy(minimum_rows=100, interval_rows=50, longest_pause_seconds=60)
    now = NOON + timedelta(seconds=seconds)
    assert policy.is_check_due(rows_seen=rows_seen, reference_id=1, last=AT_500, now=now) is expected
