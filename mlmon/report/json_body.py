"""A comparison as JSON-ready values: the body of the drift API and of ``--json``."""

from dataclasses import asdict
from typing import Any

from mlmon.measures import MEASURES
from mlmon.results import Channel, ComparisonResult, FeatureResult, HypothesisResult, PredictionResult
from mlmon.sentences import sentence_of, verdict_sentence


def result_members(result: ComparisonResult | None) -> dict[str, Any]:
    """Return what a comparison adds to a report's body."""
    if result is None:
        return {
            "is_drifted": False,
            "verdict": None,
            "drifted_features": [],
            "feature_drift": {},
            "prediction_drift": None,
            "correlation_changes": None,
            "joint_change": None,
        }
    pairs = result.correlation_changes
    return {
        "is_drifted": result.is_drifted,
        "verdict": _verdict_body(result),
        "drifted_features": [feature.name for feature in result.drifted_features],
        "feature_drift": {feature.name: _feature_body(feature) for feature in result.features},
        "prediction_drift": _prediction_body(result.prediction),
        "correlation_changes": None if pairs is None else [asdict(pair) for pair in pairs],
        "joint_change": asdict(result.joint_change) if result.joint_change else None,
    }


def _verdict_body(result: ComparisonResult) -> dict[str, Any]:
    by_name = {feature.name: feature for feature in result.features}
    listed = [
        hypothesis_body(found, result.prediction if found.channel is Channel.PREDICTION else by_name[found.name])
        for found in result.listed_hypotheses
    ]
    return {**asdict(result.verdict), "sentence": verdict_sentence(result), "listed": listed}


def hypothesis_body(
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
        "verdict": hypothesis_body(feature.verdict, feature),
        "missing_verdict": hypothesis_body(feature.missing_verdict, feature),
        "measures": {
            method.value: {**asdict(measure), "definition": MEASURES[method].text}
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
        "verdict": hypothesis_body(prediction.verdict, prediction),
    }
