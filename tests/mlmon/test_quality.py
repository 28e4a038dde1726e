"""Findings about the quality of a column's data: counts, gates and descriptions."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlmon.comparison import compare
from mlmon.criteria import Criteria, Thresholds
from mlmon.prepared import prepare
from mlmon.profiling import profile_of
from mlmon.results import FeatureResult, QualityEvent
from mlmon.schema import TaskType

CRITERIA = Criteria(Thresholds(feature=0.15, prediction=0.1))
rng = np.random.default_rng(21)


def _feature(reference: "pa.Array[Any]", current: "pa.Array[Any]") -> FeatureResult:
    answers = pa.array(["yes"] * len(reference))
    profile = profile_of(pa.table({"x": reference}), answers, ("yes",), TaskType.CLASSIFICATION)
    return compare(prepare(profile), pa.table({"x": current}), None, CRITERIA).features[0]


def _events(feature: FeatureResult) -> dict[QualityEvent, tuple[int, bool]]:
    return {finding.event: (finding.count, finding.is_notable) for finding in feature.quality}


def test_data_like_the_reference_has_no_finding() -> None:
    values = rng.normal(size=12_000)
    inner = values[np.abs(values) < 2.5]
    assert _feature(pa.array(values), pa.array(inner[:1000])).quality == ()


@pytest.mark.parametrize(("missing", "is_notable"), [(21, False), (25, True), (200, True)])
def test_newly_missing_values_are_a_finding(missing: int, is_notable: bool) -> None:
    values: list[float | None] = [*rng.normal(size=1000 - missing).tolist(), *[None] * missing]
    reference: list[float | None] = rng.normal(size=10_000).tolist()
    reference[::500] = [None] * 20  # spread: a run of them would say that windows have many or none
    events = _events(_feature(pa.array(reference), pa.array(values)))
    assert events[QualityEvent.MISSING_VALUES] == (missing, is_notable)


def test_fewer_missing_values_are_no_finding() -> None:
    reference: list[float | None] = rng.normal(size=10_000).tolist()
    reference[::20] = [None] * 500
    assert _feature(pa.array(reference), pa.array([0.0, 0.5] * 495 + [None] * 10)).quality == ()


@pytest.mark.parametrize(("above", "is_notable"), [(1, False), (9, False), (10, True)])
def test_values_beyond_the_range_of_the_reference(above: int, is_notable: bool) -> None:
    reference, current = np.arange(10_000.0), np.r_[np.arange(1000.0 - above), np.full(above, 1e5)]
    (finding,) = _feature(pa.array(reference), pa.array(current)).quality
    assert (finding.count, finding.is_notable) == (above, is_notable)
    assert finding.detail == f"{above} above 9999, where the reference ends."


def test_a_few_extremes_of_a_small_window_are_chance() -> None:
    # 3 of 100 rows against a reference of 200: (100/300)^3, twice for two sides and more, is far from 1e-3.
    current = np.r_[np.arange(97.0), [300.0, 301.0, -1.0]]
    (finding,) = _feature(pa.array(np.arange(200.0)), pa.array(current)).quality
    assert (finding.count, finding.is_notable) == (3, False)
    assert finding.detail == "1 below 0 and 2 above 199, where the reference ends."


@pytest.mark.parametrize(("rows", "is_notable"), [(5, False), (30, True)])
def test_categories_that_the_reference_does_not_have(rows: int, is_notable: bool) -> None:
    current = pa.array(["a", "b"] * ((1000 - rows) // 2) + ["new"] * rows)
    events = _events(_feature(pa.array(["a", "b"] * 5000), current))
    assert events[QualityEvent.UNSEEN_CATEGORIES] == (rows, is_notable)


def test_an_unseen_code_among_numbers_with_few_values() -> None:
    reference, current = pa.array([0.0, 1.0, 2.0] * 3000), pa.array([0.0, 1.0, 2.0] * 300 + [-1.0] * 100)
    feature = _feature(reference, current)
    assert _events(feature)[QualityEvent.UNSEEN_CATEGORIES] == (100, True)
    assert _events(feature)[QualityEvent.OUT_OF_RANGE] == (100, True)
    assert feature.verdict is not None
    assert feature.verdict.is_alarm


def test_a_column_that_became_constant() -> None:
    feature = _feature(pa.array(rng.normal(size=5000)), pa.array([0.25] * 600))
    assert _events(feature)[QualityEvent.BECAME_CONSTANT] == (600, True)
    # A category of 99 % is the only one in 60 rows more often than not.
    mostly_a = pa.array(["b", *["a"] * 99] * 100)
    assert _events(_feature(mostly_a, pa.array(["a"] * 60))) == {}
    assert _events(_feature(mostly_a, pa.array(["a"] * 2000))) == {QualityEvent.BECAME_CONSTANT: (2000, True)}


def test_a_column_of_another_type_and_a_missing_column() -> None:
    changed = _feature(pa.array(rng.normal(size=1000)), pa.array(["1.5"] * 600))
    assert _events(changed) == {QualityEvent.TYPE_CHANGED: (600, True)}
    answers = pa.array(["yes"] * 1000)
    profile = profile_of(pa.table({"x": rng.normal(size=1000)}), answers, ("yes",), TaskType.CLASSIFICATION)
    gone = compare(prepare(profile), pa.table({"y": rng.normal(size=600)}), None, CRITERIA).features
    assert [(_events(feature)) for feature in gone] == [{QualityEvent.COLUMN_MISSING: (600, True)}]
