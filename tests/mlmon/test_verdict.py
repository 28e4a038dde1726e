"""The verdict: its parts against scipy and by hand, its gates, and the verdicts of whole windows."""

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from mlmon.comparison import compare
from mlmon.prepared import prepare
from mlmon.profiling import profile_of
from mlmon.results import Badge, Channel, ComparisonResult, Criteria, HypothesisResult, Thresholds, VerdictStatus
from mlmon.schema import TaskType
from mlmon.statistics.counts import MissingCounts, benjamini_hochberg, chi_squared
from mlmon.statistics.dispersion import ordered_dispersion
from mlmon.verdict import Evidence, VerdictPlan, judge, plan_verdict

Floats: TypeAlias = NDArray[np.float64]

CRITERIA = Criteria(Thresholds(feature=0.15, prediction=0.1))


def _plan(*extra_rows: int, rows: int = 1000, reference_rows: int = 10_000) -> VerdictPlan:
    """Return the plan of a check of two features."""
    criteria = replace(CRITERIA, extra_window_rows=extra_rows)
    return plan_verdict(criteria, features=2, rows=5000, window_rows=rows, reference_rows=reference_rows)


PLAN = _plan()


def _evidence(
    name: str,
    p_value: float,
    effect: float = 0.3,
    *,
    rows: int = 1000,
    channel: Channel = Channel.DISTRIBUTION,
    dispersion: float = 1.0,
    is_measured: bool = True,
) -> Evidence:
    hypothesis = HypothesisResult(
        channel, name, p_value, effect, False, rows, dispersion=dispersion, smallest_detectable=0.2
    )
    return Evidence(hypothesis, is_measured)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.sampled_from([0.01, 0.05, 0.2]))
def test_listing_is_scipys_false_discovery_control(p_values: list[float], rate: float) -> None:
    expected = np.array(p_values) <= benjamini_hochberg(p_values, hypotheses=len(p_values), rate=rate)
    adjusted = stats.false_discovery_control(p_values, method="bh")
    clear = np.abs(adjusted - rate) > 1e-12  # at the edge rounding decides
    rejected = expected & (np.array(p_values) > 0) | (np.array(p_values) == 0)
    assert (rejected[clear] == (adjusted <= rate)[clear]).all()


def test_hypotheses_without_a_p_value_count_too() -> None:
    # Of ten hypotheses the smallest may be .005, of three .0167: by hand.
    assert benjamini_hochberg([0.01, 1.0, 1.0], hypotheses=3, rate=0.05) == 0.01
    assert benjamini_hochberg([0.01, 1.0, 1.0], hypotheses=10, rate=0.05) == 0.0


@pytest.mark.parametrize("table", [(3, 10_000, 9, 1000), (0, 10_000, 5, 500), (200, 3000, 20, 1000), (1, 40, 0, 40)])
def test_missing_values_of_independent_rows_are_fishers_test(table: tuple[int, int, int, int]) -> None:
    counts = MissingCounts(*table)
    m_missing, m, n_missing, n = table
    expected = stats.fisher_exact(np.array([[m_missing, n_missing], [m - m_missing, n - n_missing]])).pvalue
    assert counts.p_value_at(1.0) == pytest.approx(expected, rel=1e-12)
    assert counts.difference == pytest.approx(n_missing / n - m_missing / m)


def test_missing_values_of_dependent_rows_are_chi_squared_over_phi() -> None:
    counts = MissingCounts(200, 10_000, 50, 1000)
    x2 = stats.chi2_contingency([[200, 50], [9800, 950]], correction=False).statistic
    assert counts.p_value_at(2.5) == pytest.approx(stats.chi2.sf(x2 / 2.5, 1), rel=1e-12)


@pytest.mark.parametrize("dispersion", [1.0, 3.0])
@pytest.mark.parametrize("missing", [0, 100, 4000])
def test_the_smallest_detectable_difference_is_just_an_alarm(missing: int, dispersion: float) -> None:
    counts = MissingCounts(missing, 10_000, 0, 1000)
    rise = counts.smallest_detectable_difference(alpha=1e-6, dispersion=dispersion)
    share = missing / 10_000 + rise
    # The test of that very share, with rows in fractions.
    pooled = (missing + 1000 * share) / 11_000
    x2 = rise**2 * (1000 * 10_000 / 11_000) / (pooled * (1 - pooled))
    assert stats.chi2.sf(x2 / dispersion, 1) == pytest.approx(1e-6, rel=1e-6)


@pytest.mark.parametrize("dispersion", [1.0, 4.0])
def test_the_smallest_detectable_w_is_just_an_alarm(dispersion: float) -> None:
    n = 1000 * 10_000 / 11_000
    test = chi_squared(np.full(10, 1000), np.full(10, 100))
    w = test.smallest_detectable_w(alpha=1e-5, dispersion=dispersion)
    assert stats.chi2.sf((w**2 * n + 9) / dispersion, 9) == pytest.approx(1e-5, rel=1e-9)


def test_chi_squared_over_phi_is_scipys_tail() -> None:
    found = chi_squared(np.array([4000, 3000, 3000]), np.array([460, 280, 260]))
    assert found.p_value_at(2.0) == pytest.approx(stats.chi2.sf(found.statistic / 2, 2), rel=1e-12)


def test_alpha_shares_the_budget_among_hypotheses_and_windows() -> None:
    assert pytest.approx(1 / (10_000 * 5)) == PLAN.alpha
    plan = plan_verdict(
        Criteria(CRITERIA.thresholds, extra_window_rows=(500, 2000, 1000)),
        features=10,
        rows=2000,
        window_rows=1000,
        reference_rows=10_000,
    )
    assert plan.window_rows == (1000, 500, 2000)
    assert plan.alpha == pytest.approx(1 / (10_000 * 21 * 3))
    short = plan_verdict(
        Criteria(CRITERIA.thresholds, extra_window_rows=(5000,)),
        features=10,
        rows=2000,
        window_rows=1000,
        reference_rows=10_000,
    )
    assert short.window_rows == (1000,)  # the longer window is not there yet


def test_an_alarm_needs_a_small_p_value_and_a_large_effect() -> None:
    assert judge([_evidence("a", 2e-5)], PLAN).verdict.status is VerdictStatus.ALARM
    assert judge([_evidence("a", 2.1e-5)], PLAN).verdict.status is VerdictStatus.QUIET
    assert judge([_evidence("a", 1e-30, effect=0.149)], PLAN).verdict.status is VerdictStatus.QUIET
    for effect, status in ((0.019, VerdictStatus.QUIET), (-0.02, VerdictStatus.ALARM)):
        missing = _evidence("a", 1e-30, effect, channel=Channel.MISSING_VALUES)
        assert judge([missing], PLAN).verdict.status is status


def test_after_an_alarm_smaller_changes_are_listed_but_not_without_one() -> None:
    smaller = [_evidence("b", 0.003), _evidence("c", 0.001, effect=0.1), _evidence("d", 0.5)]
    alarmed = judge([_evidence("a", 1e-9), *smaller], PLAN).hypotheses
    listed = {name: alarmed[Channel.DISTRIBUTION, name].is_listed for name in "abcd"}
    assert listed == {"a": True, "b": True, "c": False, "d": False}
    quiet = judge(smaller, PLAN).hypotheses
    assert not any(found.is_listed for found in quiet.values())


def test_of_several_windows_the_alarming_one_is_reported() -> None:
    plan = _plan(500, 2000)
    found = judge([_evidence("a", 1e-20, effect=0.1, rows=2000), _evidence("a", 1e-8, effect=0.4, rows=500)], plan)
    reported = found.hypotheses[Channel.DISTRIBUTION, "a"]
    assert (reported.window_rows, reported.is_alarm) == (500, True)


@pytest.mark.parametrize(
    ("rows", "reference_rows", "detail"),
    [(499, 10_000, "The window has 499 rows"), (1000, 999, "The reference has 999 rows")],
)
def test_too_few_rows_give_no_verdict_but_the_smallest_detectable_change(
    rows: int, reference_rows: int, detail: str
) -> None:
    found = judge([_evidence("a", 1e-30, rows=rows)], _plan(rows=rows, reference_rows=reference_rows))
    assert found.verdict.status is VerdictStatus.INSUFFICIENT_DATA
    assert found.verdict.detail.startswith(detail)
    assert found.verdict.detail.endswith("The smallest change that these rows could show is w = 0.20.")
    assert not found.hypotheses[Channel.DISTRIBUTION, "a"].is_alarm


def test_badges_describe_the_data() -> None:
    assert judge([_evidence("a", 0.5)], PLAN).verdict.badges == ()
    assert judge([_evidence("a", 0.5, is_measured=False)], PLAN).verdict.badges == (Badge.INDEPENDENCE_UNVERIFIED,)
    assert judge([_evidence("a", 0.5, dispersion=11.0)], PLAN).verdict.badges == (Badge.BURSTY,)
    small = _plan(reference_rows=9_999)
    assert judge([_evidence("a", 0.5)], small).verdict.badges == (Badge.SMALL_REFERENCE,)


def _compared(
    reference: Mapping[str, Floats],
    current: Mapping[str, Floats],
    criteria: Criteria = CRITERIA,
    rows: int | None = None,
) -> ComparisonResult:
    table = pa.table(reference)
    answers = pa.array(["yes", "no"] * (table.num_rows // 2))
    profile = profile_of(table, answers, ("yes", "no"), TaskType.CLASSIFICATION)
    window = pa.table(current)
    predictions = pa.chunked_array([pa.array(["yes", "no"] * (window.num_rows // 2))])
    return compare(prepare(profile), window, predictions, criteria, window_rows=rows)


def test_the_p_value_of_a_number_is_the_smaller_of_ks_and_deciles_doubled() -> None:
    rng = np.random.default_rng(4)
    reference, current = rng.normal(size=10_000), rng.normal(0.3, 1, size=1000)
    found = _compared({"x": reference}, {"x": current}).features[0].verdict
    assert found is not None
    ks = stats.kstwobign.sf(math.sqrt(10_000 / 11) * stats.ks_2samp(reference, current).statistic / 1.0)
    edges = [-np.inf, *np.quantile(reference, np.arange(1, 10) / 10, method="inverted_cdf"), np.inf]
    table = [_right_closed(reference, edges), _right_closed(current, edges)]
    x2 = stats.chi2_contingency(table, correction=False)
    assert found.dispersion == pytest.approx(1.0, abs=0.1)
    if found.dispersion == 1.0:
        assert found.p_value == pytest.approx(2 * min(ks, x2.pvalue), rel=1e-9)
    assert found.chi2_statistic == pytest.approx(x2.statistic, rel=1e-9)
    assert found.effect == pytest.approx(math.sqrt((x2.statistic - 9) / (10_000 / 11)), rel=1e-9)
    assert found.is_alarm


def _right_closed(values: NDArray[np.float64], edges: list[float]) -> list[int]:
    at_most = [int((values <= edge).sum()) for edge in edges]
    return [high - low for low, high in pairwise(at_most)]


def test_dependence_in_time_is_corrected_for() -> None:
    rng = np.random.default_rng(8)

    def series(rows: int) -> NDArray[np.float64]:
        values = np.zeros(rows)
        for row in range(1, rows):
            values[row] = 0.8 * values[row - 1] + rng.normal()
        return values

    reference = series(20_000)
    found = _compared({"x": reference}, {"x": series(1000)}).features[0].verdict
    assert found is not None
    codes = np.digitize(reference, np.quantile(reference, np.arange(1, 10) / 10))
    assert found.dispersion == pytest.approx(ordered_dispersion(codes, 10).at(1000), rel=0.02)
    assert found.dispersion > 4
    assert not found.is_alarm


def test_values_that_go_missing_are_an_alarm_of_their_own() -> None:
    rng = np.random.default_rng(9)
    current = rng.normal(size=1000)
    current[::10] = math.nan
    result = _compared({"x": rng.normal(size=10_000)}, {"x": current})
    assert result.verdict.status is VerdictStatus.ALARM
    feature = result.features[0]
    assert feature.missing_verdict is not None
    assert feature.missing_verdict.is_listed
    assert feature.is_confirmed
    assert feature.verdict is not None
    assert not feature.verdict.is_listed


def test_infinities_are_categories_of_their_own() -> None:
    rng = np.random.default_rng(10)
    current = rng.normal(size=1000)
    current[:30] = math.inf  # 3 %: among the values of the highest decile they would be lost
    found = _compared({"x": rng.normal(size=10_000)}, {"x": current}).features[0].verdict
    assert found is not None
    assert found.p_value < 1e-20  # about 4 (1/11)^30: twice two looks, and no reference row is infinite
    assert found.is_alarm


def test_an_extra_window_detects_what_the_main_one_does_not() -> None:
    rng = np.random.default_rng(11)
    values = rng.normal(size=2000)
    values[-500:] += 0.45
    with_several = Criteria(CRITERIA.thresholds, extra_window_rows=(500,))
    result = _compared({"x": rng.normal(size=20_000)}, {"x": values}, with_several, 2000)
    found = result.features[0].verdict
    assert found is not None
    assert (found.window_rows, found.is_alarm) == (500, True)
    assert result.n_current == 2000


def test_unmonitored_features_are_left_out_and_do_not_count() -> None:
    rng = np.random.default_rng(12)
    columns = {name: rng.normal(size=2000) for name in ("x", "y")}
    criteria = Criteria(CRITERIA.thresholds, unmonitored=frozenset({"y"}))
    result = _compared(columns, columns, criteria)
    assert [feature.name for feature in result.features] == ["x"]
    assert result.verdict.hypotheses == 3


def test_thresholds_only_gives_no_verdict() -> None:
    rng = np.random.default_rng(13)
    columns = {"x": rng.normal(size=2000)}
    result = _compared(columns, columns, Criteria(CRITERIA.thresholds, gives_verdict=False))
    assert result.verdict.status is VerdictStatus.NOT_ASKED
    assert result.hypotheses == ()
