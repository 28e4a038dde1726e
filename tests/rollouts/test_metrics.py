"""What /metrics says about rollouts and the traffic of versions."""

import random
from datetime import timedelta
from typing import Any

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from inference.services.prediction import predict_payload
from models_registry.engine import Engine
from models_registry.exceptions import PredictionFailedError
from models_registry.models import Stage
from models_registry.services.versions import set_stage
from monitoring.metrics.exposition import StateText
from rollouts.models import Rollout
from rollouts.plan import Step
from rollouts.services import lifecycle
from tests.rollouts.rollout_cases import ROW, TESTER, aged, controlled, planned, running, two_versions

pytestmark = pytest.mark.django_db

OF_ROLLOUTS = ("ml_rollout", "ml_shadow", "ml_traffic")


def samples() -> dict[str, float]:
    """Return the samples of rollouts, by the name of the metric and the values of its labels."""
    text = StateText().render().decode()
    return {
        " ".join((sample.name, *sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith(OF_ROLLOUTS)
    }


@pytest.fixture
def rollout(redis_client: redis.Redis) -> Rollout:
    return running(*two_versions(), steps=[Step(0.1, minimum_requests=1000, minimum_seconds=600)])


def test_a_draft_has_no_series(redis_client: redis.Redis) -> None:
    planned(*two_versions())
    assert samples() == {"ml_traffic_share iris 1.0.0": 1.0, "ml_traffic_share iris 1.1.0": 0.0}


def test_a_running_rollout_shows_its_shares_and_its_evidence(rollout: Rollout) -> None:
    controlled(rollout)
    assert samples() == {
        "ml_traffic_share iris 1.0.0": 0.9,
        "ml_traffic_share iris 1.1.0": 0.1,
        "ml_rollout_state iris running": 1.0,
        "ml_rollout_log10_evidence errors iris": 0.0,
        "ml_rollout_log10_evidence_limit errors iris": 2.0,
        "ml_rollout_overdue_seconds iris": 0.0,
        "ml_rollout_incident_open iris": 0.0,
    }
    aged(rollout, timedelta(seconds=700))
    assert samples()["ml_rollout_overdue_seconds iris"] == pytest.approx(100, abs=5)
    lifecycle.pause_rollout(rollout=rollout, reason="", user=TESTER)
    paused = samples()
    assert paused["ml_rollout_state iris paused"] == 1.0
    assert "ml_rollout_overdue_seconds iris" not in paused


def test_an_automatic_rollback_shows_until_it_is_acknowledged(
    rollout: Rollout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise PredictionFailedError("broken")

    monkeypatch.setattr(random, "random", lambda: 0.99)
    with monkeypatch.context() as patched:
        patched.setattr(Engine, "predict", fail)
        for _ in range(5):
            with pytest.raises(PredictionFailedError):
                predict_payload(model_name="iris", payload=ROW)
    controlled(rollout)
    shown = samples()
    assert (shown["ml_rollout_state iris rolled_back"], shown["ml_rollout_incident_open iris"]) == (1.0, 1.0)
    assert shown["ml_rollout_log10_evidence errors iris"] > 2.0
    assert (shown["ml_traffic_share iris 1.0.0"], shown["ml_traffic_share iris 1.1.0"]) == (1.0, 0.0)
    lifecycle.acknowledge_rollback(rollout=rollout, user=TESTER)
    assert samples()["ml_rollout_incident_open iris"] == 0.0


def test_the_series_disappear_with_the_challenger(rollout: Rollout) -> None:
    lifecycle.cancel_rollout(rollout=rollout, reason="", user=TESTER)
    assert samples()["ml_rollout_state iris cancelled"] == 1.0
    rollout.challenger.refresh_from_db()
    set_stage(version=rollout.challenger, stage=Stage.ARCHIVED)
    assert samples() == {"ml_traffic_share iris 1.0.0": 1.0}


def test_a_shadow_shows_its_disagreements(redis_client: redis.Redis) -> None:
    rollout = running(*two_versions())
    Rollout.objects.filter(pk=rollout.pk).update(compared_rows=8, different_rows=2)
    assert samples()["ml_shadow_disagreement_ratio iris"] == 0.25
