"""The HTTP status of each error of inference, and the members of its problem details."""

from http import HTTPStatus
from typing import Any

from inference.exceptions import (
    ArchivedVersionError,
    ItemError,
    NoVersionLoadedError,
    PayloadError,
    RowValueError,
)
from rest.problems import register_errors, shortened


def _row_value_members(error: RowValueError) -> dict[str, Any]:
    feature = shortened(error.feature) or None
    return {"errors": [{"row": error.row, "feature": feature, "reason": shortened(error.reason)}]}


def _item_members(error: ItemError) -> dict[str, Any]:
    return {"errors": [{"field": shortened(error.field) or None, "reason": shortened(error.reason)}]}


register_errors(
    {
        ArchivedVersionError: HTTPStatus.CONFLICT,
        PayloadError: HTTPStatus.UNPROCESSABLE_ENTITY,
        RowValueError: HTTPStatus.UNPROCESSABLE_ENTITY,
        ItemError: HTTPStatus.UNPROCESSABLE_ENTITY,
        NoVersionLoadedError: HTTPStatus.SERVICE_UNAVAILABLE,
    },
    members={RowValueError: _row_value_members, ItemError: _item_members},
)
