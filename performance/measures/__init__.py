from collections.abc import Mapping
from typing import Any


def headline_of(figures: Mapping[str, Any] | None) -> float | None:
    """Return the one figure of a performance that stands for the others: accuracy, or the mean absolute error."""
    known = figures or {}
    value: float | None = known.get("accuracy", known.get("mean_absolute_error"))
    return value
