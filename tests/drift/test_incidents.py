"""The states of an incident, check by check. Expected states are worked out by hand from docs/adr/0009."""

from dataclasses import replace

import pytest

from drift.services.incidents import Event, Incident, step
from mlmon.results import ComparisonResult, VerdictStatus
from tests.mlmon.comparison_results import judged, values_of

DEST = values_of("dest", 1e-19, is_listed=True)
HOUR = values_of("hour", 1e-7, is_listed=True)
ALARM = judged(VerdictStatus.ALARM, [DEST])
QUIET = judged(VerdictStatus.QUIET, [values_of("dest", 0.4)])
NOISY = judged(VerdictStatus.QUIET, [values_of("dest", 0.009)])
WITHOUT = judged(VerdictStatus.INSUFFICIENT_DATA)
NOT_ASKED = judged(VerdictStatus.NOT_ASKED)
INCOMPLETE = judged(VerdictStatus.INCOMPLETE, [values_of("dest", 0.4)])
NOISY_INCOMPLETE = judged(VerdictStatus.INCOMPLETE, [values_of("dest", 0.009)])


def _after(*checks: tuple[int, ComparisonResult]) -> tuple[Incident | None, list[str]]:
    """Return the incident after checks of (rows seen, result), and what each did."""
    incident, events = None, []
    for rows_seen, result in checks:
        incident, event = step(incident, result, rows_seen=rows_seen)
        events.append(event.value)
    return incident, events


@pytest.mark.parametrize("result", [QUIET, WITHOUT, NOT_ASKED, INCOMPLETE])
def test_without_an_alarm_there_is_no_incident(result: ComparisonResult) -> None:
    assert step(None, result, rows_seen=1000) == (None, Event.NONE)


def test_an_alarm_opens_an_incident() -> None:
    incident, event = step(None, judged(VerdictStatus.ALARM, [HOUR, DEST, values_of("carrier", 0.5)]), rows_seen=1000)
    assert event is Event.OPENED
    assert incident == Incident((DEST, HOUR), alarms=1, quiet_windows=0, counted_rows=1000)


@pytest.mark.parametrize(
    ("checks", "events", "quiet_windows"),
    [
        # Windows of 1,000 rows that end at 1,000, 2,000, 3,000 and 4,000 have no common row.
        ([(1000, ALARM), (2000, QUIET), (3000, QUIET), (4000, QUIET)], "opened continued continued closed", None),
        ([(1000, ALARM), (2000, QUIET), (3000, QUIET)], "opened continued continued", 2),
        # Overlapping windows count once. The one that ends at 1,999 shares a row with the alarm's window.
        ([(1000, ALARM), *((rows, QUIET) for rows in range(1100, 2000, 100))], "opened" + " continued" * 9, 0),
        ([(1000, ALARM), (1999, QUIET), (2999, QUIET)], "opened continued continued", 1),
        ([(1000, ALARM), (2000, QUIET), (2999, QUIET), (3000, QUIET)], "opened continued continued continued", 2),
        # What could not be compared may still drift, so an incomplete window is not quiet.
        ([(1000, ALARM), *((rows, INCOMPLETE) for rows in range(2000, 9000, 1000))], "opened" + " continued" * 7, 0),
        ([(1000, ALARM), (2000, QUIET), (3000, INCOMPLETE), (4000, QUIET)], "opened" + " continued" * 3, 2),
        ([(1000, ALARM), (2000, QUIET), (3000, NOISY_INCOMPLETE)], "opened continued continued", 0),
        # A noisy window or another alarm restarts the count.
        (
            [(1000, ALARM), (2000, QUIET), (3000, QUIET), (4000, ALARM), (5000, QUIET), (6000, QUIET)],
            "opened continued continued continued continued continued",
            2,
        ),
        (
            [
                (1000, ALARM),
                (2000, QUIET),
                (2500, NOISY),
                (3000, QUIET),
            ],
            "opened continued continued continued",
            0,
        ),
        # .01 itself is quiet. A check without a verdict changes nothing.
        ([(1000, ALARM), (2000, judged(VerdictStatus.QUIET, [values_of("dest", 0.01)]))], "opened continued", 1),
        ([(1000, ALARM), (2000, WITHOUT), (3000, NOT_ASKED), (4000, QUIET)], "opened none none continued", 1),
        # After it has closed, the next alarm opens another incident.
        (
            [(1000, ALARM), (2000, QUIET), (3000, QUIET), (4000, QUIET), (4100, ALARM)],
            "opened continued continued closed opened",
            0,
        ),
    ],
)
def test_it_latches_and_closes_after_three_disjoint_quiet_windows(
    checks: list[tuple[int, ComparisonResult]], events: str, quiet_windows: int | None
) -> None:
    incident, found = _after(*checks)
    assert found == events.split()
    assert (None if incident is None else incident.quiet_windows) == quiet_windows


def test_a_small_p_value_of_another_feature_does_not_keep_it_open() -> None:
    """Of 200 hypotheses 1 - .99^200 = 87 % of all windows have one below .01 by chance."""
    chance = judged(VerdictStatus.QUIET, [values_of("dest", 0.4), values_of("carrier", 0.002)])
    incident, events = _after((1000, ALARM), (2000, chance), (3000, chance), (4000, chance))
    assert (incident, events[-1]) == (None, "closed")


def test_it_lists_later_drift_and_each_hypothesis_when_it_was_strongest() -> None:
    weaker = judged(VerdictStatus.ALARM, [replace(DEST, p_value=1e-6), HOUR])
    incident, _ = _after((1000, ALARM), (1100, weaker))
    assert incident == Incident((DEST, HOUR), alarms=2, quiet_windows=0, counted_rows=1100)
    stronger = replace(HOUR, p_value=1e-30)
    incident, _ = _after((1000, ALARM), (1100, weaker), (1200, judged(VerdictStatus.ALARM, [stronger])))
    assert incident is not None
    assert incident.hypotheses == (stronger, DEST)


def test_features_that_drifted_later_must_be_quiet_too() -> None:
    noisy = judged(VerdictStatus.QUIET, [values_of("dest", 0.4), values_of("hour", 0.001)])
    incident, _ = _after((1000, ALARM), (1100, judged(VerdictStatus.ALARM, [HOUR])), (3000, noisy))
    assert incident is not None
    assert (incident.quiet_windows, incident.counted_rows) == (0, 3000)


def test_with_several_windows_the_longest_must_be_disjoint_and_p_is_corrected() -> None:
    def quiet(p_value: float) -> ComparisonResult:
        return judged(VerdictStatus.QUIET, [values_of("dest", p_value)], window_rows=(1000, 500, 2000))

    incident, _ = _after((2000, ALARM), (3999, quiet(0.4)))
    assert incident is not None
    assert incident.quiet_windows == 0
    incident, _ = _after((2000, ALARM), (4000, quiet(0.4)))
    assert incident is not None
    assert incident.quiet_windows == 1
    incident, _ = _after((2000, ALARM), (4000, quiet(0.0033)))  # 3 * .0033 < .01
    assert incident is not None
    assert incident.quiet_windows == 0


def test_it_can_close_after_the_count_of_rows_restarted() -> None:
    incident, events = _after((50_000, ALARM), (1000, QUIET), (2000, QUIET), (3000, QUIET))
    assert (incident, events[-1]) == (None, "closed")
