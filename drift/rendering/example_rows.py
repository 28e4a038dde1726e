"""Rows of a window that show what changed: those with values that are more frequent than in the reference."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mlmon.figures import number_text, share_text, short_number_text
from mlmon.results import Distribution, FeatureResult
from mlmon.sentences import level_text
from mlmon.statistics.counts import OTHER

MOST_ROWS = 10
MOST_FEATURES = 5
LEAST_GROWTH = 0.02  # of a share: below it a value is not called more frequent
MISSING = "missing"


@dataclass(frozen=True, slots=True)
class ExampleCell:
    """A value.

    Attributes
    ----------
    reason
        How much more frequent such values are; "" where they are not.
    is_repeated
        Whether the row above has the same reason: a page says it once.
    """

    text: str
    reason: str
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class ExampleRow:
    """One observation: when it was made, its values of the features that changed, and what the model answered."""

    observed_at: datetime
    cells: list[ExampleCell]
    prediction: str
    confidence: str


@dataclass(frozen=True, slots=True)
class ExampleRows:
    """The rows that show most, under the names of the features."""

    names: list[str]
    rows: list[ExampleRow]


def example_rows(features: Sequence[FeatureResult], observed: pa.Table) -> ExampleRows | None:
    """Return rows that show what changed; None where there are none.

    A row counts for each of its values by how much the share of such values has grown; of rows with the same values
    the newest stands for all.

    Parameters
    ----------
    features
        What changed, strongest first; the first `MOST_FEATURES` of those that the rows have are looked at.
    observed
        The window, oldest first: the features' columns, ``observed_at``, ``prediction``, and maybe ``confidence``.
    """
    shown = [one for one in features if one.name in observed.column_names][:MOST_FEATURES]
    if not shown or not observed.num_rows:
        return None
    columns = [_Column(feature, observed.column(feature.name).to_pylist()) for feature in shown]
    worth = np.sum([column.growth for column in columns], axis=0)
    newest_first = np.arange(observed.num_rows)[::-1]
    order = newest_first[np.argsort(-worth[newest_first], kind="stable")]
    rows = [_row(observed, columns, place) for place in _different(order, columns)]
    for above, row in pairwise(rows):
        row.cells[:] = [
            replace(cell, is_repeated=cell.reason == before.reason)
            for before, cell in zip(above.cells, row.cells, strict=True)
        ]
    return ExampleRows([one.name for one in shown], rows)


class _Column:
    """A feature's values in the window, with how much more frequent each is than in the reference."""

    def __init__(self, feature: FeatureResult, values: list[Any]) -> None:
        self.values = values
        shares = _Shares(feature)
        self._places = [shares.place_of(value) for value in values]
        self.growth = np.array([shares.growth[place] for place in self._places])
        self._shares = shares

    def cell(self, row: int) -> ExampleCell:
        place = self._places[row]
        text = _value_text(self.values[row])
        return ExampleCell(text, self._shares.reason(place) if self.growth[row] >= LEAST_GROWTH else "")


class _Shares:
    """Shares of a feature's bins or levels, and of missing values at the end, in the reference and in the window."""

    def __init__(self, feature: FeatureResult) -> None:
        distribution = feature.distribution or Distribution((), (), (), ())
        self._labels = {label: place for place, label in enumerate(distribution.labels)}
        self._edges = np.array(distribution.edges)
        self._reference = _shares(distribution.reference, feature.n_missing_reference)
        self._current = _shares(distribution.current, feature.n_missing_current)
        self._missing = len(self._reference) - 1
        self.growth = np.maximum(0.0, self._current - self._reference)

    def place_of(self, value: Any) -> int:
        if value is None or value != value:
            return self._missing
        if self._labels:
            label = f"{value:g}" if isinstance(value, float) else str(value)
            return self._labels.get(label, self._labels.get(OTHER, self._missing))
        if self._edges.size < 2:
            return self._missing
        return int(np.clip(np.searchsorted(self._edges, float(value), side="right") - 1, 0, self._missing - 1))

    def reason(self, place: int) -> str:
        what = "missing" if place == self._missing else "such values"
        return f"{what}: {share_text(self._current[place])} of the window, {share_text(self._reference[place])} before"


def _shares(counts: Sequence[int], missing: int) -> NDArray[np.float64]:
    """Return the share of each bin, and of missing values at the end, shape (k + 1,)."""
    all_counts = np.array([*counts, missing], dtype=np.float64)
    shares: NDArray[np.float64] = all_counts / max(1.0, all_counts.sum())
    return shares


def _different(order: NDArray[np.int64], columns: Sequence[_Column]) -> list[int]:
    """Return the first places whose values differ from those of all before."""
    chosen: dict[tuple[Any, ...], int] = {}
    for place in order.tolist():
        chosen.setdefault(tuple(column.values[place] for column in columns), place)
        if len(chosen) == MOST_ROWS:
            break
    return list(chosen.values())


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
    return level_text(value) if isinstance(value, str) else str(value)
