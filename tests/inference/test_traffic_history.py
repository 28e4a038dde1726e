"""Read traffic by minute and in steps."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from inference.models import RollupSpan, TrafficRollup
from inference.selectors import Recently, counts_by_minute, recent_counts, traffic_series
from models_registry.models import Model, ModelVersion

NOW = datetime(2026, 3, 1, 12, 10, 30, tzinfo=UTC)
pytestmark = pytest.mark.django_db


@pytest.fixture
def version() -> ModelVersion:
    return ModelVersion.objects.create(
        model=Model.objects.create(name="counted"), version="1.0.0", task_type="regression"
    )


def rollup(version: ModelVersion, begins_at: datetime, span: RollupSpan = RollupSpan.MINUTE, **figures: Any) -> None:
    empty = {"latency_counts": [0] * 14, "confidence_counts": [0] * 14, "class_counts": []}
    TrafficRollup.objects.create(version=version, span_seconds=span, begins_at=begins_at, **{**empty, **figures})


def test_the_last_minutes_include_the_current_one() -> None:
    recently = Recently.of(NOW, minutes=10)
    assert recently.since == datetime(2026, 3, 1, 12, 1, tzinfo=UTC)
    assert recently.minutes == 9.5


def test_recent_counts_include_only_those_minutes(version: ModelVersion) -> None:
    for minute, success in [(0, 100), (1, 5), (10, 7)]:
        rollup(version, NOW.replace(minute=minute, second=0), success=success, class_counts=[success])
    rollup(version, NOW.replace(minute=0, second=0), RollupSpan.HOUR, success=112)
    counts = recent_counts(Recently.of(NOW, minutes=10))[version.pk]
    assert (counts.success, counts.class_counts.tolist()) == (12, [12])


def test_requests_and_predictions_are_counted_in_their_minute(version: ModelVersion) -> None:
    rollup(version, NOW.replace(minute=8, second=0), success=1, error=2, rejected=4, predictions=20)
    rollup(version, NOW.replace(minute=9, second=0), predictions=30)  # predicted by another server
    rollup(version, NOW.replace(minute=11, second=0), success=9)  # another server's clock is ahead
    assert counts_by_minute(Recently.of(NOW, minutes=4)) == {version.pk: ([0, 7, 0, 0], [0, 20, 30, 0])}


def test_steps_are_sums_and_empty_ones_are_left_out(version: ModelVersion) -> None:
    begin = datetime(2026, 3, 1, 0, 0, tzinfo=UTC)
    for hour, classes in [(0, [1]), (1, [1, 2]), (5, [0, 0, 3])]:
        rollup(
            version,
            begin + timedelta(hours=hour),
            RollupSpan.HOUR,
            success=10 + hour,
            error=1,
            class_counts=classes,
            latency_counts=np.eye(14, dtype=int)[hour].tolist(),
            output_sum=0.5,
        )
    series = traffic_series([version.pk], span=RollupSpan.HOUR, since=begin, step_seconds=7200)[version.pk]
    assert series.steps.tolist() == [int(begin.timestamp()), int(begin.timestamp()) + 4 * 3600]
    assert series.requests.tolist() == [23, 16]
    assert series.class_counts.tolist() == [[2, 2, 0], [0, 0, 3]]
    assert series.latency_counts[:, :6].tolist() == [[1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1]]
    assert series.output_sum.tolist() == [1.0, 0.5]


def test_a_version_without_traffic_is_left_out(version: ModelVersion) -> None:
    assert traffic_series([version.pk], span=RollupSpan.HOUR, since=NOW, step_seconds=3600) == {}
