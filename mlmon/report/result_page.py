"""What a page about one comparison shows, in the admin and in the report of two files."""

from typing import Any

from mlmon.measures import EFFECT, MEASURES, P_VALUE, PHI, Method
from mlmon.report.feature_views import feature_views, listed_findings, prediction_view, tone_of
from mlmon.results import ComparisonResult
from mlmon.sentences import BADGE_TEXTS, correlation_sentence, joint_sentence, verdict_sentence

GLOSSARY = (
    ("p", P_VALUE),
    ("w", EFFECT),
    ("phi", PHI.removeprefix("phi: ")),
    (MEASURES[Method.JENSEN_SHANNON_DIVERGENCE].name, MEASURES[Method.JENSEN_SHANNON_DIVERGENCE].text),
)


def result_context(result: ComparisonResult, *, has_predictions: bool = True) -> dict[str, Any]:
    """Return the context of ``drift/result.html``."""
    return {
        "tone": tone_of(result),
        "verdict": verdict_sentence(result),
        "badges": [BADGE_TEXTS[badge] for badge in result.verdict.badges],
        "findings": listed_findings(result),
        "features": feature_views(result),
        "prediction": prediction_view(result.prediction) if has_predictions else None,
        "others": together_sentences(result),
        "glossary": GLOSSARY,
    }


def together_sentences(result: ComparisonResult) -> list[str]:
    """Return what changed about features together, where that was looked at."""
    changes = [correlation_sentence(change) for change in result.correlation_changes or ()]
    return [*changes, *([joint_sentence(result.joint_change)] if result.joint_change else [])]
