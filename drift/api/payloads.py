"""Reports as the bodies of answers (their shapes are described in serializers.py)."""

from dataclasses import asdict
from typing import Any

from drift.report import DriftReport
from drift.results import ComparisonResult, FeatureResult, PredictionResult


def report_body(report: DriftReport) -> dict[str, Any]:
    """Return a report as JSON-ready values; without a comparison, ``features`` is empty."""
    result = report.result
    return {
        "model_name": report.model_name,
        "model_version": report.model_version,
        "status": report.status,
        "detail": report.detail,
        "checked_at": report.checked_at,
        "source": report.source,
        "check_id": report.check_id,
        "window": asdict(report.window) if report.window else None,
        **result_members(result),
        "last_failure": asdict(report.last_failure) if report.last_failure else None,
    }


def result_members(result: ComparisonResult | None) -> dict[str, Any]:
    """Return what a comparison adds to a report's body."""
    if result is None:
        return {"is_drifted": False, "drifted_features": [], "features": {}, "prediction_drift": None}
    return {
        "is_drifted": result.is_drifted,
        "drifted_features": [feature.name for feature in result.drifted_features],
        "features": {feature.name: _feature_body(feature) for feature in result.features},
        "prediction_drift": _prediction_body(result.prediction),
    }


def _feature_body(feature: FeatureResult) -> dict[str, Any]:
    return {
        "score": feature.score,
        "is_drifted": feature.is_drifted,
        "p_value": feature.p_value,
        "threshold": feature.threshold,
        "method": feature.method or None,
        "kind": feature.kind,
        "statistic": feature.statistic,
        "reference_mean": feature.reference_mean,
        "current_mean": feature.current_mean,
        "n_reference": feature.n_reference,
        "n_current": feature.n_current,
        "n_missing_reference": feature.n_missing_reference,
        "n_missing_current": feature.n_missing_current,
        "status": feature.status,
        "status_detail": feature.status_detail,
    }


def _prediction_body(prediction: PredictionResult) -> dict[str, Any]:
    return {
        "chi2_statistic": prediction.chi2_statistic,
        "p_value": prediction.p_value,
        "js_divergence": prediction.js_divergence,
        "threshold": prediction.threshold,
        "is_drifted": prediction.is_drifted,
        "reference_dist": dict(prediction.reference_dist),
        "current_dist": dict(prediction.current_dist),
        "status": prediction.status,
    }
