"""HTTP statuses of the errors of rollouts, and the members of their problem details."""

from http import HTTPStatus
from typing import Any

from rest.problems import register_errors, shortened
from rollouts.exceptions import PlanError, RolloutStateError, UnknownRolloutError


def _of_field(error: PlanError) -> dict[str, Any]:
    return {"errors": [{"field": error.field, "reason": shortened(error.reason)}]}


register_errors(
    {
        PlanError: HTTPStatus.UNPROCESSABLE_ENTITY,
        UnknownRolloutError: HTTPStatus.NOT_FOUND,
        RolloutStateError: HTTPStatus.CONFLICT,
    },
    members={PlanError: _of_field},
)
