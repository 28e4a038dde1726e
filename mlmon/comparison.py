"""Comparing a window with its reference: prepare, compare each column, judge, and return one result.

One column that cannot be compared never stops the others.
"""

import logging
from collections.abc import Collection
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlmon.criteria import Criteria
from mlmon.detection.phases import LARGEST_SHARE_WITHOUT_PHASE, NO_TIME, local_times
from mlmon.detector import PREDICTIONS
from mlmon.feature_comparison import (
    COLUMN_ERRORS,
    Scope,
    column_rows,
    compare_features,
    not_compared_fields,
    status_of_sizes,
)
from mlmon.measures import jensen_shannon_divergence
from mlmon.prepared import PreparedColumn, PreparedReference
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
    ResultStatus,
    VerdictStatus,
)
from mlmon.schema import FeatureKind
from mlmon.sentences import coverage_sentence
from mlmon.smallest_visible import NOTHING_VISIBLE, smallest_visible
from mlmon.statistics.bins import decile_labels
from mlmon.statistics.counts import chi_squared
from mlmon.statistics.joint_distribution import joint_change
from mlmon.verdict import NO_JUDGEMENT, judge, plan_verdict
from mlmon.windowed_columns import ColumnRows, Windows, windowed_columns
from mlmon.windows import Column, NumericWindow, open_window

logger = logging.getLogger(__name__)

COMPARED = (ResultStatus.OK, ResultStatus.INSUFFICIENT_DATA, ResultStatus.CONSTANT)


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
    scope = Scope(criteria, plan, with_details, reference.detector)
    given = set(features.column_names)
    columns = {name: features.column(name) for name in names if name in given}
    compared = compare_features([(name, reference.features[name], columns.get(name)) for name in names], scope)
    for name, each in failed.items():
        profile = reference.features.get(name)
        kind = FeatureKind.CATEGORICAL if profile is None else profile.kind
        compared.append((not_compared_fields(each, kind, scope), None))
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


def _compare_prediction(
    reference: PreparedColumn, column: "Column | None", scope: Scope
) -> tuple[PredictionResult, ColumnRows | None]:
    """Compare the predictions: classes by their counts, numbers by their counts between the reference's deciles."""
    result = PredictionResult(threshold=scope.criteria.thresholds.prediction)
    if column is None:
        return replace(result, status=ResultStatus.MISSING_COLUMN), None
    if not reference.n_values + reference.profile.n_missing:
        detail = "The reference has no predictions."
        return replace(result, status=ResultStatus.NO_REFERENCE, status_detail=detail), None
    if compared_kind(column.type) is not reference.kind:
        detail = f"The reference is {reference.kind}, the window's predictions are {column.type}."
        return replace(result, status=ResultStatus.TYPE_CHANGED, status_detail=detail), None
    try:
        window = open_window(reference, column, scope.plan.window_rows[0])
        status, detail = status_of_sizes(reference.n_values, window.n_values)
        if status is not ResultStatus.OK:
            return replace(result, status=status, status_detail=detail), None
        tested = None
        if scope.criteria.gives_verdict:
            tested = column_rows(PREDICTIONS, window, column, scope.plan, is_judged=True)
        if isinstance(window, NumericWindow):
            bins, now = window.reference.deciles, window.decile_counts
            labels, before, test = decile_labels(bins.edges), bins.counts, chi_squared(bins.counts, now)
            statistic, p_value = test.statistic, test.p_value
        else:
            labels, before, now = window.categories.names, window.categories.reference, window.categories.current
            statistic, p_value = window.simple_test
        divergence = float(jensen_shannon_divergence(before, now))
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


def _compare_jointly(reference: PreparedReference, latest: pa.Table) -> JointChange | None:
    """Return how well a classifier separates the rows; None if there are too few, or if it failed."""
    try:
        return joint_change(reference.sample, latest)
    except COLUMN_ERRORS:
        logger.exception("The joint distributions could not be compared.")
        return None
