"""What people and programs do with rollouts: plan, start, pause, resume, roll back, promote, cancel."""

from collections.abc import Collection

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.actors import Actor, account_of
from accounts.services.changes import record_change
from mlmon.schema import TaskType
from models_registry.models import Model, ModelVersion, Stage
from models_registry.selectors import primary_version, version_of
from rollouts.exceptions import PlanError, RolloutStateError
from rollouts.models import ACTIVE_STATES, LONGEST_REASON, Rollout, RolloutIncident, State
from rollouts.plan import Plan, check_plan
from rollouts.services import transitions
from rollouts.services.traffic import edited_by_hand, locked_rollout


@transaction.atomic
def plan_rollout(*, model: Model, plan: Plan, user: Actor) -> Rollout:
    """Store a draft: the champion is the model's primary version. Nothing changes until it is started.

    Raises
    ------
    UnknownVersionError
        The model has no such challenger.
    PlanError
        A field is not possible, or the versions cannot be compared.
    """
    champion, challenger = primary_version(model), version_of(model, plan.challenger)
    if champion is None:
        raise PlanError("challenger", f"{model} has no version in production. Promote one first.")
    check_versions(champion, challenger)
    check_plan(plan, TaskType(champion.task_type))
    rollout = Rollout.objects.create(
        model=model,
        champion=champion,
        challenger=challenger,
        kind=plan.kind.value,
        steps=plan.steps,
        guardrails=plan.guardrails,
        alpha=plan.alpha,
        promotes_automatically=plan.promotes_automatically,
        created_by=account_of(user),
    )
    record_change(user=user, row=rollout, message=f"Planned: {challenger} against {champion}.")
    return rollout


def check_versions(champion: ModelVersion, challenger: ModelVersion) -> None:
    """Raise PlanError unless the same requests and labels fit both versions, and both are served here."""
    field = "challenger"
    if champion.pk == challenger.pk:
        raise PlanError(field, f"{challenger} is the champion. Choose another version.")
    if challenger.stage == Stage.ARCHIVED:
        raise PlanError(field, f"{challenger} is archived, which is final. Upload it as a new version.")
    for version in (champion, challenger):
        if not version.is_served_here:
            raise PlanError(field, f"{version} is served elsewhere, so its traffic cannot be shared out here.")
    if champion.task_type != challenger.task_type or set(champion.classes) != set(challenger.classes):
        raise PlanError(field, f"{challenger} has another task or other classes than {champion}.")
    mine, theirs = (list(one.features.order_by("position")) for one in (challenger, champion))
    if [one.name for one in mine] != [one.name for one in theirs]:
        raise PlanError(field, f"{challenger} has other features than {champion}, so the same requests do not fit it.")
    if stricter := [one.name for one, other in zip(mine, theirs, strict=True) if one.is_required > other.is_required]:
        text = f"{challenger} requires {', '.join(stricter)}, which {champion} does not."
        raise PlanError(field, f"{text} Make them optional on the page of {challenger}.")


@transaction.atomic
def start_rollout(*, rollout: Rollout, user: Actor) -> Rollout:
    """Start a draft. The controller loads the challenger and gives it the share of the first step.

    Raises
    ------
    RolloutStateError
        It is no draft, another rollout of the model is active, or the traffic does not fit.
    PlanError
        The versions cannot be compared any more.
    """
    current = _locked(rollout, (State.DRAFT,), "started")
    check_versions(current.champion, current.challenger)
    if edit := edited_by_hand(current):
        raise RolloutStateError(f"{edit} Change the stages first.")
    if current.challenger.stage == Stage.SHADOW and not current.is_shadow:
        raise RolloutStateError(f"{current.challenger} is in shadow. Move it to staging first.")
    now = timezone.now()
    fields = {"state": State.RUNNING, "started_at": now, "step_started_at": now}
    try:
        with transaction.atomic():
            transitions.change_state(current, message="Started.", user=user, **fields)
    except IntegrityError:
        raise RolloutStateError(f"Another rollout of {current.model} is active. End it first.") from None
    earlier = RolloutIncident.objects.filter(rollout__model=current.model_id, closed_at=None)
    earlier.update(closed_at=now)
    return current


@transaction.atomic
def pause_rollout(*, rollout: Rollout, reason: str, user: Actor) -> Rollout:
    """Pause a running rollout: it keeps its share and its guardrails, but does not advance."""
    current = _locked(rollout, (State.RUNNING,), "paused")
    transitions.pause(current, reason=reason or "Paused by a person.", user=user)
    return current


@transaction.atomic
def resume_rollout(*, rollout: Rollout, user: Actor) -> Rollout:
    """Continue a paused rollout; shares that were changed by hand are set again."""
    current = _locked(rollout, (State.PAUSED,), "resumed")
    transitions.resume(current, user=user)
    return current


@transaction.atomic
def roll_back_rollout(*, rollout: Rollout, reason: str, user: Actor) -> Rollout:
    """Take all requests from the challenger. A person's rollback opens no incident."""
    current = _locked(rollout, ACTIVE_STATES, "rolled back")
    transitions.give_up(current, State.ROLLED_BACK, reason=_told(reason, "Rolled back by a person."), user=user)
    return current


@transaction.atomic
def cancel_rollout(*, rollout: Rollout, reason: str, user: Actor) -> Rollout:
    """End a rollout as if it had not been started; the challenger gets no requests any more."""
    current = _locked(rollout, (State.DRAFT, *ACTIVE_STATES), "cancelled")
    transitions.give_up(current, State.CANCELLED, reason=_told(reason, "Cancelled by a person."), user=user)
    return current


@transaction.atomic
def promote_rollout(*, rollout: Rollout, user: Actor) -> Rollout:
    """Give the challenger all requests, before or after the last step."""
    current = _locked(rollout, (*ACTIVE_STATES, State.SUCCEEDED), "promoted")
    if current.state == State.SUCCEEDED and not current.is_live:
        raise RolloutStateError(f"The challenger of rollout {current.pk} has been promoted already.")
    transitions.promote_now(current, user=user)
    return current


@transaction.atomic
def acknowledge_rollback(*, rollout: Rollout, user: Actor) -> None:
    """Close the incident of an automatic rollback, which ends its alert; a closed one stays as it is.

    Raises
    ------
    RolloutStateError
        It was not rolled back by a guardrail.
    """
    incident = RolloutIncident.objects.filter(rollout=rollout).first()
    if incident is None:
        raise RolloutStateError(f"Rollout {rollout.pk} was not rolled back by a guardrail.")
    fields = {"closed_at": timezone.now(), "acknowledged_by": account_of(user)}
    if RolloutIncident.objects.filter(pk=incident.pk, closed_at=None).update(**fields):
        message = "Rollback acknowledged."
        record_change(user=user, row=rollout, message=message, changes={"Incident": ("open", "closed")})


def _locked(rollout: Rollout, allowed: Collection[State], verb: str) -> Rollout:
    """Return the rollout as it is now, locked; raise RolloutStateError unless its state is allowed."""
    current = locked_rollout(rollout.pk)
    if current.state not in allowed:
        states = " or ".join(one.value for one in allowed)
        raise RolloutStateError(
            f"Rollout {current.pk} is {current.state.replace('_', ' ')}. Only one that is {states} can be {verb}."
        )
    return current


def _told(reason: str, default: str) -> str:
    return reason[:LONGEST_REASON] or default
