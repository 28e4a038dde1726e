"""Figures in templates, written as `models_registry.wording` writes them."""

from django import template

from models_registry.wording import number_text

register = template.Library()


@register.filter
def number(value: float, digits: int = 4) -> str:
    """Write a number with so many significant digits at most: 5 is "5", not "5.000"."""
    text = number_text(value, digits)
    return text if "." not in text or "e" in text else text.rstrip("0").rstrip(".")


@register.filter
def count(value: int) -> str:
    """Write a count with commas: "12,400"."""
    return f"{value:,}"
