"""A comparison as JSON-ready values: the body of the drift API and of ``--json``.

Each dictionary has the fields of its dataclass in `mlmon.results`, and what is derived from them.
"""

from dataclasses import asdict, fields
from typing import Any

from mlmon.measures import MEASURES
from mlmon.results import ComparisonResult, FeatureResult, HypothesisResult, PredictionResult
from mlmon.sentences import found_by, sentence_of, verdict_sentence


def comparison_body(result: ComparisonResult | None) -> dict[str, Any]:
    """Return a comparison; without one, the same members empty."""
    if result is None:
        members = ("verdict", "coverage", "prediction_drift", "correlation_changes", "joint_change")
        return {"is_drifted": False, "drifted_features": [], "feature_drift": {}, **dict.fromkeys(members)}
    pairs = result.correlation_changes
    return {
        "is_drifted": result.is_drifted,
        "drifted_features": [feature.name for feature in result.drifted_features],
        "feature_drift": {feature.name: _feature_body(feature) for feature in result.features},
        "verdict": {
            **asdict(result.verdict),
            "sentence": verdict_sentence(result),
            "listed": [hypothesis_body(found, found_by(result, found)) for found in result.listed_hypotheses],
        },
        "coverage": asdict(result.coverage),
        "prediction_drift": {
            **asdict(result.prediction),
            "verdict": hypothesis_body(result.prediction.verdict, result.prediction),
        },
        "correlation_changes": None if pairs is None else [asdict(pair) for pair in pairs],
        "joint_change": asdict(result.joint_change) if result.joint_change else None,
    }


def hypothesis_body(
    found: HypothesisResult | None, subject: FeatureResult | PredictionResult | None
) -> dict[str, Any] | None:
    """Return a hypothesis with its sentence; `subject` is the result that it belongs to, if that is known."""
    return None if found is None else {**asdict(found), "sentence": sentence_of(found, subject)}


def _feature_body(feature: FeatureResult) -> dict[str, Any]:
    return {
        **{one.name: getattr(feature, one.name) for one in fields(feature) if one.name not in ("name", "distribution")},
        "is_confirmed": feature.is_confirmed,
        "verdict": hypothesis_body(feature.verdict, feature),
        "missing_verdict": hypothesis_body(feature.missing_verdict, feature),
        "measures": {
            method.value: {**asdict(measure), "definition": MEASURES[method].text}
            for method, measure in feature.measures.items()
        },
        "quality": [asdict(finding) for finding in feature.quality],
    }
