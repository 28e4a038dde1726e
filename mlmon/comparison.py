"""Comparing a window with its reference, feature by feature; one bad column never stops the others."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlmon.column_windows import Column, ColumnWindow, LevelColumn, NumberColumn, NumberWindow, observed_column
from mlmon.prepared import PreparedColumn, PreparedLevels, PreparedNumbers, PreparedReference
from mlmon.quality import column_finding, constant_finding, missing_finding, range_finding, unseen_finding
from mlmon.results import (
    Channel,
    ComparisonResult,
    CorrelationChange,
    Criteria,
    FeatureResult,
    JointChange,
    Method,
    PredictionResult,
    QualityEvent,
    QualityFinding,
    ResultStatus,
)
from mlmon.schema import FeatureKind
from mlmon.statistics.chi_squared import chi_squared
from mlmon.statistics.correlation import correlation_changes, rank_correlations
from mlmon.statistics.jensen_shannon import jensen_shannon_divergence
from mlmon.statistics.joint_distribution import joint_change
from mlmon.statistics.missing_values import MissingCounts, smallest_detectable_difference
from mlmon.verdict import NO_JUDGEMENT, Evidence, VerdictPlan, judge, plan_of

logger = logging.getLogger(__name__)

# Fields of a FeatureResult that are known so far: making a new result for each of them costs more than the statistics.
_Found: TypeAlias = dict[str, Any]

# What the values of a column can raise. A time limit or a lost connection is none of them and ends the comparison.
COLUMN_ERRORS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, pa.ArrowException)

SMALLEST_SAMPLE = 30
LARGEST_LEVELS_SHARE = 0.5  # levels for each reference row; with more, a column names rows rather than groups


def compare(
    reference: PreparedReference,
    features: pa.Table,
    predictions: "Column | None",
    criteria: Criteria,
    *,
    window_rows: int | None = None,
    with_details: bool = True,
) -> ComparisonResult:
    """Compare the newest rows with their reference.

    Parameters
    ----------
    reference
        The reference, prepared.
    features
        Rows as they were observed, the newest last, under their own names: float64 for numeric, string for categorical
        features; null is missing.
    predictions
        Of the same rows: class names, or float64 for regression.
    criteria
        What is asked for.
    window_rows
        How many of the rows, the newest, are the window; by default all of them. Longer windows that the criteria ask
        for beside it look at the rows before.
    with_details
        Whether to compute all measures and what a picture needs, or scores and the verdict only.

    Returns
    -------
    ComparisonResult
        Every watched feature of the reference in its order, then those that only the window has. What cannot be
        compared has a status that says why. A window costs one sort of each numeric column and one look at each
        categorical one.
    """
    rows = features.num_rows if features.num_columns or predictions is None else len(predictions)
    main_rows = rows if window_rows is None else min(rows, window_rows)
    names = [*reference.features, *(name for name in features.column_names if name not in reference.features)]
    watched = [name for name in names if name not in criteria.unmonitored]
    plan = plan_of(criteria, features=len(watched), rows=rows, window_rows=main_rows, reference_rows=reference.n_rows)
    scope = _Scope(plan, gives_verdict=criteria.gives_verdict, with_details=with_details)
    compared = [
        _compared_feature(
            {
                "name": name,
                "kind": _kind_of(reference.features[name])
                if name in reference.features
                else _kind_of_type(features.schema.field(name).type),
                "threshold": criteria.thresholds.of(name),
                "method": criteria.methods.get(name, Method.NONE),
            },
            reference.features.get(name),
            features.column(name) if name in features.column_names else None,
            scope,
        )
        for name in watched
    ]
    newest = features.select([name for name in watched if name in features.column_names]).slice(rows - main_rows)
    threshold = criteria.thresholds.prediction
    prediction, evidence = _compared_prediction(reference.prediction, predictions, threshold, scope)
    of_features = (found for _, every in compared for found in every)
    judgement = judge([*of_features, *evidence], plan) if criteria.gives_verdict else NO_JUDGEMENT
    hypotheses = judgement.hypotheses
    return ComparisonResult(
        n_reference=reference.n_rows,
        n_current=main_rows,
        features=tuple(
            FeatureResult(
                **found,
                verdict=hypotheses.get((Channel.DISTRIBUTION, found["name"])),
                missing_verdict=hypotheses.get((Channel.MISSING_VALUES, found["name"])),
            )
            for found, _ in compared
        ),
        prediction=replace(prediction, verdict=hypotheses.get((Channel.PREDICTION, ""))),
        verdict=judgement.verdict,
        correlation_changes=_correlation_changes(reference, newest) if criteria.monitors_correlation else None,
        joint_change=_joint_change(reference, newest) if criteria.monitors_joint_distribution else None,
    )


@dataclass(frozen=True, slots=True)
class _Scope:
    """What is computed of each column."""

    plan: VerdictPlan
    gives_verdict: bool
    with_details: bool

    @property
    def main_rows(self) -> int:
        return self.plan.window_rows[0]


def _correlation_changes(reference: PreparedReference, newest: pa.Table) -> tuple[CorrelationChange, ...] | None:
    """Return the pairs whose correlation changed; None where the reference has kept no rows, or it failed."""
    if not reference.sample.num_columns:
        return None
    try:
        return correlation_changes(rank_correlations(reference.sample), rank_correlations(newest))
    except COLUMN_ERRORS:
        logger.exception("The correlations could not be compared.")
        return None


def _joint_change(reference: PreparedReference, newest: pa.Table) -> JointChange | None:
    """Return how well a classifier tells the rows apart; None where there are too few, or it failed."""
    try:
        return joint_change(reference.sample, newest)
    except COLUMN_ERRORS:
        logger.exception("The joint distributions could not be compared.")
        return None


def _compared_feature(
    asked: _Found, reference: PreparedColumn | None, column: "Column | None", scope: _Scope
) -> tuple[_Found, list[Evidence]]:
    """Return one feature's result but for its verdict, and the evidence for that."""
    if reference is None or column is None:
        return _one_sided(asked, reference, scope), []
    if not _has_kind(column.type, asked["kind"]):
        detail = f"The reference is {asked['kind']}, the window's column is {column.type}."
        finding = column_finding(QualityEvent.TYPE_CHANGED, scope.main_rows, detail)
        return {**asked, "status": ResultStatus.TYPE_CHANGED, "status_detail": detail, "quality": (finding,)}, []
    try:
        return _two_sided(asked, reference, column, scope)
    except COLUMN_ERRORS as error:
        logger.exception("Feature %r could not be compared.", asked["name"])
        detail = f"The comparison failed: {type(error).__name__}: {error}"
        return {**asked, "status": ResultStatus.ERROR, "status_detail": detail}, []


def _one_sided(asked: _Found, reference: PreparedColumn | None, scope: _Scope) -> _Found:
    detail = f"The {'reference' if reference is None else 'window'} has no such column."
    finding = column_finding(QualityEvent.COLUMN_MISSING, scope.main_rows, detail)
    quality = () if reference is None else (finding,)
    return {**asked, "status": ResultStatus.MISSING, "status_detail": detail, "quality": quality}


def _two_sided(
    asked: _Found, reference: PreparedColumn, column: Column, scope: _Scope
) -> tuple[_Found, list[Evidence]]:
    observed, name = observed_column(reference, column), asked["name"]
    counts = [_missing_counts(reference, observed, rows, scope) for rows in scope.plan.window_rows]
    evidence = [_missing_evidence(name, every, reference, scope) for every in counts if _has_missing(every)]
    n_current = scope.main_rows - counts[0].current_missing
    found = {
        **asked,
        "n_reference": reference.n_values,
        "n_current": n_current,
        "n_missing_reference": counts[0].reference_missing,
        "n_missing_current": counts[0].current_missing,
        "quality": _missing_quality(counts[0], evidence),
    }
    status, detail = _obstacle(reference, reference.n_values, n_current)
    if status is not ResultStatus.OK:
        return {**found, "status": status, "status_detail": detail}, evidence
    window = observed.window(scope.main_rows)
    constant = _constant_in_both(window)
    found |= _scored(found, window, constant, scope)
    if constant is None and scope.gives_verdict:
        evidence += _evidence_of_values(Channel.DISTRIBUTION, name, observed, window, scope)
    return found, evidence


def _scored(found: _Found, window: ColumnWindow, constant: str | None, scope: _Scope) -> _Found:
    """Return what the window's values add to a result; `constant` is the one value that both samples have."""
    method = found["method"] if found["method"] in window.methods else window.default_method
    measures = {each: window.measure(each) for each in window.methods} if scope.with_details else {}
    score = (measures.get(method) or window.measure(method)).value if constant is None else 0.0
    return {
        "method": method,
        "status": ResultStatus.OK if constant is None else ResultStatus.CONSTANT,
        "status_detail": "" if constant is None else f"Every value of both is {constant}.",
        "score": score,
        "is_drifted": score is not None and score > found["threshold"],
        "statistic": window.statistic,
        "p_value": window.p_value,
        "reference_mean": window.reference_mean,
        "current_mean": window.mean,
        "measures": measures,
        "distribution": window.distribution() if scope.with_details else None,
        "quality": (*found["quality"], *_value_quality(window)),
    }


def _evidence_of_values(
    channel: Channel, name: str, observed: NumberColumn | LevelColumn, main: ColumnWindow, scope: _Scope
) -> list[Evidence]:
    found = [main.evidence(channel, name, level=scope.plan.level)]
    for rows in scope.plan.window_rows[1:]:
        if observed.present(rows) >= SMALLEST_SAMPLE:
            found.append(observed.window(rows).evidence(channel, name, level=scope.plan.level))
    return found


def _missing_counts(
    reference: PreparedColumn, observed: NumberColumn | LevelColumn, rows: int, scope: _Scope
) -> MissingCounts:
    return MissingCounts(
        reference_missing=reference.profile.n_missing,
        reference_rows=scope.plan.reference_rows,
        current_missing=rows - observed.present(rows),
        current_rows=rows,
    )


def _has_missing(counts: MissingCounts) -> bool:
    return bool(counts.reference_missing or counts.current_missing) and counts.current_rows >= SMALLEST_SAMPLE


def _missing_evidence(name: str, counts: MissingCounts, reference: PreparedColumn, scope: _Scope) -> Evidence:
    rows, dispersion = counts.current_rows, reference.profile.missing_dispersion
    # A reference without missing values says nothing about how they would come; its values' dispersion is a guess
    # at least, as what stops a value from coming stops its neighbours too.
    knows = reference.profile.n_missing > 0
    phi = (dispersion if knows else reference.profile.dispersion).at(rows)
    return Evidence(
        channel=Channel.MISSING_VALUES,
        name=name,
        window_rows=rows,
        p_value=counts.p_value_at(phi),
        effect=counts.difference,
        smallest_detectable=smallest_detectable_difference(counts, level=scope.plan.level, dispersion=phi),
        dispersion=phi,
        is_measured=reference.profile.dispersion.is_measured_at(rows),
    )


def _missing_quality(counts: MissingCounts, evidence: Iterable[Evidence]) -> tuple[QualityFinding, ...]:
    p_value = next((found.p_value for found in evidence if found.window_rows == counts.current_rows), 1.0)
    finding = missing_finding(counts, p_value)
    return () if finding is None else (finding,)


def _value_quality(window: ColumnWindow) -> tuple[QualityFinding, ...]:
    found = []
    if isinstance(window, NumberWindow):
        found.append(range_finding(window.reference.ordered.values, window.ordered))
    if window.level_counts is not None and window.levels_result is not None:
        found.append(unseen_finding(window.level_counts, stands_alone=window.levels_result.unseen is not None))
    if window.is_constant:
        share, rows = window.reference_share_of_first, window.n_values
        found.append(constant_finding(window.first_name, rows=rows, reference_share=share))
    return tuple(finding for finding in found if finding is not None)


def _constant_in_both(window: ColumnWindow) -> str | None:
    """Return the one value that both samples have, or None."""
    return window.first_name if window.is_constant and window.reference_share_of_first == 1.0 else None


def _obstacle(reference: PreparedColumn, n_reference: int, n_current: int) -> tuple[ResultStatus, str]:
    """Return the status that the counts leave, and why."""
    status = _status_of_sizes(n_reference, n_current)
    if status is not ResultStatus.OK:
        fewer, side = min((n_reference, "reference"), (n_current, "window"))
        return status, f"The {side} has {fewer or 'no'} values; a comparison needs {SMALLEST_SAMPLE}."
    if isinstance(reference, PreparedLevels):
        levels = len(reference.profile.levels)
        if levels > LARGEST_LEVELS_SHARE * n_reference:
            detail = f"{levels} levels in {n_reference} reference rows: an identifier is not compared."
            return ResultStatus.IDENTIFIER, detail
    return ResultStatus.OK, ""


def _compared_prediction(
    reference: PreparedColumn, column: "Column | None", threshold: float, scope: _Scope
) -> tuple[PredictionResult, list[Evidence]]:
    """Compare the predictions: classes by their counts, numbers by their counts between the reference's deciles."""
    blank = PredictionResult(threshold=threshold)
    if column is None:
        return replace(blank, status=ResultStatus.MISSING), []
    if not _has_kind(column.type, _kind_of(reference)):
        return replace(blank, status=ResultStatus.TYPE_CHANGED), []
    try:
        return _two_sided_prediction(blank, reference, column, scope)
    except COLUMN_ERRORS:
        logger.exception("The predictions could not be compared.")
        return replace(blank, status=ResultStatus.ERROR), []


def _two_sided_prediction(
    blank: PredictionResult, reference: PreparedColumn, column: Column, scope: _Scope
) -> tuple[PredictionResult, list[Evidence]]:
    observed = observed_column(reference, column)
    status = _status_of_sizes(reference.n_values, observed.present(scope.main_rows))
    if status is not ResultStatus.OK:
        return replace(blank, status=status), []
    window = observed.window(scope.main_rows)
    evidence = _evidence_of_values(Channel.PREDICTION, "", observed, window, scope) if scope.gives_verdict else []
    if isinstance(window, NumberWindow):
        deciles, current = window.reference.deciles, window.decile_counts
        test = chi_squared(deciles.counts, current)
        return _diverged(blank, test.statistic, test.p_value, deciles.labels, deciles.counts, current), evidence
    counts = window.level_counts
    found = _diverged(blank, window.statistic, window.p_value, counts.levels, counts.reference, counts.current)
    return found, evidence


def _diverged(
    blank: PredictionResult,
    statistic: float,
    p_value: float,
    labels: tuple[str, ...],
    reference: NDArray[np.int64],
    current: NDArray[np.int64],
) -> PredictionResult:
    divergence = jensen_shannon_divergence(reference, current)
    return replace(
        blank,
        chi2_statistic=statistic,
        p_value=p_value,
        js_divergence=divergence,
        is_drifted=divergence > blank.threshold,
        reference_dist=_shares(labels, reference),
        current_dist=_shares(labels, current),
    )


def _status_of_sizes(n_reference: int, n_current: int) -> ResultStatus:
    fewer = min(n_reference, n_current)
    if fewer == 0:
        return ResultStatus.MISSING
    return ResultStatus.OK if fewer >= SMALLEST_SAMPLE else ResultStatus.INSUFFICIENT_DATA


def _kind_of(reference: PreparedColumn) -> FeatureKind:
    return FeatureKind.NUMERIC if isinstance(reference, PreparedNumbers) else FeatureKind.CATEGORICAL


def _kind_of_type(column_type: pa.DataType) -> FeatureKind:
    return FeatureKind.NUMERIC if _has_kind(column_type, FeatureKind.NUMERIC) else FeatureKind.CATEGORICAL


def _has_kind(column_type: pa.DataType, kind: FeatureKind) -> bool:
    if kind is FeatureKind.NUMERIC:
        return pa.types.is_floating(column_type) or pa.types.is_integer(column_type)
    return pa.types.is_string(column_type) or pa.types.is_large_string(column_type)


def _shares(labels: tuple[str, ...], counts: NDArray[np.int64]) -> Mapping[str, float]:
    return dict(zip(labels, (counts / counts.sum()).tolist(), strict=True))
