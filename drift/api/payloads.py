"""Reports as the bodies of answers (their shapes are described in serializers.py)."""

from dataclasses import asdict
from typing import Any

from drift.models import DriftIncident
from drift.report import DriftReport
from drift.results import Channel, ComparisonResult, FeatureResult, HypothesisResult, PredictionResult
from drift.statistics.definitions import DEFINITIONS
from drift.stored_results import hypotheses_of
from drift.wording import sentence_of, subject_of, verdict_sentence


def report_body(report: DriftReport, *, feature: str | None = None) -> dict[str, Any]:
    """Return a report as JSON-ready values; without a comparison, ``features`` is empty.

    With `feature` it has that one only; what is said of the whole model stays.
    """
    members = result_members(report.result)
    if feature is not None:
        members["features"] = {name: body for name, body in members["features"].items() if name == feature}
    return {
        "model_name": report.model_name,
        "model_version": report.model_version,
        "status": report.status,
        "detail": report.detail,
        "checked_at": report.checked_at,
        "source": report.source,
        "check_id": report.check_id,
        "window": asdict(report.window) if report.window else None,
        **members,
        "last_failure": asdict(report.last_failure) if report.last_failure else None,
    }


def result_members(result: ComparisonResult | None) -> dict[str, Any]:
    """Return what a comparison adds to a report's body."""
    if result is None:
        return {
            "is_drifted": False,
            "verdict": None,
            "drifted_features": [],
            "features": {},
            "prediction_drift": None,
            "correlation_changes": None,
            "joint_change": None,
        }
    pairs = result.correlation_changes
    return {
        "is_drifted": result.is_drifted,
        "verdict": _verdict_body(result),
        "drifted_features": [feature.name for feature in result.drifted_features],
        "features": {feature.name: _feature_body(feature) for feature in result.features},
        "prediction_drift": _prediction_body(result.prediction),
        "correlation_changes": None if pairs is None else [asdict(pair) for pair in pairs],
        "joint_change": asdict(result.joint_change) if result.joint_change else None,
    }


def incident_body(incident: DriftIncident) -> dict[str, Any]:
    """Return an incident as JSON-ready values."""
    hypotheses = hypotheses_of(incident.hypotheses)
    return {
        "id": incident.pk,
        "model_version": incident.version.version,
        "is_open": incident.closed_at is None,
        "opened_at": incident.opened_at,
        "closed_at": incident.closed_at,
        "closing_reason": incident.closing_reason,
        "opened_by_check": incident.opened_by_id,
        "last_check": incident.last_check_id,
        "alarms": incident.alarms,
        "features": list(dict.fromkeys(subject_of(found) for found in hypotheses)),
        "hypotheses": [_hypothesis_body(found, None) for found in hypotheses],
        "acknowledged_at": incident.acknowledged_at,
        "acknowledged_by": incident.acknowledged_by.get_username() if incident.acknowledged_by else None,
        "snoozed_until": incident.snoozed_until,
    }


def _verdict_body(result: ComparisonResult) -> dict[str, Any]:
    by_name = {feature.name: feature for feature in result.features}
    listed = [
        _hypothesis_body(found, result.prediction if found.channel is Channel.PREDICTION else by_name[found.name])
        for found in result.listed_hypotheses
    ]
    return {**asdict(result.verdict), "sentence": verdict_sentence(result), "listed": listed}


def _hypothesis_body(
    found: HypothesisResult | None, subject: FeatureResult | PredictionResult | None
) -> dict[str, Any] | None:
    return None if found is None else {**asdict(found), "sentence": sentence_of(found, subject)}


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
        "is_confirmed": feature.is_confirmed,
        "verdict": _hypothesis_body(feature.verdict, feature),
        "missing_verdict": _hypothesis_body(feature.missing_verdict, feature),
        "measures": {
            method.value: {**asdict(measure), "definition": DEFINITIONS[method].text}
            for method, measure in feature.measures.items()
        },
        "quality": [asdict(finding) for finding in feature.quality],
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
        "verdict": _hypothesis_body(prediction.verdict, prediction),
    }
