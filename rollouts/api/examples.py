"""Examples of the calls of rollouts: a second version of the demo's classifier."""

from dataclasses import asdict
from typing import Any

from drf_spectacular.utils import OpenApiExample

from mlmon.rollout_evidence import limit_log10
from rollouts.plan import DEFAULT_ALPHA, Guardrail, Measure
from rollouts.selectors import COUNTS, judgement

STEPS: list[dict[str, Any]] = [
    {"share": share, "minimum_requests": 500, "minimum_seconds": 600, "minimum_labels": 0}
    for share in (0.05, 0.1, 0.25, 0.5)
]
PLAN_BODY: dict[str, Any] = {
    "challenger": "1.1.0",
    "steps": STEPS,
    "guardrails": [{"measure": "errors"}, {"measure": "latency", "limit": 0.1}],
}
SHARE = {"champion_weight": 95, "challenger_weight": 5}


def _judged(guardrail: Guardrail, champion: tuple[int, int], challenger: tuple[int, int]) -> dict[str, Any]:
    """Return what the response says of a guardrail, from the units and the events of each version."""
    counts = (champion[0], challenger[0], champion[1], challenger[1])
    row = SHARE | {f"{name}_sum": value for name, value in zip(COUNTS, counts, strict=True)}
    found = judgement(guardrail, [row], limit_log10(2, DEFAULT_ALPHA), is_shadow=False)
    return asdict(found) | {"measure": guardrail.measure.value}


ERRORS, LATENCY = Guardrail(Measure.ERRORS), Guardrail(Measure.LATENCY, 0.1)
DRAFT_BODY: dict[str, Any] = {
    "id": 1,
    "url": "/api/v1/models/classifier/rollouts/1",
    "model_name": "classifier",
    "champion": "1.0.0",
    "challenger": "1.1.0",
    "kind": "canary",
    "state": "draft",
    "reason": "",
    "waiting_for": "",
    "steps": STEPS,
    "step": 0,
    "guardrails": [
        _judged(ERRORS, (0, 0), (0, 0)),
        _judged(LATENCY, (0, 0), (0, 0)),
    ],
    "alpha": 0.01,
    "promotes_automatically": False,
    "is_live": False,
    "created_at": "2026-03-01T11:00:00Z",
    "started_at": None,
    "step_started_at": None,
    "ended_at": None,
    "judged_at": None,
    "dropped_copies": 0,
    "failed_copies": 0,
    "disagreement_ratio": None,
    "incident": None,
}
RUNNING_BODY: dict[str, Any] = {
    **DRAFT_BODY,
    "state": "running",
    "waiting_for": "requests of the challenger: 212 of 500; time: 418 of 600 seconds",
    "guardrails": [
        _judged(ERRORS, (4105, 9), (212, 0)),
        _judged(LATENCY, (4105, 20), (212, 2)),
    ],
    "is_live": True,
    "started_at": "2026-03-01T11:00:05Z",
    "step_started_at": "2026-03-01T11:00:12Z",
    "judged_at": "2026-03-01T11:03:22Z",
}
ENDED_BODY: dict[str, Any] = {
    **RUNNING_BODY,
    "state": "rolled_back",
    "reason": "The release is postponed.",
    "waiting_for": "",
    "is_live": False,
    "ended_at": "2026-03-01T11:03:30Z",
}

PLAN = OpenApiExample("A canary in four steps", PLAN_BODY, request_only=True)
DRAFT = OpenApiExample("The draft", DRAFT_BODY, response_only=True)
RUNNING = OpenApiExample("A running rollout", RUNNING_BODY, response_only=True)
ENDED = OpenApiExample("An ended rollout", ENDED_BODY, response_only=True)
REASON = OpenApiExample("A reason", {"reason": "The release is postponed."}, request_only=True)
NOTHING = OpenApiExample("Nothing more", {}, request_only=True)
