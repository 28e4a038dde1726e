"""The benchmark of ModelPerformanceDrop, on short streams."""

import json

import pytest

from benchmarks.performance_drop import CHANGED, QUIET, Outcome, figures_of, outcome_of, text_of


@pytest.mark.parametrize("name", ["accuracy .9", "regression"])
def test_a_quiet_stream_has_no_alarm(name: str) -> None:
    assert outcome_of(QUIET[name], seed=1, checks=10) == Outcome(labels=None, insufficient=0.0)


@pytest.mark.parametrize("name", ["accuracy .9 to .8", "regression, errors x 1.2"])
def test_a_change_is_seen_after_it_began(name: str) -> None:
    labels = outcome_of(CHANGED[name], seed=1, checks=15).labels
    assert labels is not None
    assert 100 <= labels <= 1500


def test_the_figures_state_bounds_and_delays() -> None:
    """The lower bound of 2 alarms in 100 streams is .0036 (Clopper and Pearson, one-sided)."""
    outcomes = {
        "accuracy .9": [Outcome(100, 0.0)] * 2 + [Outcome(None, 0.5)] * 98,
        "accuracy .9 to .8": [Outcome(400, 0.0), Outcome(600, 0.0), Outcome(None, 0.0)],
        "accuracy .9 to .88": [Outcome(None, 0.0)],
    }
    figures = json.loads(json.dumps(figures_of(outcomes)))
    assert figures["false_alarms_in_200_checks"] == {"accuracy .9": 0.02}
    assert figures["lower_bounds"]["accuracy .9"] == pytest.approx(0.0036, abs=1e-4)
    assert figures["insufficient"]["accuracy .9"] == pytest.approx(0.49)
    assert figures["median_delay_labels"] == {"accuracy .9 to .8": 500, "accuracy .9 to .88": None}
    assert "never" in text_of(figures)
