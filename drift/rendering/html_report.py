"""One HTML page about two files: styles inside, no script, and nothing that it would load from anywhere."""

from pathlib import Path

from django.template.loader import render_to_string
from django.utils.safestring import mark_safe

from mlmon.file_comparison import FileComparison
from mlmon.report.result_page import result_context

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
            "notes": comparison.notes,
            **result_context(result, has_predictions=comparison.has_predictions),
        },
    )
