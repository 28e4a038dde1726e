"""Changes of every kind: which test sees them, in which window, and the true figures that explain them."""

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from mlmon.prepared import PreparedReference
from mlmon.results import Channel, HypothesisResult, ResultStatus, Test, VerdictStatus
from mlmon.sentences import sentence_of
from tests.mlmon.judged_windows import (
    CRITERIA,
    TWO_WINDOWS,
    feature_of,
    judged,
    normal_quantiles,
    reference_of,
    verdict_of,
)

M, N = 10_000, 1_000
rng = np.random.default_rng(41)
NORMAL = rng.normal(size=M)
REFERENCE = reference_of({"x": NORMAL})


def _seen(values: NDArray[Any], test: Test, reference: PreparedReference = REFERENCE) -> tuple[Any, NDArray[Any]]:
    """Return the hypothesis about a window that is an alarm by this test, and the rows that it saw."""
    result = judged(reference, {"x": values}, criteria=TWO_WINDOWS)
    found = verdict_of(result, "x")
    assert (found.is_alarm, found.is_listed, found.test) == (True, True, test)
    assert result.verdict.status is VerdictStatus.ALARM
    return found, values[-found.window_rows :]


def _shares(found: HypothesisResult) -> tuple[float | None, float | None]:
    return found.reference_value, found.current_value


def _approximately(*shares: float) -> Any:
    return pytest.approx(shares, rel=1e-9)


@pytest.mark.parametrize("rows", [500, 1000])
def test_a_shift_is_explained_by_the_medians_of_the_window_that_saw_it(rows: int) -> None:
    values = rng.normal(size=N)
    values[-rows:] += 0.5
    found, window = _seen(values, Test.LOCATION)
    assert found.window_rows == rows
    assert found.outcome == "median"
    assert _shares(found) == _approximately(float(np.median(NORMAL)), float(np.median(window)))


def test_a_shift_that_leaves_the_median_is_explained_by_the_means() -> None:
    """Four in ten are zero, the median of both samples."""
    zeros = np.where(rng.random(M) < 0.4, 0.0, NORMAL)
    values = np.where(rng.random(N) < 0.4, 0.0, rng.normal(0.6, 1, size=N))
    found, window = _seen(values, Test.LOCATION, reference_of({"x": zeros}))
    assert found.outcome == "mean"
    assert _shares(found) == _approximately(zeros.mean(), window.mean())


def test_a_larger_spread_is_explained_by_the_interquartile_ranges() -> None:
    found, window = _seen(1.4 * rng.normal(size=N), Test.SCALE)
    assert found.outcome == "interquartile range"
    before, now = (float(np.subtract(*np.quantile(each, (0.75, 0.25)))) for each in (NORMAL, window))
    assert _shares(found) == _approximately(before, now)


def test_a_changed_shape_is_explained_by_the_share_between_two_deciles() -> None:
    """Three in ten values are stuck at -1 or 1, which leaves mean and variance: the bins between them have fewer."""
    values = rng.normal(size=N)
    values[rng.random(N) < 0.3] = 1.0
    values[(values == 1.0) & (rng.random(N) < 0.5)] = -1.0
    found, window = _seen(values, Test.SHAPE)
    deciles = np.quantile(NORMAL, np.arange(1, 10) / 10, method="inverted_cdf")
    low, high = deciles[1], deciles[7]
    figures = re.fullmatch(r"from (\S+) to (\S+)", found.outcome)
    assert figures is not None
    assert [float(each) for each in figures.groups()] == pytest.approx([low, high], abs=0.005)
    before, now = (float(((each > low) & (each <= high)).mean()) for each in (NORMAL, window))
    assert _shares(found) == _approximately(before, now)
    assert before == pytest.approx(0.6, abs=1e-9)
    assert now < 0.5


def test_extreme_values_are_explained_by_the_share_beyond_a_quantile() -> None:
    values = rng.normal(size=N)
    values[::50] = 8.0
    found, window = _seen(values, Test.TAILS)
    cut = float(np.quantile(NORMAL, 0.999, method="inverted_cdf"))
    assert found.outcome == f"above {cut:.3f}".rstrip("0")
    assert _shares(found) == _approximately(float((cut < NORMAL).mean()), float((window > cut).mean()))
    assert sentence_of(found) == f"{100 * found.current_value:.1f} % of values are {found.outcome}; " + (
        "the reference has 0.10 %"
    )
    found, window = _seen(-values, Test.TAILS)
    cut = float(np.quantile(NORMAL, 0.001, method="inverted_cdf"))
    assert found.outcome.startswith("at most -3.")
    assert _shares(found) == _approximately(0.001, float((window <= cut).mean()))


def test_infinities_have_tests_of_their_own() -> None:
    values = rng.normal(size=N)
    values[::40] = math.inf
    found, window = _seen(values, Test.INFINITIES)
    assert (found.outcome, found.reference_value) == ("infinity", 0.0)
    assert found.current_value == pytest.approx(float((window == math.inf).mean()))
    # Of a reference that has them at random, the same share is quiet, and one that vanishes is an alarm.
    with_some = NORMAL.copy()
    with_some[rng.permutation(M)[:500]] = -math.inf
    reference = reference_of({"x": with_some})
    alike = rng.normal(size=N)
    alike[rng.permutation(N)[:50]] = -math.inf
    result = judged(reference, {"x": alike})
    assert result.verdict.status is VerdictStatus.QUIET
    assert result.verdict.hypotheses == 6
    found, _ = _seen(rng.normal(size=N), Test.INFINITIES, reference)
    assert (found.outcome, *_shares(found)) == ("-infinity", 0.05, 0.0)


COLOURS, SHARES = np.array(["red", "green", "blue", "grey", "pale blue"]), [0.4, 0.25, 0.2, 0.1, 0.05]
COLOURED = rng.choice(COLOURS, M, p=SHARES)
COLOUR_REFERENCE = reference_of({"x": COLOURED})


def test_changed_categories_are_named_with_their_share() -> None:
    """Those that moved in one direction and contributed most: green and blue rose from .45 to .65."""
    values = rng.choice(COLOURS, N, p=[0.25, 0.38, 0.30, 0.05, 0.02])
    found, window = _seen(values, Test.CATEGORIES, COLOUR_REFERENCE)
    named = found.outcome.split(" or ")
    assert set(named) <= set(COLOURS)
    assert _shares(found) == _approximately(*(float(np.isin(each, named).mean()) for each in (COLOURED, window)))
    assert abs(found.current_value - found.reference_value) > 0.1


@pytest.mark.parametrize(("new", "outcome"), [("mauve", "mauve, a new category"), ("n/a", "n/a, a new category")])
def test_a_new_category_is_an_alarm_however_rare_it_is(new: str, outcome: str) -> None:
    values = rng.choice(COLOURS, N, p=SHARES).astype(object)
    values[::100] = new
    found, window = _seen(values, Test.CATEGORY, COLOUR_REFERENCE)
    assert found.outcome == outcome
    assert _shares(found) == _approximately(0.0, float((window == new).mean()))


def test_one_category_that_becomes_frequent_is_named() -> None:
    values = rng.choice(COLOURS, N, p=[0.37, 0.22, 0.19, 0.1, 0.12])
    found = verdict_of(judged(COLOUR_REFERENCE, {"x": values}), "x")
    assert found.is_alarm
    assert found.outcome == "'pale blue'"
    assert _shares(found) == _approximately(*((each == "pale blue").mean() for each in (COLOURED, values)))


def test_a_constant_that_changes_is_a_new_category() -> None:
    reference = reference_of({"x": np.full(M, 5.0), "same": np.full(M, 1.0), "name": ["a"] * M})
    result = judged(reference, {"x": np.full(N, 4.0), "same": np.full(N, 1.0), "name": ["b"] * N})
    assert verdict_of(result, "x").is_alarm
    assert [sentence_of(verdict_of(result, name)) for name in ("x", "name")] == [
        "100 % of values are 4; the reference has 0 %",
        "100 % of values are b; the reference has 0 %",
    ]
    assert feature_of(result, "same").status is ResultStatus.CONSTANT
    assert feature_of(result, "same").verdict is None


def test_a_number_that_becomes_constant_is_an_alarm() -> None:
    found = verdict_of(judged(REFERENCE, {"x": np.full(N, 0.3)}), "x")
    assert found.is_alarm
    assert found.p_value < 1e-100


def test_missing_values_are_explained_by_the_shares_of_the_window_that_saw_them() -> None:
    before = NORMAL.copy()
    before[rng.permutation(M)[:100]] = math.nan
    values = rng.normal(size=N)
    values[-500::8] = math.nan
    result = judged(reference_of({"x": before}), {"x": values}, criteria=TWO_WINDOWS)
    found = feature_of(result, "x").missing_verdict
    assert found is not None
    assert (found.is_alarm, found.window_rows) == (True, 500)
    assert _shares(found) == _approximately(0.01, 63 / 500)
    assert sentence_of(found) == "13 % missing; the reference has 1.0 %"
    assert not verdict_of(result, "x").is_listed
    vanished = judged(reference_of({"x": np.where(np.arange(M) % 10, NORMAL, math.nan)}), {"x": rng.normal(size=N)})
    assert [sentence_of(each) for each in vanished.listed_hypotheses] == ["0 % missing; the reference has 10 %"]


def test_a_column_without_values_is_an_alarm_of_its_missing_values_alone() -> None:
    result = judged(REFERENCE, {"x": np.full(N, math.nan)})
    assert feature_of(result, "x").verdict is None
    assert [found.channel for found in result.listed_hypotheses] == [Channel.MISSING_VALUES]


def test_predictions_are_judged_as_classes_or_as_numbers() -> None:
    classes = rng.choice(["late", "on time"], M, p=[0.3, 0.7])
    of_classes = judged(
        reference_of({"x": NORMAL}, classes),
        {"x": rng.normal(size=N)},
        rng.choice(["late", "on time"], N, p=[0.45, 0.55]),
    )
    (found,) = of_classes.listed_hypotheses
    assert (found.channel, found.name, found.subject) == (Channel.PREDICTION, "", "predictions")
    assert found.alpha == pytest.approx(1e-4 / 4)
    assert found.reference_value in (float((classes == "late").mean()), float((classes == "on time").mean()))
    assert " % of predictions are " in sentence_of(found)
    of_numbers = judged(REFERENCE_OF_A_REGRESSION, {"x": rng.normal(size=N)}, rng.normal(0.5, 1, size=N))
    (found,) = of_numbers.listed_hypotheses
    assert (found.channel, found.test, found.outcome) == (Channel.PREDICTION, Test.LOCATION, "median")
    quiet = judged(REFERENCE_OF_A_REGRESSION, {"x": rng.normal(size=N)}, rng.normal(size=N))
    assert quiet.verdict.status is VerdictStatus.QUIET


REFERENCE_OF_A_REGRESSION = reference_of({"x": NORMAL}, rng.normal(size=M))


def _pair(rho: float, rows: int) -> dict[str, NDArray[np.float64]]:
    a, b, c = rng.normal(size=(3, rows))
    return {"a": a, "b": rho * a + math.sqrt(1 - rho**2) * b, "c": c}


def test_a_changed_correlation_names_its_pair_and_both_correlations_of_the_normal_scores() -> None:
    before, window = _pair(0.8, M), _pair(0.4, N)
    reference = reference_of(before)
    result = judged(reference, window, criteria=TWO_WINDOWS)
    (found,) = (each for each in result.listed_hypotheses if each.is_alarm)
    assert (found.channel, found.name, found.other_name) == (Channel.CORRELATION, "a", "b")
    assert found.subject == "a and b"
    assert found.alpha == pytest.approx(1e-4 / 4 / 3)
    for rows, expected, accuracy in (
        (before, found.reference_value, 1e-9),
        ({name: values[-found.window_rows :] for name, values in window.items()}, found.current_value, 1e-2),
    ):
        ranks = (np.searchsorted(np.sort(before[name]), rows[name]) for name in ("a", "b"))
        a, b = (norm.ppf(np.clip((each + 0.5) / M, 0.5 / M, 1 - 0.5 / M)) for each in ranks)
        assert expected == pytest.approx(float(np.corrcoef(a, b)[0, 1]), rel=accuracy)
    assert re.match(r"correlation with b went from 0\.(79|80|81)\d to 0\.[345]\d\d$", sentence_of(found))
    alone = judged(reference, window).listed_hypotheses[0]
    assert (found.window_rows, alone.window_rows) == (N, N)
    assert found.p_value == pytest.approx(2 * alone.p_value, rel=1e-9, abs=0)  # for two windows
    quiet = judged(reference, _pair(0.8, N), criteria=TWO_WINDOWS)
    assert quiet.verdict.status is VerdictStatus.QUIET
    assert quiet.correlations == tuple(each for each in quiet.correlations or () if each.p_value < 0.01)


@pytest.mark.parametrize(("missing", "pairs"), [(0.15, 3), (0.25, 1)])
def test_a_feature_with_many_missing_values_has_no_pairs(missing: float, pairs: int) -> None:
    before = _pair(0.8, M)
    before["a"][rng.permutation(M)[: int(missing * M)]] = math.nan
    window = _pair(-0.8, N)
    window["a"][rng.permutation(N)[: int(missing * N)]] = math.nan
    result = judged(reference_of(before), window)
    assert (result.verdict.status is VerdictStatus.ALARM) is (pairs == 3)
    assert result.verdict.hypotheses == 3 * 4 + 1 + pairs


def test_correlations_are_not_compared_if_the_policy_says_so() -> None:
    criteria = replace(CRITERIA, monitors_correlation=False)
    result = judged(reference_of(_pair(0.8, M)), _pair(-0.8, N), criteria=criteria)
    assert (result.verdict.status, result.correlations) == (VerdictStatus.QUIET, None)


def test_a_change_by_chance_is_not_explained() -> None:
    found = verdict_of(judged(REFERENCE, {"x": normal_quantiles(N, 1)}), "x")
    assert found.p_value > 0.05
    assert (found.outcome, *_shares(found)) == ("", None, None)
