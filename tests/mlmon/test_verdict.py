"""The verdict of whole windows: its budget by hand, its gates, and what it says if it cannot judge."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.stats import chi2_contingency, f, hypergeom, norm, rankdata
from scipy.stats import t as student

from mlmon.criteria import Criteria
from mlmon.detection.shares import share_p_values
from mlmon.results import Badge, Channel, HypothesisResult, ResultStatus, Test, VerdictStatus
from mlmon.verdict import VerdictPlan, plan_verdict
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
rng = np.random.default_rng(31)
COLOURS, SHARES = np.array(["red", "green", "blue", "grey"]), [0.4, 0.3, 0.2, 0.1]


def _plan(*extra_rows: int, rows: int = 2000, features: int = 10, budget: int = 10_000) -> VerdictPlan:
    criteria = replace(CRITERIA, extra_window_rows=extra_rows, false_alarm_budget=budget)
    return plan_verdict(criteria, features=features, pairs=45, rows=rows, window_rows=1000, reference_rows=M)


def test_each_channel_has_a_quarter_of_the_budget_divided_by_its_hypotheses() -> None:
    plan = _plan()
    assert plan.alpha(Channel.DISTRIBUTION) == plan.alpha(Channel.MISSING_VALUES) == pytest.approx(1e-4 / 4 / 10)
    assert plan.alpha(Channel.PREDICTION) == pytest.approx(1e-4 / 4)
    assert plan.alpha(Channel.CORRELATION) == pytest.approx(1e-4 / 4 / 45)
    assert _plan(budget=500).alpha(Channel.DISTRIBUTION) == pytest.approx(1 / 500 / 4 / 10)
    assert _plan(features=0).alpha(Channel.DISTRIBUTION) == pytest.approx(1e-4 / 4)


def test_the_windows_are_the_main_one_and_those_that_the_rows_allow() -> None:
    assert _plan(500, 2000, 1000).window_rows == (1000, 500, 2000)
    assert _plan(500, 5000, 499).window_rows == (1000, 500)  # not there yet; too short for a verdict
    scores_only = replace(TWO_WINDOWS, gives_verdict=False)
    plan = plan_verdict(scores_only, features=2, pairs=1, rows=1000, window_rows=1000, reference_rows=M)
    assert plan.window_rows == (1000,)


def _tail(found: HypothesisResult, z: float) -> float:
    nu = found.degrees_of_dispersion
    return float(2 * norm.sf(abs(z)) if nu is None else 2 * student.sf(abs(z), nu))


@pytest.mark.parametrize(("criteria", "windows"), [(CRITERIA, 1), (TWO_WINDOWS, 2)])
def test_p_values_of_numbers_are_corrected_for_four_tests_and_the_windows(criteria: Criteria, windows: int) -> None:
    reference, current = rng.exponential(size=M), rng.exponential(1.3, size=N)
    found = verdict_of(judged(reference_of({"x": reference}), {"x": current}, criteria=criteria), "x")
    ranks = (rankdata(reference) - 0.5) / M
    a = norm.ppf(ranks)
    # A value that the reference does not have has the rank of its cell, half a rank above the next smaller one.
    below = np.searchsorted(np.sort(reference), current)
    now = norm.ppf(np.clip((below + 0.5) / M, 0.5 / M, 1 - 0.5 / M))
    assert found.test is Test.LOCATION
    assert found.window_rows == N
    assert found.effect == pytest.approx((now.mean() - a.mean()) / a.std(), rel=1e-6)
    z = found.effect * math.sqrt(N * M / (N + M) / found.dispersion)
    assert found.p_value == pytest.approx(4 * windows * _tail(found, z), rel=1e-3, abs=0)  # the skewness is about 0
    assert found.alpha == pytest.approx(1e-4 / 4)
    assert found.gate == 0.15


def test_p_values_of_categories_are_corrected_for_two_tests_and_the_windows() -> None:
    reference, current = rng.choice(COLOURS, M, p=SHARES), rng.choice(COLOURS, N, p=[0.3, 0.4, 0.1, 0.2])
    found = verdict_of(judged(reference_of({"x": reference}), {"x": current}, criteria=TWO_WINDOWS), "x")
    rows = current[-found.window_rows :]
    table = [[int((each == name).sum()) for name in COLOURS] for each in (reference, rows)]
    statistic = chi2_contingency(table, correction=False).statistic
    effective = rows.size * M / (rows.size + M)
    phi, nu = found.dispersion, found.degrees_of_dispersion
    assert found.test is Test.CATEGORIES
    assert found.effect == pytest.approx(math.sqrt((statistic - 3 * phi) / effective), rel=1e-9)
    assert nu is not None
    assert found.p_value == pytest.approx(2 * 2 * f.sf(statistic / phi / 3, 3, nu), rel=1e-6, abs=0)


def test_missing_values_that_the_reference_has_too_are_compared_by_row() -> None:
    before, current = rng.normal(size=M), rng.normal(size=N)
    before[rng.permutation(M)[: M // 20]] = math.nan
    current[::5] = math.nan
    result = judged(reference_of({"x": before}), {"x": current}, criteria=TWO_WINDOWS)
    found = feature_of(result, "x").missing_verdict
    assert found is not None
    assert (found.test, found.window_rows, found.gate) == (Test.MISSING, N, 0.02)
    assert found.effect == pytest.approx(0.15)
    assert result.verdict.status is VerdictStatus.ALARM
    nu = found.degrees_of_dispersion
    assert nu is not None
    expected = 2 * share_p_values(N // 5, N, M // 20, M, phi=found.dispersion, nu=nu)
    assert found.p_value == pytest.approx(float(expected), rel=1e-9, abs=0)


def test_missing_values_that_the_reference_lacks_are_counted_in_blocks_of_20_rows() -> None:
    """Doubled for two sides, and for two windows: SciPy's hypergeometric tail of three blocks of fifty."""
    current = rng.normal(size=N)
    current[[3, 500, *range(700, 720), *range(720, 740)]] = math.nan
    result = judged(reference_of({"x": rng.normal(size=M)}), {"x": current}, criteria=TWO_WINDOWS)
    found = feature_of(result, "x").missing_verdict
    assert found is not None
    assert found.effect == pytest.approx(42 / N)
    assert found.window_rows == N
    assert (found.dispersion, found.degrees_of_dispersion) == (42 / 4, None)
    expected = 4 * hypergeom.sf(3, (N + M) // 20, 4, N // 20)
    assert found.p_value == pytest.approx(expected, rel=1e-9, abs=0)


@pytest.mark.parametrize(("bursts", "missing", "rows"), [(0, 160, 500), (1, 1_000, 1_000), (30, 500, 500)])
def test_a_feature_that_is_suddenly_always_missing_is_an_alarm(bursts: int, missing: int, rows: int) -> None:
    """However little a reference of 2,000 rows shows of its missing values: none, one burst, or thirty."""
    before, current = rng.normal(size=2_000), rng.normal(size=rows)
    for start in rng.permutation(100)[:bursts] * 20:
        before[start : start + 10] = math.nan
    current[-missing:] = math.nan
    found = feature_of(judged(reference_of({"x": before}), {"x": current}), "x").missing_verdict
    assert found is not None
    assert found.is_alarm


def test_fewer_missing_values_than_a_short_reference_has_are_no_alarm() -> None:
    """The number of its blocks is an upper bound, so that fewer blocks in a window show nothing."""
    before, current = rng.normal(size=2_000), rng.normal(size=N)
    before[1_000:1_700] = math.nan
    found = feature_of(judged(reference_of({"x": before}), {"x": current}), "x").missing_verdict
    assert found is not None
    assert (found.p_value, found.is_alarm) == (1.0, False)


def test_two_bursts_after_a_reference_without_missing_values_are_no_alarm() -> None:
    current = rng.normal(size=500)
    current[[*range(100, 115), *range(300, 320)]] = math.nan
    assert judged(reference_of({"x": rng.normal(size=2_000)}), {"x": current}).verdict.status is VerdictStatus.QUIET


def test_infinities_that_the_reference_lacks_are_counted_in_blocks_too() -> None:
    burst, spread = rng.normal(size=N), rng.normal(size=N)
    burst[200:230] = math.inf
    spread[np.linspace(0, N - 1, 30).astype(int)] = math.inf
    reference = reference_of({"x": rng.normal(size=M)})
    assert judged(reference, {"x": burst}).verdict.status is VerdictStatus.QUIET
    assert judged(reference, {"x": spread}).verdict.status is VerdictStatus.ALARM


def test_the_tests_of_all_channels_are_counted() -> None:
    columns = {"x": rng.normal(size=M), "y": rng.normal(size=M), "colour": rng.choice(COLOURS, M)}
    reference = reference_of(columns, rng.choice(["yes", "no"], M))
    window = {name: values[:N].copy() for name, values in columns.items()}
    window["x"][:5] = math.nan
    result = judged(reference, window, rng.choice(["yes", "no"], N), TWO_WINDOWS)
    # In two windows: four tests of x and y each, two of colour, one of missing x, two of predictions, one of the pair.
    assert result.verdict.hypotheses == 2 * (4 + 4 + 2 + 1 + 2 + 1)
    assert result.verdict.status is VerdictStatus.QUIET
    closest = min(result.hypotheses, key=lambda found: found.p_value / found.alpha)
    assert result.verdict.smallest_p_value == closest.p_value
    without = replace(TWO_WINDOWS, monitors_correlation=False)
    fewer = judged(reference, window, rng.choice(["yes", "no"], N), without)
    assert fewer.verdict.hypotheses == 2 * (4 + 4 + 2 + 1 + 2)
    assert fewer.correlations is None


@pytest.mark.parametrize("shift", [0.05, 0.1, 0.125])
def test_a_change_that_is_certain_but_too_small_is_quiet(shift: float) -> None:
    reference = reference_of({"x": normal_quantiles(50_000, 1)})
    result = judged(reference, {"x": normal_quantiles(20_000, 2) + shift})
    found = verdict_of(result, "x")
    assert result.verdict.status is VerdictStatus.QUIET
    assert found.p_value < found.alpha / 10
    assert not found.passes_gate
    larger = judged(reference, {"x": normal_quantiles(20_000, 2) + 0.16})
    assert larger.verdict.status is VerdictStatus.ALARM


@pytest.mark.parametrize(("share", "status"), [(0.029, VerdictStatus.QUIET), (0.031, VerdictStatus.ALARM)])
def test_two_points_more_of_missing_values_matter(share: float, status: VerdictStatus) -> None:
    x, now = rng.normal(size=50_000), rng.normal(size=20_000)
    x[rng.permutation(50_000)[:500]] = math.nan
    now[rng.permutation(20_000)[: int(20_000 * share)]] = math.nan
    assert judged(reference_of({"x": x}), {"x": now}).verdict.status is status


def test_a_shorter_window_sees_what_the_main_one_does_not() -> None:
    """A shift of .28 in the latter half is one of .14 in the window."""
    reference = reference_of({"x": normal_quantiles(M, 3)})
    window = np.concatenate([normal_quantiles(500, 4), normal_quantiles(500, 5) + 0.28])
    assert judged(reference, {"x": window}).verdict.status is VerdictStatus.QUIET
    found = verdict_of(judged(reference, {"x": window}, criteria=TWO_WINDOWS), "x")
    assert (found.is_alarm, found.window_rows, found.test) == (True, 500, Test.LOCATION)


def test_the_window_is_the_latest_rows() -> None:
    reference = reference_of({"x": normal_quantiles(M, 3)})
    rows = np.concatenate([normal_quantiles(1000, 4) + 1, normal_quantiles(1000, 5)])
    assert judged(reference, {"x": rows}, window_rows=1000).verdict.status is VerdictStatus.QUIET
    assert judged(reference, {"x": rows[::-1]}, window_rows=1000).verdict.status is VerdictStatus.ALARM


def test_dependence_in_time_is_corrected_for() -> None:
    """(1 + rho) / (1 - rho) = 9 for rho = .8. Windows of 1,000 rows say as much as 111."""
    values: NDArray[np.float64] = lfilter([1], [1, -0.8], rng.normal(size=60_000))[1000:]
    reference = reference_of({"x": values[:50_000]})
    for start in range(50_000, 58_000, 1000):
        found = verdict_of(judged(reference, {"x": values[start : start + 1000]}), "x")
        assert found.dispersion == pytest.approx(9, rel=0.15)
        assert not found.is_alarm
    assert judged(reference, {"x": values[50_000:51_000] + 2 * values.std()}).verdict.status is VerdictStatus.ALARM


def test_each_column_is_tested_as_if_it_were_alone() -> None:
    """Only alpha depends on the other columns, whatever their kinds, bins, categories and missing values."""
    m = 5000
    columns = {
        "number": rng.normal(size=m),
        "infinite": np.where(rng.random(m) < 0.02, math.inf, rng.normal(size=m)),
        "zeros": np.where(rng.random(m) < 0.8, 0.0, rng.exponential(size=m)),
        "missing": np.where(rng.random(m) < 0.1, math.nan, rng.normal(size=m)),
        "code": rng.integers(0, 4, m),
        "colour": rng.choice(COLOURS, m, p=SHARES),
        "shop": np.array([f"s{code}" for code in rng.integers(0, 200, m)]),
        "dependent": lfilter([1], [1, -0.7], rng.normal(size=m)),
    }
    window = {name: np.concatenate([values[:200], values[200:1200:2]]) for name, values in columns.items()}
    window["number"] += 0.3
    criteria = replace(TWO_WINDOWS, monitors_correlation=False)
    together = judged(reference_of(columns), window, criteria=criteria, with_details=True)
    assert sum(feature.verdict is not None for feature in together.features) == len(columns)
    undecided = {"p_value": 0.0, "alpha": 0.0, "is_alarm": False, "is_listed": False}
    for name, values in columns.items():
        alone = judged(reference_of({name: values}), {name: window[name]}, criteria=criteria, with_details=True)
        for one, other in zip(feature_of(together, name).hypotheses, alone.features[0].hypotheses, strict=True):
            assert one.p_value == pytest.approx(other.p_value, rel=1e-9, abs=0)
            assert one.alpha == pytest.approx(other.alpha / len(columns))
            assert asdict(one) | undecided == asdict(other) | undecided


def test_fewer_than_thirty_values_are_no_evidence() -> None:
    """The window has 40 values, its latter half 20, which are all high: by themselves they would be the stronger."""
    reference = reference_of({"x": rng.normal(size=M)})
    values = np.full(N, math.nan)
    values[:500:25], values[500::25] = normal_quantiles(20, 1), 5.0
    found = feature_of(judged(reference, {"x": values}, criteria=TWO_WINDOWS), "x")
    assert found.verdict is not None
    assert (found.verdict.is_alarm, found.verdict.window_rows) == (True, N)
    values[:500] = math.nan
    found = feature_of(judged(reference, {"x": values}, criteria=TWO_WINDOWS), "x")
    assert found.status is ResultStatus.INSUFFICIENT_DATA
    assert found.verdict is None
    assert found.missing_verdict is not None
    assert found.missing_verdict.is_alarm


def test_a_test_that_is_an_alarm_counts_more_than_a_smaller_p_value_that_does_not_matter() -> None:
    """All values are higher by .1, for certain and too little, and five in a thousand are far out."""
    reference = reference_of({"x": normal_quantiles(50_000, 1)})
    window = normal_quantiles(20_000, 2) + 0.1
    of_shift = verdict_of(judged(reference, {"x": window}), "x")
    assert (of_shift.test, of_shift.is_alarm) == (Test.LOCATION, False)
    window[::200] = 8.0
    found = verdict_of(judged(reference, {"x": window}), "x")
    assert (found.test, found.is_alarm) == (Test.TAILS, True)
    assert found.p_value > of_shift.p_value


def test_a_window_that_the_reference_is_too_short_for_is_left_out() -> None:
    """A level that changes every 500 rows: 9,500 rows show windows of 1,000 rows, but none of 5,000."""
    x = rng.normal(size=9500) + np.repeat(rng.normal(0, 0.3, size=19), 500)
    reference = reference_of({"x": x})
    rows = np.concatenate([normal_quantiles(4000, 1) + 4, normal_quantiles(1000, 2)])
    criteria = replace(CRITERIA, extra_window_rows=(5000,))
    found = verdict_of(judged(reference, {"x": rows}, criteria=criteria, window_rows=1000), "x")
    assert (found.window_rows, found.is_alarm) == (1000, False)
    assert found.degrees_of_dispersion == 8


def test_after_an_alarm_smaller_changes_are_listed_but_not_without_one() -> None:
    """Windows of 500 rows. Benjamini and Hochberg list the second of four p-values up to .025, but only if it matters.

    The p-value of a shift s is 4 times that of z = s * sqrt(500 * 10,000 / 10,500): .001 for .17 and .01 for .14.
    """
    reference = reference_of({name: normal_quantiles(M, seed) for seed, name in enumerate("abcd")})
    shifts = {"a": 0.5, "b": 0.17, "c": 0.14, "d": 0.0}
    window = {name: normal_quantiles(500, 9) + shift for name, shift in shifts.items()}
    criteria = replace(CRITERIA, monitors_correlation=False)
    result, none = judged(reference, window, criteria=criteria), dict.fromkeys("abcd", False)
    assert {name: verdict_of(result, name).is_listed for name in "abcd"} == {**none, "a": True, "b": True}
    assert {name: verdict_of(result, name).is_alarm for name in "abcd"} == {**none, "a": True}
    assert verdict_of(result, "c").p_value <= 0.025
    assert [found.name for found in result.listed_hypotheses] == ["a", "b"]
    quiet = judged(reference, window | {"a": normal_quantiles(500, 8)}, criteria=criteria)
    assert quiet.verdict.status is VerdictStatus.QUIET
    assert quiet.listed_hypotheses == ()


@pytest.mark.parametrize(
    ("rows", "reference_rows", "detail"),
    [
        (499, 10_000, "The window has 499 rows; a verdict needs 500."),
        (600, 999, "The reference has 999 rows; a verdict needs 1000."),
    ],
)
def test_too_few_rows_give_scores_and_what_they_could_have_shown(rows: int, reference_rows: int, detail: str) -> None:
    reference = reference_of({"x": rng.normal(size=reference_rows)})
    result = judged(reference, {"x": rng.normal(3, 1, size=rows)}, with_details=True)
    assert result.verdict.status is VerdictStatus.INSUFFICIENT_DATA
    assert result.verdict.detail == detail
    feature = result.features[0]
    assert feature.is_drifted
    assert 0.15 <= feature.smallest_visible[Test.LOCATION] < 0.5
    assert not any(found.is_alarm or found.is_listed for found in result.hypotheses)


def test_thresholds_only_gives_no_verdict() -> None:
    columns = {"x": rng.normal(size=2000)}
    result = judged(reference_of(columns), columns, criteria=replace(CRITERIA, gives_verdict=False))
    assert result.verdict.status is VerdictStatus.NOT_ASKED
    assert (result.hypotheses, result.correlations) == ((), None)


def test_unmonitored_features_are_left_out_and_do_not_count() -> None:
    columns = {name: rng.normal(size=M) for name in ("x", "y")}
    result = judged(
        reference_of(columns),
        {"x": columns["x"][:N], "y": columns["y"][:N] + 5},
        criteria=replace(CRITERIA, unmonitored=frozenset({"y"})),
    )
    assert [feature.name for feature in result.features] == ["x"]
    assert (result.verdict.hypotheses, result.verdict.status) == (4, VerdictStatus.QUIET)
    assert verdict_of(result, "x").alpha == pytest.approx(1e-4 / 4)


def test_a_random_walk_is_not_judged_and_the_needed_rows_are_named() -> None:
    walk = np.cumsum(rng.normal(size=M))
    result = judged(reference_of({"x": walk}), {"x": walk[-N:] + 1000})
    assert result.verdict.status is VerdictStatus.INSUFFICIENT_DATA
    assert result.verdict.detail == "The reference is too short to show how much windows vary."
    feature = result.features[0]
    assert feature.verdict is None
    assert feature.no_verdict_reason.startswith(
        "The reference is too short for the verdict: its 10,000 rows are too few"
    )
    rows = int(feature.no_verdict_reason.split("About ")[1].split(" rows")[0].replace(",", ""))
    assert rows > M
    assert feature.status is ResultStatus.OK
    assert feature.is_drifted


def test_a_sorted_reference_is_named_with_the_advice() -> None:
    values = rng.normal(size=M)
    order = np.argsort(values)
    columns = {"by": values[order], "colour": np.repeat(["red", "blue"], 5000), "other": rng.normal(size=M)}
    window = {"by": rng.normal(size=N), "colour": rng.choice(["red", "blue"], N), "other": rng.normal(size=N)}
    result = judged(reference_of(columns), window)
    for name in ("by", "colour"):
        assert feature_of(result, name).no_verdict_reason == (
            "The reference looks sorted by this column. Shuffle it, or add a column of times, and upload it again."
        )
        assert feature_of(result, name).verdict is None
    assert feature_of(result, "other").no_verdict_reason == ""
    assert verdict_of(result, "other").p_value > 1e-4


def test_the_other_features_are_judged_if_some_cannot_be() -> None:
    columns = {"walk": np.cumsum(rng.normal(size=M)), "x": rng.normal(size=M)}
    reference = reference_of(columns)
    quiet = judged(reference, {name: values[-N:] for name, values in columns.items()})
    assert quiet.verdict.status is VerdictStatus.QUIET
    assert quiet.verdict.detail == "The verdict leaves out walk: the reference is too short."
    assert Badge.INSUFFICIENT_REFERENCE in quiet.verdict.badges
    alarm = judged(reference, {"walk": columns["walk"][-N:], "x": columns["x"][-N:] + 1})
    assert alarm.verdict.status is VerdictStatus.ALARM
    assert [found.name for found in alarm.listed_hypotheses] == ["x"]
    walks = {f"walk{place}": np.cumsum(rng.normal(size=M)) for place in range(5)}
    several = judged(
        reference_of(walks | {"x": columns["x"]}), {name: each[-N:] for name, each in (walks | columns).items()}
    )
    assert several.verdict.detail == (
        "The verdict leaves out walk0, walk1, walk2 and 2 more: the reference is too short."
    )


def test_predictions_that_cannot_be_judged_are_named() -> None:
    x, walk = rng.normal(size=M), np.cumsum(rng.normal(size=M))
    result = judged(reference_of({"x": x}, walk), {"x": x[-N:]}, walk[-N:])
    assert result.prediction.verdict is None
    assert result.prediction.no_verdict_reason.startswith("The reference is too short")
    assert result.verdict.detail == "The verdict leaves out the predictions: the reference is too short."


def test_badges_describe_the_data() -> None:
    x = rng.normal(size=M)
    assert judged(reference_of({"x": x}), {"x": x[:N]}).verdict.badges == ()
    assert judged(reference_of({"x": x[:-1]}), {"x": x[:N]}).verdict.badges == (Badge.SMALL_REFERENCE,)
    bursts = np.repeat(rng.normal(size=1500), 20)
    assert judged(reference_of({"x": bursts}), {"x": bursts[:N]}).verdict.badges == (Badge.BURSTY,)
