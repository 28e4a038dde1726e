"""The HTTP status of each error of inference, and the members of its problem details."""

from http import HTTPStatus
from typing import Any

from inference.exceptions import (
    ArchivedVersionError,
    ItemError,
    LargeBodyError,
    NoVersionLoadedError,
    PayloadError,
    ServedElsewhereError,
    UnreadableBodyError,
    UnsupportedEncodingError,
)
from mlmon.exceptions import RowValueError
from rest.problems import register_errors, shortened


def _members(error: RowValueError | ItemError) -> dict[str, Any]:
    """Return the place of the invalid value and the reason; a place without a name is the whole row or item."""
    place: dict[str, Any]
    if isinstance(error, RowValueError):
        place = {"row": error.row, "feature": shortened(error.feature) or None}
    else:
        place = {"field": shortened(error.field) or None}
    return {"errors": [{**place, "reason": shortened(error.reason)}]}


register_errors(
    {
        UnreadableBodyError: HTTPStatus.BAD_REQUEST,
        LargeBodyError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        UnsupportedEncodingError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        ArchivedVersionError: HTTPStatus.CONFLICT,
        ServedElsewhereError: HTTPStatus.CONFLICT,
        PayloadError: HTTPStatus.UNPROCESSABLE_ENTITY,
        RowValueError: HTTPStatus.UNPROCESSABLE_ENTITY,
        ItemError: HTTPStatus.UNPROCESSABLE_ENTITY,
        NoVersionLoadedError: HTTPStatus.SERVICE_UNAVAILABLE,
    },
    members={RowValueError: _members, ItemError: _members},
)
