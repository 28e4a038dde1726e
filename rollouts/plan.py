"""The plan of a rollout: its steps and its guardrails, and how it is read from JSON. Pure: no Django, no clock."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, TypeVar

from mlmon.schema import TaskType
from rollouts.exceptions import PlanError

TOTAL_WEIGHT = 1000  # of champion and challenger together, so a share has a resolution of 0.1 %
LARGEST_SHARE = 0.9
SMALLEST_SHARE = 1 / TOTAL_WEIGHT
MOST_STEPS = 20
MOST_REQUESTS = 10**9
LONGEST_STEP_SECONDS = 365 * 86_400
LONGEST_LATENCY_LIMIT_SECONDS = 3600.0
LARGEST_NUMBER = 10**12
LARGEST_ALPHA = 0.2
SMALLEST_ALPHA = 1e-6


Choice = TypeVar("Choice", bound=StrEnum)


class Kind(StrEnum):
    """How the challenger gets its requests.

    A canary gets a share of the traffic. A shadow gets a copy of each request, and its predictions are not returned.
    """

    CANARY = "canary"
    SHADOW = "shadow"


class Measure(StrEnum):
    """What counts as an event: something unwanted in one request."""

    ERRORS = "errors"
    LATENCY = "latency"
    WRONG_PREDICTIONS = "wrong_predictions"
    ABSOLUTE_ERROR = "absolute_error"

    @property
    def needs_labels(self) -> bool:
        """Whether events are known only once ground truth arrives."""
        return self in (Measure.WRONG_PREDICTIONS, Measure.ABSOLUTE_ERROR)

    @property
    def has_limit(self) -> bool:
        """Whether a value above a limit is the event."""
        return self in (Measure.LATENCY, Measure.ABSOLUTE_ERROR)


MEASURES_TEXT = ", ".join(one.value for one in Measure)


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A measure by which the challenger must not be worse.

    Attributes
    ----------
    measure
        What is counted.
    limit
        Seconds (latency) or units of the target (absolute error) above which a request is an event; None for the
        measures without a limit.
    """

    measure: Measure
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step, with what the challenger must have before the next one.

    Attributes
    ----------
    share
        The challenger's share of the traffic, from .001 to .9; 1 in the only step of a shadow.
    minimum_requests
        Requests that the challenger must have predicted in the step.
    minimum_seconds
        How long the step must last.
    minimum_labels
        Labelled predictions that the challenger must have in the step.
    """

    share: float
    minimum_requests: int = 500
    minimum_seconds: int = 600
    minimum_labels: int = 0

    @property
    def challenger_weight(self) -> int:
        """The challenger's traffic weight of `TOTAL_WEIGHT`."""
        return round(self.share * TOTAL_WEIGHT)


DEFAULT_STEPS = tuple(Step(share) for share in (0.05, 0.1, 0.25, 0.5))
DEFAULT_GUARDRAILS = (Guardrail(Measure.ERRORS),)
DEFAULT_ALPHA = 0.01


@dataclass(frozen=True, slots=True)
class Plan:
    """What a person or a program plans.

    Attributes
    ----------
    challenger
        Version of the model that is to replace its primary version.
    kind
        Whether it gets a share of the traffic or copies of it.
    steps
        With increasing shares.
    guardrails
        What must not become worse.
    alpha
        Largest probability that a challenger that is no worse is rolled back.
    promotes_automatically
        Whether it is promoted after the last step without a person.
    """

    challenger: str
    kind: Kind = Kind.CANARY
    steps: tuple[Step, ...] = DEFAULT_STEPS
    guardrails: tuple[Guardrail, ...] = DEFAULT_GUARDRAILS
    alpha: float = DEFAULT_ALPHA
    promotes_automatically: bool = False


def plan_of(document: object) -> Plan:
    """Return the plan in an object decoded from JSON; raise PlanError, which names the field, if it is malformed.

    `check_plan` checks whether the plan is possible.
    """
    given = _object("", document, PLAN_FIELDS)
    challenger = given.get("challenger")
    if not isinstance(challenger, str) or not challenger:
        raise PlanError("challenger", 'Expected the version of the challenger, such as "1.1.0".')
    kind = _one_of("kind", given.get("kind", Kind.CANARY.value), Kind)
    fallback = (Step(1.0),) if kind is Kind.SHADOW else DEFAULT_STEPS
    steps = [_step(f"steps[{place}]", one) for place, one in enumerate(_list("steps", given.get("steps")))]
    guardrails = [
        _guardrail(f"guardrails[{place}]", one)
        for place, one in enumerate(_list("guardrails", given.get("guardrails")))
    ]
    promotes_automatically = given.get("promotes_automatically", False)
    if not isinstance(promotes_automatically, bool):
        raise PlanError("promotes_automatically", "Expected true or false.")
    return Plan(
        challenger=challenger,
        kind=kind,
        steps=tuple(steps) if "steps" in given else fallback,
        guardrails=tuple(guardrails) if "guardrails" in given else DEFAULT_GUARDRAILS,
        alpha=_number("alpha", given.get("alpha", DEFAULT_ALPHA)),
        promotes_automatically=promotes_automatically,
    )


PLAN_FIELDS = ("challenger", "kind", "steps", "guardrails", "alpha", "promotes_automatically")
STEP_FIELDS = ("share", "minimum_requests", "minimum_seconds", "minimum_labels")
GUARDRAIL_FIELDS = ("measure", "limit")


def _step(field: str, value: object) -> Step:
    given = _object(field, value, STEP_FIELDS)
    if "share" not in given:
        raise PlanError(f"{field}.share", "This field is required: a number such as 0.05.")
    counts = {name: _whole_number(f"{field}.{name}", given[name]) for name in STEP_FIELDS[1:] if name in given}
    return Step(share=_number(f"{field}.share", given["share"]), **counts)


def _guardrail(field: str, value: object) -> Guardrail:
    given = _object(field, value, GUARDRAIL_FIELDS)
    measure = _one_of(f"{field}.measure", given.get("measure"), Measure)
    limit = given.get("limit")
    return Guardrail(measure, None if limit is None else _number(f"{field}.limit", limit))


def _object(field: str, value: object, names: Collection[str]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise PlanError(field or "body", "Expected an object.")
    if unknown := sorted(str(name) for name in value if name not in names):
        name = unknown[0][:100]
        place = f"{field}.{name}" if field else name
        raise PlanError(place, f"There is no such field. The fields are: {', '.join(names)}.")
    return value


def _list(field: str, value: object) -> Sequence[object]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MOST_STEPS:
        raise PlanError(field, f"Expected a list of at most {MOST_STEPS} objects.")
    return value


def _one_of(field: str, value: object, kind: type[Choice]) -> Choice:
    for one in kind:
        if value == one.value:
            return one
    raise PlanError(field, f"Expected one of: {', '.join(one.value for one in kind)}.")


def _number(field: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > LARGEST_NUMBER:
        raise PlanError(field, "Expected a number.")
    return float(value)


def _whole_number(field: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > LARGEST_NUMBER:
        raise PlanError(field, "Expected a whole number.")
    return value


def check_plan(plan: Plan, task_type: TaskType) -> None:
    """Raise PlanError, which names the field, if a plan is not possible."""
    kind, steps, guardrails, alpha = plan.kind, plan.steps, plan.guardrails, plan.alpha
    if not SMALLEST_ALPHA <= alpha <= LARGEST_ALPHA:
        raise PlanError("alpha", f"Expected a number from {SMALLEST_ALPHA:g} to {LARGEST_ALPHA:g}, got {alpha:g}.")
    _check_guardrails(kind, guardrails, task_type)
    if not 1 <= len(steps) <= MOST_STEPS:
        raise PlanError("steps", f"Expected 1 to {MOST_STEPS} steps, got {len(steps)}.")
    if kind is Kind.SHADOW and (len(steps) != 1 or steps[0].share != 1):
        raise PlanError("steps", "A shadow gets a copy of each request: it has one step, with share 1.")
    has_label_guardrail = any(one.measure.needs_labels for one in guardrails)
    for place, step in enumerate(steps):
        _check_step(f"steps[{place}]", step, kind, has_label_guardrail=has_label_guardrail)
    weights = [step.challenger_weight for step in steps]
    for place, (before, after) in enumerate(pairwise(weights), start=1):
        if after <= before:
            raise PlanError(f"steps[{place}].share", "Each step must have a larger share than the one before.")
    if has_label_guardrail and steps[-1].minimum_labels < 1:
        raise PlanError(
            f"steps[{len(steps) - 1}].minimum_labels",
            "The last step must wait for labels, because a guardrail needs them. Expected at least 1.",
        )


def _check_guardrails(kind: Kind, guardrails: Sequence[Guardrail], task_type: TaskType) -> None:
    if not guardrails:
        raise PlanError("guardrails", "At least one guardrail is required, such as errors.")
    seen = set[Measure]()
    for place, one in enumerate(guardrails):
        field, measure = f"guardrails[{place}]", one.measure
        if measure in seen:
            raise PlanError(f"{field}.measure", f"{measure.value} occurs twice.")
        seen.add(measure)
        if measure is Measure.WRONG_PREDICTIONS and task_type is TaskType.REGRESSION:
            raise PlanError(f"{field}.measure", "A regression has no wrong predictions. Use absolute_error.")
        if measure is Measure.ABSOLUTE_ERROR and task_type is not TaskType.REGRESSION:
            raise PlanError(f"{field}.measure", "Only a regression has absolute errors. Use wrong_predictions.")
        if kind is Kind.SHADOW and not measure.needs_labels:
            reason = "Only requests that the champion predicted are copied to a shadow, and predicted in batches, so "
            raise PlanError(f"{field}.measure", reason + "its errors and latencies cannot be compared. Use labels.")
        if measure.has_limit and not (one.limit is not None and math.isfinite(one.limit) and one.limit > 0):
            raise PlanError(f"{field}.limit", f"{measure.value} needs a limit above 0.")
        if measure is Measure.LATENCY and (one.limit or 0) > LONGEST_LATENCY_LIMIT_SECONDS:
            raise PlanError(f"{field}.limit", f"At most {LONGEST_LATENCY_LIMIT_SECONDS:g} seconds.")
        if not measure.has_limit and one.limit is not None:
            raise PlanError(f"{field}.limit", f"{measure.value} has no limit. Leave it out.")


def _check_step(field: str, step: Step, kind: Kind, *, has_label_guardrail: bool) -> None:
    is_in_range = math.isfinite(step.share) and SMALLEST_SHARE <= step.share <= LARGEST_SHARE
    if kind is Kind.CANARY and not is_in_range:
        reason = f"Expected a share from {SMALLEST_SHARE:g} to {LARGEST_SHARE:g}, got {step.share:g}."
        raise PlanError(f"{field}.share", reason)
    if not 1 <= step.minimum_requests <= MOST_REQUESTS:
        raise PlanError(f"{field}.minimum_requests", f"Expected 1 to {MOST_REQUESTS:,}, got {step.minimum_requests}.")
    if not 0 <= step.minimum_seconds <= LONGEST_STEP_SECONDS:
        reason = f"Expected 0 to {LONGEST_STEP_SECONDS:,}, got {step.minimum_seconds}."
        raise PlanError(f"{field}.minimum_seconds", reason)
    if not 0 <= step.minimum_labels <= MOST_REQUESTS:
        raise PlanError(f"{field}.minimum_labels", f"Expected 0 to {MOST_REQUESTS:,}, got {step.minimum_labels}.")
    if step.minimum_labels and not has_label_guardrail:
        raise PlanError(f"{field}.minimum_labels", "Labels are counted only for a guardrail that needs them. Add one.")
