"""Comparing whole windows: scores, thresholds, and a status for everything that cannot be compared."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, ks_2samp

from mlmon.comparison import compare
from mlmon.criteria import Criteria, Thresholds
from mlmon.prepared import PreparedCategories, PreparedNumbers, prepare
from mlmon.profile import CategoricalProfile, ColumnProfile, ReferenceProfile, from_bytes
from mlmon.profiling import column_profile, profile_of
from mlmon.results import (
    Coverage,
    FeatureResult,
    LeftOut,
    LeftOutReason,
    Method,
    NotCompared,
    PredictionResult,
    QualityEvent,
    ResultStatus,
    VerdictStatus,
)
from mlmon.schema import TaskType
from mlmon.statistics.kolmogorov_smirnov import OrderedReference
from mlmon.windows import Column

TOLERANCE = 1e-12
SCORES = Criteria(Thresholds(feature=0.15, prediction=0.1), gives_verdict=False)
rng = np.random.default_rng(5)


def _numbers(values: Sequence[float | None] | NDArray[np.float64]) -> "pa.ChunkedArray[pa.DoubleScalar]":
    return pa.chunked_array([pa.array(values, type=pa.float64(), from_pandas=True)])


def _categories(values: Sequence[str | None]) -> "pa.ChunkedArray[pa.StringScalar]":
    return pa.chunked_array([pa.array(values, type=pa.string())])


def _compared(reference: ColumnProfile | None, current: "Column | None", threshold: float = 0.15) -> FeatureResult:
    """Return the result of a reference and a window of one column, "x"."""
    criteria = Criteria(Thresholds(feature=threshold, prediction=0.1), gives_verdict=False)
    prepared = prepare(_profile_of_columns({} if reference is None else {"x": reference}))
    window = pa.table({} if current is None else {"x": current})
    return compare(prepared, window, None, criteria).features[0]


def _predicted(reference: ColumnProfile, current: "Column | None") -> PredictionResult:
    """Return the result of predictions alone."""
    profile = replace(_profile_of_columns({}), prediction=reference)
    return compare(prepare(profile), pa.table({}), current, SCORES).prediction


def _profile_of_columns(columns: dict[str, ColumnProfile]) -> ReferenceProfile:
    prediction = column_profile(_categories(["a"] * 50).combine_chunks())
    rows = max((_rows(column) for column in columns.values()), default=50)
    return ReferenceProfile(n_rows=rows, features=columns, prediction=prediction, sample=pa.table({}))


def _rows(column: ColumnProfile) -> int:
    values = int(column.counts.sum()) if isinstance(column, CategoricalProfile) else column.sorted_values.size
    return values + column.n_missing


def _compared_numbers(
    reference: Sequence[float | None] | NDArray[np.float64], current: Sequence[float | None] | NDArray[np.float64]
) -> FeatureResult:
    return _compared(column_profile(_numbers(reference).combine_chunks()), _numbers(current))


def _compared_categories(reference: Sequence[str | None], current: Sequence[str | None]) -> FeatureResult:
    return _compared(column_profile(_categories(reference).combine_chunks()), _categories(current))


def test_a_numeric_feature_is_scored_by_ks() -> None:
    reference, current = rng.normal(size=2000), rng.normal(0.5, size=500)
    expected = ks_2samp(reference, current, method="asymp")
    result = _compared_numbers(reference, current)
    assert result.status is ResultStatus.OK
    assert result.method is Method.KOLMOGOROV_SMIRNOV
    assert result.score == result.statistic == pytest.approx(expected.statistic, abs=TOLERANCE)
    assert result.p_value == pytest.approx(expected.pvalue, abs=TOLERANCE)
    assert result.reference_mean == pytest.approx(reference.mean())
    assert result.current_mean == pytest.approx(current.mean())
    assert (result.n_reference, result.n_current) == (2000, 500)
    assert result.is_drifted


def test_a_categorical_feature_is_scored_by_debiased_w() -> None:
    reference, current = ["a"] * 600 + ["b"] * 400, ["a"] * 240 + ["b"] * 260
    expected = chi2_contingency([[600, 400], [240, 260]], correction=False)
    result = _compared_categories(reference, current)
    assert result.method is Method.CHI_SQUARED
    assert result.statistic == pytest.approx(expected.statistic, rel=TOLERANCE)
    assert result.p_value == pytest.approx(expected.pvalue, rel=TOLERANCE)
    effective_rows = 1000 * 500 / 1500
    assert result.score == pytest.approx(math.sqrt((expected.statistic - 1) / effective_rows), rel=TOLERANCE)
    assert result.reference_mean is None
    assert result.current_mean is None


def test_a_score_equal_to_its_threshold_is_no_drift() -> None:
    reference, current = np.arange(128.0), np.arange(128.0) + 16  # D = 16/128, exact in binary
    profile = column_profile(_numbers(reference).combine_chunks())
    assert not _compared(profile, _numbers(current), 0.125).is_drifted
    assert _compared(profile, _numbers(current), 0.1249).is_drifted


def test_missing_values_are_dropped_and_counted() -> None:
    reference = [*rng.normal(size=98).tolist(), None, math.nan]
    current = [*rng.normal(size=47).tolist(), None, None, None]
    result = _compared_numbers(reference, current)
    expected = ks_2samp(reference[:98], current[:47], method="asymp")
    assert result.score == pytest.approx(expected.statistic, abs=TOLERANCE)
    assert (result.n_reference, result.n_missing_reference) == (98, 2)
    assert (result.n_current, result.n_missing_current) == (47, 3)


def test_nan_that_is_not_null_is_missing_too() -> None:
    column = pa.chunked_array([pa.array([math.nan] * 5 + [1.0] * 40)])
    result = _compared(column_profile(_numbers(np.arange(50.0)).combine_chunks()), column)
    assert (result.n_current, result.n_missing_current) == (40, 5)


def test_missing_categories_are_dropped_and_counted() -> None:
    result = _compared_categories(["a", "b"] * 50, ["a", "b"] * 40 + [None] * 20)
    assert (result.n_current, result.n_missing_current) == (80, 20)
    assert result.score == 0.0


def test_infinities_are_values_of_the_distribution_but_not_of_the_mean() -> None:
    result = _compared_numbers([0.0] * 50 + [1.0] * 50, [0.0] * 50 + [math.inf] * 50)
    assert result.score == pytest.approx(0.5)
    assert result.current_mean == 0.0
    only = _compared_numbers([0.0, 1.0] * 50, [math.inf] * 50)
    assert only.score == 1.0
    assert only.current_mean is None


def test_means_beyond_float64_are_left_out() -> None:
    assert _compared_numbers([0.0, 1.0] * 50, [1.7e308] * 50).current_mean is None
    assert _compared_numbers([0.0, 1.0] * 50, [-1.7e308] * 50 + [1.7e308] * 50).current_mean is None


@pytest.mark.parametrize("value", [0.0, math.inf])
def test_a_constant_that_stays_has_score_0(value: float) -> None:
    result = _compared_numbers([value] * 50, [value] * 40)
    assert result.status is ResultStatus.CONSTANT
    assert (result.score, result.p_value, result.is_drifted) == (0.0, 1.0, False)


def test_a_constant_category_that_stays_has_score_0() -> None:
    result = _compared_categories(["a"] * 50, ["a"] * 40)
    assert result.status is ResultStatus.CONSTANT
    assert (result.score, result.p_value, result.is_drifted) == (0.0, 1.0, False)


def test_a_constant_that_changes_has_drifted() -> None:
    assert _compared_numbers([5.0] * 50, [4.0] * 40).score == 1.0
    assert _compared_numbers([5.0] * 50, [4.0] * 40).is_drifted
    changed = _compared_categories(["a"] * 50, ["b"] * 40)
    assert changed.status is ResultStatus.OK
    assert changed.is_drifted


def test_unseen_categories_are_named() -> None:
    result = _compared_categories(["a", "b"] * 500, ["a", "b"] * 50 + ["x"] * 30 + ["y"] * 20 + ["v", "w"])
    assert result.is_drifted
    (finding,) = result.quality
    assert finding.event is QualityEvent.UNSEEN_CATEGORIES
    assert (finding.count, finding.is_notable) == (52, True)
    assert finding.share == pytest.approx(52 / 152)
    assert finding.detail == "'x', 'y', 'v' and 1 more."


@pytest.mark.parametrize(("m", "n", "side"), [(29, 100, "reference"), (100, 29, "window")])
def test_fewer_than_thirty_values_are_not_compared(m: int, n: int, side: str) -> None:
    for result in (
        _compared_numbers(np.arange(float(m)), np.arange(float(n))),
        _compared_categories(["a"] * m, ["a"] * n),
    ):
        assert result.status is ResultStatus.INSUFFICIENT_DATA
        assert result.status_detail == f"The {side} has 29 values; a comparison needs 30."
        assert result.score is None
        assert not result.is_drifted


@pytest.mark.parametrize("empty_side", ["reference", "window"])
def test_a_column_without_values_is_compared_as_missing_values(empty_side: str) -> None:
    filled: list[float | None] = [1.0, 2.0] * 50
    empty: list[float | None] = [None] * 100
    result = _compared_numbers(empty, filled) if empty_side == "reference" else _compared_numbers(filled, empty)
    assert result.status is ResultStatus.INSUFFICIENT_DATA
    assert result.status_detail == f"The {empty_side} has no values; a comparison needs 30."
    assert (result.n_missing_current if empty_side == "window" else result.n_missing_reference) == 100


def test_an_identifier_is_not_compared() -> None:
    result = _compared_categories([f"id{index}" for index in range(100)], [f"id{index}" for index in range(50, 150)])
    assert result.status is ResultStatus.IDENTIFIER
    assert result.score is None


def test_a_column_of_another_type_is_not_compared() -> None:
    numeric, categorical = (
        column_profile(_numbers([1.0] * 50).combine_chunks()),
        column_profile(_categories(["a"] * 50).combine_chunks()),
    )
    for result in (
        _compared(numeric, _categories(["a"] * 50)),
        _compared(categorical, _numbers([1.0] * 50)),
    ):
        assert result.status is ResultStatus.TYPE_CHANGED
        assert result.score is None


def _profile(n: int = 1000) -> ReferenceProfile:
    table = pa.table(
        {
            "age": pa.array(rng.normal(40, 10, size=n)),
            "city": pa.array(rng.choice(["oslo", "rome"], size=n).tolist()),
        }
    )
    classes = pa.array(["no", "yes"] * (n // 2))
    return profile_of(table, classes, ("no", "yes", "never"), TaskType.CLASSIFICATION)


def test_one_bad_column_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    reference = prepare(_profile())
    age = reference.features["age"]
    assert isinstance(age, PreparedNumbers)
    broken = replace(age, ordered=OrderedReference(np.array(["a", "b"] * 50, dtype=object)))
    reference = replace(
        reference, features={"age": broken, "city": reference.features["city"], "gone": age, "height": age}
    )
    heights = rng.normal(40, 10, size=100)  # a number that is measured together with the broken one
    window = pa.table({"age": heights, "city": ["oslo", "rome"] * 50, "height": heights, "new": ["x"] * 100})
    result = compare(reference, window, _categories(["no", "yes"] * 50), SCORES)
    assert [(feature.name, feature.status.value) for feature in result.features] == [
        ("age", "error"),
        ("city", "ok"),
        ("gone", "missing_column"),
        ("height", "ok"),
    ]
    assert result.coverage == Coverage(
        compared=2,
        not_compared=(
            NotCompared("age", ResultStatus.ERROR, result.features[0].status_detail),
            NotCompared("gone", ResultStatus.MISSING_COLUMN, "The window has no such column."),
        ),
        left_out=(LeftOut("new", LeftOutReason.NOT_IN_REFERENCE, "The reference has no such column."),),
    )
    assert result.features[0].status_detail.startswith("The comparison failed: ")
    assert "could not be compared" in caplog.text
    assert result.prediction.status is ResultStatus.OK


def test_each_feature_has_its_threshold_and_the_strongest_comes_first() -> None:
    window = pa.table({"age": rng.normal(52, 10, size=200), "city": ["oslo"] * 160 + ["rome"] * 40})
    criteria = Criteria(Thresholds(feature=0.15, prediction=0.1, by_feature={"age": 0.4}))
    result = compare(prepare(_profile()), window, _categories(["no", "yes"] * 100), criteria)
    assert {feature.name: feature.threshold for feature in result.features} == {"age": 0.4, "city": 0.15}
    assert [feature.name for feature in result.features] == ["age", "city"]
    assert [feature.name for feature in result.drifted_features] == ["city", "age"]
    assert result.is_drifted
    assert (result.n_reference, result.n_current) == (1000, 200)


def test_predicted_classes_are_compared_with_those_of_the_reference() -> None:
    result = _predicted(_profile().prediction, _categories(["no"] * 80 + ["yes"] * 20))
    expected = chi2_contingency([[500, 500], [80, 20]], correction=False)
    assert result.chi2_statistic == pytest.approx(expected.statistic, rel=TOLERANCE)
    assert result.p_value == pytest.approx(expected.pvalue, rel=TOLERANCE)
    assert result.js_divergence == pytest.approx(float(jensenshannon([0.5, 0.5], [0.8, 0.2])) ** 2, abs=TOLERANCE)
    assert result.reference_dist == {"no": 0.5, "yes": 0.5, "never": 0.0}
    assert result.current_dist == {"no": 0.8, "yes": 0.2, "never": 0.0}
    assert result.is_drifted is False


def test_a_class_that_was_never_predicted_is_drift() -> None:
    result = _predicted(_profile().prediction, _categories(["never"] * 100))
    assert result.js_divergence == pytest.approx(math.log(2), abs=TOLERANCE)
    assert result.is_drifted
    assert result.p_value is not None
    assert result.p_value < 1e-50


def test_predicted_numbers_are_compared_between_deciles_of_the_reference() -> None:
    reference, current = np.arange(1.0, 1001.0), np.arange(401.0, 501.0)
    profile = column_profile(_numbers(reference).combine_chunks())
    result = _predicted(profile, _numbers(current))
    table = [[100] * 10, [0, 0, 0, 0, 100, 0, 0, 0, 0, 0]]
    assert result.chi2_statistic == pytest.approx(chi2_contingency(table, correction=False).statistic, rel=TOLERANCE)
    assert result.js_divergence == pytest.approx(float(jensenshannon(table[0], table[1])) ** 2, abs=TOLERANCE)
    assert result.is_drifted
    assert sum(result.reference_dist.values()) == pytest.approx(1)
    assert result.current_dist["(400, 500]"] == 1.0


@pytest.mark.parametrize(
    ("column", "status"),
    [
        (None, ResultStatus.MISSING_COLUMN),
        (_categories([None] * 50), ResultStatus.INSUFFICIENT_DATA),
        (_categories(["no"] * 29), ResultStatus.INSUFFICIENT_DATA),
        (_numbers([1.0] * 50), ResultStatus.TYPE_CHANGED),
    ],
)
def test_predictions_that_cannot_be_compared_have_a_status(
    column: "pa.ChunkedArray[pa.StringScalar] | None", status: ResultStatus
) -> None:
    result = _predicted(_profile().prediction, column)
    assert result.status is status
    assert result.js_divergence is None
    assert not result.is_drifted


def test_predictions_that_break_the_comparison_are_an_error(caplog: pytest.LogCaptureFixture) -> None:
    reference = prepare(_profile())
    prediction = reference.prediction
    assert isinstance(prediction, PreparedCategories)
    broken = replace(
        prediction, categories=replace(prediction.categories, counts=np.array([50, 50]))
    )  # of three classes
    result = compare(replace(reference, prediction=broken), pa.table({}), _categories(["no"] * 50), SCORES)
    assert result.prediction.status is ResultStatus.ERROR
    assert "could not be compared" in caplog.text


def test_a_profile_read_back_from_its_file_gives_the_same_result() -> None:
    profile = _profile()
    window = pa.table({"age": rng.normal(41, 10, size=200), "city": ["oslo"] * 160 + ["rome"] * 40})
    predictions = _categories(["no", "yes"] * 100)
    criteria = Criteria(SCORES.thresholds)
    read_back = compare(prepare(from_bytes(profile.to_bytes())), window, predictions, criteria)
    assert read_back == compare(prepare(profile), window, predictions, criteria)


def test_a_window_without_drift_is_quiet() -> None:
    alarms = 0
    for _ in range(50):
        window = pa.table({"age": rng.normal(40, 10, size=1000), "city": rng.choice(["oslo", "rome"], 1000).tolist()})
        result = compare(prepare(_profile(5000)), window, _categories(["no", "yes"] * 500), Criteria(SCORES.thresholds))
        alarms += result.is_drifted
    assert alarms == 0


def _two_numbers(rows: int) -> pa.Table:
    return pa.table({"a": rng.normal(size=rows), "b": rng.normal(size=rows)})


def test_a_verdict_is_incomplete_if_a_feature_could_not_be_compared() -> None:
    answers = pa.array(["no", "yes"] * 2500)
    reference = prepare(profile_of(_two_numbers(5000), answers, ("no", "yes"), TaskType.CLASSIFICATION))
    criteria = Criteria(Thresholds(feature=0.15, prediction=0.1))
    window = _two_numbers(600)
    complete = compare(reference, window, None, criteria)
    assert complete.verdict.status is VerdictStatus.QUIET
    assert complete.coverage == Coverage(2, (), ())
    failed = NotCompared("b", ResultStatus.AMBIGUOUS_DATES, "Day and month cannot be told apart.")
    for result in (
        compare(reference, window.select(["a"]), None, criteria),
        compare(reference, window, None, criteria, not_compared=[failed]),
    ):
        assert result.verdict.status is VerdictStatus.INCOMPLETE
        assert result.verdict.detail == "1 of 2 features could not be compared."
        assert [each.feature for each in result.coverage.not_compared] == ["b"]
        assert result.coverage.compared == 1
    too_short = compare(reference, _two_numbers(499).select(["a"]), None, criteria).verdict
    assert too_short.status is VerdictStatus.INCOMPLETE
    assert "The window has 499 rows; a verdict needs 500." in too_short.detail
    shifted = pa.table({"a": rng.normal(1, 1, size=600)})
    assert compare(reference, shifted, None, criteria).verdict.status is VerdictStatus.ALARM


def test_predictions_that_could_not_be_compared_leave_a_verdict_incomplete() -> None:
    answers = pa.array(["no", "yes"] * 2500)
    reference = prepare(profile_of(_two_numbers(5000), answers, ("no", "yes"), TaskType.CLASSIFICATION))
    criteria = Criteria(Thresholds(feature=0.15, prediction=0.1))
    result = compare(reference, _two_numbers(600), _numbers([1.0] * 600), criteria)
    assert result.verdict.status is VerdictStatus.INCOMPLETE
    detail = "The reference is categorical, the window's predictions are double."
    assert result.coverage.not_compared == (NotCompared("predictions", ResultStatus.TYPE_CHANGED, detail),)


@pytest.mark.parametrize("task", [TaskType.CLASSIFICATION, TaskType.REGRESSION, TaskType.ANOMALY])
def test_a_reference_without_predictions_leaves_a_verdict_incomplete(task: TaskType) -> None:
    kind, classes = (pa.float64(), ()) if task is TaskType.REGRESSION else (pa.string(), ("no", "yes"))
    times = np.arange(5000, dtype=np.int64) * 60_000_000
    profile = profile_of(_two_numbers(5000), pa.array([], kind), classes, task, times=times)
    reference = prepare(from_bytes(profile.to_bytes()))
    window = _numbers([1.0] * 600) if task is TaskType.REGRESSION else _categories(["no"] * 600)
    criteria = Criteria(Thresholds(feature=0.15, prediction=0.1))
    result = compare(reference, _two_numbers(600), window, criteria)
    assert result.verdict.status is VerdictStatus.INCOMPLETE
    assert result.verdict.detail == "The predictions could not be compared."
    lost = NotCompared("predictions", ResultStatus.NO_REFERENCE, "The reference has no predictions.")
    assert result.coverage == Coverage(2, (lost,), ())
    without = compare(reference, _two_numbers(600), None, criteria)
    assert (without.verdict.status, without.coverage) == (VerdictStatus.QUIET, Coverage(2, (), ()))


def test_an_emptied_column_alarms_as_missing_values() -> None:
    answers = pa.array(["no", "yes"] * 2500)
    reference = prepare(profile_of(_two_numbers(5000), answers, ("no", "yes"), TaskType.CLASSIFICATION))
    window = _two_numbers(600).set_column(1, "b", pa.array([None] * 600, pa.float64()))
    result = compare(reference, window, None, Criteria(Thresholds(feature=0.15, prediction=0.1)))
    assert result.verdict.status is VerdictStatus.ALARM
    assert [(found.name, found.channel.value) for found in result.listed_hypotheses] == [("b", "missing_values")]
    assert result.coverage == Coverage(2, (), ())


def test_an_emptied_column_is_above_its_threshold_without_a_verdict_too() -> None:
    result = compare(
        prepare(_profile()), pa.table({"age": pa.nulls(50, pa.float64()), "city": ["oslo", "rome"] * 25}), None, SCORES
    )
    age = result.features[0]
    assert (age.status, age.method, age.score, age.is_drifted) == (ResultStatus.INSUFFICIENT_DATA, None, 1.0, True)
    assert result.is_drifted
    rarely_missing = pa.array([1.0] * 29 + [None])
    few = compare(prepare(_profile()), pa.table({"age": rarely_missing, "city": ["oslo"] * 30}), None, SCORES)
    assert (few.features[0].score, few.features[0].is_drifted) == (None, False)


def test_features_that_are_not_monitored_are_left_out() -> None:
    criteria = Criteria(Thresholds(feature=0.15, prediction=0.1), unmonitored=frozenset({"age"}))
    window = pa.table({"age": np.arange(100.0), "city": ["oslo", "rome"] * 50})
    coverage = compare(prepare(_profile()), window, None, criteria).coverage
    assert coverage == Coverage(1, (), (LeftOut("age", LeftOutReason.IGNORED, "It is not monitored."),))


def _correlated(rho: float, rows: int) -> pa.Table:
    """Return two normal columns with this correlation, and a column of categories."""
    first, noise = rng.normal(size=(2, rows))
    cities = rng.choice(["oslo", "rome"], size=rows)
    return pa.table({"a": first, "b": rho * first + math.sqrt(1 - rho**2) * noise, "city": cities})


def test_a_changed_relation_of_features_is_an_alarm_that_names_the_pair() -> None:
    answers = pa.array(["no", "yes"] * 2500)
    profile = profile_of(_correlated(0.8, 5000), answers, ("no", "yes"), TaskType.CLASSIFICATION)
    criteria = Criteria(SCORES.thresholds, monitors_correlation=True, monitors_joint_distribution=True)
    result = compare(prepare(profile), _correlated(-0.3, 1000), _categories(["no", "yes"] * 500), criteria)
    assert result.correlations is not None
    assert result.joint_change is not None
    (change,) = result.correlations
    assert (change.name, change.other_name) == ("a", "b")
    assert change.reference_value == pytest.approx(0.8, abs=0.03)
    assert change.current_value == pytest.approx(-0.3, abs=0.08)
    assert result.joint_change.auc > 0.7
    assert set(result.joint_change.telling_features) == {"a", "b"}
    assert result.verdict.status is VerdictStatus.ALARM
    assert [found.key for found in result.listed_hypotheses] == ["correlation:a:b"]


def test_features_are_compared_together_only_on_request() -> None:
    window = pa.table({"age": rng.normal(40, 10, size=1000), "city": ["oslo", "rome"] * 500})
    result = compare(prepare(_profile()), window, _categories(["no", "yes"] * 500), SCORES)
    assert (result.correlations, result.joint_change) == (None, None)
    profile = profile_of(_correlated(0.8, 5000), pa.array(["no"] * 5000), ("no",), TaskType.CLASSIFICATION)
    criteria = Criteria(SCORES.thresholds, monitors_correlation=False)
    result = compare(prepare(profile), _correlated(-0.3, 1000), None, criteria)
    assert result.correlations is None
    assert result.verdict.status is VerdictStatus.QUIET


def test_a_reference_without_a_sample_has_no_joint_change() -> None:
    reference = replace(prepare(_profile()), sample=pa.table({}))
    window = pa.table({"age": rng.normal(40, 10, size=1000), "city": ["oslo", "rome"] * 500})
    criteria = Criteria(SCORES.thresholds, monitors_correlation=True, monitors_joint_distribution=True)
    result = compare(reference, window, _categories(["no", "yes"] * 500), criteria)
    assert (result.correlations, result.joint_change) == (None, None)  # one numeric feature is no pair


def test_quantiles_are_computed_from_the_values() -> None:
    """And not from the bins of the chart: rain is zero on most days."""
    rain = np.where(rng.random(2_000) < 0.9, 0.0, rng.exponential(0.1, 2_000))
    found = _compared(column_profile(_numbers(rain).combine_chunks()), _numbers(rain[:1_000] * 3))
    shares = [0.05, 0.25, 0.5, 0.75, 0.95]
    assert found.distribution is not None
    assert found.distribution.reference_quantiles == pytest.approx(tuple(np.quantile(rain, shares)), abs=TOLERANCE)
    assert found.distribution.current_quantiles == pytest.approx(
        tuple(np.quantile(rain[:1_000] * 3, shares)), abs=TOLERANCE
    )
