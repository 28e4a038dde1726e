"""Comparisons as rows, and rows as the comparisons that they came from: equal to the last digit."""

import math
from collections.abc import Iterable
from typing import Any, TypeVar

from cattrs.preconf.json import make_converter

from drift.models import CheckStatus, DriftCheck, FeatureDrift
from mlmon.results import (
    NO_VERDICT,
    ComparisonResult,
    CorrelationChange,
    Distribution,
    FeatureResult,
    HypothesisResult,
    JointChange,
    Measure,
    Method,
    PredictionResult,
    QualityFinding,
    ResultStatus,
    Verdict,
)
from mlmon.schema import FeatureKind

LONGEST_DETAIL = 255
_converter = make_converter()
Value = TypeVar("Value")


def _number_or_text(value: float) -> float | str:
    # JSON has no word for them, and PostgreSQL refuses those that Python writes; float() reads the text again.
    return value if math.isfinite(value) else str(value)


_converter.register_unstructure_hook(float, _number_or_text)


def fill_check(check: DriftCheck, result: ComparisonResult) -> list[FeatureDrift]:
    """Write a comparison into an unsaved check, and return the unsaved rows of its features."""
    check.status = CheckStatus.SUCCEEDED
    check.n_reference, check.n_current = result.n_reference, result.n_current
    check.n_features, check.n_drifted_features = len(result.features), len(result.drifted_features)
    check.n_confirmed_features = sum(feature.is_confirmed for feature in result.features)
    check.verdict_status, check.verdict = result.verdict.status, plain(result.verdict)
    check.relations = {
        "correlation_changes": plain(result.correlation_changes),
        "joint_change": plain(result.joint_change),
    }
    _fill_prediction(check, result.prediction)
    return [_feature_row(check, feature) for feature in result.features]


def result_of_check(check: DriftCheck) -> ComparisonResult:
    """Return the stored rows of a succeeded check as the comparison that they came from."""
    relations = check.relations or {}
    correlations = relations.get("correlation_changes")
    return ComparisonResult(
        n_reference=check.n_reference,
        n_current=check.n_current,
        features=tuple(_feature_result(row) for row in check.features.all()),
        prediction=_prediction_result(check),
        verdict=NO_VERDICT if check.verdict is None else from_plain(check.verdict, Verdict),
        correlation_changes=None if correlations is None else from_plain(correlations, tuple[CorrelationChange, ...]),
        joint_change=_optional(relations.get("joint_change"), JointChange),
    )


def hypotheses_of(stored: Iterable[Any]) -> tuple[HypothesisResult, ...]:
    """Return an incident's hypotheses."""
    return from_plain(list(stored), tuple[HypothesisResult, ...])


def plain(value: object) -> Any:
    """Return a value of `mlmon.results` as JSON can hold it."""
    return _converter.unstructure(value)


def from_plain(stored: Any, kind: type[Value]) -> Value:
    """Return what `plain` was given."""
    return _converter.structure(stored, kind)


def _fill_prediction(check: DriftCheck, prediction: PredictionResult) -> None:
    check.prediction_status = prediction.status
    check.prediction_js_divergence = prediction.js_divergence
    check.prediction_chi2_statistic = prediction.chi2_statistic
    check.prediction_p_value = prediction.p_value
    check.prediction_threshold = prediction.threshold
    check.prediction_is_drifted = prediction.is_drifted
    # Pairs, not objects: PostgreSQL's jsonb does not keep the order of keys, and bins have one.
    check.prediction_reference_dist = [list(pair) for pair in prediction.reference_dist.items()]
    check.prediction_current_dist = [list(pair) for pair in prediction.current_dist.items()]
    check.prediction_verdict = plain(prediction.verdict)


def _prediction_result(check: DriftCheck) -> PredictionResult:
    return PredictionResult(
        threshold=check.prediction_threshold or 0.0,
        status=ResultStatus(check.prediction_status),
        js_divergence=check.prediction_js_divergence,
        chi2_statistic=check.prediction_chi2_statistic,
        p_value=check.prediction_p_value,
        is_drifted=check.prediction_is_drifted,
        reference_dist=dict(check.prediction_reference_dist),
        current_dist=dict(check.prediction_current_dist),
        verdict=_optional(check.prediction_verdict, HypothesisResult),
    )


def _feature_row(check: DriftCheck, result: FeatureResult) -> FeatureDrift:
    return FeatureDrift(
        check_run=check,
        feature_name=result.name,
        kind=result.kind,
        status=result.status,
        status_detail=result.status_detail[:LONGEST_DETAIL],
        method=result.method,
        score=result.score,
        threshold=result.threshold,
        is_drifted=result.is_drifted,
        statistic=result.statistic,
        p_value=result.p_value,
        reference_mean=result.reference_mean,
        current_mean=result.current_mean,
        n_reference=result.n_reference,
        n_current=result.n_current,
        n_missing_reference=result.n_missing_reference,
        n_missing_current=result.n_missing_current,
        is_confirmed=result.is_confirmed,
        findings={
            "measures": plain(result.measures),
            "distribution": plain(result.distribution),
            "verdict": plain(result.verdict),
            "missing_verdict": plain(result.missing_verdict),
            "quality": plain(result.quality),
        },
    )


def _feature_result(row: FeatureDrift) -> FeatureResult:
    found = row.findings
    return FeatureResult(
        name=row.feature_name,
        kind=FeatureKind(row.kind),
        threshold=row.threshold,
        status=ResultStatus(row.status),
        status_detail=row.status_detail,
        method=Method(row.method),
        score=row.score,
        is_drifted=row.is_drifted,
        statistic=row.statistic,
        p_value=row.p_value,
        reference_mean=row.reference_mean,
        current_mean=row.current_mean,
        n_reference=row.n_reference,
        n_current=row.n_current,
        n_missing_reference=row.n_missing_reference,
        n_missing_current=row.n_missing_current,
        measures=from_plain(found.get("measures", {}), dict[Method, Measure]),
        distribution=_optional(found.get("distribution"), Distribution),
        verdict=_optional(found.get("verdict"), HypothesisResult),
        missing_verdict=_optional(found.get("missing_verdict"), HypothesisResult),
        quality=from_plain(found.get("quality", []), tuple[QualityFinding, ...]),
    )


def _optional(stored: Any, kind: type[Value]) -> Value | None:
    return None if stored is None else from_plain(stored, kind)
