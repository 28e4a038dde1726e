"""Queries of rollouts, and what serving and the registry ask about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from django.db.models import Max, Q, QuerySet, Sum
from numpy.typing import NDArray

from inference.rollout_counts import RolloutRule
from mlmon.rollout_evidence import (
    Difference,
    Sums,
    difference_sequence,
    limit_log10,
    log10_evidence,
    log10_evidence_path,
    paired_difference_sequence,
)
from models_registry.exceptions import ConflictError
from models_registry.models import Model, ModelVersion, Stage
from rollouts.exceptions import UnknownRolloutError
from rollouts.models import ACTIVE_STATES, Rollout, RolloutInterval
from rollouts.plan import Guardrail, Measure

COUNTS = ("champion_units", "challenger_units", "champion_events", "challenger_events")


@dataclass(frozen=True, slots=True)
class Judgement:
    """The evidence of one guardrail and the counts behind it.

    Attributes
    ----------
    measure
        What was counted.
    limit
        Value above which a request is an event; None for the measures without one.
    log10_evidence, log10_limit
        The evidence that the challenger is worse, and the evidence from which it is rolled back.
    log10_evidence_better
        The evidence that it is better, by the same test with exchanged roles and the same limit.
    champion_units, challenger_units
        Requests, labelled predictions, or pairs.
    champion_events, challenger_events
        Events.
    difference
        The challenger's event rate minus the champion's, with its confidence sequence.
    """

    measure: Measure
    limit: float | None
    log10_evidence: float
    log10_limit: float
    log10_evidence_better: float
    champion_units: int
    challenger_units: int
    champion_events: int
    challenger_events: int
    difference: Difference

    @property
    def is_worse(self) -> bool:
        """Whether the challenger must be rolled back."""
        return self.log10_evidence >= self.log10_limit

    @property
    def is_better(self) -> bool:
        """Whether the challenger has fewer events than its share explains."""
        return self.log10_evidence_better >= self.log10_limit


def rollout_of(model: Model, rollout_id: int) -> Rollout:
    """Return a rollout of the model; raise UnknownRolloutError if there is none."""
    rollout = rollouts().filter(model=model, pk=rollout_id).first()
    if rollout is None:
        raise UnknownRolloutError(model.name, rollout_id)
    return rollout


def rollouts() -> QuerySet[Rollout]:
    """Return all rollouts, the latest first, with what their lists and responses show."""
    return Rollout.objects.select_related("model", "champion__model", "challenger__model", "incident")


def latest_rollout(model: Model) -> Rollout | None:
    """Return the latest rollout of a model, draft or not; None if it has none."""
    return rollouts().filter(model=model).first()


def latest_rollouts() -> list[Rollout]:
    """Return the latest rollout of each model that has been started, unless its challenger is archived."""
    started = Rollout.objects.filter(started_at__isnull=False)
    latest = started.values("model").annotate(latest=Max("pk")).values("latest")
    of_models = rollouts().filter(pk__in=latest).exclude(challenger__stage=Stage.ARCHIVED)
    return list(of_models.order_by("model__name"))


def active_rollout_ids() -> list[int]:
    """Return the ids of running and paused rollouts."""
    return list(Rollout.objects.filter(state__in=ACTIVE_STATES).order_by("pk").values_list("pk", flat=True))


def active_rules() -> Mapping[int, RolloutRule]:
    """Return what serving must know of active rollouts, by the id of their model."""
    return {
        row.model_id: RolloutRule(row.pk, row.champion_id, row.challenger_id, row.latency_limit_seconds, row.is_shadow)
        for row in Rollout.objects.filter(state__in=ACTIVE_STATES)
    }


def refuse_archiving(*, version: ModelVersion, **_: object) -> None:
    """Raise ConflictError if a version belongs to an active rollout."""
    of_version = Q(champion=version) | Q(challenger=version)
    rollout = Rollout.objects.filter(of_version, state__in=ACTIVE_STATES).first()
    if rollout is not None:
        raise ConflictError(f"{version} belongs to rollout {rollout.pk}, which is {rollout.state}. End it first.")


def judgements(rollout: Rollout) -> list[Judgement]:
    """Return the evidence of each guardrail from the stored counts, in the order of the plan."""
    return judgements_of([rollout])[rollout.pk]


def judgements_of(rollouts: Sequence[Rollout]) -> dict[int, list[Judgement]]:
    """Return `judgements` by the ids of the rollouts, by one query.

    Intervals with the same share add up without loss of evidence.
    """
    shares = ("rollout", "measure", "champion_weight", "challenger_weight")
    rows = RolloutInterval.objects.filter(rollout__in=rollouts).order_by(*shares).values(*shares)
    found: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for row in rows.annotate(**{f"{name}_sum": Sum(name) for name in COUNTS}):
        found.setdefault((row["rollout"], row["measure"]), []).append(dict(row))
    result = {}
    for rollout in rollouts:
        guardrails: Sequence[Guardrail] = rollout.guardrails
        limit = limit_log10(len(guardrails), rollout.alpha)
        result[rollout.pk] = [
            judgement(one, found.get((rollout.pk, one.measure.value), []), limit, is_shadow=rollout.is_shadow)
            for one in guardrails
        ]
    return result


def evidence_over_time(rollout: Rollout) -> dict[Measure, tuple[list[datetime], NDArray[np.float64]]]:
    """Return the start of a rollout and the ends of its intervals, and log10 of the evidence then, by measure.

    Labels that arrive late change what the evidence is said to have been before.
    """
    names = ("ended_at", "champion_weight", "challenger_weight", "champion_events", "challenger_events")
    found = {}
    for one in rollout.guardrails:
        rows = RolloutInterval.objects.filter(rollout=rollout, measure=one.measure.value)
        columns = list(zip(*rows.order_by("ended_at", "pk").values_list(*names), strict=True))
        if columns:
            champion, challenger, *events = (np.array(column, dtype=np.float64) for column in columns[1:])
            evidence = log10_evidence_path(challenger / (champion + challenger), *events)
            times = [rollout.started_at or rollout.created_at, *columns[0]]
            found[one.measure] = (times, np.append(0.0, evidence))
    return found


def judgement(
    guardrail: Guardrail, rows: Sequence[dict[str, Any]], log10_limit: float, *, is_shadow: bool
) -> Judgement:
    def column(name: str) -> NDArray[np.float64]:
        return np.array([row[name] for row in rows], dtype=np.float64)

    challenger, champion = column("challenger_weight"), column("champion_weight")
    events = column("champion_events_sum"), column("challenger_events_sum")
    units = column("champion_units_sum"), column("challenger_units_sum")
    share = challenger / (challenger + champion)
    if is_shadow:
        difference = paired_difference_sequence(Sums.of_pairs(units[0], *events))
    else:
        difference = difference_sequence(share, *map(Sums.of_events, units, events))
    return Judgement(
        measure=guardrail.measure,
        limit=guardrail.limit,
        log10_evidence=log10_evidence(share, *events),
        log10_limit=log10_limit,
        log10_evidence_better=log10_evidence(share, *events, is_better=True),
        champion_units=int(units[0].sum()),
        challenger_units=int(units[1].sum()),
        champion_events=int(events[0].sum()),
        challenger_events=int(events[1].sum()),
        difference=difference,
    )


def challenger_units(rollout: Rollout, measure: Measure) -> int:
    """Return the challenger's units of one measure in the current step."""
    rows = RolloutInterval.objects.filter(
        rollout=rollout, measure=measure.value, challenger_weight=rollout.challenger_weight
    )
    return rows.aggregate(total=Sum("challenger_units"))["total"] or 0
