"""Examples of the calls of rollouts: a second version of the demo's classifier."""

from typing import Any

from drf_spectacular.utils import OpenApiExample

STEPS: list[dict[str, Any]] = [
    {"share": share, "minimum_requests": 500, "minimum_seconds": 600, "minimum_labels": 0}
    for share in (0.05, 0.1, 0.25, 0.5)
]
PLAN_BODY: dict[str, Any] = {
    "challenger": "1.1.0",
    "steps": STEPS,
    "guardrails": [{"measure": "errors"}, {"measure": "latency", "limit": 0.1}],
}
NO_EVENTS: dict[str, Any] = {
    "log10_evidence": 0.0,
    "log10_limit": 2.301,
    "champion_units": 0,
    "challenger_units": 0,
    "champion_events": 0,
    "challenger_events": 0,
}
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
        {"measure": "errors", "limit": None, **NO_EVENTS},
        {"measure": "latency", "limit": 0.1, **NO_EVENTS},
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
        {
            "measure": "errors",
            "limit": None,
            "log10_evidence": -0.12,
            "log10_limit": 2.301,
            "champion_units": 4105,
            "challenger_units": 212,
            "champion_events": 9,
            "challenger_events": 0,
        },
        {
            "measure": "latency",
            "limit": 0.1,
            "log10_evidence": 0.04,
            "log10_limit": 2.301,
            "champion_units": 4105,
            "challenger_units": 212,
            "champion_events": 20,
            "challenger_events": 2,
        },
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
