"""Template filters that format numbers as `mlmon.figures` does."""

from django import template

from mlmon.figures import short_number_text

register = template.Library()
register.filter("number", short_number_text)


@register.filter
def count(value: int) -> str:
    """Return a count with thousands separators: "12,400"."""
    return f"{value:,}"
