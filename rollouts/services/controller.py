"""The controller: count what has happened, judge each active rollout, and advance it or roll it back.

It may be killed at any line, and several workers may run it at once: counts move their position in the transaction that
writes them, and a transition is one conditional update. What was not committed is done by the next run.
"""

import logging

import redis
from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from accounts.actors import PLATFORM
from inference.stream import redis_client
from models_registry.engine import Engine
from models_registry.exceptions import ArtefactError
from models_registry.models import ModelVersion
from rollouts.exceptions import ControllerError
from rollouts.models import LONGEST_REASON, Rollout, State
from rollouts.plan import Measure
from rollouts.selectors import active_rollout_ids, challenger_units, judgements
from rollouts.services import transitions
from rollouts.services.counting import collect_counts
from rollouts.services.labels import collect_labels, label_guardrail
from rollouts.services.traffic import edited_by_hand, locked_rollout

logger = logging.getLogger(__name__)

NO_COUNTS = "Redis, which holds the latest counts: it is unavailable."


def control_rollouts() -> None:
    """Control each active rollout; a failure of one does not stop the others.

    Raises
    ------
    ControllerError
        At the end, if some could not be controlled.
    """
    failures = []
    for rollout_id in active_rollout_ids():
        try:
            control_rollout(rollout_id=rollout_id)
        except (DatabaseError, redis.RedisError) as error:
            logger.exception("Rollout %d could not be controlled.", rollout_id)
            failures.append(f"rollout {rollout_id}: {type(error).__name__}: {error}")
    if failures:
        raise ControllerError("; ".join(failures))


def control_rollout(*, rollout_id: int) -> None:
    """Count, judge, and then roll back, pause, wait or advance."""
    rollout = Rollout.objects.select_related("champion__model", "challenger__model").get(pk=rollout_id)
    problem = ""
    try:
        collect_counts(rollout, redis_client())
        collect_labels(rollout)
    except redis.RedisError as error:
        logger.warning("The counts of rollout %d cannot be read: %s", rollout_id, error)
        problem = NO_COUNTS
    _decide(rollout_id, problem or challenger_problem(rollout))


def challenger_problem(rollout: Rollout) -> str:
    """Return why the challenger cannot predict; "" if it can. Before it gets requests, it is loaded once."""
    challenger: ModelVersion = rollout.challenger
    if not challenger.served_path().is_file():
        return f"the ONNX file of {challenger}, which is missing."
    if rollout.state == State.RUNNING and not rollout.is_live:
        try:
            timeout_seconds = settings.MLMON_PREDICTION_TIMEOUT_MS / 1000
            Engine(challenger.served_path(), challenger.schema(), timeout_seconds=timeout_seconds)
        except (ArtefactError, OSError):
            logger.exception("%s cannot be loaded.", challenger)
            return f"{challenger}, which cannot be loaded. See the log of the worker."
    return ""


@transaction.atomic
def _decide(rollout_id: int, problem: str) -> None:
    """Judge a rollout by its stored counts and act on the result."""
    rollout = locked_rollout(rollout_id)
    if not rollout.is_active:
        return  # a person, or another worker, has ended it meanwhile
    found = judgements(rollout)
    rollout.evidence, rollout.judged_at = transitions.evidence_of(found), timezone.now()
    rollout.save(update_fields=["evidence", "judged_at"])
    worse = [one for one in found if one.is_worse]
    if worse:
        strongest = max(worse, key=lambda one: one.log10_evidence)
        transitions.roll_back_worse(rollout, strongest)
    elif rollout.state == State.RUNNING:
        _advance(rollout, problem)


def _advance(rollout: Rollout, problem: str) -> None:
    """Take a running rollout one step further, or store what it waits for."""
    if edit := edited_by_hand(rollout):
        transitions.pause(rollout, reason=f"The traffic was changed by hand: {edit}", user=PLATFORM)
    elif problem:
        _wait(rollout, problem)
    elif not rollout.is_live:
        transitions.go_live(rollout)
    elif missing := missing_of_step(rollout):
        _wait(rollout, missing)
    elif rollout.step_index + 1 < len(rollout.steps):
        transitions.next_step(rollout)
    else:
        transitions.succeed(rollout)


def missing_of_step(rollout: Rollout) -> str:
    """Return what the current step still needs, in words; "" if it is over."""
    step, missing = rollout.step, []
    requests = challenger_units(rollout, Measure.ERRORS)
    if requests < step.minimum_requests:
        missing.append(f"requests of the challenger: {requests:,} of {step.minimum_requests:,}")
    guardrail = label_guardrail(rollout)
    if guardrail is not None:
        labels = challenger_units(rollout, guardrail.measure)
        if labels < step.minimum_labels:
            missing.append(f"labels of the challenger: {labels:,} of {step.minimum_labels:,}")
    if rollout.step_started_at is not None:
        left = step.minimum_seconds - (timezone.now() - rollout.step_started_at).total_seconds()
        if left > 0:
            missing.append(f"time: {left:,.0f} of {step.minimum_seconds:,} seconds")
    return "; ".join(missing)


def _wait(rollout: Rollout, text: str) -> None:
    rollout.waiting_for = text[:LONGEST_REASON]
    rollout.save(update_fields=["waiting_for"])
