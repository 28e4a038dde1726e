"""What the page of a rollout shows: sentences, guardrails with their evidence over time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import redis

from mlmon.rollout_evidence import FEWEST_ROWS_OF_RATE, Difference
from rollouts.disagreements import latest_disagreements
from rollouts.evidence_chart import evidence_chart
from rollouts.models import Rollout, State
from rollouts.selectors import Judgement, evidence_over_time, judgements


def page_context(rollout: Rollout) -> dict[str, Any]:
    """Return what the page of a rollout shows besides its fields."""
    past = evidence_over_time(rollout)
    found, judged = judgements(rollout), []
    for one in found:
        times, evidence = past.get(one.measure, ([], np.array([])))
        judged.append(_figures(one) | {"chart": evidence_chart(times, evidence, one.log10_limit)})
    context = {"sentences": sentences(rollout, found), "judged": judged}
    try:
        examples = latest_disagreements(rollout)
    except redis.RedisError:
        return context | {"is_redis_down": True}
    # Not the dictionary of values itself: a feature may be called "values" or "items".
    rows = [(one, list(one.values.values())) for one in examples]
    return context | {"examples": rows, "names": list(examples[0].values) if examples else []}


def sentences(rollout: Rollout, judged: Sequence[Judgement]) -> list[str]:
    """Return what a person must know first."""
    share = "copies of all requests" if rollout.is_shadow else f"{rollout.step.share:.1%} of the requests"
    found = [f"The challenger gets {share}."] if rollout.is_live else []
    if rollout.is_active and not rollout.is_live:
        found.append("The challenger gets no requests yet.")
    found += [rollout.reason] if rollout.reason else []
    found += [f"It waits for {rollout.waiting_for}"] if rollout.waiting_for else []
    found += [f"The challenger is better by {_name(one)}." for one in judged if one.is_better]
    if rollout.is_shadow:
        found.append(f"Copies: {rollout.dropped_copies:,} dropped, {rollout.failed_copies:,} failed.")
    if rollout.disagreement_ratio is not None:
        found.append(f"The predictions differ in {rollout.disagreement_ratio:.1%} of {rollout.compared_rows:,} rows.")
    if rollout.state == State.SUCCEEDED and rollout.is_live:
        found.append("No guardrail watches it any more. Promote it, or share out the traffic on the page of its model.")
    if rollout.has_open_incident:
        found.append("Nobody has acknowledged the rollback yet.")
    return found


def _figures(one: Judgement) -> dict[str, Any]:
    return {
        "name": _name(one),
        "champion": f"{one.champion_events:,} of {one.champion_units:,}",
        "challenger": f"{one.challenger_events:,} of {one.challenger_units:,}",
        "difference": _difference_text(one.difference),
        "evidence": f"{one.log10_evidence:.2f}",
        "better": f"{one.log10_evidence_better:.2f}",
        "limit": f"{one.log10_limit:.2f}",
    }


def _name(one: Judgement) -> str:
    limit = "" if one.limit is None else f" over {one.limit:g}"
    return one.measure.value.replace("_", " ") + limit


def _difference_text(one: Difference) -> str:
    if one.estimate is None:
        return "-"
    if one.low is None or one.high is None:
        return f"{one.estimate:+.2%} (no interval before {FEWEST_ROWS_OF_RATE} of each version)"
    return f"{one.estimate:+.2%} ({one.low:+.2%} to {one.high:+.2%})"
