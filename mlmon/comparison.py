"""Comparing a window with its reference: prepare, compare each column, judge, and return one result.

One column that cannot be compared never stops the others.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlmon.criteria import Criteria
from mlmon.detection.dependence import OutcomeBlocks
from mlmon.detection.phases import LARGEST_SHARE_WITHOUT_PHASE, NO_TIME, local_times
from mlmon.detection.rule import SMALLEST_MISSING_DIFFERENCE
from mlmon.detection.shares import share_p_values
from mlmon.detector import PREDICTIONS, Detector
from mlmon.measures import MEASURES, Method, jensen_shannon_divergence
from mlmon.prepared import PreparedCategories, PreparedColumn, PreparedReference
from mlmon.profile import compared_kind
from mlmon.results import (
    Channel,
    ComparisonResult,
    FeatureResult,
    JointChange,
    LeftOut,
    LeftOutReason,
    NotCompared,
    PredictionResult,
    QualityEvent,
    QualityFinding,
    ResultStatus,
    VerdictStatus,
)
from mlmon.schema import FeatureKind
from mlmon.sentences import coverage_sentence
from mlmon.smallest_visible import NOTHING_VISIBLE, smallest_visible
from mlmon.statistics.bins import decile_labels
from mlmon.statistics.counts import chi_squared
from mlmon.statistics.joint_distribution import joint_change
from mlmon.verdict import NO_JUDGEMENT, VerdictPlan, judge, plan_verdict
from mlmon.window_tests import SMALLEST_SAMPLE
from mlmon.windowed_columns import ColumnRows, Windows, windowed_columns
from mlmon.windows import Column, ColumnWindow, ConstantValue, NumericWindow, open_window

logger = logging.getLogger(__name__)

# The exceptions that the values of a column can raise. A time limit or a lost connection is none of them and ends the
# comparison.
COLUMN_ERRORS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, pa.ArrowException)

# Fields of a FeatureResult that are known so far: a new result for each step would cost more than the statistics.
_Fields: TypeAlias = dict[str, Any]

COMPARED = (ResultStatus.OK, ResultStatus.INSUFFICIENT_DATA, ResultStatus.CONSTANT)
LARGEST_CATEGORY_SHARE = 0.5  # categories for each reference row; a column with more identifies rows
DEFAULT_METHODS = {FeatureKind.NUMERIC: Method.KOLMOGOROV_SMIRNOV, FeatureKind.CATEGORICAL: Method.CHI_SQUARED}
SMALLEST_QUALITY_SHARE = 0.01
QUALITY_SIGNIFICANCE = 1e-3
CATEGORIES_SHOWN = 3


def compare(
    reference: PreparedReference,
    features: pa.Table,
    predictions: "Column | None",
    criteria: Criteria,
    *,
    window_rows: int | None = None,
    times: NDArray[np.int64] | None = None,
    with_details: bool = True,
    not_compared: Collection[NotCompared] = (),
    left_out: Collection[LeftOut] = (),
) -> ComparisonResult:
    """Compare the latest rows with their reference.

    Parameters
    ----------
    reference
        The prepared reference.
    features
        Observed rows, the latest last: float64 for numeric, string for categorical features; null is missing.
    predictions
        Of the same rows: class names, or float64 for regression.
    criteria
        What to compare and when to call it drift.
    window_rows
        The latest rows that are the window; by default all of them. Longer windows of the criteria use the rows before.
    times
        Of the rows, in microseconds since 1970 in UTC, for a seasonal comparison (`Criteria.is_seasonal`). If more than
        10 % of the rows have none (the smallest integer), rows are compared without phases.
    with_details
        Whether to compute all measures and what a chart needs, or only scores and the verdict.
    not_compared
        Features that the caller could not read, whether or not the reference has them. They get no other result.
    left_out
        Columns that the caller has left out on purpose.

    Returns
    -------
    ComparisonResult
        Every monitored feature of the reference in its order, then those of `not_compared`. A feature that cannot be
        compared has a status that says why, and the verdict is then incomplete unless it is an alarm. A window costs
        one sort of each numeric column and one lookup of each categorical one.
    """
    rows = features.num_rows if features.num_columns or predictions is None else len(predictions)
    main_rows = rows if window_rows is None else min(rows, window_rows)
    failed = {each.feature: each for each in not_compared if each.feature not in criteria.unmonitored}
    names = [name for name in reference.features if name not in criteria.unmonitored and name not in failed]
    plan = plan_verdict(
        criteria,
        features=len(names) + len(failed),
        pairs=reference.detector.pairs,
        rows=rows,
        window_rows=main_rows,
        reference_rows=reference.n_rows,
    )
    detector, local = reference.detector, None
    if criteria.is_seasonal and times is not None and reference.seasonal is not None:
        latest_times = times[times.size - max(plan.window_rows) :]
        if np.count_nonzero(latest_times == NO_TIME) <= LARGEST_SHARE_WITHOUT_PHASE * latest_times.size:
            detector = reference.seasonal
            local = local_times(latest_times, detector.profile.zone)
    # Findings on quality compare with all rows of the reference, so that they need the dispersion without phases.
    scope = _Scope(criteria, plan, with_details, reference.detector)
    given = set(features.column_names)
    columns = {name: features.column(name) for name in names if name in given}
    compared = [_compare_feature(name, reference.features[name], columns.get(name), scope) for name in names]
    for name, each in failed.items():
        profile = reference.features.get(name)
        kind = FeatureKind.CATEGORICAL if profile is None else profile.kind
        compared.append((_not_compared_fields(each, kind, scope), None))
    prediction, rows_of_prediction = _compare_prediction(reference.prediction, predictions, scope)
    judgement, visible = NO_JUDGEMENT, NOTHING_VISIBLE
    if criteria.gives_verdict:
        visible = smallest_visible(reference, detector, plan) if with_details else NOTHING_VISIBLE
        rows_of_features = [each for _, each in compared]
        windows = Windows(np.array(plan.window_rows), local, with_scores=plan.pairs > 0)
        judgement = judge(
            detector,
            windowed_columns([each for each in (*rows_of_features, rows_of_prediction) if each is not None], windows),
            plan,
            with_details=with_details,
        )
    hypotheses = judgement.hypotheses
    latest = features.select(list(columns)).slice(rows - main_rows)
    unmonitored = (
        LeftOut(name, LeftOutReason.IGNORED, "It is not monitored.")
        for name in reference.features
        if name in criteria.unmonitored
    )
    extra = (
        LeftOut(name, LeftOutReason.NOT_IN_REFERENCE, "The reference has no such column.")
        for name in features.column_names
        if name not in reference.features and name not in failed
    )
    result = ComparisonResult(
        n_reference=reference.n_rows,
        n_current=main_rows,
        features=tuple(
            FeatureResult(
                **fields,
                verdict=hypotheses.get((Channel.DISTRIBUTION, fields["name"])),
                missing_verdict=hypotheses.get((Channel.MISSING_VALUES, fields["name"])),
                no_verdict_reason=judgement.reasons.get(fields["name"], ""),
                smallest_visible=visible.get(fields["name"], {}),
            )
            for fields, _ in compared
        ),
        prediction=replace(
            prediction,
            verdict=hypotheses.get((Channel.PREDICTION, PREDICTIONS)),
            no_verdict_reason=judgement.reasons.get(PREDICTIONS, ""),
        ),
        verdict=judgement.verdict,
        correlations=judgement.correlations,
        joint_change=_compare_jointly(reference, latest) if criteria.monitors_joint_distribution else None,
        left_out=(*unmonitored, *extra, *left_out),
    )
    verdict = judgement.verdict
    statuses = [prediction.status, *(feature.status for feature in result.features)]
    if verdict.status is VerdictStatus.ALARM or all(status in COMPARED for status in statuses):
        return result
    missing = coverage_sentence(result)  # "" if the rest is left out on purpose
    if not missing:
        return result
    detail = f"{missing} {verdict.detail}".strip()
    return replace(result, verdict=replace(verdict, status=VerdictStatus.INCOMPLETE, detail=detail))


@dataclass(frozen=True, slots=True)
class _Scope:
    """What is computed of each column."""

    criteria: Criteria
    plan: VerdictPlan
    with_details: bool
    detector: Detector


def _compare_feature(
    name: str, reference: PreparedColumn, column: "Column | None", scope: _Scope
) -> tuple[_Fields, ColumnRows | None]:
    """Return one feature's result without its verdict, and what that needs of the column."""
    if column is None:
        failed = NotCompared(name, ResultStatus.MISSING_COLUMN, "The window has no such column.")
        return _not_compared_fields(failed, reference.kind, scope), None
    if compared_kind(column.type) is not reference.kind:
        detail = f"The reference is {reference.kind}, the window's column is {column.type}."
        failed = NotCompared(name, ResultStatus.TYPE_CHANGED, detail)
        return _not_compared_fields(failed, reference.kind, scope), None
    try:
        return _compare_columns(_first_fields(name, reference.kind, scope), reference, column, scope)
    except COLUMN_ERRORS as error:
        logger.exception("Feature %r could not be compared.", name)
        detail = f"The comparison failed: {type(error).__name__}: {error}"
        return _not_compared_fields(NotCompared(name, ResultStatus.ERROR, detail), reference.kind, scope), None


def _first_fields(name: str, kind: FeatureKind, scope: _Scope) -> _Fields:
    thresholds = scope.criteria.thresholds
    return {
        "name": name,
        "kind": kind,
        "threshold": thresholds.by_feature.get(name, thresholds.feature),
        "method": scope.criteria.methods.get(name),
    }


def _not_compared_fields(failed: NotCompared, kind: FeatureKind, scope: _Scope) -> _Fields:
    """Return the result of a feature that could not be compared."""
    event = {
        ResultStatus.MISSING_COLUMN: QualityEvent.COLUMN_MISSING,
        ResultStatus.TYPE_CHANGED: QualityEvent.TYPE_CHANGED,
    }.get(failed.reason)
    rows = scope.plan.window_rows[0]
    quality = () if event is None else (QualityFinding(event, rows, 1.0, failed.detail, is_notable=True),)
    fields = _first_fields(failed.feature, kind, scope)
    return fields | {"status": failed.reason, "status_detail": failed.detail, "quality": quality}


def _compare_columns(
    fields: _Fields, reference: PreparedColumn, column: Column, scope: _Scope
) -> tuple[_Fields, ColumnRows | None]:
    window, name = open_window(reference, column, scope.plan.window_rows[0]), fields["name"]
    n_missing, missing = reference.profile.n_missing, window.rows - window.n_values
    rise = missing / window.rows - n_missing / scope.plan.reference_rows if window.rows else 0.0
    fields = {
        **fields,
        "n_reference": reference.n_values,
        "n_current": window.n_values,
        "n_missing_reference": n_missing,
        "n_missing_current": missing,
    }
    status, detail = _status_of_sizes(reference.n_values, window.n_values)
    if status is ResultStatus.OK and isinstance(reference, PreparedCategories):
        n_categories = len(reference.profile.categories)
        if n_categories > LARGEST_CATEGORY_SHARE * reference.n_values:
            status = ResultStatus.IDENTIFIER
            detail = f"{n_categories} categories in {reference.n_values} reference rows: an identifier is not compared."
    quality: list[QualityFinding] = []
    if rise > 0:
        latest = column.slice(len(column) - window.rows)
        quality.append(_missing_finding(name, latest, missing, n_missing, scope))
    if status is ResultStatus.INSUFFICIENT_DATA and window.rows >= SMALLEST_SAMPLE <= reference.n_values:
        # The values of the window are missing, which is a change of its own.
        fields |= {"method": None, "score": rise, "is_drifted": True} if rise > fields["threshold"] else {}
    constant = window.constant
    if status is ResultStatus.OK:
        fields |= _scores(window, fields, scope)
        quality += _value_findings(window, constant)
        if constant is not None and constant.reference_share == 1.0:
            status, detail = ResultStatus.CONSTANT, f"Every value of both is {constant.name}."
            fields |= {"score": 0.0, "is_drifted": False}
    rows = None
    if scope.criteria.gives_verdict and window.rows >= SMALLEST_SAMPLE:
        rows = _rows_of(name, window, column, scope, is_judged=status is ResultStatus.OK)
    return fields | {"status": status, "status_detail": detail, "quality": tuple(quality)}, rows


def _rows_of(name: str, window: ColumnWindow, column: Column, scope: _Scope, *, is_judged: bool = True) -> ColumnRows:
    """Return the rows of the longest window."""
    longest = max(scope.plan.window_rows)
    latest = column.slice(len(column) - longest)
    if isinstance(window, NumericWindow):
        ordered = window.finite if window.rows == longest else None
        return ColumnRows(name, window.reference, latest.cast(pa.float64()).to_numpy(), is_judged, ordered=ordered)
    return ColumnRows(name, window.reference, latest, is_judged, window.codes if window.rows == longest else None)


def _scores(window: ColumnWindow, fields: _Fields, scope: _Scope) -> _Fields:
    """Return the score of a window, and if details are asked for, all its measures and its distribution."""
    is_numeric = isinstance(window, NumericWindow)
    functions = {method: each.numeric if is_numeric else each.categorical for method, each in MEASURES.items()}
    computed: dict[Method, Any] = {method: each for method, each in functions.items() if each is not None}
    method = fields["method"] if fields["method"] in computed else DEFAULT_METHODS[window.reference.kind]
    measures = {each: computed[each](window) for each in (computed if scope.with_details else [method])}
    score = measures[method].value
    return {
        "method": method,
        "score": score,
        "is_drifted": score is not None and score > fields["threshold"],
        "statistic": window.simple_test.statistic,
        "p_value": window.simple_test.p_value,
        "reference_mean": window.reference_mean,
        "current_mean": window.mean,
        "measures": measures if scope.with_details else {},
        "distribution": window.distribution() if scope.with_details else None,
    }


def _missing_finding(name: str, latest: Column, missing: int, reference_missing: int, scope: _Scope) -> QualityFinding:
    rows, reference_rows = len(latest), scope.plan.reference_rows
    share, before = missing / rows, reference_missing / reference_rows
    spread = scope.detector.dispersion(rows)[name].missing
    if isinstance(spread, OutcomeBlocks):
        p_value = share_p_values(*spread.counts(np.asarray(pc.is_null(latest, nan_is_null=True))))
    else:
        counts = missing, rows, reference_missing, reference_rows
        p_value = share_p_values(*counts, phi=spread.phi, nu=max(spread.nu, 1.0))
    return QualityFinding(
        event=QualityEvent.MISSING_VALUES,
        count=missing,
        share=share,
        detail=f"{share:.1%} are missing, {before:.1%} in the reference.",
        is_notable=share - before >= SMALLEST_MISSING_DIFFERENCE and float(p_value) <= QUALITY_SIGNIFICANCE,
    )


def _value_findings(window: ColumnWindow, constant: ConstantValue | None) -> list[QualityFinding]:
    """Return what is wrong with the values of a window: out of range, unseen, or all the same."""
    findings, n = [], window.n_values
    if isinstance(window, NumericWindow):
        values = window.reference.ordered.values
        low, high, m = float(values[0]), float(values[-1]), values.size
        below, above = int(window.ordered.searchsorted(low)), n - int(window.ordered.searchsorted(high, "right"))
        if outside := below + above:
            sides = [f"{below} below {low:g}"] * bool(below) + [f"{above} above {high:g}"] * bool(above)
            detail = f"{' and '.join(sides)}, where the reference ends."
            # The probability that as many rows of the window are the most extreme of both samples, on both sides.
            p_value = float((n / (n + m)) ** outside) * (1 + outside)
            is_notable = outside / n >= SMALLEST_QUALITY_SHARE and p_value <= QUALITY_SIGNIFICANCE
            findings.append(QualityFinding(QualityEvent.OUT_OF_RANGE, outside, outside / n, detail, is_notable))
    categories = window.categories
    if categories is not None and categories.n_unseen:
        shown = ", ".join(repr(name) for name in categories.unseen_names[:CATEGORIES_SHOWN])
        more = len(categories.unseen_names) - CATEGORIES_SHOWN
        detail = f"{shown}{f' and {more} more' if more > 0 else ''}."
        share, stands_alone = categories.n_unseen / n, window.test.unseen is not None
        event = QualityEvent.UNSEEN_CATEGORIES
        findings.append(QualityFinding(event, categories.n_unseen, share, detail, is_notable=stands_alone))
    if constant is not None and constant.reference_share**n <= QUALITY_SIGNIFICANCE:
        detail = f"Every value is {constant.name}; {constant.reference_share:.1%} of the reference are."
        findings.append(QualityFinding(QualityEvent.BECAME_CONSTANT, n, 1.0, detail, is_notable=True))
    return findings


def _compare_prediction(
    reference: PreparedColumn, column: "Column | None", scope: _Scope
) -> tuple[PredictionResult, ColumnRows | None]:
    """Compare the predictions: classes by their counts, numbers by their counts between the reference's deciles."""
    result = PredictionResult(threshold=scope.criteria.thresholds.prediction)
    if column is None:
        return replace(result, status=ResultStatus.MISSING_COLUMN), None
    if compared_kind(column.type) is not reference.kind:
        detail = f"The reference is {reference.kind}, the window's predictions are {column.type}."
        return replace(result, status=ResultStatus.TYPE_CHANGED, status_detail=detail), None
    try:
        window = open_window(reference, column, scope.plan.window_rows[0])
        status, detail = _status_of_sizes(reference.n_values, window.n_values)
        if status is not ResultStatus.OK:
            return replace(result, status=status, status_detail=detail), None
        tested = None
        if scope.criteria.gives_verdict:
            tested = _rows_of(PREDICTIONS, window, column, scope)
        if isinstance(window, NumericWindow):
            bins, now = window.reference.deciles, window.decile_counts
            labels, before, test = decile_labels(bins.edges), bins.counts, chi_squared(bins.counts, now)
            statistic, p_value = test.statistic, test.p_value
        else:
            labels, before, now = window.categories.names, window.categories.reference, window.categories.current
            statistic, p_value = window.simple_test
        divergence = jensen_shannon_divergence(before, now)
    except COLUMN_ERRORS as error:
        logger.exception("The predictions could not be compared.")
        detail = f"The comparison failed: {type(error).__name__}: {error}"
        return replace(result, status=ResultStatus.ERROR, status_detail=detail), None
    result = replace(
        result,
        chi2_statistic=statistic,
        p_value=p_value,
        js_divergence=divergence,
        is_drifted=divergence > result.threshold,
        reference_dist=dict(zip(labels, (before / before.sum()).tolist(), strict=True)),
        current_dist=dict(zip(labels, (now / now.sum()).tolist(), strict=True)),
    )
    return result, tested


def _status_of_sizes(n_reference: int, n_current: int) -> tuple[ResultStatus, str]:
    fewer, side = min((n_reference, "reference"), (n_current, "window"))
    if fewer >= SMALLEST_SAMPLE:
        return ResultStatus.OK, ""
    return (
        ResultStatus.INSUFFICIENT_DATA,
        f"The {side} has {fewer or 'no'} values; a comparison needs {SMALLEST_SAMPLE}.",
    )


def _compare_jointly(reference: PreparedReference, latest: pa.Table) -> JointChange | None:
    """Return how well a classifier separates the rows; None if there are too few, or if it failed."""
    try:
        return joint_change(reference.sample, latest)
    except COLUMN_ERRORS:
        logger.exception("The joint distributions could not be compared.")
        return None
