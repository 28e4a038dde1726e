"""Measures of performance: arrays in, frozen dataclasses out."""

from collections.abc import Mapping
from typing import Any


def headline_of(figures: Mapping[str, Any] | None) -> float | None:
    """Return the figure that summarises a performance: the accuracy, or the mean absolute error of a regression."""
    known = figures or {}
    value: float | None = known.get("accuracy", known.get("mean_absolute_error"))
    return value
