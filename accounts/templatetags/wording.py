"""Figures in templates, written as `mlmon.figures` writes them."""

from django import template

from mlmon.figures import short_number_text

register = template.Library()


@register.filter
def number(value: float, digits: int = 4) -> str:
    """Write a number with so many significant digits at most."""
    return short_number_text(value, digits)


@register.filter
def count(value: int) -> str:
    """Write a count with commas: "12,400"."""
    return f"{value:,}"
