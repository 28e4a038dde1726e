"""The benchmark of the verdict's second edition, on one short stream of each kind of data."""

import json
from dataclasses import replace

import pytest

from benchmarks.detection_rule import figures_of, lower_bound, text_of
from benchmarks.detection_streams import CHANGED, QUIET, Outcome, outcome_of


@pytest.mark.parametrize("name", ["independent", "five categories", "missing 5%", "correlations, independent"])
def test_a_quiet_stream_has_no_alarm(name: str) -> None:
    assert outcome_of(replace(QUIET[name], checks=20), seed=1) == Outcome(rows=None, insufficient=0.0)


@pytest.mark.parametrize("name", ["variance x 1.5", "new category 2 %", "missing 5 to 10 %", "correlation 0 to .5"])
def test_a_change_is_seen_after_it_began(name: str) -> None:
    rows = outcome_of(replace(CHANGED[name], checks=20), seed=1).rows
    assert rows is not None
    assert 0 < rows <= 1500


def test_the_figures_state_bounds_and_delays() -> None:
    """The lower bound of 2 alarms in 100 streams is .0036 (Clopper and Pearson, one-sided)."""
    outcomes = {
        "independent": [Outcome(100, 0.0)] * 2 + [Outcome(None, 0.5)] * 98,
        "mean + .25 sd": [Outcome(400, 0.0), Outcome(600, 0.0), Outcome(None, 0.0)],
    }
    figures = json.loads(json.dumps(figures_of(outcomes)))
    assert figures["false_alarms_in_200_checks"] == {"independent": 0.02}
    assert figures["lower_bounds"]["independent"] == pytest.approx(0.0036, abs=1e-4)
    assert figures["insufficient"]["independent"] == pytest.approx(0.49)
    assert figures["median_delay_rows"] == {"mean + .25 sd": 500}
    assert "0.020" in text_of(figures)
    assert lower_bound(0, 100) == 0.0
