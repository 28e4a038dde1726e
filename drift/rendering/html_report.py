"""One HTML page about two files: styles inside, no script, and nothing that it would load from anywhere."""

from pathlib import Path

from django.template.loader import render_to_string
from django.utils.safestring import mark_safe

from drift.file_comparison import FileComparison
from drift.rendering.feature_views import feature_views, listed_findings, prediction_view, tone_of
from drift.results import ComparisonResult
from drift.wording import BADGE_TEXTS, correlation_sentence, joint_sentence, verdict_sentence

STYLES = Path(__file__).parent.parent / "static" / "drift"


def html_report(comparison: FileComparison) -> str:
    """Return the page. Every text of the files is escaped by the template."""
    result = comparison.result
    css = "\n".join((STYLES / name).read_text() for name in ("report.css", "drift.css"))
    return render_to_string(
        "drift/report.html",
        {
            "css": mark_safe(css),  # noqa: S308  # our own files
            "reference_name": comparison.reference.name,
            "current_name": comparison.current.name,
            "n_reference": f"{result.n_reference:,}",
            "n_current": f"{result.n_current:,}",
            "tone": tone_of(result),
            "verdict": verdict_sentence(result),
            "badges": [BADGE_TEXTS[badge] for badge in result.verdict.badges],
            "findings": listed_findings(result),
            "features": feature_views(result),
            "prediction": prediction_view(result.prediction) if comparison.has_predictions else None,
            "others": together_sentences(result),
            "notes": comparison.notes,
        },
    )


def together_sentences(result: ComparisonResult) -> list[str]:
    """Return what changed about features together, where that was looked at."""
    changes = [correlation_sentence(change) for change in result.correlation_changes or ()]
    return [*changes, *([joint_sentence(result.joint_change)] if result.joint_change else [])]
