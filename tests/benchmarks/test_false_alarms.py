"""The benchmark of false alarms, with a few streams."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest

from benchmarks import false_alarms
from benchmarks.false_alarm_streams import SHARES, Case, Rule, Shift, Source, first_alarms
from benchmarks.false_alarms import Outcome


def test_a_stream_without_drift_is_an_alarm_for_the_simple_rule_only() -> None:
    alarms = first_alarms(Case(10), seed=3)
    assert alarms[Rule.MLMON] is None
    first = alarms[Rule.P05]
    assert first is not None
    assert first < 1000


def test_the_same_seed_gives_the_same_stream() -> None:
    case = Case(10, shift=Shift.MEAN)
    assert first_alarms(case, seed=4) == first_alarms(case, seed=4)


@pytest.mark.parametrize("shift", Shift)
def test_every_shift_is_detected(shift: Shift) -> None:
    delay = first_alarms(Case(10, shift=shift), seed=5)[Rule.MLMON]
    assert delay is not None
    assert delay % 100 == 0


def test_the_rows_follow_ar1() -> None:
    source = Source(np.random.default_rng(1), np.array([True, False]), 0.8)
    values = np.concatenate([source.draw(20_000), source.draw(20_000)], axis=1)  # continues where it stopped
    lag_1 = [np.corrcoef(row[1:], row[:-1])[0, 1] for row in values]
    assert lag_1 == pytest.approx([0.8, 0.8], abs=0.02)
    assert values.std(axis=1) == pytest.approx([1, 1], abs=0.05)


def test_shifts_change_what_their_names_say() -> None:
    source = Source(np.random.default_rng(2), np.array([True, False]), 0.0)

    def shifted(shift: Shift) -> pa.Table:
        return source.shifted_table(source.draw(50_000), shift)

    assert np.mean(shifted(Shift.MEAN)["feature_000"].to_numpy()) == pytest.approx(0.25, abs=0.03)
    assert np.var(shifted(Shift.VARIANCE)["feature_000"].to_numpy()) == pytest.approx(1.5, abs=0.05)
    assert np.mean(shifted(Shift.CONTAMINATION)["feature_000"].to_numpy()) == pytest.approx(0.3, abs=0.03)
    shares = shifted(Shift.CATEGORY)["feature_001"].to_pandas().value_counts(normalize=True)
    assert shares["east"] == pytest.approx(SHARES[2] + 0.1, abs=0.01)
    assert shares["north"] == pytest.approx(0.4 * 0.7 / 0.8, abs=0.01)


def test_the_figures_have_the_documented_keys() -> None:
    outcome = Outcome({rule: [None, 300, None, 100] for rule in Rule})
    outcomes = dict.fromkeys(false_alarms.cases(1.0), outcome)
    figures = json.loads(json.dumps(false_alarms.figures_of(outcomes) | {"seconds": 1.0}, allow_nan=False))
    assert figures["false_alarms_in_200_checks"]["mlmon"] == {"1": 0.5, "10": 0.5, "100": 0.5}
    assert figures["autocorrelated"]["p05"] == {"0.5": 0.5, "0.8": 0.5}
    assert set(figures["median_delay_rows"]["tutorial"]) == {"mean", "variance", "contamination", "category"}
    assert figures["median_delay_rows"]["tutorial"]["mean"] is None  # half of the streams had no alarm
    assert "missed" in false_alarms.text_of(figures)


def test_the_standard_error_is_the_one_of_a_share() -> None:
    outcome = Outcome({Rule.MLMON: [None] * 90 + [100] * 10})
    assert outcome.share(Rule.MLMON) == 0.1
    assert outcome.error(Rule.MLMON) == pytest.approx(math.sqrt(0.1 * 0.9 / 100))
    assert Outcome({Rule.MLMON: [None] * 50}).error(Rule.MLMON) == pytest.approx(math.sqrt(0.02 * 0.98 / 50))
