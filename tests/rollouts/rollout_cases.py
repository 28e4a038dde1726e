"""Rollouts for tests: real versions, real requests, and a controller that a test calls when it wants."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from accounts.actors import Program
from inference.serving import serving
from inference.stream import redis_client
from models_registry.models import ModelVersion
from rollouts.models import Rollout
from rollouts.plan import Guardrail, Kind, Measure, Plan, Step
from rollouts.services.controller import control_rollout
from rollouts.services.lifecycle import plan_rollout, start_rollout
from tests.factories import uploaded_version

ROW = {"features": [5.1, 3.5, 1.4, 0.2]}
TESTER = Program("tester")
QUICK_STEPS = (Step(0.1, minimum_requests=1, minimum_seconds=0), Step(0.5, minimum_requests=1, minimum_seconds=0))
ERRORS = (Guardrail(Measure.ERRORS),)


def two_versions(name: str = "iris") -> tuple[ModelVersion, ModelVersion]:
    """Return a champion in production and a challenger in staging."""
    return uploaded_version(name), uploaded_version(name, "1.1.0", production=False)


def planned(
    champion: ModelVersion,
    challenger: ModelVersion,
    *,
    kind: Kind = Kind.CANARY,
    steps: Sequence[Step] = QUICK_STEPS,
    guardrails: Sequence[Guardrail] = ERRORS,
    **options: Any,
) -> Rollout:
    """Return a draft."""
    plan = Plan(challenger.version, kind, tuple(steps), tuple(guardrails), **options)
    return plan_rollout(model=champion.model, plan=plan, user=TESTER)


def running(champion: ModelVersion, challenger: ModelVersion, **options: Any) -> Rollout:
    """Return a started rollout whose challenger has the share of the first step."""
    rollout = start_rollout(rollout=planned(champion, challenger, **options), user=TESTER)
    control_rollout(rollout_id=rollout.pk)
    rollout.refresh_from_db()
    assert rollout.is_live
    return rollout


def flushed() -> None:
    """Append the counts of this process to the streams."""
    serving().settle()
    serving().rollouts.flush(redis_client())


def controlled(rollout: Rollout) -> Rollout:
    """Append the counts of this process, run the controller once, and return the rollout as it is then."""
    flushed()
    control_rollout(rollout_id=rollout.pk)
    rollout.refresh_from_db()
    return rollout


def aged(rollout: Rollout, by: timedelta) -> None:
    """Let a rollout and its step have started earlier."""
    rollout.refresh_from_db()
    assert rollout.started_at is not None
    assert rollout.step_started_at is not None
    rollout.started_at -= by
    rollout.step_started_at -= by
    rollout.save(update_fields=["started_at", "step_started_at"])
