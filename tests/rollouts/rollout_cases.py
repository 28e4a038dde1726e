"""Rollouts for tests: real versions, real requests, and a controller that a test calls when it wants."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from accounts.actors import Program
from inference.serving import serving
from inference.stream import redis_client
from models_registry.models import Model, ModelVersion
from rollouts.models import Rollout, State
from rollouts.plan import Guardrail, Kind, Measure, Plan, Step
from rollouts.services.controller import control_rollout
from rollouts.services.lifecycle import plan_rollout, start_rollout
from tests.factories import uploaded_version

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
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


def rollout_row(champion: ModelVersion, challenger: ModelVersion, **fields: Any) -> Rollout:
    """Return a stored rollout in any state, with versions of any kind."""
    state = fields.setdefault("state", State.RUNNING)
    if state != State.DRAFT:
        fields.setdefault("started_at", NOW)
        fields.setdefault("step_started_at", NOW)
    if state in (State.SUCCEEDED, State.ROLLED_BACK, State.CANCELLED):
        fields.setdefault("ended_at", NOW)
    if state not in (State.DRAFT, State.RUNNING):
        fields.setdefault("reason", "because")
    model: Model = champion.model
    guardrails = (Guardrail(Measure.ERRORS),)
    return Rollout.objects.create(
        model=model, champion=champion, challenger=challenger, steps=(Step(0.1),), guardrails=guardrails, **fields
    )


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
