"""A comparison as JSON-ready values: the body of the drift API and of ``--json``.

Each dictionary has the fields of its dataclass in `mlmon.results`, and what is derived from them.
"""

from dataclasses import asdict, fields
from typing import Any

from mlmon.measures import MEASURES
from mlmon.results import ComparisonResult, FeatureResult, HypothesisResult
from mlmon.sentences import sentence_of, verdict_sentence


def comparison_body(result: ComparisonResult | None) -> dict[str, Any]:
    """Return a comparison; without one, the same members empty."""
    if result is None:
        members = ("verdict", "coverage", "prediction_drift", "correlations", "joint_change")
        return {"is_drifted": False, "drifted_features": [], "feature_drift": {}, **dict.fromkeys(members)}
    pairs = result.correlations
    return {
        "is_drifted": result.is_drifted,
        "drifted_features": [feature.name for feature in result.drifted_features],
        "feature_drift": {feature.name: _feature_body(feature) for feature in result.features},
        "verdict": {
            **asdict(result.verdict),
            "sentence": verdict_sentence(result),
            "listed": [hypothesis_body(found) for found in result.listed_hypotheses],
        },
        "coverage": asdict(result.coverage),
        "prediction_drift": {
            **asdict(result.prediction),
            "verdict": hypothesis_body(result.prediction.verdict),
        },
        "correlations": None if pairs is None else [hypothesis_body(pair) for pair in pairs],
        "joint_change": asdict(result.joint_change) if result.joint_change else None,
    }


def hypothesis_body(found: HypothesisResult | None) -> dict[str, Any] | None:
    """Return a hypothesis with its sentence."""
    return None if found is None else {**asdict(found), "sentence": sentence_of(found)}


def _feature_body(feature: FeatureResult) -> dict[str, Any]:
    return {
        **{one.name: getattr(feature, one.name) for one in fields(feature) if one.name not in ("name", "distribution")},
        "is_confirmed": feature.is_confirmed,
        "verdict": hypothesis_body(feature.verdict),
        "missing_verdict": hypothesis_body(feature.missing_verdict),
        "measures": {
            method.value: {**asdict(measure), "definition": MEASURES[method].text}
            for method, measure in feature.measures.items()
        },
        "smallest_visible": {test.value: size for test, size in feature.smallest_visible.items()},
        "quality": [asdict(finding) for finding in feature.quality],
    }
