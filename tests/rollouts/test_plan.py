"""Which plans are possible; an error names the field."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from mlmon.schema import TaskType
from rollouts.exceptions import PlanError
from rollouts.plan import DEFAULT_STEPS, Guardrail, Kind, Measure, Plan, Step, check_plan, plan_of

ERRORS, LATENCY = Guardrail(Measure.ERRORS), Guardrail(Measure.LATENCY, 0.2)
WRONG, DISTANCE = Guardrail(Measure.WRONG_PREDICTIONS), Guardrail(Measure.ABSOLUTE_ERROR, 5.0)


def check(**changes: Any) -> None:
    task_type = changes.pop("task_type", TaskType.CLASSIFICATION)
    check_plan(replace(Plan("1.1.0"), **changes), task_type)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"guardrails": [ERRORS, LATENCY]},
        {"guardrails": [WRONG], "steps": [Step(0.5, minimum_labels=1)]},
        {"guardrails": [DISTANCE], "steps": [Step(0.5, minimum_labels=1)], "task_type": TaskType.REGRESSION},
        {"guardrails": [WRONG], "steps": [Step(1, minimum_labels=10)], "kind": Kind.SHADOW},
        {"steps": [Step(0.001), Step(0.9)]},
    ],
)
def test_a_possible_plan_is_accepted(changes: dict[str, Any]) -> None:
    check(**dict(changes))


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"alpha": 0.5}, "alpha", "from 1e-06 to 0.2"),
        ({"alpha": float("nan")}, "alpha", "nan"),
        ({"steps": []}, "steps", "1 to 20 steps"),
        ({"steps": [Step(0.0)]}, "steps[0].share", "0.001 to 0.9"),
        ({"steps": [Step(1.0)]}, "steps[0].share", "0.001 to 0.9"),
        ({"steps": [Step(float("nan"))]}, "steps[0].share", "nan"),
        ({"steps": [Step(0.1), Step(0.1)]}, "steps[1].share", "larger"),
        ({"steps": [Step(0.1), Step(0.1001)]}, "steps[1].share", "larger"),
        ({"steps": [Step(0.1, minimum_requests=0)]}, "steps[0].minimum_requests", "Expected 1"),
        ({"steps": [Step(0.1, minimum_seconds=-1)]}, "steps[0].minimum_seconds", "Expected 0"),
        ({"steps": [Step(0.1, minimum_labels=5)]}, "steps[0].minimum_labels", "guardrail"),
        ({"guardrails": []}, "guardrails", "At least one"),
        ({"guardrails": [ERRORS, ERRORS]}, "guardrails[1].measure", "twice"),
        ({"guardrails": [Guardrail(Measure.LATENCY)]}, "guardrails[0].limit", "above 0"),
        ({"guardrails": [Guardrail(Measure.LATENCY, 1e9)]}, "guardrails[0].limit", "3600"),
        ({"guardrails": [Guardrail(Measure.ERRORS, 1.0)]}, "guardrails[0].limit", "no limit"),
        ({"guardrails": [DISTANCE]}, "guardrails[0].measure", "wrong_predictions"),
        ({"guardrails": [WRONG], "task_type": TaskType.REGRESSION}, "guardrails[0].measure", "absolute_error"),
        ({"guardrails": [WRONG]}, "steps[3].minimum_labels", "labels"),
        ({"kind": Kind.SHADOW, "steps": [Step(1.0)]}, "guardrails[0].measure", "cannot be compared"),
        (
            {"kind": Kind.SHADOW, "guardrails": [WRONG], "steps": [Step(0.5, minimum_labels=1)]},
            "steps",
            "one step, with share 1",
        ),
    ],
)
def test_an_impossible_plan_names_its_field(changes: dict[str, Any], field: str, reason: str) -> None:
    with pytest.raises(PlanError) as caught:
        check(**dict(changes))
    assert caught.value.field == field
    assert reason in caught.value.reason


def test_shares_become_whole_weights() -> None:
    steps: Sequence[Step] = (Step(0.001), Step(0.05), Step(1 / 3))
    assert [step.challenger_weight for step in steps] == [1, 50, 333]


def test_a_plan_is_read_from_json() -> None:
    document = {
        "challenger": "1.1.0",
        "steps": [{"share": 0.1, "minimum_requests": 5}, {"share": 0.5, "minimum_labels": 7}],
        "guardrails": [{"measure": "latency", "limit": 0.2}, {"measure": "wrong_predictions"}],
        "alpha": 0.05,
        "promotes_automatically": True,
    }
    steps = (Step(0.1, minimum_requests=5), Step(0.5, minimum_labels=7))
    assert plan_of(document) == Plan("1.1.0", Kind.CANARY, steps, (LATENCY, WRONG), 0.05, promotes_automatically=True)


def test_a_plan_has_defaults() -> None:
    assert plan_of({"challenger": "1.1.0"}) == Plan("1.1.0", steps=DEFAULT_STEPS, guardrails=(ERRORS,))
    assert plan_of({"challenger": "1.1.0", "kind": "shadow"}).steps == (Step(1.0),)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"challenger": None}, "challenger"),
        ({"challenger": 1}, "challenger"),
        ({"kind": "blue"}, "kind"),
        ({"kind": ["canary"]}, "kind"),
        ({"mood": 1}, "mood"),
        ({"steps": {}}, "steps"),
        ({"steps": [{"share": 0.1}] * 21}, "steps"),
        ({"steps": [0.1]}, "steps[0]"),
        ({"steps": [{}]}, "steps[0].share"),
        ({"steps": [{"share": "0.1"}]}, "steps[0].share"),
        ({"steps": [{"share": True}]}, "steps[0].share"),
        ({"steps": [{"share": 0.1}, {"share": 0.2, "minimum_requests": 1.5}]}, "steps[1].minimum_requests"),
        ({"steps": [{"share": 0.1, "minimum_requests": 10**400}]}, "steps[0].minimum_requests"),
        ({"steps": [{"share": 0.1, "seconds": 1}]}, "steps[0].seconds"),
        ({"guardrails": [{"measure": "mood"}]}, "guardrails[0].measure"),
        ({"guardrails": [{"measure": "latency", "limit": "x"}]}, "guardrails[0].limit"),
        ({"alpha": "small"}, "alpha"),
        ({"promotes_automatically": 1}, "promotes_automatically"),
    ],
)
def test_a_malformed_plan_names_its_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(PlanError) as caught:
        plan_of({"challenger": "1.1.0", **changes})
    assert caught.value.field == field


@pytest.mark.parametrize("document", [None, [], "x", 1])
def test_a_plan_is_an_object(document: object) -> None:
    with pytest.raises(PlanError, match="body: Expected an object"):
        plan_of(document)
