"""Template filters that format numbers as `mlmon.figures` does."""

from django import template

from mlmon.figures import short_number_text

register = template.Library()


@register.filter
def number(value: float, digits: int = 4) -> str:
    """Return a number with at most `digits` significant digits."""
    return short_number_text(value, digits)


@register.filter
def count(value: int) -> str:
    """Return a count with thousands separators: "12,400"."""
    return f"{value:,}"
