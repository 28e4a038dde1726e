"""The benchmark of seasonal references, on short streams."""

import json
from dataclasses import replace

import pytest

from benchmarks.seasonal_reference import figures_of, text_of
from benchmarks.seasonal_streams import CHANGED, QUIET, Outcome, outcomes_of


@pytest.mark.parametrize("name", ["amplitude 3, AR 0", "five categories by hour", "missing values by hour"])
def test_a_quiet_stream_has_no_alarm(name: str) -> None:
    with_season, without = outcomes_of(replace(QUIET[name], checks=20, reference_days=10), seed=1)
    assert with_season.rows is without.rows is None
    assert (with_season.seasonal, without.seasonal) == (1.0, 0.0)
    assert with_season.phi < without.phi


@pytest.mark.parametrize("name", ["three hours early, amplitude 3, AR 0.5", "mean + 1.0 sd, five categories by hour"])
def test_a_change_is_seen_after_it_began(name: str) -> None:
    with_season, without = outcomes_of(replace(CHANGED[name], checks=20), seed=1)
    assert with_season.rows is not None
    assert 0 < with_season.rows <= 1500
    assert all(each.startswith("distribution: ") for each in with_season.alarmed)
    assert with_season.alarmed
    assert without.rows is None or without.rows > with_season.rows


def test_the_figures_of_both_rules_stand_side_by_side() -> None:
    """The lower bound of 2 alarms in 100 streams is .0036 (Clopper and Pearson, one-sided)."""
    quiet, change = "no cycle, AR 0", "mean + .5 sd, amplitude 1, AR 0.8"
    plain = Outcome(None, 0.5, 0.0, 30.0)
    alarm = Outcome(100, 0.0, 1.0, 2.0, ("distribution: location", "distribution: shape"))
    outcomes = {
        quiet: [(alarm, plain)] * 2 + [(Outcome(None, 0.0, 1.0, 2.0), plain)] * 98,
        change: [(Outcome(rows, 0.0, 1.0, 2.0), plain) for rows in (400, 600, None)],
    }
    figures = json.loads(json.dumps(figures_of(outcomes)))
    assert figures["quiet"][quiet]["seasonal"]["alarms"] == 0.02
    assert figures["quiet"][quiet]["seasonal"]["lower_bound"] == pytest.approx(0.0036, abs=1e-4)
    assert figures["quiet"][quiet]["seasonal"]["alarmed"] == {"distribution: location": 2, "distribution: shape": 2}
    assert figures["quiet"][quiet]["plain"]["insufficient"] == 0.5
    assert figures["changed"][change]["seasonal"]["median_delay_rows"] == 500
    assert figures["changed"][change]["plain"]["median_delay_rows"] is None
    text = text_of(figures)
    assert "0.020 (0.000)" in text
    assert "500, 0.67" in text
    assert "never" in text
