"""The benchmark of KServe's events, with a short load."""

import argparse
from pathlib import Path

import pytest
import redis

from benchmarks.kserve_events import WARM_UP_EVENTS, run_load, text_of
from tests.conftest import environment_of_tests


@pytest.mark.django_db(transaction=True)
def test_every_event_of_a_short_load_is_counted(
    redis_client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", environment_of_tests()["DATABASE_URL"])
    figures = run_load(tmp_path, argparse.Namespace(events_per_second=200, seconds=2.0, connections=4))
    assert figures["statuses"] == {"202": 400}
    assert figures["outcomes"] == {"received": 400 + WARM_UP_EVENTS, "paired": 400 + WARM_UP_EVENTS}
    assert figures["rows_captured"] == (400 + WARM_UP_EVENTS) / 2
    assert 0 < figures["response_ms"]["p50"] <= figures["response_ms"]["p99"] <= figures["response_ms"]["maximum"]
    assert "paired" in text_of(figures)
