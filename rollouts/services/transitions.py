"""The transitions of a rollout: each is one conditional update with its traffic and its audit row, in one transaction.

A transition that another process has made meanwhile is not made again: the update matches no row then, and nothing else
of the transaction is kept.
"""

from typing import Any

from django.utils import timezone

from accounts.actors import PLATFORM, Actor
from accounts.services.changes import bump_generation, record_change
from rollouts.exceptions import RolloutStateError
from rollouts.models import LONGEST_REASON, Rollout, RolloutIncident, State
from rollouts.plan import Measure
from rollouts.selectors import Judgement
from rollouts.services.traffic import give_share, promote_challenger, take_share, weight_of_step


def change_state(rollout: Rollout, *, message: str, user: Actor, **fields: Any) -> None:
    """Change fields of a rollout if it is still in the state in which it was read; the caller has a transaction.

    Raises
    ------
    RolloutStateError
        Another process has changed it.
    """
    before = f"{rollout.state}, step {rollout.step_index + 1}"
    unchanged = Rollout.objects.filter(
        pk=rollout.pk, state=rollout.state, step_index=rollout.step_index, is_live=rollout.is_live
    )
    if not unchanged.update(**fields):
        raise RolloutStateError(f"Rollout {rollout.pk} has changed meanwhile. Read it again.")
    for name, value in fields.items():
        setattr(rollout, name, value)
    bump_generation()  # serving counts the requests of active rollouts
    after = f"{rollout.state}, step {rollout.step_index + 1}"
    record_change(user=user, row=rollout, message=message, changes={"State": (before, after)})


def go_live(rollout: Rollout) -> None:
    """Give the challenger the share of the current step."""
    give_share(rollout)
    weight = weight_of_step(rollout)
    text = "copies of all requests" if rollout.is_shadow else f"{rollout.step.share:.1%} of the traffic"
    fields = {"is_live": True, "challenger_weight": weight, "step_started_at": timezone.now(), "waiting_for": ""}
    change_state(rollout, message=f"The challenger gets {text}.", user=PLATFORM, **fields)


def next_step(rollout: Rollout) -> None:
    """Take a rollout to its next step."""
    index = rollout.step_index + 1
    share = rollout.steps[index].share
    fields = {"step_index": index, "step_started_at": timezone.now(), "waiting_for": ""}
    weight = rollout.steps[index].challenger_weight
    change_state(rollout, message=f"The share grows to {share:.1%}.", user=PLATFORM, challenger_weight=weight, **fields)
    give_share(rollout)


def succeed(rollout: Rollout) -> None:
    """End a rollout whose last step is over, and promote its challenger if the plan says so."""
    is_promoted = rollout.promotes_automatically
    if is_promoted:
        promote_challenger(rollout)
    reason = "All steps are over and no guardrail has found the challenger worse."
    reason += " It was promoted." if is_promoted else " It keeps its share until a person promotes it."
    _end(rollout, State.SUCCEEDED, reason, PLATFORM, is_live=not is_promoted)


def promote_now(rollout: Rollout, *, user: Actor) -> None:
    """Promote the challenger for a person, before or after the last step."""
    promote_challenger(rollout, user=user)
    if rollout.state == State.SUCCEEDED:
        change_state(rollout, message="Promoted.", user=user, is_live=False, reason="Promoted by a person.")
    else:
        _end(rollout, State.SUCCEEDED, "Promoted by a person before the last step was over.", user, is_live=False)


def give_up(rollout: Rollout, state: State, *, reason: str, user: Actor) -> None:
    """End a rollout without its challenger: rolled back or cancelled."""
    if rollout.is_live:
        take_share(rollout, user=user)
    _end(rollout, state, reason, user, is_live=False)


def roll_back_worse(rollout: Rollout, found: Judgement) -> RolloutIncident:
    """Roll back a challenger that a guardrail found worse, and open an incident with the evidence."""
    incident = RolloutIncident(
        rollout=rollout,
        measure=found.measure.value,
        log10_evidence=found.log10_evidence,
        log10_limit=found.log10_limit,
        champion_units=found.champion_units,
        challenger_units=found.challenger_units,
        champion_events=found.champion_events,
        challenger_events=found.challenger_events,
        opened_at=timezone.now(),
    )
    give_up(rollout, State.ROLLED_BACK, reason=incident.text, user=PLATFORM)
    incident.save(force_insert=True)
    return incident


def pause(rollout: Rollout, *, reason: str, user: Actor) -> None:
    """Pause a running rollout: it keeps its share and is judged, but does not advance."""
    fields = {"state": State.PAUSED, "reason": reason[:LONGEST_REASON], "waiting_for": ""}
    change_state(rollout, message=f"Paused: {reason}", user=user, **fields)


def resume(rollout: Rollout, *, user: Actor) -> None:
    """Continue a paused rollout with the share of its current step."""
    if rollout.is_live:
        give_share(rollout, user=user)
    change_state(rollout, message="Resumed.", user=user, state=State.RUNNING, reason="", waiting_for="")


def _end(rollout: Rollout, state: State, reason: str, user: Actor, *, is_live: bool) -> None:
    ended = {"state": state, "ended_at": timezone.now(), "is_live": is_live, "waiting_for": ""}
    change_state(rollout, message=reason, user=user, reason=reason[:LONGEST_REASON], **ended)


def evidence_of(found: list[Judgement]) -> tuple[tuple[Measure, float], ...]:
    """Return the evidence of each guardrail as a rollout stores it."""
    return tuple((one.measure, one.log10_evidence) for one in found)
