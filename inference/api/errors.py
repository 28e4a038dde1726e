"""The HTTP status of each error of inference, and what its problem details say of the refused value."""

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


def _refused_row_value(error: RowValueError) -> dict[str, Any]:
    feature = shortened(error.feature) or None
    return {"errors": [{"row": error.row, "feature": feature, "reason": shortened(error.reason)}]}


def _refused_item(error: ItemError) -> dict[str, Any]:
    return {"errors": [{"field": shortened(error.field) or None, "reason": shortened(error.reason)}]}


register_errors(
    {
        ArchivedVersionError: HTTPStatus.CONFLICT,
        PayloadError: HTTPStatus.UNPROCESSABLE_ENTITY,
        RowValueError: HTTPStatus.UNPROCESSABLE_ENTITY,
        ItemError: HTTPStatus.UNPROCESSABLE_ENTITY,
        NoVersionLoadedError: HTTPStatus.SERVICE_UNAVAILABLE,
    },
    members={RowValueError: _refused_row_value, ItemError: _refused_item},
)
