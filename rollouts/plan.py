"""The plan of a rollout: its steps and its guardrails. Pure: neither Django nor the clock."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from mlmon.schema import TaskType
from rollouts.exceptions import PlanError

TOTAL_WEIGHT = 1000  # of champion and challenger together, so a share has a resolution of 0.1 %
LARGEST_SHARE = 0.9
SMALLEST_SHARE = 1 / TOTAL_WEIGHT
MOST_STEPS = 20
MOST_REQUESTS = 10**9
LONGEST_STEP_SECONDS = 365 * 86_400
LONGEST_LATENCY_LIMIT_SECONDS = 3600.0
LARGEST_ALPHA = 0.2
SMALLEST_ALPHA = 1e-6


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


def check_plan(
    *, kind: Kind, steps: Sequence[Step], guardrails: Sequence[Guardrail], alpha: float, task_type: TaskType
) -> None:
    """Raise PlanError, which names the field, if a plan is not possible."""
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
