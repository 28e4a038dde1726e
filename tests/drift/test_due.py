"""When a check is due."""

import pytest

from drift.due import CheckedUpTo, is_check_due

AT_500 = CheckedUpTo(rows_seen=500, reference_id=1)


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
        # The counter began again, because Redis lost its data.
        (99, 1, AT_500, False),
        (100, 1, AT_500, True),
        (99, 2, AT_500, False),
    ],
)
def test_due_by_rows(rows_seen: int, reference_id: int, last: CheckedUpTo | None, expected: bool) -> None:
    due = is_check_due(rows_seen=rows_seen, reference_id=reference_id, last=last, minimum_rows=100, interval_rows=50)
    assert due is expected
