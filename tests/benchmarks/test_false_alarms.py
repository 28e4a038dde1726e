"""The benchmark of false alarms, with a few streams."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.false_alarm_checks import Outcome, Rule, checked, lower_bound, observed, outcome_of
from benchmarks.false_alarm_streams import (
    CHANGED,
    FIVE,
    PREDICTIONS,
    QUIET,
    autoregressive,
    categories,
    shuffled_mixture,
    with_missing,
)
from benchmarks.false_alarms import figures_of, text_of


def test_a_quiet_stream_is_an_alarm_for_the_common_rule_only() -> None:
    outcome = checked(replace(QUIET["five categories"], reference_rows=2_000), np.random.default_rng(3))
    assert outcome.alarms[Rule.MLMON] is None
    assert outcome.insufficient == 0.0
    first = outcome.alarms[Rule.KS_BONFERRONI]
    assert first is not None
    assert first % 100 == 0


@pytest.mark.parametrize(
    ("name", "channel"),
    [
        ("10 % at + 3 sd", "distribution: "),
        ("rare category x 30", "distribution: category"),
        ("missing 5 to 10 %", "missing_values: missing"),
        ("predictions 30 to 40 %", "prediction: "),
        ("correlation 0 to .5", "correlation: correlation"),
    ],
)
def test_a_change_is_seen_by_the_channel_that_it_is_about(name: str, channel: str) -> None:
    outcome = outcome_of(name, seed=1)
    rows = outcome.alarms[Rule.MLMON]
    assert rows is not None
    assert 0 < rows <= 1500
    assert any(each.startswith(channel) for each in outcome.alarmed)


def test_the_same_seed_gives_the_same_stream() -> None:
    assert outcome_of("mean + .25 sd", seed=4) == outcome_of("mean + .25 sd", seed=4)


def test_a_reference_that_is_too_short_for_its_features_is_insufficient() -> None:
    outcome = checked(QUIET["random walk, m = 2,000"], np.random.default_rng(1))
    assert outcome.insufficient == 1.0
    assert outcome.alarms[Rule.MLMON] is None


def test_streams_have_the_documented_distributions() -> None:
    rng = np.random.default_rng(2)
    values = autoregressive(0.8)(rng, 50_000)[:, 0]
    assert np.corrcoef(values[1:], values[:-1])[0, 1] == pytest.approx(0.8, abs=0.02)
    assert values.std() == pytest.approx(1.0, abs=0.05)
    codes = categories(FIVE, 0.9)(rng, 50_000)["category_0"]
    assert np.bincount(codes) / 50_000 == pytest.approx(FIVE, abs=0.02)
    missing = np.isnan(with_missing(0.05, 10)(rng, 100_000)["number_0"])
    assert missing.mean() == pytest.approx(0.05, abs=0.01)
    starts = np.count_nonzero(missing[1:] & ~missing[:-1])
    assert missing.sum() / starts == pytest.approx(10, abs=1)


def test_a_table_has_numbers_categories_missing_values_and_predictions() -> None:
    columns = shuffled_mixture(np.random.default_rng(1), 1000)
    features, predictions = observed(columns)
    assert predictions is not None
    assert set(predictions.to_pylist()) == {"no", "yes"}
    assert features.column("number_0").null_count == 0
    assert features.column("number_4").null_count == np.isnan(columns["number_4"]).sum() > 0
    assert features.column("category_3").null_count == (columns["category_3"] < 0).sum() > 0
    kinds = {name: str(features.column(name).type) for name in features.column_names}
    assert (kinds["number_1"], kinds["category_1"]) == ("double", "string")
    assert PREDICTIONS not in kinds


def test_the_figures_state_bounds_delays_and_errors() -> None:
    """The lower bound of 2 alarms in 100 streams is .0036 (Clopper and Pearson, one-sided)."""
    quiet = [Outcome(dict.fromkeys(Rule, 100), 0.0, ("missing_values: missing",))] * 2
    quiet += [Outcome(dict.fromkeys(Rule), 0.5)] * 98
    changed = [Outcome(dict.fromkeys(Rule, rows), 0.0) for rows in (400, 600, None)]
    unseen = [Outcome(dict.fromkeys(Rule, rows), 0.0) for rows in (400, None, None)]
    outcomes = {"independent": quiet, "mean + .25 sd": changed, "2 % at + 8 sd": unseen}
    figures = json.loads(json.dumps(figures_of(outcomes) | {"seconds": 1.0}, allow_nan=False))
    assert figures["false_alarms_in_200_checks"]["mlmon"] == {"independent": 0.02}
    assert figures["lower_bounds"]["mlmon"]["independent"] == pytest.approx(0.0036, abs=1e-4)
    assert figures["standard_errors"]["mlmon"]["independent"] == pytest.approx(math.sqrt(0.02 * 0.98 / 100))
    assert figures["insufficient"]["independent"] == pytest.approx(0.49)
    assert figures["median_delay_rows"]["tutorial"] == {"mean + .25 sd": 600, "2 % at + 8 sd": None}
    assert figures["seen"]["ks_bonferroni"]["mean + .25 sd"] == pytest.approx(2 / 3)
    assert figures["alarmed"]["independent"] == {"missing_values: missing": 2}
    assert "missed (0.33)" in text_of(figures)
    assert lower_bound(0, 100) == 0.0


def test_every_name_is_of_one_stream() -> None:
    assert not set(QUIET) & set(CHANGED)
    assert {stream.reference_rows for name, stream in QUIET.items() if "m = 2,000" in name} == {2_000}
