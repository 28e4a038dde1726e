"""Windows that are compared by hour of day: cycles are quiet, and changes that they would hide are found.

A day has 1,000 rows, and the reference 20 days unless a test says otherwise. Changes are in standard deviations of the
weather, the part of a value that does not follow the clock.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.stats import norm, rankdata

from mlmon.criteria import Criteria
from mlmon.detection.phases import NO_TIME
from mlmon.prepared import PreparedReference
from mlmon.results import Channel, ComparisonResult, QualityEvent, Test, VerdictStatus
from mlmon.sentences import sentence_of
from tests.mlmon.judged_windows import (
    CRITERIA,
    TWO_WINDOWS,
    Values,
    feature_of,
    judged,
    normal_quantiles,
    reference_of,
    verdict_of,
)

DAY, HOUR = 86_400_000_000, 3_600_000_000
PER_DAY, DAYS = 1_000, 20
M = PER_DAY * DAYS
FEWER = 9_970  # rows of ten days but for their last minutes; each has a score of its own
COUNT = M + 4 * PER_DAY
MONDAY = int(np.datetime64("2026-03-02", "us").astype(np.int64))
TIMES = MONDAY + np.arange(COUNT) * (DAY // PER_DAY)
HOURS = TIMES // HOUR % 24
IS_DAY = (HOURS >= 8) & (HOURS < 20)
DAILY = 3 * np.sin(2 * np.pi * TIMES / DAY)
EARLY = 3 * np.sin(2 * np.pi * (TIMES + 3 * HOUR) / DAY)
PLAIN = TWO_WINDOWS
BY_PHASE = replace(TWO_WINDOWS, is_seasonal=True)
BOTH = pytest.mark.parametrize("criteria", [BY_PHASE, PLAIN], ids=["by phase", "plain"])
COLOURS = np.array(["red", "green", "blue"])


def weather(rho: float, seed: int, count: int = COUNT) -> NDArray[np.float64]:
    """Return AR(1) noise of variance 1."""
    innovations = np.random.default_rng(seed).normal(size=count + 500)
    series: NDArray[np.float64] = lfilter([np.sqrt(1 - rho**2)], [1, -rho], innovations)[500:]
    return series


def colours(shares: NDArray[np.float64], seed: int) -> Values:
    """Return colours, red with these shares and otherwise green or blue."""
    rng = np.random.default_rng(seed)
    codes = np.where(rng.random(shares.size) < shares, 0, rng.integers(1, 3, shares.size))
    return COLOURS[codes]


AR = weather(0.5, 1)
NOISE = weather(0.0, 2)
RED_BY_HOUR = colours(np.where(IS_DAY, 0.7, 0.2), 3)
IS_MISSING = np.random.default_rng(4).random(COUNT) < np.where(IS_DAY, 0.02, 0.2)
COLUMNS: Mapping[str, Values] = {
    "x": DAILY + AR,
    "noise": NOISE,
    "colour": RED_BY_HOUR,
    "gaps": np.where(IS_MISSING, np.nan, weather(0.0, 5)),
}


def first(columns: Mapping[str, Values], rows: int = M) -> dict[str, Any]:
    """Return the rows of the reference."""
    return {name: values[:rows] for name, values in columns.items()}


REFERENCE = reference_of(first(COLUMNS), RED_BY_HOUR[:M], times=TIMES[:M])
UNTIMED = reference_of(first(COLUMNS), RED_BY_HOUR[:M])


def at(
    end: int,
    columns: Mapping[str, Values],
    criteria: Criteria,
    reference: PreparedReference = REFERENCE,
    predictions: Values | None = None,
    *,
    with_details: bool = False,
) -> ComparisonResult:
    """Return the comparison of the 1,000 rows up to this one; features without values are not monitored."""
    window = {name: values[end - 1000 : end] for name, values in columns.items()}
    others = frozenset(reference.features) - columns.keys()
    return judged(
        reference,
        window,
        None if predictions is None else predictions[end - 1000 : end],
        replace(criteria, unmonitored=others),
        times=TIMES[end - 1000 : end],
        with_details=with_details,
    )


def is_alarm(result: ComparisonResult) -> bool:
    return result.verdict.status is VerdictStatus.ALARM


@BOTH
@pytest.mark.parametrize("noise", [1.0, 0.1])
def test_a_cycle_is_quiet_all_day(criteria: Criteria, noise: float) -> None:
    """Ten overlapping windows of 1,000 and 500 rows. With little noise the residuals follow the minute of the hour."""
    values = {"x": DAILY + noise * weather(0.0, 6)}
    reference = reference_of(first(values), times=TIMES[:M])
    found = [at(end, values, criteria, reference) for end in range(M + 1000, M + 2001, 100)]
    assert not any(map(is_alarm, found))
    assert {verdict_of(each, "x").season for each in found} == {"hour_of_day" if criteria.is_seasonal else ""}


@BOTH
@pytest.mark.parametrize("changed", [DAILY + AR + 0.5, EARLY + AR], ids=["higher", "three hours early"])
def test_a_change_within_a_cycle_is_found_by_phase_only(criteria: Criteria, changed: NDArray[np.float64]) -> None:
    values = {"x": np.where(np.arange(COUNT) < M + 1000, DAILY + AR, changed)}
    alarms = [end for end in range(M + 1000, M + 2201, 100) if is_alarm(at(end, values, criteria))]
    if criteria is PLAIN:
        assert not alarms
    else:
        assert M + 1000 < alarms[0] <= M + 2000
        assert M + 2200 in alarms


@BOTH
@pytest.mark.parametrize("name", ["colour", "gaps"])
def test_categories_and_missing_values_by_hour(criteria: Criteria, name: str) -> None:
    """Quiet all day; 15 points more red ones, or about nine points more missing values, are found by phase only."""
    ends = range(M + 1000, M + 2001, 100)
    assert not any(is_alarm(at(end, {name: COLUMNS[name]}, criteria)) for end in ends)
    changed = {
        "colour": colours(np.where(IS_DAY, 0.85, 0.35), 7),
        "gaps": np.where(np.random.default_rng(8).random(COUNT) < np.where(IS_DAY, 0.1, 0.3), np.nan, NOISE),
    }[name]
    result = at(M + 2000, {name: changed}, criteria)
    assert is_alarm(result) is (criteria is BY_PHASE)
    found = feature_of(result, name)
    hypothesis = found.verdict if name == "colour" else found.missing_verdict
    assert hypothesis is not None
    assert hypothesis.season == ("hour_of_day" if criteria is BY_PHASE else "")


def test_few_numbers_are_compared_as_their_names() -> None:
    codes = np.searchsorted(np.sort(COLOURS), RED_BY_HOUR).astype(np.float64)
    columns = {"name": RED_BY_HOUR, "number": codes}
    result = at(M + 1700, columns, BY_PHASE, reference_of(first(columns), times=TIMES[:M]))
    name, number = verdict_of(result, "name"), verdict_of(result, "number")
    assert number.season == "hour_of_day"
    assert replace(number, name="name") == name


@BOTH
def test_missing_values_by_hour_are_no_notable_finding(criteria: Criteria) -> None:
    """By night ten times as many values are missing as by day, as in the reference."""
    rises = []
    for end in range(M + 1000, M + 2001, 100):
        rows = {"gaps": COLUMNS["gaps"][end - 500 : end]}
        others = frozenset(COLUMNS) - {"gaps"}
        own = replace(criteria, extra_window_rows=(), unmonitored=others)
        quality = feature_of(judged(REFERENCE, rows, criteria=own, times=TIMES[end - 500 : end]), "gaps").quality
        rises += [each for each in quality if each.event is QualityEvent.MISSING_VALUES]
    assert max(each.share for each in rises) > 0.15
    assert not any(each.is_notable for each in rises)


@BOTH
@pytest.mark.parametrize("is_regression", [False, True])
def test_predictions_by_hour(criteria: Criteria, is_regression: bool) -> None:
    predictions = DAILY + AR if is_regression else RED_BY_HOUR
    changed = EARLY + AR if is_regression else np.roll(RED_BY_HOUR, -3 * PER_DAY // 24)
    values = {"noise": NOISE}
    reference = reference_of(first(values), predictions[:M], times=TIMES[:M])
    quiet = [at(end, values, criteria, reference, predictions) for end in range(M + 1000, M + 2001, 200)]
    assert not any(map(is_alarm, quiet))
    result = at(M + 2000, values, criteria, reference, changed)
    assert is_alarm(result) is (criteria is BY_PHASE)
    assert result.prediction.verdict is not None
    assert result.prediction.verdict.channel is Channel.PREDICTION
    assert result.prediction.verdict.season == ("hour_of_day" if criteria is BY_PHASE else "")


def test_a_feature_without_a_season_and_correlations_are_judged_as_without_phases() -> None:
    """The noise starts to follow the seasonal feature, so that there is a correlation to compare."""
    changed = dict(COLUMNS) | {"noise": NOISE + 0.6 * AR}
    by_phase, plain = (at(M + 2000, changed, criteria, with_details=True) for criteria in (BY_PHASE, PLAIN))
    assert feature_of(by_phase, "noise") == feature_of(plain, "noise")
    assert by_phase.correlations == plain.correlations
    assert by_phase.correlations
    assert by_phase.correlations[0].key == "correlation:x:noise"
    assert feature_of(by_phase, "x") != feature_of(plain, "x")


def test_with_more_rows_without_a_time_the_result_is_the_plain_one() -> None:
    """Up to a tenth of the rows may lack it, and are compared with all rows."""
    rows = slice(M + 1000, M + 2000)
    window = {name: values[rows] for name, values in COLUMNS.items()}
    plain = judged(REFERENCE, window, criteria=PLAIN, with_details=True)
    times = TIMES[rows].copy()
    times[np.random.default_rng(9).permutation(1000)[:101]] = NO_TIME
    assert judged(REFERENCE, window, criteria=BY_PHASE, times=times, with_details=True) == plain
    times[times == NO_TIME] = np.where(np.arange(101) < 100, NO_TIME, TIMES[M])
    result = judged(REFERENCE, window, criteria=BY_PHASE, times=times)
    assert verdict_of(result, "x").season == "hour_of_day"
    assert not is_alarm(result)
    window["x"] = (DAILY + AR + 0.5)[rows]
    assert is_alarm(judged(REFERENCE, window, criteria=BY_PHASE, times=times))


def test_rows_of_hours_that_the_reference_lacks_are_compared_with_all_rows() -> None:
    """The reference closes from 1 to 3 o'clock, and the window has rows of every hour up to noon."""
    is_open = (HOURS[:M] < 1) | (HOURS[:M] >= 3)
    reference = reference_of({"colour": RED_BY_HOUR[:M][is_open]}, times=TIMES[:M][is_open])
    rows = np.flatnonzero(HOURS[M : M + PER_DAY] < 12) + M
    criteria = replace(CRITERIA, is_seasonal=True)
    colour = colours(np.where(IS_DAY, 0.95, 0.6), 12)[rows]
    found = verdict_of(judged(reference, {"colour": colour}, criteria=criteria, times=TIMES[rows]), "colour")
    is_red = RED_BY_HOUR[:M][is_open] == "red"
    hours = HOURS[:M][is_open]
    shares = [is_red[hours == hour].mean() if hour in (0, *range(3, 24)) else is_red.mean() for hour in range(24)]
    before = np.mean([shares[hour] for hour in HOURS[rows]])
    now = (colour == "red").mean()
    assert (found.season, found.test, found.outcome) == ("hour_of_day", Test.CATEGORY, "red")
    assert found.effect == pytest.approx((now - before) / np.sqrt(before * (1 - before)), rel=1e-9)


def test_without_times_the_result_is_the_plain_one() -> None:
    rows = slice(M + 500, M + 1500)
    window, times = {name: values[rows] for name, values in COLUMNS.items()}, TIMES[rows]
    predictions = RED_BY_HOUR[rows]
    plain = judged(REFERENCE, window, predictions, PLAIN, times=times, with_details=True)
    assert judged(REFERENCE, window, predictions, BY_PHASE, with_details=True) == plain
    assert judged(UNTIMED, window, predictions, BY_PHASE, times=times, with_details=True) == plain
    assert judged(REFERENCE, window, predictions, BY_PHASE, times=times, with_details=True) != plain


def test_sentences_say_with_what_the_window_is_compared() -> None:
    changed = {
        "x": DAILY + AR + 0.7,
        "colour": colours(np.where(IS_DAY, 0.9, 0.5), 10),
        "gaps": np.where(np.random.default_rng(11).random(COUNT) < np.where(IS_DAY, 0.1, 0.3), np.nan, NOISE),
    }
    result = at(M + 1600, changed, BY_PHASE, with_details=True)
    x = verdict_of(result, "x")
    assert (x.test, x.season) == (Test.LOCATION, "hour_of_day")
    shift = f"{x.effect:.2f}"
    assert sentence_of(x) == f"values are higher by {shift} sd of the ranks' normal scores, compared by hour of day"
    missing = feature_of(result, "gaps").missing_verdict
    assert missing is not None
    for hypothesis in (verdict_of(result, "colour"), missing):
        assert sentence_of(hypothesis).endswith("% at the same hours")


def test_an_explanation_has_the_shares_of_the_same_hours() -> None:
    """The window's rows weight the hours of the reference. Several of eight letters become more or less frequent."""
    rng = np.random.default_rng(13)
    letters = np.array(list("ABCDEFGH"))
    first_code, second_code = rng.integers(0, 8, (2, M))
    codes = np.where(IS_DAY[:M], np.minimum(first_code, second_code), np.maximum(first_code, second_code))
    before = letters[codes]
    rows = np.arange(M + 1500, M + 2000)
    after = rng.choice(letters, rows.size, p=[0.08, 0.08, 0.22, 0.22, 0.1, 0.1, 0.1, 0.1])
    gaps = np.where(rng.random(rows.size) < np.where(IS_DAY[rows], 0.15, 0.4), np.nan, NOISE[rows])
    reference = reference_of({"letter": before, "gaps": COLUMNS["gaps"][:M]}, times=TIMES[:M])
    criteria = replace(CRITERIA, is_seasonal=True)
    window = {"letter": after, "gaps": gaps}
    result = judged(reference, window, criteria=criteria, times=TIMES[rows], with_details=True)
    missing, letter = feature_of(result, "gaps").missing_verdict, verdict_of(result, "letter")
    assert missing is not None
    assert letter.test is Test.CATEGORIES
    named = re.split(", | or ", letter.outcome)
    assert len(named) > 1
    weights = np.bincount(HOURS[rows], minlength=24) / rows.size
    for found, was, now in (
        (letter, np.isin(before, named), np.isin(after, named)),
        (missing, np.isnan(COLUMNS["gaps"][:M]), np.isnan(gaps)),
    ):
        shares = np.array([was[HOURS[:M] == hour].mean() for hour in range(24)])
        assert found.reference_value == pytest.approx(weights @ shares, rel=1e-9)
        assert abs(weights @ shares - was.mean()) > 0.01
        assert found.current_value == pytest.approx(now.mean(), rel=1e-9)
        assert found.is_alarm


def test_an_explanation_of_tails_has_the_shares_of_the_same_hours() -> None:
    """Normal scores by SciPy's `rankdata`. Sizes and shapes depend on the hour; ten days have a score for each row."""
    rng = np.random.default_rng(14)
    noise = np.where(IS_DAY, rng.exponential(size=COUNT) - 1, 0.3 * rng.normal(size=COUNT))
    x = DAILY / 3 + noise
    window_rows = np.arange(FEWER + 300, FEWER + 800)
    a = norm.ppf((rankdata(x[:FEWER]) - 0.5) / FEWER)
    of_hour = [HOURS[:FEWER] == hour for hour in range(24)]
    centres = np.array([a[chosen].mean() for chosen in of_hour])
    spreads = np.array([np.abs(a[chosen] - a[chosen].mean()).mean() for chosen in of_hour])
    residuals = (a - centres[HOURS[:FEWER]]) / spreads[HOURS[:FEWER]]
    cuts = np.quantile(residuals, [0.99, 0.995, 0.999], method="inverted_cdf")
    reference = reference_of({"x": x[:FEWER]}, times=TIMES[:FEWER])
    window = x[window_rows].copy()
    window[::25] = x[:FEWER].max() + 1
    criteria = replace(CRITERIA, is_seasonal=True)
    found = verdict_of(judged(reference, {"x": window}, criteria=criteria, times=TIMES[window_rows]), "x")
    assert (found.test, found.outcome, found.is_alarm) == (Test.TAILS, "unusually high for their hour of day", True)
    weights = np.bincount(HOURS[window_rows], minlength=24) / window_rows.size
    # A value has the score of the next larger one of the reference, or of the largest.
    now = np.sort(a)[np.minimum(np.searchsorted(np.sort(x[:FEWER]), window), FEWER - 1)]
    now = (now - centres[HOURS[window_rows]]) / spreads[HOURS[window_rows]]
    shares = [
        (float(weights @ [(residuals[chosen] > cut).mean() for chosen in of_hour]), float((now > cut).mean()))
        for cut in cuts
    ]
    assert (found.reference_value, found.current_value) in [pytest.approx(pair, rel=1e-9) for pair in shares]
    assert re.fullmatch(
        r"3\.6 % of values are unusually high for their hour of day; the reference has 0\.\d+ % at the same hours",
        sentence_of(found),
    )


def test_infinities_are_compared_with_all_rows() -> None:
    window = {"x": (DAILY + AR)[M : M + 1000]}
    window["x"][::20] = np.inf
    criteria = replace(CRITERIA, is_seasonal=True)
    found = verdict_of(judged(REFERENCE, window, criteria=criteria, times=TIMES[M : M + 1000]), "x")
    assert (found.test, found.season, found.is_alarm) == (Test.INFINITIES, "", True)
    assert sentence_of(found) == "5.0 % of values are infinity; the reference has 0 %"


def test_smaller_changes_are_visible_by_phase() -> None:
    rows = slice(M + 1500, M + 2000)
    window = {name: values[rows] for name, values in COLUMNS.items()}
    by_phase, plain = (
        judged(REFERENCE, window, criteria=criteria, times=TIMES[rows], with_details=True)
        for criteria in (replace(CRITERIA, is_seasonal=True), CRITERIA)
    )
    for name, test in (("x", Test.LOCATION), ("x", Test.TAILS), ("colour", Test.CATEGORIES), ("gaps", Test.MISSING)):
        sizes = [feature_of(each, name).smallest_visible[test] for each in (by_phase, plain)]
        assert sizes[0] < 0.7 * sizes[1]
    assert feature_of(by_phase, "noise").smallest_visible == feature_of(plain, "noise").smallest_visible


@pytest.mark.parametrize("factor", [1.05, 0.95])
def test_a_shift_just_above_the_smallest_visible_one_is_an_alarm(factor: float) -> None:
    """Of normal scores without chance, in a window of whole days; the effect is that of residuals."""
    x = {"x": DAILY / 3 + weather(0.3, 15)}
    reference = reference_of(first(x, FEWER), times=TIMES[:FEWER])
    rows = slice(FEWER, FEWER + 1000)
    one = replace(CRITERIA, is_seasonal=True)
    plain = judged(reference, {"x": x["x"][rows]}, criteria=one, times=TIMES[rows], with_details=True)
    size = feature_of(plain, "x").smallest_visible[Test.LOCATION]

    def effect(shift: float) -> Any:
        values = DAILY[rows] / 3 + normal_quantiles(1000, 16) + shift
        return verdict_of(judged(reference, {"x": values}, criteria=one, times=TIMES[rows]), "x")

    low, high = 0.0, 1.0
    for _ in range(25):
        middle = (low + high) / 2
        low, high = (middle, high) if effect(middle).effect < factor * size else (low, middle)
    found = effect(high)
    assert found.effect == pytest.approx(factor * size, rel=0.01)
    assert found.is_alarm is (factor > 1)


def test_both_windows_have_the_hours_of_their_own_rows() -> None:
    """A change of the last 500 rows is seen by their own window, whose effect is that of these rows alone."""
    for changed, rows in ((M + 1500, 500), (M + 1000, 1000)):
        x = np.where(np.arange(COUNT) < changed, DAILY + AR, DAILY + AR + 0.8)
        result = at(M + 2000, {"x": x}, BY_PHASE)
        found = verdict_of(result, "x")
        assert result.verdict.window_rows == (1000, 500)
        assert (found.window_rows, found.is_alarm) == (rows, True)
        part = slice(M + 2000 - rows, M + 2000)
        alone = replace(CRITERIA, is_seasonal=True, unmonitored=frozenset(COLUMNS) - {"x"})
        single = verdict_of(judged(REFERENCE, {"x": x[part]}, criteria=alone, times=TIMES[part]), "x")
        assert found.effect == pytest.approx(single.effect, rel=1e-9)
        assert found.p_value == pytest.approx(2 * single.p_value, rel=1e-9)
        assert found.dispersion == single.dispersion


@pytest.mark.parametrize(("zone", "is_quiet"), [("Europe/Berlin", True), ("UTC", False)])
def test_a_cycle_by_the_wall_clock_when_daylight_saving_begins(zone: str, is_quiet: bool) -> None:
    """Clocks go forward at the end of the reference, on 2026-03-29: by UTC, the cycle is an hour early from then on."""
    times = TIMES - TIMES[M] + int(np.datetime64("2026-03-29T01:00", "us").astype(np.int64))
    wall = times + np.where(np.arange(COUNT) < M, 1, 2) * HOUR
    x = 3 * np.sin(2 * np.pi * wall / DAY) + 0.5 * AR
    reference = reference_of({"x": x[:M]}, times=times[:M], zone=zone)
    found = [
        is_alarm(judged(reference, {"x": x[end - 1000 : end]}, criteria=BY_PHASE, times=times[end - 1000 : end]))
        for end in range(M + 1000, M + 3001, 100)
    ]
    assert any(found) is not is_quiet
