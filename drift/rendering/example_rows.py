"""Example rows of a window: those with values that are more frequent than in the reference."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from mlmon.figures import category_text, number_text, share_text, short_number_text
from mlmon.results import Distribution, FeatureResult
from mlmon.statistics.counts import OTHER

MOST_ROWS = 10
MOST_FEATURES = 5
LEAST_GROWTH = 0.02  # of its share, for a value to count as more frequent
MISSING = "missing"


@dataclass(frozen=True, slots=True)
class ExampleCell:
    """A value.

    Attributes
    ----------
    reason
        How much more frequent such values are; empty if they are not.
    is_repeated
        Whether the row above has the same reason, which a page shows once.
    """

    text: str
    reason: str
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class ExampleRow:
    """One observation: its time, the values of the features that changed, and the prediction."""

    observed_at: datetime
    cells: list[ExampleCell]
    prediction: str
    confidence: str


@dataclass(frozen=True, slots=True)
class ExampleRows:
    """The rows that show the change best, and the names of their features."""

    names: list[str]
    rows: list[ExampleRow]


def example_rows(features: Sequence[FeatureResult], observed: pa.Table) -> ExampleRows | None:
    """Return rows that show what changed; None if there are none.

    Rows are ordered by the growth of the shares of their values. Of rows with the same values, the latest is shown.

    Parameters
    ----------
    features
        What changed, strongest first. The first `MOST_FEATURES` that the rows have are used.
    observed
        The window, oldest first, with the features' columns, ``observed_at``, ``prediction``, possibly ``confidence``.
    """
    shown = [one for one in features if one.name in observed.column_names][:MOST_FEATURES]
    if not shown or not observed.num_rows:
        return None
    columns = [_Column(feature, observed.column(feature.name).to_pylist()) for feature in shown]
    growth = np.sum([column.growth for column in columns], axis=0)
    latest_first = np.arange(observed.num_rows)[::-1]
    order = latest_first[np.argsort(-growth[latest_first], kind="stable")]
    chosen: dict[tuple[Any, ...], int] = {}
    for place in order.tolist():
        chosen.setdefault(tuple(column.values[place] for column in columns), place)
        if len(chosen) == MOST_ROWS:
            break
    rows = [_row(observed, columns, place) for place in chosen.values()]
    for above, row in pairwise(rows):
        row.cells[:] = [
            replace(cell, is_repeated=cell.reason == before.reason)
            for before, cell in zip(above.cells, row.cells, strict=True)
        ]
    return ExampleRows([one.name for one in shown], rows)


class _Column:
    """A feature's values in the window, with the growth of the share of each since the reference."""

    def __init__(self, feature: FeatureResult, values: list[Any]) -> None:
        distribution = feature.distribution or Distribution((), (), (), ())
        self.values = values
        self._labels = {label: place for place, label in enumerate(distribution.labels)}
        self._edges = np.array(distribution.edges)
        # Shares of the bins or categories, and of missing values at the end.
        self._reference, self._current = (
            np.array([*counts, missing]) / max(1, sum(counts) + missing)
            for counts, missing in (
                (distribution.reference, feature.n_missing_reference),
                (distribution.current, feature.n_missing_current),
            )
        )
        self._missing = self._reference.size - 1
        self._places = [self._place_of(value) for value in values]
        self.growth = np.maximum(0.0, self._current - self._reference)[self._places]

    def _place_of(self, value: Any) -> int:
        if value is None or value != value:
            return self._missing
        if self._labels:
            label = f"{value:g}" if isinstance(value, float) else str(value)
            return self._labels.get(label, self._labels.get(OTHER, self._missing))
        if self._edges.size < 2:
            return self._missing
        return int(np.clip(np.searchsorted(self._edges, float(value), side="right") - 1, 0, self._missing - 1))

    def cell(self, row: int) -> ExampleCell:
        place, text = self._places[row], _value_text(self.values[row])
        if self.growth[row] < LEAST_GROWTH:
            return ExampleCell(text, "")
        what = "missing" if place == self._missing else "such values"
        now, before = share_text(self._current[place]), share_text(self._reference[place])
        return ExampleCell(text, f"{what}: {now} of the window, {before} before")


def _row(observed: pa.Table, columns: Sequence[_Column], place: int) -> ExampleRow:
    has_confidence = "confidence" in observed.column_names
    confidence = observed.column("confidence")[place].as_py() if has_confidence else None
    return ExampleRow(
        observed_at=observed.column("observed_at")[place].as_py(),
        cells=[column.cell(place) for column in columns],
        prediction=_value_text(observed.column("prediction")[place].as_py()),
        confidence="" if confidence is None or confidence != confidence else number_text(confidence),
    )


def _value_text(value: Any) -> str:
    if value is None or value != value:
        return MISSING
    if isinstance(value, float):
        return short_number_text(value)
    return category_text(value) if isinstance(value, str) else str(value)
