"""Comparing a window of observations with a stored reference."""

import threading
from operator import attrgetter

from cachetools import LRUCache, cached
from django.conf import settings

from inference.stream import Window
from mlmon.comparison import compare
from mlmon.prepared import PreparedReference, prepare
from mlmon.results import ComparisonResult, Criteria
from models_registry.models import ReferenceDataset
from models_registry.selectors import load_profile

PREPARED_REFERENCES: LRUCache[str, PreparedReference] = LRUCache(
    settings.MLMON_PREPARED_REFERENCES_BYTES, getsizeof=attrgetter("nbytes")
)


def compare_window(
    window: Window, reference: ReferenceDataset, criteria: Criteria, *, window_rows: int | None = None
) -> ComparisonResult:
    """Compare a window with a reference.

    Parameters
    ----------
    window
        The newest rows: as many as the longest window that the criteria ask for needs.
    window_rows
        How many of them are the main window; by default all.
    """
    names = window.table.column_names
    return compare(
        prepared_reference(reference),
        window.features,
        window.table.column("prediction") if "prediction" in names else None,
        criteria,
        window_rows=window_rows,
    )


@cached(PREPARED_REFERENCES, key=attrgetter("profile_file.name"), lock=threading.Lock())
def prepared_reference(reference: ReferenceDataset) -> PreparedReference:
    """Return a ready reference, prepared; the process keeps those used last, as a profile never changes."""
    return prepare(load_profile(reference))
