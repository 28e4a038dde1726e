"""The benchmark of the pages with little data: every page responds, and what it writes."""

import json

import pytest
import redis

from benchmarks.page_rows import create_history, history_size, logged_in_client, pages
from benchmarks.pages import PLAIN_PAGE, figures_of, measured, text_of
from drift.models import DriftCheck, DriftIncident, FeatureDrift
from inference.models import TrafficRollup
from rollouts.models import RolloutInterval


@pytest.mark.django_db(transaction=True)
def test_every_page_responds_with_a_history(redis_client: redis.Redis) -> None:
    create_history(model_count=2, feature_count=3, days=2, checks_a_day=1)
    # The template, its copies of two days (hourly and daily), and a real check of each model.
    assert DriftCheck.objects.count() == 1 + 2 * 24 + 2 * 1 + 2
    assert FeatureDrift.objects.count() == 3 * DriftCheck.objects.count()
    assert TrafficRollup.objects.filter(span_seconds=3600).count() == 2 * (2 * 24 + 1)
    assert DriftIncident.objects.filter(closed_at=None).count() == 1
    # Two hours by minutes, a day by ten minutes and 29 days by hours, for three guardrails.
    assert RolloutInterval.objects.count() == 3 * (120 + 22 * 6 + 29 * 24)
    size = history_size()
    times = measured(logged_in_client(), {**pages(), "plain": PLAIN_PAGE}, pairs=3)
    assert set(times) > {"overview", "model, 90d", "check", "incident", "rollout"}
    written = figures_of(times, size)
    assert json.loads(json.dumps(written)) == written
    assert "overview" in text_of(times, size)
