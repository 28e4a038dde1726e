"""Comparing a window of observations with a stored reference."""

from drift.comparison import compare
from drift.results import ComparisonResult, Criteria
from inference.stream import Window
from models_registry.models import ReferenceDataset
from models_registry.selectors import load_profile


def compare_window(window: Window, reference: ReferenceDataset, criteria: Criteria) -> ComparisonResult:
    """Compare a window with a reference."""
    names = window.table.column_names
    return compare(
        load_profile(reference),
        window.features,
        window.table.column("prediction") if "prediction" in names else None,
        criteria.thresholds,
    )
