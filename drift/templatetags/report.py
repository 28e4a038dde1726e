"""The parts of a result, which `mlmon.report` draws, in Django's templates."""

from typing import Any

from django import template
from django.utils.safestring import SafeString, mark_safe

from mlmon.report.html import part

register = template.Library()


@register.simple_tag
def report_part(name: str, *arguments: Any, **options: Any) -> SafeString:
    """Return a part, such as ``{% report_part "tag" check.tag %}``. It escapes what it is given."""
    return mark_safe(part(name, *arguments, **options))  # noqa: S308  # escaped by Jinja
