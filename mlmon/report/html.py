"""HTML: the parts of a result, which the admin shows too, and a report of two files on one page of its own."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mlmon.file_comparison import FileComparison
from mlmon.report.views import result_view

HERE = Path(__file__).parent
TEMPLATES = Environment(
    loader=FileSystemLoader(HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters["quoted"] = lambda text: quote(text, safe="")


def part(name: str, *arguments: Any, **options: Any) -> Markup:
    """Return a part of a result: a macro of parts.html, called with these arguments."""
    rendered: Markup = getattr(TEMPLATES.get_template("parts.html").module, name)(*arguments, **options)
    return rendered


def report_page(comparison: FileComparison) -> str:
    """Return a page with styles inside, without scripts, that loads nothing. All text of the files is escaped."""
    result = comparison.result
    return TEMPLATES.get_template("page.html").render(
        css="\n".join((HERE / "static" / name).read_text() for name in ("page.css", "result.css")),
        reference_name=comparison.reference_name,
        current_name=comparison.current_name,
        n_reference=f"{result.n_reference:,}",
        n_current=f"{result.n_current:,}",
        view=result_view(result, has_predictions=comparison.has_predictions),
        notes=(*comparison.formats, *comparison.notes),
    )
